"""One line on a terminal that says how far a long piece of work is, how fast it goes, and how long it will take."""

import sys
import time
from typing import TextIO

_EVERY_S = 0.2


class Progress:
    """Progress over items of known weight; silent where the stream is no terminal.

    Parameters
    ----------
    weights : list of int
        What each item weighs, e.g. the bytes of its source: the time left is told from the weight done.
    """

    def __init__(self, weights: list[int], stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._weights, self._total = weights, sum(weights) or 1
        self._item, self._size, self._within, self._done, self._bytes = 0, 1, 0, 0, 0
        self._begun = self._shown = time.monotonic()
        self._live = self._stream.isatty()

    def begin(self, item: int, size: int) -> None:
        """Begin an item, which will be ``size`` bytes of pixels."""
        self._item, self._size, self._within = item, max(1, size), 0

    def add(self, count: int) -> None:
        """So many more bytes of pixels of this item are done."""
        self._within += count
        self._bytes += count
        self._show()

    def end(self, item: int) -> None:
        """The item is done, or left out."""
        self._done += self._weights[item]
        self._within = 0
        self._show()

    def close(self) -> None:
        """Remove the line."""
        if self._live:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def line(self, now: float) -> str:
        """Return what the line says ``now``, in seconds of the monotonic clock."""
        elapsed = max(now - self._begun, 1e-9)
        weight = self._weights[self._item] if self._weights else 0
        done = min(1.0, (self._done + weight * min(1.0, self._within / self._size)) / self._total)
        left = f"{_clock(elapsed * (1 - done) / done)} left" if done else "reading"
        return f"{min(self._item + 1, len(self._weights))}/{len(self._weights)}  {done:.0%}  {self._bytes / 1e6 / elapsed:.0f} MB/s  {left}"

    def _show(self) -> None:
        now = time.monotonic()
        if self._live and now - self._shown >= _EVERY_S:
            self._shown = now
            self._stream.write(f"\r{self.line(now)}\x1b[K")
            self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
