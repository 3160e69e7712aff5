"""What a reader is asked about one item: the columns of every sheet and table, and the fields of every page.

A table of answers has one column a question. Of a pair each image is rated by itself, so that a criterion named ``sharpness`` has the
columns ``sharpness a`` and ``sharpness b``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from sciimg.errors import Problem
from sciimg.protocol.validation import ReviewPlan
from sciimg.records import Record
from sciimg.review.key import CHOICES, Choice

CONFIDENCE = ("a guess", "rather unsure", "in between", "rather sure", "certain")
YES = ("x", "yes", "y", "true", "1")
NO = ("", "no", "n", "false", "0", "-")


@dataclass(frozen=True, slots=True)
class Question:
    """One question about an item.

    Parameters
    ----------
    column : str
        Its name in tables.
    kind : str
        ``answer``, ``confidence``, ``criterion``, ``artefact`` or ``comment``.
    asks : str
        The question in words.
    choices : tuple of str
        What may be answered; empty for free text.
    meanings : tuple of str
        What each choice means, or empty where the choices say it.
    name : str
        Of the criterion or artefact.
    picture : int
        Place of the picture that is asked about among those of the item.
    """

    column: str
    kind: Literal["answer", "confidence", "criterion", "artefact", "comment"]
    asks: str
    choices: tuple[str, ...] = ()
    meanings: tuple[str, ...] = ()
    name: str = ""
    picture: int = 0

    @property
    def required(self) -> bool:
        """Whether an item counts as answered only with this."""
        return self.kind in ("answer", "criterion")


def questions(plan: ReviewPlan) -> tuple[Question, ...]:
    """Return what readers of a study are asked about each item, in the order of the columns."""
    pair = plan.task == "2afc"
    asks = "Which of the two images is synthetic?" if pair else "Is this image real or synthetic?"
    asked = [Question("answer", "answer", asks, CHOICES[plan.task])]
    if plan.confidence:
        asked.append(Question("confidence", "confidence", "How sure are you?", _steps(len(CONFIDENCE)), CONFIDENCE))
    sides = ((0, " a"), (1, " b")) if pair else ((0, ""),)
    for c in plan.criteria:
        asked += [Question(c.name + s, "criterion", c.question, _steps(len(c.anchors)), c.anchors, c.name, i) for i, s in sides]
    for name in plan.artefacts:
        asked += [Question(name + s, "artefact", f"Do you see this artefact: {name}?", ("x",), (), name, i) for i, s in sides]
    return (*asked, Question("comment", "comment", "Anything else?"))


def _steps(n: int) -> tuple[str, ...]:
    return tuple(map(str, range(1, n + 1)))


class Answer(Record):
    """One reader's answer to one item, whoever collected it.

    Parameters
    ----------
    reader, item : str
        As in the key.
    answer : Choice or None
        None where it was left empty.
    truth : Choice or None
        Only in tables that come without a key.
    confidence : int or None
        1 (a guess) to 5 (certain).
    ratings : dict
        Column of a criterion to step, from 1.
    artefacts : tuple of str
        Columns of the artefacts that were seen.
    seconds : float or None
        From the moment the item was shown to the answer, where that was measured.
    where : str
        Where it was read, for messages.
    """

    reader: str
    item: str
    answer: Choice | None = None
    truth: Choice | None = None
    confidence: int | None = None
    ratings: dict[str, int] = Field(default_factory=dict)
    artefacts: tuple[str, ...] = ()
    comment: str = ""
    seconds: float | None = None
    where: str = ""


def read_answer(cells: Mapping[str, str], where: str, plan: ReviewPlan | None) -> tuple[Answer | None, list[Problem]]:
    """Read one line of a table, or one form of a page; what cannot be understood comes back as problems, never as a guess.

    Parameters
    ----------
    cells : mapping
        Text by column: ``reader``, ``item`` and the columns of :func:`questions`; more columns do no harm.
    where : str
        File and line, for messages.
    plan : ReviewPlan, optional
        What was asked; without it, answer, truth and confidence of either task are understood, and nothing else is.

    Returns
    -------
    tuple of (answer, problems)
        The answer is None where there is a problem. An item left empty is an answer of None, not a problem.
    """
    problems: list[Problem] = []
    for column in ("reader", "item"):
        if not cells.get(column, "").strip():
            message = f"Every line names its {column}; this one does not. Fill in the {column} column."
            problems.append(Problem(where, f"missing-{column}", message))
    asked = questions(plan or ReviewPlan())
    found: dict[str, Any] = {"ratings": {}, "artefacts": []}
    choices = CHOICES[plan.task] if plan else tuple(choice for each in CHOICES.values() for choice in each)
    for column in ("answer", "truth"):
        found[column] = _one_of(cells.get(column, ""), choices, column, where, problems)
    for question in asked:
        text = cells.get(question.column, "").strip()
        match question.kind:
            case "confidence" if text:
                found["confidence"] = _step(text, question, where, problems)
            case "criterion" if text:
                found["ratings"][question.column] = _step(text, question, where, problems)
            case "artefact" if _ticked(text, question, where, problems):
                found["artefacts"].append(question.column)
            case "comment":
                found["comment"] = text
            case _:
                pass
    found["seconds"] = _seconds(cells.get("seconds", "").strip(), where, problems)
    if problems:
        return None, problems
    return Answer(reader=cells["reader"].strip(), item=cells["item"].strip(), where=where, **found), []


def lacking(answer: Answer, plan: ReviewPlan) -> list[str]:
    """Return the columns that an answer needs and leaves empty."""
    given = {"answer"} if answer.answer is not None else set()
    return [q.column for q in questions(plan) if q.required and q.column not in given | set(answer.ratings)]


# ---------------------------------------------------------------- one cell


def _one_of(text: str, choices: tuple[Choice, ...], column: str, where: str, problems: list[Problem]) -> Choice | None:
    lowered = text.strip().lower()
    if not lowered:
        return None
    for choice in choices:
        if lowered == choice:
            return choice
    problems.append(Problem(where, "out-of-scale", f"The {column} must be one of {', '.join(choices)}; got {text!r}. Correct the cell."))
    return None


def _step(text: str, question: Question, where: str, problems: list[Problem]) -> int | None:
    whole = text.removesuffix(".0")  # what a column of numbers with gaps becomes when a program saves it
    if whole in question.choices:
        return int(whole)
    scale = f"{question.choices[0]} ({question.meanings[0]}) to {question.choices[-1]} ({question.meanings[-1]})"
    message = f"{question.column.capitalize()} is a whole number from {scale}; got {text!r}. Correct the cell."
    problems.append(Problem(where, "out-of-scale", message))
    return None


def _ticked(text: str, question: Question, where: str, problems: list[Problem]) -> bool:
    if text.lower() in YES:
        return True
    if text.lower() not in NO:
        message = f"The artefact {question.column} is ticked with x or left empty; got {text!r}. Correct the cell."
        problems.append(Problem(where, "out-of-scale", message))
    return False


def _seconds(text: str, where: str, problems: list[Problem]) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        value = -1.0
    if value is None or 0 <= value < float("inf"):
        return value
    problems.append(Problem(where, "out-of-scale", f"Seconds are a number from 0, or empty; got {text!r}. Correct the cell."))
    return None
