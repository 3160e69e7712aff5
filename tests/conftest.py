"""The order of tests."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest, so that no worker is left alone with it at the end."""
    items.sort(key=lambda item: item.path.name != "test_whole_way.py")
