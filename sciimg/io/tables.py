"""Tables beside images: one row an image, matched by stem; what contradicts is kept by row, so that only those images are left out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from sciimg.errors import InputError, Problem
from sciimg.io.expand import expand
from sciimg.io.faults import refuse
from sciimg.io.names import stem
from sciimg.io.open import EXTENSIONS, extension
from sciimg.io.sheets import read_lines
from sciimg.protocol.data import Table

if TYPE_CHECKING:
    import pandas as pd

Value = str | int | float | None
_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)")  # 007 is a name, not a number
_SHOWN = 12
_FEW = 0.2  # of the cells of a column of numbers


@dataclass(frozen=True)
class Rows:
    """The rows of a table by key.

    Parameters
    ----------
    name : str
        Of the file, for messages.
    values : mapping
        Key to column to value, for every row that ``where`` keeps. Columns whose every value is a number are numbers; empty cells None.
    lines : mapping
        Key to the line of the file (the header is line 1).
    excluded : frozenset of str
        Keys of rows that ``where`` leaves out.
    problems : mapping
        Key to what is wrong with its rows.
    notes : tuple of Problem
        What looks wrong, with its lines, and leaves nobody out.
    """

    name: str
    values: Mapping[str, Mapping[str, Value]]
    lines: Mapping[str, int]
    excluded: frozenset[str]
    problems: Mapping[str, tuple[Problem, ...]]
    notes: tuple[Problem, ...] = ()

    @property
    def frame(self) -> "pd.DataFrame":
        """The rows as a DataFrame indexed by key."""
        import pandas as pd

        return pd.DataFrame.from_dict({k: dict(v) for k, v in self.values.items()}, orient="index")

    def key_of(self, path: Path) -> str | None:
        """Return the key that means this file: its stem, its name, or the end of its path for keys that are paths."""
        keys = {*self.values, *self.excluded, *self.problems}
        for candidate in (stem(path), path.name):
            if candidate in keys:
                return candidate
        text = path.as_posix()
        return next((k for k in sorted(keys, key=len, reverse=True) if "/" in k and (text == k or text.endswith("/" + k))), None)

    def without_image(self, used: Iterable[str]) -> tuple[Problem, ...]:
        """Return what to say of rows that no image belongs to."""
        taken = set(used)
        lines = sorted(line for key, line in self.lines.items() if key in self.values and key not in taken)
        if not lines:
            return ()
        some = ", ".join(map(str, lines[:_SHOWN])) + (" …" if len(lines) > _SHOWN else "")
        message = f"Every row must name an image of the source; {len(lines)} do not (lines {some}). Add images or remove rows."
        return (Problem(self.name, "row-without-image", message),)


def read_table(table: Table, folder: Path = Path()) -> Rows:
    """Read a CSV, TSV or XLSX file.

    Parameters
    ----------
    table : Table
    folder : Path
        What a relative ``uri`` is relative to.

    Raises
    ------
    InputError
        Kinds ``missing``, ``table-syntax``, ``missing-column``, ``no-rows`` and those of workbooks: nothing
        can be read of it. Rows that contradict one another are not raised but kept under ``problems``.
    """
    path = expand(table.uri, folder)[0]
    header, rows, notes = _cells(path)
    _refuse_missing(header, table, path)
    kept = [(line, row) for line, row in rows if all(row[column] in wanted for column, wanted in table.where.items())]
    if not kept:
        wanted = ", ".join(f"{c} in {list(v)}" for c, v in table.where.items()) or "any"
        raise refuse(path.name, "no-rows", f"At least one row must be left; of {len(rows)} none has {wanted}. Check `where`.")
    problems = _contradictions(kept, table.key, path.name)
    numeric = {c: _reader([row[c] for _, row in kept]) for c in header if c != table.key}
    values = {
        key: {c: read(row[c]) for c, read in numeric.items()} for _, row in kept if (key := _key(row[table.key])) and key not in problems
    }
    keys = {_key(row[table.key]) for _, row in kept}
    return Rows(
        path.name,
        values,
        {_key(row[table.key]): line for line, row in reversed(kept)},
        frozenset(_key(row[table.key]) for _, row in rows) - keys,
        problems,
        (*notes, *_doubtful(kept, header, table.key, path.name)),
    )


def _cells(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]], tuple[Problem, ...]]:
    """Return the header, the rows with their line numbers, every cell stripped text, and notes."""
    lines, notes = read_lines(path)
    if not lines:
        raise refuse(path, "table-syntax", "A table must have a header line; the file is empty.")
    header = lines[0][1]
    wrong = [
        Problem(f"{path}:{n}", "table-syntax", f"A row must have {len(header)} cells, as the header has; it has {len(row)}.")
        for n, row in lines[1:]
        if len(row) != len(header)
    ]
    if len(set(header)) < len(header):
        wrong.append(Problem(f"{path}:1", "table-syntax", f"Column names must differ; got {', '.join(header)}."))
    if wrong:
        raise InputError(wrong)
    return header, [(n, dict(zip(header, row, strict=True))) for n, row in lines[1:]], notes


def _refuse_missing(header: Sequence[str], table: Table, path: Path) -> None:
    problems = []
    for column, what in [(table.key, "key"), *((c, "where") for c in table.where)]:
        if column not in header:
            close = get_close_matches(column, header, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            message = f"`{what}` names the column {column!r}; the table has {', '.join(header)}.{hint}"
            problems.append(Problem(str(path), "missing-column", message))
    if problems:
        raise InputError(problems)


def _contradictions(rows: Sequence[tuple[int, dict[str, str]]], key: str, name: str) -> dict[str, tuple[Problem, ...]]:
    """Return problems by key: no key, or several rows that say different things."""
    by_key: dict[str, list[tuple[int, dict[str, str]]]] = {}
    for line, row in rows:
        by_key.setdefault(_key(row[key]), []).append((line, row))
    problems: dict[str, tuple[Problem, ...]] = {}
    for value, same in by_key.items():
        lines = ", ".join(str(line) for line, _ in same)
        if not value:
            message = f"Every row must have a {key!r}; lines {lines} have none. Fill it in or remove the rows."
            problems[value] = (Problem(f"{name}:{same[0][0]}", "row-without-key", message),)
        elif ".." in value.replace("\\", "/").split("/"):
            message = f"A {key!r} must name an image of the source; {value!r} in lines {lines} leads out of it. Repair the rows."
            problems[value] = (Problem(f"{name}:{same[0][0]}", "path-escape", message),)
        elif different := sorted({c for _, row in same for c in row if c != key and row[c] != same[0][1][c]}):
            message = f"One image has one row; lines {lines} are all for {value!r} and differ in {', '.join(different)}. Keep one."
            problems[value] = (Problem(f"{name}:{same[0][0]}", "rows-contradict", message),)
    return problems


def _doubtful(rows: Sequence[tuple[int, dict[str, str]]], header: Sequence[str], key: str, name: str) -> tuple[Problem, ...]:
    """Return notes on columns of numbers with a few texts in them, and on values that differ in capitals or spaces only."""
    found = []
    for column in header:
        cells = [(line, row[column]) for line, row in rows if row[column]]
        texts = [(line, cell) for line, cell in cells if not _is_number(cell)]
        if column != key and 0 < len(texts) <= _FEW * len(cells):
            message = f"{column!r} holds numbers but for {_listed(texts)}; it is read as text. Empty those cells or repair them."
            found.append(Problem(f"{name}:{texts[0][0]}", "mixed-column", message))
        spellings: dict[str, dict[str, int]] = {}
        for line, cell in texts:
            spellings.setdefault(" ".join(cell.casefold().split()), {}).setdefault(cell, line)
        for same in spellings.values():
            if len(same) > 1:
                listed = _listed([(line, cell) for cell, line in same.items()])
                message = f"{column!r} has values that differ in capitals or spaces only: {listed}. They count as different."
                found.append(Problem(f"{name}:{min(same.values())}", "spelling", message))
    return tuple(found)


def _listed(cells: Sequence[tuple[int, str]]) -> str:
    some = ", ".join(f"{cell!r} (line {line})" for line, cell in cells[:_SHOWN])
    return some + (" …" if len(cells) > _SHOWN else "")


def _key(text: str) -> str:
    """Return a key without an image's extension, which tables often carry along."""
    path = Path(text)
    return stem(path) if "/" not in text and extension(path) in EXTENSIONS else text


def _reader(cells: Sequence[str]) -> "_Reader":
    filled = [c for c in cells if c]
    if filled and all(_INTEGER.fullmatch(c) for c in filled):
        return _Reader(int)
    if filled and all(_is_number(c) for c in filled):
        return _Reader(float)
    return _Reader(str)


@dataclass(frozen=True)
class _Reader:
    kind: type[int] | type[float] | type[str]

    def __call__(self, cell: str) -> Value:
        return self.kind(cell) if cell else None


def _is_number(text: str) -> bool:
    if re.fullmatch(r"[+-]?0[0-9]+.*", text):
        return False
    try:
        return float(text) - float(text) == 0  # neither NaN nor infinite
    except ValueError:
        return False
