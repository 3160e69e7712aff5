"""Rows out of CSV, TSV and XLSX files, as text with their line numbers. What a spreadsheet hides is refused, not guessed."""

import csv
import datetime
import zipfile
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, MissingExtraError, Problem
from sciimg.io.faults import decoding, refuse

Line = tuple[int, list[str]]
_ZIP, _OLE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_MOST = 1 << 28  # bytes of an unpacked workbook
_ERRORS = ("#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!")


def read_lines(path: Path) -> tuple[list[Line], tuple[Problem, ...]]:
    """Return the lines that are not empty with their numbers in the file, every cell stripped text, and notes.

    Raises
    ------
    InputError
        Kinds ``table-syntax``, ``absurd-size``, ``xml-entities``; :class:`MissingExtraError` where a workbook needs openpyxl.
    """
    with path.open("rb") as stream:
        head = stream.read(4)
    if head == _ZIP:
        lines, notes = _workbook(path)
    elif head == _OLE:
        raise refuse(path, "table-syntax", "A table must be CSV, TSV or XLSX; this is an old or locked workbook. Save it as .xlsx or CSV.")
    else:
        lines, notes = _text(path), ()
    return [(n, row) for n, row in lines if any(row)], notes


def _text(path: Path) -> list[Line]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise refuse(path, "table-syntax", f"A table must be UTF-8 text; {error}. Save it as CSV (UTF-8).") from error
    if "\0" in text:
        raise refuse(path, "table-syntax", "A table must be text; this file holds zero bytes. Save it as CSV (UTF-8).")
    reader = csv.reader(StringIO(text, newline=""), delimiter=_delimiter(path, text.partition("\n")[0]), strict=True)
    try:
        return [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise refuse(f"{path}:{reader.line_num}", "table-syntax", f"The table cannot be read: {error}. Check the quotes.") from error


def _delimiter(path: Path, header: str) -> str:
    """Return what the header is cut by: spreadsheets in many countries write semicolons."""
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    return next((d for d in (",", ";", "\t") if d in header), ",")


def _workbook(path: Path) -> tuple[list[Line], tuple[Problem, ...]]:
    try:
        import openpyxl
    except ImportError as error:
        message = "Workbooks are read by openpyxl, which is not installed. Run `pip install openpyxl`, or save the table as CSV."
        raise MissingExtraError(Problem(str(path), "extra-missing", message)) from error
    _refuse_bomb(path)
    with decoding(path, "table-syntax", "The workbook cannot be read"), path.open("rb") as stream:  # a stream has no wrong extension
        values, formulas = (openpyxl.load_workbook(stream, data_only=only, keep_links=False) for only in (True, False))
        seen = [s for s in values.worksheets if s.sheet_state == "visible"]
    if not seen:
        raise refuse(path, "table-syntax", "A workbook must have a sheet that is visible; this one has none.")
    sheet = seen[0]
    problems = []
    lines: list[Line] = []
    for number, (row, own) in enumerate(zip(sheet.iter_rows(), formulas[sheet.title].iter_rows(), strict=True), 1):
        cells = []
        for cell, formula in zip(row, own, strict=True):
            if cell.value in _ERRORS or (cell.value is None and formula.value is not None):
                what = repr(cell.value) if cell.value else "a formula that was never computed"
                message = f"Cells must hold values; {cell.coordinate} holds {what}. Open the workbook, let it compute, repair and save it."
                problems.append(Problem(f"{path}:{number}", "table-syntax", message))
            cells.append(_as_text(cell.value))
        lines.append((number, cells))
    if sheet.merged_cells.ranges:
        some = ", ".join(sorted(str(r) for r in sheet.merged_cells.ranges)[:5])
        problems.append(Problem(str(path), "table-syntax", f"Cells must not be merged, which empties all but one: {some}. Unmerge them."))
    if problems:
        raise InputError(problems)
    return _without_empty_columns(lines), _note_sheets(path, [s.title for s in values.worksheets], sheet.title)


def _refuse_bomb(path: Path) -> None:
    with decoding(path, "table-syntax", "The workbook cannot be read"), zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > _MOST:
            message = f"A table takes no more than {_MOST >> 20} MiB unpacked; this workbook declares {size >> 20}. Save it as CSV."
            raise refuse(path, "absurd-size", message)
        for entry in archive.infolist():
            if entry.filename.endswith((".xml", ".rels")) and any(word in archive.read(entry) for word in (b"<!DOCTYPE", b"<!ENTITY")):
                raise refuse(path, "xml-entities", "A workbook must not declare entities, which can grow without bound. Save it as CSV.")


def _as_text(value: Any) -> str:
    match value:
        case None:
            return ""
        case float() if value.is_integer():
            return str(int(value))
        case datetime.datetime() if value.time() == datetime.time():
            return value.date().isoformat()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return str(value).strip()


def _without_empty_columns(lines: list[Line]) -> list[Line]:
    """Cut columns on the right that are empty: spreadsheets keep where a cell once was."""
    width = max((n for _, row in lines for n, cell in enumerate(row, 1) if cell), default=0)
    return [(number, row[:width]) for number, row in lines]


def _note_sheets(path: Path, all_: list[str], read: str) -> tuple[Problem, ...]:
    others = list(_others(all_, read))
    if not others:
        return ()
    message = f"The workbook holds {len(all_)} sheets; {read!r} is read, {', '.join(others[:5])} not."
    return (Problem(path.name, "more-sheets", message),)


def _others(titles: list[str], read: str) -> Iterator[str]:
    return (repr(title) for title in titles if title != read)
