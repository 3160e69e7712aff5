"""How many heavy stages run at the same time, and which goes next."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Slots:
    """Places for heavy stages; of those that wait, the one that stands first in the plan goes next, because the longest stand first.

    Parameters
    ----------
    count : int
    order : list of str
        Names of all stages, as planned.
    settle_s : float
        How long a newcomer waits before it looks for a place: stages that become ready together arrive one by one.
    """

    def __init__(self, count: int, order: list[str], settle_s: float = 1.0) -> None:
        self._free, self._rank, self._settle_s = count, {name: i for i, name in enumerate(order)}, settle_s
        self._waiting: set[int] = set()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, name: str) -> Iterator[None]:
        """Wait for a place and hold it for the length of the block."""
        rank = self._rank[name]
        with self._changed:
            self._waiting.add(rank)
        time.sleep(self._settle_s)
        with self._changed:
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
