"""What the short trainings of several seeds scored and cost on the machine that is named, and how another run is held against them.

A score must lie in the prediction interval of one more run: mean ± k sd with k = t(1 - LEVEL / 2, n - 1) sqrt(1 + 1/n), which follows from
the number of seeds n alone. A sound installation leaves one such band once in a thousand times.

``tests/benchmarks/record_bands.py`` (``make bands``) measures ``bands.json`` anew; no torch here.

References
----------
Hahn GJ, Meeker WQ (1991) Statistical Intervals. Wiley, section 4.7
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from sciimg.records import Check, Digest, digest_file
from sciimg.verification.checks import check

BANDS = Path(__file__).with_name("bands.json")
LEVEL = 1e-3  # share of sound runs outside a band
COST = 3.0  # times cheaper or dearer than recorded, beside the fixed work: what other processors and builds of torch may differ by
SLOWEST = 5.0  # times the recorded seconds of the fixed work


@dataclass(frozen=True)
class Band:
    """The runs of several seeds, and where one more must lie."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        return float(np.mean(self.values))

    @property
    def half_width(self) -> float:
        """Half the prediction interval of one more run."""
        n = len(self.values)
        k = float(stats.t.ppf(1 - LEVEL / 2, n - 1)) * math.sqrt(1 + 1 / n)
        return k * float(np.std(self.values, ddof=1))


def recorded() -> dict[str, Any]:
    """Return ``bands.json``: how it was measured, the seconds of the fixed work, and for each family scores and cost of every seed."""
    value: dict[str, Any] = json.loads(BANDS.read_text())
    return value


def bands_digest() -> Digest:
    """Return the digest of what is held against."""
    return digest_file(BANDS)


def held(family: str, recipe: str, scores: Mapping[str, float], cost: float, bands: Mapping[str, Any]) -> Iterator[Check]:
    """Hold the scores of a family, and its cost in units of the fixed work, against what was recorded."""
    known = bands["families"][family]
    for name, values in known["scores"].items():
        band = Band(tuple(values))
        source = (
            f"{recipe} on scikit-image's section; {1 - LEVEL:.1%} prediction interval of {len(values)} seeds, {bands['measured']['date']}"
        )
        yield check(f"benchmark-{family}-{name}", band.middle, scores.get(name, math.nan), band.half_width, source)
    usual = float(np.mean(known["cost"]))
    source = f"times {usual:.3g}, the recorded processor time over that of fixed convolutions; as a power of 2, {COST:g} times either way"
    yield check(f"benchmark-{family}-cost", 0, math.log2(cost / usual) if cost > 0 else math.nan, math.log2(COST), source)


def slow(seconds: float, bands: Mapping[str, Any]) -> Check:
    """Hold the seconds of the fixed work against those of the machine that measured the bands."""
    usual = bands["fixed_work_s"]
    source = f"times {usual:.3g} s, the recorded processor time of fixed convolutions; a faster machine counts as 1"
    return check("benchmark-machine-slowness", 1, max(1.0, seconds / usual), SLOWEST - 1, source)
