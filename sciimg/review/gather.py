"""Answers from wherever readers gave them (sessions read at the screen, filled sheets, tables), and the key that belongs to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sciimg.errors import Problem
from sciimg.records import Digest
from sciimg.review.answers import read_answers
from sciimg.review.book import read_book
from sciimg.review.chain import MAGIC
from sciimg.review.key import ReviewKey, read_key
from sciimg.review.questions import Answer


@dataclass(frozen=True, slots=True)
class Gathered:
    """Everything that readers said, with the key to it.

    Parameters
    ----------
    key : ReviewKey or None
        None where there is none: then every line of a table needs its truth.
    answers, problems : list
        Both complete: one bad line or file does not hide another.
    heads : tuple of str
        Head of the chain of each session: who signs these signs every answer in them.
    """

    key: ReviewKey | None
    answers: list[Answer]
    problems: list[Problem]
    heads: tuple[Digest, ...]


def gather(paths: Sequence[Path], key: Path | None = None) -> Gathered:
    """Read the key and every answer.

    Parameters
    ----------
    paths : sequence of Path
        Sessions (SQLite), XLSX or CSV files, told apart by content.
    key : Path, optional
        Key file of sheets. A session brings its own.

    Raises
    ------
    InputError
        If a session is not one, or its chain is broken: nothing else in it can be believed then. The first bad row is named.
    """
    sessions = {path: read_book(path) for path in paths if is_session(path)}
    known = read_key(key) if key is not None else next((s.key for s in sessions.values()), None)
    problems = [
        Problem(str(path), "other-key", "Answers are scored together if one key belongs to all; this session has another. Score it apart.")
        for path, session in sessions.items()
        if session.key != known
    ]
    answers, more = read_answers([path for path in paths if path not in sessions], known.plan if known else None)
    said = [answer for session in sessions.values() for answer in session.answers]
    return Gathered(known, said + answers, problems + more, tuple(session.head for session in sessions.values()))


def is_session(path: Path) -> bool:
    """Whether a file begins as an SQLite file does."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False  # whoever reads it as a table will say why
