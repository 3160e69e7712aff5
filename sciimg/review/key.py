"""The key of a reader study: which item shows what to whom. It stays with whoever runs the study, never with a reader.

A *session* is a key and the answers to its items. How these are collected (sheets, pages, tables) changes nothing below:
:class:`sciimg.review.answers.Answer` is one answer to one item, and :mod:`sciimg.review.match` joins it with its line of the key.
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError, model_validator

from sciimg.errors import InputError, Problem
from sciimg.files import write_bytes
from sciimg.protocol.validation import ReviewPlan
from sciimg.records import Digest, Record, pretty_json

Task = Literal["yes-no", "2afc"]
Truth = Literal["real", "synthetic"]
Choice = Literal["real", "synthetic", "a", "b"]  # what a reader says: what one image is, or which of two is synthetic
Role = Literal["main", "repeat", "catch"]
TRUTHS: tuple[Truth, ...] = get_args(Truth)
CHOICES: dict[Task, tuple[Choice, ...]] = {"yes-no": TRUTHS, "2afc": ("a", "b")}


class KeyItem(Record):
    """One line of one reader's sheet.

    Parameters
    ----------
    reader, item : str
        Whose line, and its number on the sheet, such as ``r2-017``; readers see no more than this.
    stimulus : str
        What is shown, by a name that is equal for all readers and for a repeat, so that answers can be compared.
    truth : Choice
        The right answer: what the image is, or which of the pair is synthetic.
    role : Role
        Catches and repeats never count towards accuracy. A ``catch`` shows a real image scrambled beyond doubt, alone or beside its
        intact twin.
    shown : tuple of str
        Names of the pictures in ``sources``, a before b; empty in older keys, where the stimulus is the picture.
    """

    reader: str
    item: str
    stimulus: str
    truth: Choice
    role: Role
    shown: tuple[str, ...] = ()

    @property
    def pictures(self) -> tuple[str, ...]:
        """Names of what is shown: one picture, or a pair in the order of this reader's sheet."""
        return self.shown or (self.stimulus,)


class ReviewKey(Record):
    """What was shown to whom, and what was asked. ``sources`` tells what each picture is and where it comes from."""

    sciimg_review_key: Literal[1] = 1
    study: Digest | None = None
    recipe: str | None = None
    plan: ReviewPlan = ReviewPlan()
    readers: tuple[str, ...]
    items: tuple[KeyItem, ...]
    sources: dict[str, dict[str, Any]]
    overlapping: int = 0  # real images that show a part of another one of them

    @property
    def cautions(self) -> list[str]:
        """What to know about the images before reading the answers."""
        if not self.overlapping:
            return []
        seen = (
            f"{self.overlapping} of the real images show a part of another one; no synthetic image does, so a reader may know them by that."
        )
        return [f"{seen} Ask for fewer items, or hold out more."]

    @model_validator(mode="before")
    @classmethod
    def _older(cls, value: Any) -> Any:
        """Older keys hold the margin alone of the plan."""
        if isinstance(value, dict) and "margin" in value and "plan" not in value:
            return {k: v for k, v in value.items() if k != "margin"} | {"plan": {"margin": value["margin"]}}
        return value

    def by_item(self) -> dict[tuple[str, str], KeyItem]:
        """Return the lines by (reader, item)."""
        return {(line.reader, line.item): line for line in self.items}

    def of(self, reader: str) -> list[KeyItem]:
        """Return one reader's lines, in the order in which that reader sees them."""
        return [line for line in self.items if line.reader == reader]

    def write(self, path: Path) -> None:
        """Write the key as JSON for its owner alone; equal keys give equal bytes."""
        write_bytes(path, pretty_json(self.as_json()).encode(), mode=0o600)


def read_key(path: Path) -> ReviewKey:
    """Read a key file.

    Raises
    ------
    InputError
        If it is missing or is not a key.
    """
    try:
        return ReviewKey.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(Problem(str(path), "missing-file", f"The key cannot be read ({error.strerror}). Give --key KEY.json.")) from None
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        message = f"A key file is the JSON that `sciimg review sheets` wrote beside the sheets; this is not one ({first})."
        raise InputError(Problem(str(path), "not-a-key", message)) from None
