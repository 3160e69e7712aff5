"""Texts."""

from collections.abc import Iterator
from typing import Any

from sciimg.protocol.rules.parts import Fault
from sciimg.protocol.yaml_tree import KeyPath


def blanks(value: Any, path: KeyPath = ()) -> Iterator[Fault]:
    """Yield every text of a study that is empty; recipe options speak for themselves."""
    if isinstance(value, str) and not value.strip():
        yield path, "blank", "A text of a study says something; this one is empty. Fill it in."
    elif isinstance(value, dict):
        for key, child in value.items():
            if key != "options":
                yield from blanks(child, (*path, key))
    elif isinstance(value, list):
        for i, child in enumerate(value):
            yield from blanks(child, (*path, i))
