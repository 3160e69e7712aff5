"""Readings as tables of readers and stimuli, for everything that resamples either, and how an estimate is recorded."""

from collections.abc import Sequence

import numpy as np

from sciimg.records import Record
from sciimg.review import resampling
from sciimg.review.agreement import Counts
from sciimg.review.key import Task
from sciimg.review.match import Reading
from sciimg.review.statistics import Estimate


class Table:
    """Main readings by reader and stimulus, for everything that resamples either."""

    def __init__(self, main: Sequence[Reading]) -> None:
        self.main = main
        self.task: Task = "2afc" if main[0].truth in ("a", "b") else "yes-no"
        self.readers, self.stimuli = sorted({r.reader for r in main}), sorted({r.stimulus for r in main})
        self._rows, self._columns = ({name: i for i, name in enumerate(of)} for of in (self.readers, self.stimuli))
        truth = {r.stimulus: r.truth for r in main}
        pair = self.task == "2afc"
        self.kinds = ["pair" if pair else truth[s] for s in self.stimuli]  # a pair holds one of each kind
        self.draws = resampling.draws(len(self.readers), self.kinds, shown="pairs" if pair else "images")

    def at(self, r: Reading) -> tuple[int, int]:
        """Return row and column of a reading."""
        return self._rows[r.reader], self._columns[r.stimulus]

    def sums(self, *values: Sequence[float]) -> list[resampling.Array]:
        """Return each list of values, one a reading, summed by reader and stimulus (R, S)."""
        out = np.zeros((len(values), len(self.readers), len(self.stimuli)))
        for i, r in enumerate(self.main):
            for total, of in zip(out, values, strict=True):
                total[self.at(r)] += of[i]
        return list(out)

    def counts(self) -> Counts:
        """Return how many readers gave which of the two answers to each stimulus, (S, 2)."""
        out = np.zeros((len(self.stimuli), 2), np.int64)
        for r in self.main:
            out[self.at(r)[1], int(r.said in ("synthetic", "second", "b"))] += 1
        return out


class Value(Record):
    """A number with its 95 % interval and n; ``reason`` says why there is no number, or no interval."""

    value: float | None = None
    ci95: tuple[float, float] | None = None
    n: int | None = None
    reason: str = ""


def value_of(estimate: Estimate) -> Value:
    return Value(value=estimate.value, ci95=estimate.ci95, n=estimate.n, reason=estimate.reason)
