"""Names of files kept out of what is written: an image is called after its content, a message speaks of files without naming them.

A pseudonym is made of the source's SHA-256, which a catalogue holds anyway: it discloses nothing more, needs no key that can be lost, and
is the same on every machine.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sciimg.errors import Problem, printable
from sciimg.io.names import stem
from sciimg.records import Digest

HIDDEN = "…"
_DIGITS = 10
_SHORTEST = 3  # a shorter word names nobody, and stands inside other words
_SHORTEST_NUMBER = 5  # a number that is a name: of a patient, a day; shorter ones are sizes and counts
_USUAL = frozenset(("data", "image", "images", "label", "labels", "mask", "masks", "home", "tmp"))
# What messages quote comes from files and their users. The opening quote follows no letter and the closing one precedes none, so that an
# apostrophe is neither.
_QUOTED = re.compile(r"(?<!\w)b?(?P<quote>['\"])(?P<said>.*?)(?P=quote)(?!\w)", re.DOTALL)
_AXES = re.compile(r"[tczyx]{2,5}")


def pseudonym(kind: str, digest: Digest) -> str:
    """Return what an image is called: ``kind``, e.g. its dataset, and the beginning of its source's SHA-256."""
    return f"{kind}-{digest.removeprefix('sha256:')[:_DIGITS]}"


@dataclass(frozen=True)
class Veil:
    """Hides the names of some files, and of the folders they were found in, wherever a text has them.

    Parameters
    ----------
    paths : tuple of Path
        As a user typed them, or as they were found; whole and relative ones.
    """

    paths: tuple[Path, ...]

    def problem(self, problem: Problem, alias: str) -> Problem:
        """Return a problem of these files that names none: its place is ``alias``, and what it quotes is left out."""
        return Problem(alias, problem.kind, self.message(problem.message, alias))

    def message(self, text: str, alias: str) -> str:
        """Return a message with ``alias`` for the files, and without what it quotes: cells of tables, values of headers, other files."""

        def unquoted(found: re.Match[str]) -> str:
            return found[0] if found["said"] == alias or _AXES.fullmatch(found["said"]) else HIDDEN

        return _QUOTED.sub(unquoted, self._words.sub(alias, text)).replace(str(Path.home()), HIDDEN)

    def names(self, text: str) -> bool:
        """Whether a text has the name of one of the files in it, with or without its extension."""
        return self._own.search(text) is not None

    @cached_property
    def _words(self) -> re.Pattern[str]:
        whole = {
            text for path in self.paths for place in (path, path.absolute(), path.resolve()) for text in (str(place), str(place.parent))
        }
        parts = {part for path in self.paths for part in path.parts if part.lower() not in _USUAL}
        return _any_of({*(w for w in whole if len(w) > _SHORTEST), *filter(_telling, {*parts, *self._file_names})})

    @cached_property
    def _own(self) -> re.Pattern[str]:
        return _any_of(filter(_telling, self._file_names))

    @property
    def _file_names(self) -> set[str]:
        return {name for path in self.paths for name in (path.name, stem(path))}


def _telling(word: str) -> bool:
    return len(word) >= (_SHORTEST_NUMBER if word.isdigit() else _SHORTEST)


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of whole words, the longest first, as they are and as messages write control characters and quotes."""
    forms = {form for word in words for form in (word, printable(word), repr(word)[1:-1])}
    listed = "|".join(map(re.escape, sorted(forms, key=lambda f: (-len(f), f)))) or r"(?!)"
    return re.compile(rf"(?<![^\W_])(?:{listed})(?![^\W_])", re.IGNORECASE)
