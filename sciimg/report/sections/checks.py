"""Checks as a table: what was expected, what came, how far apart they may be."""

from collections.abc import Sequence

from sciimg.records import Check
from sciimg.report.model import Column, Outcome, Table
from sciimg.report.words import number


def checks_table(title: str, checks: Sequence[Check]) -> Table:
    """Return checks with what was expected and what came."""
    outcomes: list[Outcome] = ["passed" if c.passed else "failed" for c in checks]
    rows = [
        (outcome, c.name, number(c.expected, 6), number(c.got, 6), number(c.tolerance, 2), c.source)
        for outcome, c in zip(outcomes, checks, strict=True)
    ]
    titles = {"Outcome": False, "Test": False, "Expected": True, "Got": True, "Tolerance": True, "Source": False}
    columns = tuple(Column(title=title, numeric=numeric) for title, numeric in titles.items())
    return Table(caption=title, columns=columns, rows=tuple(rows), marks=tuple(outcomes), compact=True)
