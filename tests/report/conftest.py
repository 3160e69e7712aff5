import pytest
from report_run import make_run

from sciimg.report.build import report_of_run


@pytest.fixture(scope="session")
def refused_run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("refused"))


@pytest.fixture(scope="session")
def refused(refused_run):
    return report_of_run(refused_run)


@pytest.fixture(scope="session")
def accepted(tmp_path_factory):
    return report_of_run(make_run(tmp_path_factory.mktemp("accepted"), good=True))
