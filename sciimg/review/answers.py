"""Filled sheets and long tables read back: XLSX or CSV, decided by content, every problem named.

A table has a header line with ``reader``, ``item`` and ``answer`` (any order, any case), and may have ``truth``, ``confidence`` and
``comment``. What people do to such files is allowed for: a byte-order mark, semicolons, capitals, spaces, lines above the header.
"""

import csv
import io
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sciimg.errors import Problem
from sciimg.review.key import CONFIDENCE, TRUTHS, Truth

REQUIRED = ("reader", "item", "answer")
HEADER_WITHIN = 60  # lines of explanation that may stand above the header
Row = tuple[int, dict[str, str]]  # line number in the file, cells by column name


@dataclass(frozen=True, slots=True)
class Answer:
    """One line of a filled table; ``answer`` is None where the cell was left empty."""

    reader: str
    item: str
    answer: Truth | None
    truth: Truth | None
    confidence: int | None
    where: str


def read_answers(paths: Sequence[Path]) -> tuple[list[Answer], list[Problem]]:
    """Read every line of every file; what cannot be understood comes back as problems, never as a guess.

    Returns
    -------
    tuple of (answers, problems)
        Both complete: one bad line or file does not hide another.
    """
    answers: list[Answer] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            rows = _rows(path)
        except OSError as error:
            problems.append(Problem(str(path), "missing-file", f"The file cannot be read ({error.strerror or error})."))
            continue
        except _UnreadableTableError as error:
            problems.append(Problem(str(path), error.kind, str(error)))
            continue
        for line, cells in rows:
            answer, faults = _answer(cells, f"{path.name}:{line}")
            problems.extend(faults)
            if answer is not None:
                answers.append(answer)
    return answers, problems


class _UnreadableTableError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _rows(path: Path) -> list[Row]:
    data = path.read_bytes()
    if not data.strip():
        raise _UnreadableTableError("empty-file", "A filled table has a header and answers; this file is empty.")
    return _table(_xlsx_lines(data) if data[:4] == b"PK\x03\x04" else _csv_lines(data))


def _xlsx_lines(data: bytes) -> Iterator[list[str]]:
    import openpyxl

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # spreadsheets saved elsewhere carry extensions that openpyxl mentions and skips
            book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise _UnreadableTableError("not-a-workbook", f"An XLSX workbook was expected; this one cannot be opened ({error}).") from None
    for row in book.worksheets[0].iter_rows(values_only=True):
        yield [_text(cell) for cell in row]


def _csv_lines(data: bytes) -> Iterator[list[str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")  # what spreadsheets on Windows save; only comments can differ
    if "\0" in text:
        raise _UnreadableTableError("not-a-table", "A CSV or XLSX table was expected; this is a binary file of another kind.")
    header = next((line for line in text.splitlines() if all(name in line.lower() for name in REQUIRED)), "")
    separator = max(",;\t", key=header.count)
    yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator)


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _table(lines: Iterable[Sequence[str]]) -> list[Row]:
    """Return the lines below the header as cells by column name; wholly empty lines do not count."""
    names: list[str] | None = None
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line]
        if names is None:
            lowered = [cell.lower() for cell in cells]
            if set(REQUIRED) <= set(lowered):
                names = lowered
            elif number >= HEADER_WITHIN:
                break
        elif any(cells):
            rows.append((number, dict(zip(names, cells, strict=False))))
    if names is None:
        raise _UnreadableTableError("missing-column", f"A header line with {', '.join(REQUIRED)} was expected; none was found.")
    return rows


def _answer(cells: dict[str, str], where: str) -> tuple[Answer | None, list[Problem]]:
    problems: list[Problem] = []
    reader, item = cells.get("reader", ""), cells.get("item", "")
    if not reader:
        problems.append(Problem(where, "missing-reader", "Every line names its reader; this one does not. Fill in the reader column."))
    if not item:
        problems.append(Problem(where, "missing-item", "Every line names its item; this one does not. Fill in the item column."))
    answer = _choice(cells.get("answer", ""), "answer", where, problems)
    truth = _choice(cells.get("truth", ""), "truth", where, problems)
    confidence = _confidence(cells.get("confidence", ""), where, problems)
    if problems:
        return None, problems
    return Answer(reader, item, answer, truth, confidence, where), []


def _choice(text: str, column: str, where: str, problems: list[Problem]) -> Truth | None:
    lowered = text.strip().lower()
    if not lowered:
        return None
    if lowered in TRUTHS:
        return lowered
    problems.append(Problem(where, "out-of-scale", f"The {column} must be one of {', '.join(TRUTHS)}; got {text!r}. Correct the cell."))
    return None


def _confidence(text: str, where: str, problems: list[Problem]) -> int | None:
    if not text:
        return None
    if text.isdecimal() and int(text) in CONFIDENCE:
        return int(text)
    scale = f"{CONFIDENCE[0]} to {CONFIDENCE[-1]}"
    problems.append(Problem(where, "out-of-scale", f"Confidence is a whole number from {scale}, or empty; got {text!r}. Correct the cell."))
    return None
