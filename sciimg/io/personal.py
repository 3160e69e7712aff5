"""Headers that may say who was imaged or who imaged: named in a note, their contents never."""

from collections.abc import Iterable
from pathlib import Path

from sciimg.errors import Problem


def note_personal(path: Path, fields: Iterable[str]) -> tuple[Problem, ...]:
    """Return a note of kind ``personal-data`` that names header fields which are filled in and may identify a person."""
    found = list(dict.fromkeys(fields))
    if not found:
        return ()
    message = (
        f"The file's header may name a person ({', '.join(found)}). None of it is taken over into what sciimg writes; the file itself "
        "keeps it, so clean it before passing it on."
    )
    return (Problem(path.name, "personal-data", message),)
