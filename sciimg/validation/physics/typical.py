"""How odd single real samples are under a check: what a synthetic sample is held against.

The oddness of a sample is its distance to pooled real images of other groups. Every component of the distance is divided by its own 95 %
quantile over real samples (or the smallest difference that matters, where that is larger), so that no component rules by its unit, and the
largest counts. The bar is the smallest real oddness that a further real sample stays within with a probability of 95 %: of n exchangeable
samples that is the k-th smallest, k = ceil(0.95 (n + 1)) (Lei et al. 2018, doi:10.1080/01621459.2017.1307116).
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.records import TooFew
from sciimg.validation.physics.check import Check
from sciimg.validation.pooling import by_group

Array = NDArray[np.float64]

INSIDE = 0.95
FEWEST = 19  # real samples: with fewer none lies where one in twenty would
_SHARE = 0.5  # of real samples that must have a component alone, or it is not asked of single samples
_BLOCK = 256  # samples compared at once: memory stays that of a few statistics


@dataclass(frozen=True)
class Typical:
    """What real samples do one by one; ``scales`` has the components that single samples have."""

    reference: Array  # (...) pooled statistics of the real images
    scales: dict[str, float]
    often_missing: frozenset[str]  # components that a real sample may lack without being odd
    oddness: Array  # (N,) of the real samples, each against other groups
    groups: NDArray[np.str_]  # (N,)

    @property
    def bar(self) -> float:
        """The oddness that 95 % of real samples stay within."""
        return bar_of(self.oddness)


def bar_of(oddness: Array) -> float:
    """Return the k-th smallest of n values, k = ceil(0.95 (n + 1)); the largest where there are fewer than 19."""
    return float(np.sort(oddness)[min(_rank(len(oddness)), len(oddness)) - 1])


def typical(check: Check, frame: Any, rows: Array, groups: NDArray[np.str_]) -> Typical | str:
    """Measure how odd real samples are.

    Parameters
    ----------
    rows : array, shape (N, ...)
        Statistics of each real sample.
    groups : array of str, shape (N,)
        Its independent unit; two or more.

    Returns
    -------
    Typical, or str
        The string says why single samples cannot be judged.
    """
    if len(rows) < FEWEST:
        reason = f"{len(rows)} real samples; {FEWEST} are needed to say where 95 % of them lie"
        return TooFew.of(reason, len(rows), FEWEST, "real samples")
    names, sums = by_group(rows, groups)
    others = sums.sum(axis=0)[None] - sums
    distances = _distances(check, frame, rows, others, np.searchsorted(names, groups))
    known = {part: np.isfinite(d) for part, d in distances.items()}
    told = [part for part, there in known.items() if there.mean() >= _SHARE]
    if not told:
        return f"one sample alone does not give what {check.name} measures"
    floors = check.floors(frame)
    scales = {part: max(float(np.quantile(distances[part][known[part]], INSIDE)), floors[part]) for part in told}
    spare = (len(rows) - _rank(len(rows))) / len(told)  # samples that may lack a component and still leave the bar to the others
    often = frozenset(part for part in told if (~known[part]).sum() > spare)
    return Typical(sums.sum(axis=0), scales, often, _largest(distances, scales, often)[0], groups)


def oddness(check: Check, frame: Any, rows: Array, real: Typical) -> tuple[Array, list[str]]:
    """Return the oddness of samples that are not among the real ones, shape (N,), and the component that says so."""
    distances = _distances(check, frame, rows, real.reference[None], np.zeros(len(rows), np.intp))
    return _largest(distances, real.scales, real.often_missing)


def _rank(samples: int) -> int:
    return math.ceil(round(INSIDE * (samples + 1), 9))


def _distances(check: Check, frame: Any, rows: Array, references: Array, index: NDArray[np.intp]) -> dict[str, Array]:
    """Return each component, shape (N,), of the distance between samples and the reference that the index names."""
    blocks = [
        check.distance(rows[start : start + _BLOCK], references[index[start : start + _BLOCK]], frame)
        for start in range(0, len(rows), _BLOCK)
    ]
    return {part: np.concatenate([block[part] for block in blocks]) for part in blocks[0]}


def _largest(distances: dict[str, Array], scales: dict[str, float], often: frozenset[str]) -> tuple[Array, list[str]]:
    """Return the largest component in units of its scale, and which it is; what a sample lacks and real ones have is infinitely odd."""
    parts = list(scales)
    ratios = np.stack(
        [np.where(np.isfinite(distances[p]), distances[p] / scales[p], 0.0 if p in often else np.inf) for p in parts], axis=-1
    )
    return ratios.max(axis=-1), [parts[k] for k in ratios.argmax(axis=-1)]
