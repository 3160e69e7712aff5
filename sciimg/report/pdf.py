"""The report on paper: tagged PDF by typst, byte-identical whenever the same model is typeset again."""

import base64
from typing import Any

from sciimg.report.model import ReportModel
from sciimg.report.palette import KEY_DASHES, for_paper, paper_colours
from sciimg.review.typesetting import compile_pdf

FONT = "Libertinus Serif"


def render(report: ReportModel) -> bytes:
    """Return the PDF of a report; its date is the study's registration."""
    pictures: dict[str, bytes] = {}
    value = _with_files(report.as_json(), pictures)
    value["colours"] = paper_colours()
    value["dashes"] = KEY_DASHES
    return compile_pdf("report.typ", value, pictures, report.date)


def _with_files(value: Any, pictures: dict[str, bytes]) -> Any:
    """Return the model with every picture's data moved into a file that is named instead."""
    match value:
        case {"kind": "png" | "svg" as kind, "data": str(data), "alt": _}:
            name = f"p{len(pictures):03d}.{kind}"
            pictures[name] = base64.b64decode(data) if kind == "png" else for_paper(data, FONT).encode()
            return {**value, "data": name}
        case dict():
            return {key: _with_files(entry, pictures) for key, entry in value.items()}
        case list():
            return [_with_files(entry, pictures) for entry in value]
        case _:
            return value
