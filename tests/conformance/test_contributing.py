"""The format that CONTRIBUTING adds, word for word: one file, one entry, one row, and the whole conformance suite holds for it."""

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import test_readers

from sciimg.errors import InputError
from sciimg.io import expand, open
from sciimg.io import open_image as read_image

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"


@pytest.fixture(scope="module")
def blocks() -> list[str]:
    found = re.findall(r"^```(?:python|diff)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    found = [re.sub(r"^\+ +", "", block, flags=re.MULTILINE) for block in found]
    assert len(found) == 3, "a module, its entry in FORMATS, and its rows"
    return found


@pytest.fixture
def rows(blocks: list[str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The rows of the new format, once it is added as the page says."""
    module, entry, rows = blocks
    path = tmp_path_factory.mktemp("added") / "pgm.py"
    path.write_text(module)
    added = _imported("sciimg.io.pgm", path)
    monkeypatch.setitem(sys.modules, "sciimg.io.pgm", added)
    entries = eval(f"({entry})", vars(open) | {"pgm": added})  # what stands in the page is ours
    monkeypatch.setattr(open, "FORMATS", (*open.FORMATS, *entries))
    monkeypatch.setattr(open, "EXTENSIONS", open.EXTENSIONS | set(added.EXTENSIONS))
    found: list[Any] = eval(f"[{rows}]", dict(vars(test_readers)))
    return found


def _imported(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SUITE = {
    name: f for name, f in vars(test_readers).items() if name.startswith("test_") and {"case", "row"} & set(inspect.signature(f).parameters)
}


@pytest.mark.parametrize("name", SUITE)
def test_the_suite_holds_for_the_format_that_the_page_adds(name: str, rows: list[Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    assert len(rows) == 2
    for row in rows:
        path = tmp_path_factory.mktemp("case") / row.file
        row.write(path)
        for more in _parameters(SUITE[name]):
            known = {"case": (row, path), "row": row, "tmp_path": tmp_path_factory.mktemp("scratch"), "tmp_path_factory": tmp_path_factory}
            wanted = inspect.signature(SUITE[name]).parameters
            SUITE[name](**{key: value for key, value in (known | more).items() if key in wanted})


def _parameters(test: Callable[..., None]) -> list[dict[str, Any]]:
    """Return the values of the parameters of a test that are not rows."""
    marks = [mark.args for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize" and mark.args[0] != "row"]
    return [{name: value} for name, values in marks for value in values] or [{}]


def test_the_page_is_needed(rows: list[Any], blocks: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the entry nothing reads such a file, and with it a folder of them is a folder of images."""
    rows[0].write(tmp_path / "a.pgm")
    assert expand(tmp_path) == [tmp_path / "a.pgm"]
    assert read_image(tmp_path / "a.pgm", spacing=test_readers.PIXEL).axes == "yx"
    monkeypatch.setattr(open, "FORMATS", open.FORMATS[:-1])
    with pytest.raises(InputError, match="unknown-format"):
        read_image(tmp_path / "a.pgm")


def test_the_page_is_as_well_kept_as_the_code(blocks: list[str]) -> None:
    assert all(len(line) <= 140 for line in blocks[0].splitlines())
    assert len([line for line in blocks[0].splitlines() if line]) < 60
