"""The workbook that a reader fills in: drop-downs for the answers, everything else locked, equal bytes for equal sheets."""

import io
import re
import zipfile
from collections.abc import Sequence
from typing import Any

from sciimg.review.key import CONFIDENCE, TRUTHS

COLUMNS = ("reader", "item", "answer", "confidence", "comment")
_WIDTHS = (16, 12, 14, 12, 60)
_FREE = (3, 4, 5)  # columns that a reader writes in
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP archive can hold
_CLOCK = re.compile(rb"(<dcterms:(created|modified)[^>]*>)[^<]*(<)")


def workbook(reader: str, items: Sequence[str]) -> bytes:
    """Return an XLSX form with one line an item."""
    import openpyxl
    from openpyxl.styles import Font, PatternFill, Protection
    from openpyxl.worksheet.datavalidation import DataValidation

    book = openpyxl.Workbook()
    book.properties.creator = "sciimg"
    sheet: Any = book.active
    sheet.title = "answers"
    sheet.append(COLUMNS)
    for item in items:
        sheet.append([reader, item, None, None, None])
    for cell, width in zip(sheet[1], _WIDTHS, strict=True):
        cell.font = Font(bold=True)
        sheet.column_dimensions[cell.column_letter].width = width
    for row in sheet.iter_rows(min_row=2, max_row=len(items) + 1):
        for cell in row:
            if cell.column in _FREE:
                cell.protection = Protection(locked=False)
                cell.fill = PatternFill("solid", fgColor="FFF7E0")
            else:
                cell.number_format = "@"
    last = len(items) + 1
    _choices(sheet, DataValidation, f"C2:C{last}", TRUTHS, "real or synthetic")
    _choices(sheet, DataValidation, f"D2:D{last}", [str(c) for c in CONFIDENCE], "1 = a guess, 5 = certain; may stay empty")
    sheet.freeze_panes = "C2"
    sheet.protection.sheet = True  # against slips; there is no password
    stream = io.BytesIO()
    book.save(stream)
    return _without_clock(stream.getvalue())


def _choices(sheet: Any, validation: Any, cells: str, choices: Sequence[str], hint: str) -> None:
    rule = validation(type="list", formula1=f'"{",".join(choices)}"', allow_blank=True, showErrorMessage=True, showInputMessage=True)
    rule.errorTitle, rule.error = "Not on the list", f"Choose one of: {', '.join(choices)}."
    rule.promptTitle, rule.prompt = "Answer", hint
    rule.add(cells)
    sheet.add_data_validation(rule)


def _without_clock(data: bytes) -> bytes:
    """Return the archive with every time in it set to one constant."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            body = old.read(name)
            if name == "docProps/core.xml":
                body = _CLOCK.sub(rb"\g<1>2000-01-01T00:00:00Z\g<3>", body)
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(info, body)
    return stream.getvalue()
