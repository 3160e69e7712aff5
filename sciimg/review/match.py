"""Answers meet their truth: readings to score, or every contradiction named at once."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sciimg.errors import Problem
from sciimg.review.key import CHOICES, Choice, KeyItem, ReviewKey, Role, Truth
from sciimg.review.questions import Answer, lacking, questions

SHOWN = 6  # item names spelled out in one message


@dataclass(frozen=True, slots=True)
class Seen:
    """What a reader said about one picture: steps by criterion, and the artefacts ticked."""

    picture: str
    kind: Truth
    ratings: dict[str, int]
    artefacts: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reading:
    """One answer with its truth: the row that statistics work on.

    ``said`` is the answer in words that mean the same for every reader: of a pair, which picture was chosen and not on which side it stood.
    """

    reader: str
    stimulus: str
    truth: Choice
    answer: Choice
    role: Role
    said: str
    confidence: int | None = None
    seconds: float | None = None
    seen: tuple[Seen, ...] = ()

    @property
    def correct(self) -> bool:
        return self.truth == self.answer


def match(answers: Sequence[Answer], key: ReviewKey | None, *, partial: bool = False) -> tuple[list[Reading], list[str], list[Problem]]:
    """Join answers with their truth; return readings, notes and every problem."""
    problems = _twice(answers)
    given = {(a.reader, a.item): a for a in answers if a.answer is not None}
    if key is None:
        problems += [*_truth_problems(answers), *_two_tasks(answers)]
        absent = sorted({(a.reader, a.item) for a in answers} - set(given))
        readings = [
            Reading(a.reader, a.item, a.truth, a.answer, "main", a.answer, a.confidence, a.seconds)
            for a in given.values()
            if a.truth and a.answer
        ]
    else:
        lines = key.by_item()
        problems += _unknown(answers, key)
        absent = sorted(set(lines) - set(given))
        readings = [_reading(line, given[where], key) for where, line in lines.items() if where in given]
    missing = _absent(absent, {a.reader for a in given.values()})
    if key is not None:
        missing += _half_answered([a for where, a in given.items() if where in lines], key)
    if partial:
        return readings, [f"{p.where}: {p.message}" for p in missing], problems
    return readings, [], problems + missing


def _reading(line: KeyItem, answer: Answer, key: ReviewKey) -> Reading:
    choice = answer.answer or line.truth
    said: str = choice
    if len(line.pictures) == 2:
        said = "first" if line.pictures["ab".index(choice)] == min(line.pictures) else "second"
    asked = questions(key.plan)
    seen = tuple(
        Seen(
            picture,
            key.sources.get(picture, {}).get("truth", line.truth),
            {q.name: answer.ratings[q.column] for q in asked if q.picture == place and q.column in answer.ratings},
            frozenset(q.name for q in asked if q.picture == place and q.column in answer.artefacts),
        )
        for place, picture in enumerate(line.pictures)
    )
    return Reading(line.reader, line.stimulus, line.truth, choice, line.role, said, answer.confidence, answer.seconds, seen)


def _half_answered(answers: Sequence[Answer], key: ReviewKey) -> list[Problem]:
    """Name answered items that lack a rating, one problem a reader and column."""
    empty: dict[tuple[str, str], list[str]] = defaultdict(list)
    for a in answers:
        for column in lacking(a, key.plan):
            empty[a.reader, column].append(a.item)
    return [
        Problem(reader, "unanswered", f"Every item needs a rating of {column}; {reader} left {len(items)} empty: {_some(items)}.")
        for (reader, column), items in empty.items()
    ]


def _two_tasks(answers: Sequence[Answer]) -> list[Problem]:
    used = [[a for a in answers if {a.answer, a.truth} & set(choices)] for choices in CHOICES.values()]
    if not all(used):
        return []
    message = "One table holds one task: real | synthetic for each image, or a | b for each pair; both are used. Score them apart."
    return [Problem(used[1][0].where, "two-tasks", message)]


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
    truths: dict[str, tuple[Choice, str]] = {}
    for a in answers:
        if a.truth is None:
            message = f"{a.item} has no truth. Give --key KEY.json or fill a truth column (real | synthetic, or a | b)."
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
        problems.append(Problem(reader, "unanswered", f"Every item needs an answer; {reader} left {len(items)} empty: {_some(items)}."))
    return problems


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:SHOWN]) + (f" and {len(items) - SHOWN} more" if len(items) > SHOWN else "")
