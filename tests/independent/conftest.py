"""Small releases, made once, for programs that we did not write.

With ``SCIIMG_INDEPENDENT=all``, as ``make test-independent`` sets it, a check that was skipped because its program is not here fails the
run: it was asked for, and did not happen. :data:`BULKY` may be missing.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import releases

from sciimg.provenance.keys import Key, make_key


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key("Ada Example", tmp_path_factory.mktemp("keys"), "")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, key: Key) -> dict[str, Path]:
    return {outcome: releases.release(tmp_path_factory.mktemp(outcome), key, outcome) for outcome in ("accepted", "refused")}


@pytest.fixture
def release(made: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made["accepted"], tmp_path / "release"))


BULKY = ("test_napari.py", "test_mirp.py", "test_lpips.py")  # some hundred packages together
_skipped: list[str] = []


def pytest_collectreport(report: pytest.CollectReport) -> None:
    _note(report)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _note(report)


def _note(report: pytest.CollectReport | pytest.TestReport) -> None:
    here = "tests/independent/" in report.nodeid and not any(name in report.nodeid for name in BULKY)
    if report.skipped and here and isinstance(report.longrepr, tuple):
        _skipped.append(f"{report.nodeid}: {report.longrepr[2]}")


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Iterator[None]:
    yield
    if os.environ.get("SCIIMG_INDEPENDENT") == "all" and _skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if os.environ.get("SCIIMG_INDEPENDENT") == "all" and _skipped:
        terminalreporter.section("asked for, and not checked")
        for said in _skipped:
            terminalreporter.write_line(said)
