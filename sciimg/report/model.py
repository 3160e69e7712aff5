"""The report as data: one JSON value that says everything, and that the HTML and the PDF merely lay out.

A report is a verdict and sections of blocks; a block is one of a dozen kinds, each with the words that a reader needs to understand it
without colour, picture or script. A new kind of block adds one class here, one macro to ``report.html.j2`` and one to ``report.typ``.
"""

import datetime
from typing import Annotated, Literal

from pydantic import Field

from sciimg.records import Digest, Record

Outcome = Literal["passed", "failed", "inconclusive", "open"]
Tone = Literal["good", "bad", "open", "note"]


class Picture(Record):
    """An image by itself. ``data`` is base64 for PNG and text for SVG; sizes are in CSS pixels."""

    kind: Literal["png", "svg"]
    data: str
    width: int
    height: int
    alt: str


# ---------------------------------------------------------------- blocks


class Prose(Record):
    kind: Literal["prose"] = "prose"
    text: str


class Bullets(Record):
    kind: Literal["bullets"] = "bullets"
    items: tuple[str, ...]


class Facts(Record):
    """Terms and what they are; ``code`` terms hold digests, paths and other things to copy."""

    kind: Literal["facts"] = "facts"
    rows: tuple[tuple[str, str], ...]
    code: tuple[str, ...] = ()


class Notice(Record):
    """Something that must not be overlooked. The title says what the colour says."""

    kind: Literal["notice"] = "notice"
    tone: Tone
    title: str
    text: str


class Missing(Record):
    """Evidence that should be here and is not: named, never silently left out."""

    kind: Literal["missing"] = "missing"
    what: str
    why: str


class Column(Record):
    """A column; ``numeric`` aligns right, ``short`` keeps its cells on one line."""

    title: str
    numeric: bool = False
    short: bool = False


class Table(Record):
    """A table; ``marks`` colours the first cell of a row, which then says the same in words."""

    kind: Literal["table"] = "table"
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    marks: tuple[Outcome | None, ...] = ()
    compact: bool = False


class GateLine(Record):
    """One gate and what it met; ``ruler`` draws estimate, interval, null and bound on one scale."""

    outcome: Outcome
    gate: str
    recipe: str
    measures: str
    rule: str
    estimate: str
    null: str
    reason: str
    why: str
    ruler: Picture | None


class Gates(Record):
    kind: Literal["gates"] = "gates"
    title: str
    lines: tuple[GateLine, ...]


class PlateRow(Record):
    """One strip; ``overlay`` is a drawing of the same proportions that lies over it."""

    label: str
    note: str
    picture: Picture
    overlay: Picture | None = None


class Plate(Record):
    """Rows of images that were all rendered in the same way; ``narrow`` shows one picture at half the width of a page."""

    kind: Literal["plate"] = "plate"
    title: str
    caption: str
    rows: tuple[PlateRow, ...]
    narrow: bool = False


class Plot(Record):
    """Panels of curves. Each line of the key names a colour of the palette, which also has a dash of its own."""

    kind: Literal["plot"] = "plot"
    title: str
    caption: str
    panels: tuple[Picture, ...]
    key: tuple[tuple[str, str], ...] = ()  # (colour name, what it stands for)


class Commands(Record):
    """Lines to type, and what they must print."""

    kind: Literal["commands"] = "commands"
    title: str
    text: str
    lines: tuple[str, ...]


Block = Annotated[
    Prose | Bullets | Facts | Notice | Missing | Table | Gates | Plate | Plot | Commands,
    Field(discriminator="kind"),
]


class Section(Record):
    """One heading and what stands under it. ``lead`` is the section in one or two sentences."""

    name: str
    title: str
    lead: str = ""
    blocks: tuple[Block, ...] = ()
    parts: tuple["Section", ...] = ()


# ---------------------------------------------------------------- the whole


class Verdict(Record):
    """What the study came to. ``sentence`` can be read alone."""

    word: str
    tone: Tone
    sentence: str
    reasons: tuple[str, ...]
    summary: tuple[tuple[str, str], ...] = ()


class ReportModel(Record):
    """Everything that a report says."""

    sciimg_report: Literal[1] = 1
    kind: Literal["report", "plan", "runs"]
    title: str
    subtitle: str
    study: str
    digest: Digest
    date: datetime.date
    verdict: Verdict
    sections: tuple[Section, ...]
    colophon: str
