"""The book of a reader study that is read at the screen: who answered what, and what each reader sees next.

The book is a chain (:mod:`sciimg.review.chain`). Its first row holds the key, so that the head of the chain stands for what was shown and
asked as well as for what was answered; every later row is one reader's answer to one item, or the wish to see an item later. An answer is
final: nobody goes back after having seen more pictures.
"""

import datetime
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

from sciimg.errors import InputError, Problem
from sciimg.records import Digest
from sciimg.review.chain import Chain, read_chain
from sciimg.review.key import KeyItem, ReviewKey
from sciimg.review.questions import Answer, lacking, read_answer

_SEALED = ("row", "key", "pictures")  # of the first row: what a session is about


@dataclass(frozen=True, slots=True)
class Place:
    """Where a reader stands: what is shown now and after that, None at the end, and how many items of which kind there are."""

    now: str | None
    then: str | None
    answered: int
    later: int
    items: int


class Book:
    """The one writer of a session; threads may share it."""

    def __init__(self, path: Path, key: ReviewKey, pictures: Digest, clock: Callable[[], float] = time.monotonic) -> None:
        """Open the session of this key, or begin it. ``clock`` gives seconds: how long an item was there is not the page's word alone.

        Raises
        ------
        InputError
            If the file holds another session or was tampered with.
        """
        first = {"row": "opened", "key": key.as_json(), "pictures": pictures, "at": _now()}
        self.key, self._lines, self._lock = key, key.by_item(), Lock()
        self._chain = Chain(path, first)
        found = self._chain.rows[0]
        if any(found.get(name) != first[name] for name in _SEALED):
            self._chain.close()
            message = (
                "This session shows other pictures, or asks another number of readers or another question, than the run gives now. "
                "Score it first if it was read, move the file away, and serve again; or make the run as it was."
            )
            raise InputError(Problem(str(path), "other-session", message))
        self._waiting = {reader: [line.item for line in key.of(reader)] for reader in key.readers}
        self._items = {reader: len(items) for reader, items in self._waiting.items()}
        self._later: dict[str, list[str]] = {reader: [] for reader in key.readers}
        self._given: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._clock = clock
        self._since: dict[str, tuple[str | None, float]] = {}  # what each reader sees now, and since when at the earliest
        for row in self._chain.rows[1:]:
            self._follow(row)
        for reader in key.readers:
            self._turn(reader)

    @property
    def head(self) -> Digest:
        """Hash that stands for the whole book."""
        return self._chain.head

    @property
    def answers(self) -> int:
        """How many answers there are, of all readers."""
        return len(self._given)

    def line(self, reader: str, item: str) -> KeyItem | None:
        """Return the line of the key for what this reader sees now or next, and nothing else: what was seen is not shown again."""
        with self._lock:
            place = self._place(reader)
        return self._lines[reader, item] if item in (place.now, place.then) else None

    def place(self, reader: str) -> Place:
        """Return where a reader stands."""
        with self._lock:
            return self._place(reader)

    def answer(self, reader: str, cells: Mapping[str, str]) -> Place:
        """Keep an answer, given as text by column; it is on the disk when this returns. The same answer twice is one answer.

        Raises
        ------
        InputError
            Every problem of the answer; nothing is kept then. Kind ``answered`` where there is another answer already.
        """
        plan, where = self.key.plan, cells.get("item", "")
        answer, problems = read_answer({**cells, "reader": reader}, where, plan)
        if answer is None:
            raise InputError(problems)
        if empty := lacking(answer, plan):
            problems.append(Problem(where, "unanswered", f"An answer is whole before it is saved; still empty: {', '.join(empty)}."))
        if (answer.seconds or 0) < plan.minimum_seconds:
            problems.append(_too_early(where, plan.minimum_seconds))
        kept = answer.model_dump(mode="json", exclude={"truth", "where"})
        with self._lock:
            given = self._given.get((reader, answer.item))
            if given is not None and _same(given, kept):
                return self._place(reader)
            if given is not None:
                problems.append(Problem(where, "answered", "This item has an answer already, and answers are final."))
            elif answer.item != self._place(reader).now:
                problems.append(Problem(where, "not-its-turn", "This item is not the one that is shown now."))
            elif self._clock() - self._since[reader][1] < plan.minimum_seconds and not problems:
                problems.append(_too_early(where, plan.minimum_seconds))
            if problems:
                raise InputError(problems)
            self._write({"row": "answer", **kept, "at": _now()})
            return self._place(reader)

    def put_off(self, reader: str, item: str) -> Place:
        """Lay the item that is shown now onto the pile for later; anything else is left where it is."""
        with self._lock:
            if item == self._place(reader).now:
                self._write({"row": "later", "reader": reader, "item": item, "at": _now()})
            return self._place(reader)

    def close(self) -> None:
        self._chain.close()

    # ---------------------------------------------------------------- under the lock

    def _place(self, reader: str) -> Place:
        waiting, later = self._waiting[reader], self._later[reader]
        now, then, *_ = [*waiting[:2], *later[:2], None, None]
        items = self._items[reader]
        return Place(now, then, items - len(waiting) - len(later), len(later), items)

    def _write(self, row: dict[str, Any]) -> None:
        self._chain.append(row)
        self._follow(row)
        self._turn(row["reader"])

    def _turn(self, reader: str) -> None:
        """Note when what a reader sees became another item."""
        now = self._place(reader).now
        if reader not in self._since or self._since[reader][0] != now:
            self._since[reader] = now, self._clock()

    def _follow(self, row: Mapping[str, Any]) -> None:
        reader, item = row["reader"], row["item"]
        pile = self._waiting[reader] if item in self._waiting[reader] else self._later[reader]
        pile.remove(item)
        if row["row"] == "later":
            self._later[reader].append(item)
        else:
            self._given[reader, item] = row


@dataclass(frozen=True, slots=True)
class Written:
    """A session as it was read: key, answers in the order in which they were given, and the head of the chain."""

    key: ReviewKey
    answers: list[Answer]
    head: Digest


def read_book(path: Path) -> Written:
    """Read a session, also while it is being served.

    Raises
    ------
    InputError
        If it is none, or its chain is broken: the first row that does not fit is named.
    """
    log = read_chain(path)
    key = ReviewKey.model_validate(log.rows[0]["key"])
    answers = [
        Answer.model_validate({**{k: v for k, v in row.items() if k not in ("row", "at")}, "where": f"{path.name}:row {n}"})
        for n, row in enumerate(log.rows, start=1)
        if row["row"] == "answer"
    ]
    return Written(key, answers, log.head)


def _too_early(where: str, seconds: float) -> Problem:
    return Problem(where, "too-early", f"Look for at least {seconds:g} s before you answer.")


def _same(given: Mapping[str, Any], again: Mapping[str, Any]) -> bool:
    return all(given[name] == value for name, value in again.items() if name != "seconds")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
