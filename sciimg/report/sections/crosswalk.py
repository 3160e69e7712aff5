"""Where the topics of reporting guidelines stand in a report. By analogy: no guideline was written for synthetic image sets."""

from functools import cache
from typing import Any

import yaml

from sciimg.report.model import Block, Column, Notice, Section, Table
from sciimg.report.words import listed, sentence, text
from sciimg.review.typesetting import templates

COLUMNS = (Column(title="Item", short=True), Column(title="Topic"), Column(title="Where it stands"))


def section(titles: dict[str, str]) -> Section:
    """Return one table a guideline.

    Parameters
    ----------
    titles : dict
        Sections of the report: name → title.
    """
    name, title = "crosswalk", "Crosswalk to reporting guidelines"
    titles = titles | {name: title}
    blocks: list[Block] = [Notice(tone="open", title="By analogy, not by compliance", text=text("crosswalk"))]
    for guideline in guidelines():
        rows = tuple((str(item["n"]), sentence(item["topic"]), _where(item, titles)) for item in guideline["items"])
        blocks.append(Table(caption=f"{guideline['name']} ({guideline['source']})", columns=COLUMNS, rows=rows, compact=True))
    return Section(name=name, title=title, blocks=tuple(blocks))


def _where(item: dict[str, Any], titles: dict[str, str]) -> str:
    if "not" in item:
        return f"Not in this report: {item['not']}."
    shown = listed(f"“{titles[name]}”" for name in item["in"] if name in titles)
    beside = f" {sentence(item['but'])}" if "but" in item else ""
    return f"{shown}.{beside}"


@cache
def guidelines() -> list[dict[str, Any]]:
    value: list[dict[str, Any]] = yaml.safe_load((templates() / "crosswalks.yaml").read_text(encoding="utf-8"))
    return value
