"""Answers meet their truth: readings to score, or every contradiction named at once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sciimg.errors import Problem
from sciimg.review.answers import Answer
from sciimg.review.key import ReviewKey, Role, Truth

SHOWN = 6  # item names spelled out in one message


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer with its truth: the row that statistics work on."""

    reader: str
    stimulus: str
    truth: Truth
    answer: Truth
    role: Role

    @property
    def correct(self) -> bool:
        return self.truth == self.answer


def match(answers: Sequence[Answer], key: ReviewKey | None, *, partial: bool = False) -> tuple[list[Reading], list[str], list[Problem]]:
    """Join answers with their truth; return readings, notes and every problem."""
    problems = _twice(answers)
    given = {(a.reader, a.item): a for a in answers if a.answer is not None}
    if key is None:
        problems += _truth_problems(answers)
        absent = sorted({(a.reader, a.item) for a in answers} - set(given))
        readings = [Reading(a.reader, a.item, a.truth, a.answer, "main") for a in given.values() if a.truth and a.answer]
    else:
        lines = key.by_item()
        problems += _unknown(answers, key)
        absent = sorted(set(lines) - set(given))
        readings = [
            Reading(line.reader, line.stimulus, line.truth, given[where].answer or line.truth, line.role)
            for where, line in lines.items()
            if where in given
        ]
    missing = _absent(absent, {a.reader for a in given.values()})
    if partial:
        return readings, [f"{p.where}: {p.message}" for p in missing], problems
    return readings, [], problems + missing


def _twice(answers: Sequence[Answer]) -> list[Problem]:
    places: dict[tuple[str, str], list[Answer]] = defaultdict(list)
    for a in answers:
        if a.answer is not None:
            places[a.reader, a.item].append(a)
    return [
        Problem(same[-1].where, "two-answers", f"{reader} answered {item} {len(same)} times: {_spelled(same)}. Keep one answer an item.")
        for (reader, item), same in sorted(places.items())
        if len(same) > 1
    ]


def _spelled(answers: Sequence[Answer]) -> str:
    return ", ".join(f"{a.answer} ({a.where})" for a in answers)


def _unknown(answers: Sequence[Answer], key: ReviewKey) -> list[Problem]:
    """Name answers that the key does not know, and truths that contradict it."""
    lines = key.by_item()
    owners = {line.item: line.reader for line in key.items}
    problems: list[Problem] = []
    for a in answers:
        line = lines.get((a.reader, a.item))
        if a.reader not in key.readers:
            known = ", ".join(key.readers)
            message = f"The key knows {known}; got reader {a.reader!r}. Correct the reader column."
            problems.append(Problem(a.where, "unknown-reader", message))
        elif line is None and a.item in owners:
            message = f"{a.item} belongs to {owners[a.item]}'s sheet, not to {a.reader}'s. Check whose file this is."
            problems.append(Problem(a.where, "unknown-item", message))
        elif line is None:
            message = f"The key has no item {a.item!r} for {a.reader}. Is it the key of these sheets?"
            problems.append(Problem(a.where, "unknown-item", message))
        elif a.truth is not None and a.truth != line.truth:
            message = f"The file says {a.item} is {a.truth}, the key says otherwise. Leave the truth to the key."
            problems.append(Problem(a.where, "truth-contradicts-key", message))
    return problems


def _truth_problems(answers: Sequence[Answer]) -> list[Problem]:
    problems: list[Problem] = []
    truths: dict[str, tuple[Truth, str]] = {}
    for a in answers:
        if a.truth is None:
            message = f"{a.item} has no truth. Give --key KEY.json or fill a truth column (real | synthetic)."
            problems.append(Problem(a.where, "missing-truth", message))
            continue
        first, where = truths.setdefault(a.item, (a.truth, a.where))
        if first != a.truth:
            problems.append(Problem(a.where, "two-truths", f"{a.item} is {a.truth} here and {first} in {where}. An item has one truth."))
    return problems


def _absent(absent: Sequence[tuple[str, str]], readers: set[str]) -> list[Problem]:
    """Return one problem a reader: whose sheet is missing, or which items were left empty."""
    by_reader: dict[str, list[str]] = defaultdict(list)
    for reader, item in absent:
        by_reader[reader].append(item)
    problems = []
    for reader, items in by_reader.items():
        if reader not in readers:
            message = f"No answer of {reader} was found ({len(items)} items). Add the filled sheet."
            problems.append(Problem(reader, "missing-reader", message))
            continue
        names = ", ".join(items[:SHOWN]) + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
        problems.append(Problem(reader, "unanswered", f"Every item needs an answer; {reader} left {len(items)} empty: {names}."))
    return problems
