"""The workbook that a reader fills in: drop-downs for the answers, everything else locked, equal bytes for equal sheets."""

import io
import re
import zipfile
from collections.abc import Sequence
from typing import Any

from sciimg.review.questions import Question

_WIDTHS = {"answer": 14, "confidence": 12, "criterion": 14, "artefact": 12, "comment": 60}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a ZIP archive can hold
_CLOCK = re.compile(rb"(<dcterms:(created|modified)[^>]*>)[^<]*(<)")
_LONGEST_HINT = 255  # characters that a spreadsheet shows beside a cell


def workbook(reader: str, items: Sequence[str], asked: Sequence[Question]) -> bytes:
    """Return an XLSX form with one line an item, and the questions in words on a second sheet."""
    import openpyxl
    from openpyxl.styles import Alignment, Font, PatternFill, Protection
    from openpyxl.worksheet.datavalidation import DataValidation

    book = openpyxl.Workbook()
    book.properties.creator = "sciimg"
    sheet: Any = book.active
    sheet.title = "answers"
    sheet.append(["reader", "item", *(q.column for q in asked)])
    for item in items:
        sheet.append([reader, item])
    for cell, width in zip(sheet[1], (16, 12, *(_width(q) for q in asked)), strict=True):
        cell.font = Font(bold=True)
        sheet.column_dimensions[cell.column_letter].width = width
    for row in sheet.iter_rows(min_row=2, max_row=len(items) + 1, max_col=len(asked) + 2):
        for cell in row[:2]:
            cell.number_format, cell.data_type = "@", "s"  # a name is never a formula
        for cell in row[2:]:
            cell.protection = Protection(locked=False)
            cell.fill = PatternFill("solid", fgColor="FFF7E0")
    for cell, question in zip(sheet[2][2:], asked, strict=True):
        if question.choices:
            cells = f"{cell.column_letter}2:{cell.column_letter}{len(items) + 1}"
            sheet.add_data_validation(_drop_down(DataValidation, cells, question))
    sheet.freeze_panes = "C2"
    sheet.protection.sheet = True  # against slips; there is no password
    words: Any = book.create_sheet("questions")
    words.append(["column", "question", "answers"])
    for question in asked:
        words.append([question.column, question.asks, _scale(question) or "in your own words, or nothing"])
    for cell, width in zip(words[1], (18, 60, 80), strict=True):
        cell.font = Font(bold=True)
        words.column_dimensions[cell.column_letter].width = width
    for row in words.iter_rows(min_row=2):
        for cell in row:
            cell.data_type, cell.alignment = "s", Alignment(wrap_text=True, vertical="top")
    words.protection.sheet = True
    stream = io.BytesIO()
    book.save(stream)
    return _without_clock(stream.getvalue())


def _width(question: Question) -> int:
    return max(_WIDTHS[question.kind], len(question.column) + 3)


def _scale(question: Question) -> str:
    """Return what may be answered, in words."""
    if question.meanings:
        return ", ".join(f"{c} = {m}" for c, m in zip(question.choices, question.meanings, strict=True))
    return "x where you see it, otherwise empty" if question.kind == "artefact" else " or ".join(question.choices)


def _drop_down(validation: Any, cells: str, question: Question) -> Any:
    choices, ask = question.choices, f"{question.asks} {_scale(question)}" + ("" if question.required else "; may stay empty")
    rule = validation(type="list", formula1=f'"{",".join(choices)}"', allow_blank=True, showErrorMessage=True, showInputMessage=True)
    rule.errorTitle, rule.error = "Not on the list", f"Choose one of: {', '.join(choices)}."
    rule.promptTitle = question.column[:32]
    rule.prompt = ask if len(ask) <= _LONGEST_HINT else ask[: _LONGEST_HINT - 1] + "…"
    rule.add(cells)
    return rule


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
