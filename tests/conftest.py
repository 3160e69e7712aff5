"""The order of tests, and no clock in them."""

import hypothesis
import pytest

hypothesis.settings.register_profile("sciimg", deadline=None)  # a busy machine is no fault of the code
hypothesis.settings.load_profile("sciimg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_whole_way.py")
