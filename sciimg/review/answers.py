"""Filled sheets and long tables read back: XLSX or CSV, decided by content, every problem named.

A table has a header line with ``reader``, ``item`` and ``answer`` (any order, any case), and may have ``truth`` and the other columns of
:func:`sciimg.review.questions.questions`. What people do to such files is allowed for: a byte-order mark, semicolons, capitals, spaces,
lines above the header.
"""

import csv
import io
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sciimg.errors import Problem
from sciimg.protocol.validation import REVIEW_COLUMNS, ReviewPlan
from sciimg.review.questions import Answer, questions, read_answer

REQUIRED = ("reader", "item", "answer")
HEADER_WITHIN = 60  # lines of explanation that may stand above the header
Row = tuple[int, dict[str, str]]  # line number in the file, cells by column name


def read_answers(paths: Sequence[Path], plan: ReviewPlan | None = None) -> tuple[list[Answer], list[Problem]]:
    """Read every line of every file; what cannot be understood comes back as problems, never as a guess.

    Parameters
    ----------
    paths : sequence of Path
        XLSX or CSV files.
    plan : ReviewPlan, optional
        What was asked. Criteria and artefacts are read with it alone; a column of theirs that a file lacks is a problem.

    Returns
    -------
    tuple of (answers, problems)
        Both complete: one bad line or file does not hide another.
    """
    answers: list[Answer] = []
    problems: list[Problem] = []
    asked = [q.column for q in questions(plan) if q.kind in ("criterion", "artefact")] if plan else []
    for path in paths:
        try:
            names, rows = _rows(path)
        except OSError as error:
            problems.append(Problem(str(path), "missing-file", f"The file cannot be read ({error.strerror or error})."))
            continue
        except _UnreadableTableError as error:
            problems.append(Problem(str(path), error.kind, str(error)))
            continue
        if gone := [column for column in asked if column not in names]:
            message = f"The sheets of this key ask for {', '.join(gone)} as well; no such column was found. Is it the key of these sheets?"
            problems.append(Problem(str(path), "missing-column", message))
        for twin in sorted({name for name in names if name in (*REVIEW_COLUMNS, *asked) and names.count(name) > 1}):
            problems.append(Problem(str(path), "two-columns", f"A column stands in a table once; {twin!r} stands twice. Remove one."))
        for line, cells in rows:
            answer, faults = read_answer(cells, f"{path.name}:{line}", plan)
            problems.extend(faults)
            if answer is not None:
                answers.append(answer)
    return answers, problems


class _UnreadableTableError(Exception):
    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _rows(path: Path) -> tuple[list[str], list[Row]]:
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


def _table(lines: Iterable[Sequence[str]]) -> tuple[list[str], list[Row]]:
    """Return the header, and the lines below it as cells by column name; wholly empty lines do not count."""
    names: list[str] | None = None
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        cells = [cell.strip() for cell in line]
        if names is None:
            lowered = [" ".join(cell.lower().split()) for cell in cells]
            if set(REQUIRED) <= set(lowered):
                names = lowered
            elif number >= HEADER_WITHIN:
                break
        elif any(cells):
            rows.append((number, dict(zip(names, cells, strict=False))))
    if names is None:
        raise _UnreadableTableError("missing-column", f"A header line with {', '.join(REQUIRED)} was expected; none was found.")
    return names, rows
