"""The key of a reader study: which sheet item shows what. It stays with whoever runs the study, never with a reader."""

import json
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import ValidationError

from sciimg.errors import InputError, Problem
from sciimg.files import write_json
from sciimg.records import Digest, Record

Truth = Literal["real", "synthetic"]
Role = Literal["main", "repeat", "catch"]
TRUTHS: tuple[Truth, ...] = get_args(Truth)
CONFIDENCE = range(1, 6)
DEFAULT_MARGIN = 0.15  # half-width of the equivalence region around chance: 96 trials give 80 % power


class KeyItem(Record):
    """One line of one reader's sheet.

    ``stimulus`` names the picture shown: equal for all readers, so that their answers can be compared. A ``catch`` picture is a real
    image scrambled beyond doubt beside its intact twin; catches and repeats never count towards accuracy.
    """

    reader: str
    item: str
    stimulus: str
    truth: Truth
    role: Role


class ReviewKey(Record):
    """What was shown to whom. ``sources`` tells where each stimulus comes from."""

    sciimg_review_key: Literal[1] = 1
    study: Digest | None = None
    recipe: str | None = None
    margin: float = DEFAULT_MARGIN
    readers: tuple[str, ...]
    items: tuple[KeyItem, ...]
    sources: dict[str, dict[str, Any]]

    def by_item(self) -> dict[tuple[str, str], KeyItem]:
        """Return the lines by (reader, item)."""
        return {(line.reader, line.item): line for line in self.items}

    def write(self, path: Path) -> None:
        """Write the key as JSON; equal keys give equal bytes."""
        write_json(path, self.as_json())


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
