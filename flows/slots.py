"""How many heavy stages run at the same time, and which goes next."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """Places for heavy stages; of those that wait, the one that stands first in the plan goes next, because the longest stand first."""

    def __init__(self, count: int, order: list[str]) -> None:
        self._free, self._rank = count, {name: i for i, name in enumerate(order)}
        self._waiting: set[int] = set()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, name: str) -> Iterator[None]:
        """Wait for a place and hold it for the length of the block."""
        rank = self._rank[name]
        with self._changed:
            self._waiting.add(rank)
            self._changed.wait_for(lambda: self._free > 0 and rank == min(self._waiting))
            self._waiting.remove(rank)
            self._free -= 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._free += 1
                self._changed.notify_all()
