"""Dose linearity: mean intensity as a straight line of the dose that was given (real) or asked for (synthetic)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import gamma_changed, lifted, shuffled

Array = NDArray[np.float64]

_LEAST_LEVELS = 3  # different doses: two lie on a line always
_STRAIGHT = 0.5  # share of the variance of real mean intensities that the line must explain


@dataclass(frozen=True)
class _Frame:
    channels: tuple[str, ...]
    dose: str
    centre: float
    span: float  # of the doses: half their range
    middle: Array  # (C,) mean intensity of the real images
    rise: Array  # (C,) how much the real line rises over the span


class DoseLinearity(Check):
    """Distance between straight lines of mean intensity over dose: slope, height and bend, in units of what the real line rises."""

    name = "dose-linearity"
    estimator = (
        "per channel: mean intensity of a sample over the dose of its condition, least squares; slope and height of the straight line, the "
        "coefficient of a square of the dose beside it (bend), and the root mean square residual (scatter)"
    )
    unit = "rise of the real line over half the range of real doses"
    source = "linearity of a detector as in EMVA Standard 1288, release 4.0; ordinary least squares"
    controls = (Control("gamma-2", gamma_changed(2.0)), Control("offset-20%", lifted(0.2)), Control("doses-exchanged", shuffled))

    def obstacle(self, real: PatchSet) -> str:
        name = real.attributes.get("dose")
        if not name:
            return "the study names no condition as the dose (validation.dose)"
        if name not in real.table:
            return f"the real images do not say which {name} they were given"
        dose = real.table[name].to_numpy(float)
        if not np.isfinite(dose).all():
            return f"{name} is not known of all real images"
        if len(np.unique(dose)) < _LEAST_LEVELS:
            return f"the real images were given {len(np.unique(dose))} different {name}; {_LEAST_LEVELS} are needed to see a line"
        for j, channel in enumerate(real.channels):
            means = _means(real)[:, j]
            explained = np.corrcoef(dose, means)[0, 1] ** 2 if np.ptp(means) > 0 else 0.0
            if explained < _STRAIGHT:
                return f"channel {channel!r}: {name} explains {explained:.0%} of how bright real images are; {_STRAIGHT:.0%} are needed"
        return ""

    def obstacle_in(self, synthetic: PatchSet) -> str:
        name = synthetic.attributes.get("dose")
        if name not in synthetic.table or not np.isfinite(synthetic.table[name].to_numpy(float)).all():
            return "the synthetic images do not say which dose they were asked for"
        return ""

    def frame(self, real: PatchSet) -> _Frame:
        name = str(real.attributes["dose"])
        dose, means = real.table[name].to_numpy(float), _means(real)
        centre, span = float(dose.max() + dose.min()) / 2, float(np.ptp(dose)) / 2
        line = np.polynomial.polynomial.polyfit((dose - centre) / span, means, 1)
        return _Frame(real.channels, name, centre, span, line[0], np.maximum(np.abs(line[1]), np.finfo(float).tiny))

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        """Return the powers of the dose up to the fourth, and their products with the mean intensity, shape (N, C, 9)."""
        x = (patches.table[frame.dose].to_numpy(float) - frame.centre) / frame.span
        y = (_means(patches) - frame.middle) / frame.rise
        powers = np.broadcast_to((x[:, None] ** np.arange(5))[:, None], (*y.shape, 5))
        products = (y, x[:, None] * y, x[:, None] ** 2 * y, y**2)
        return np.concatenate([powers, np.stack(products, axis=-1)], axis=-1)

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        gap = np.abs(_line(first) - _line(second))
        parts = ("height", "slope", "bend", "scatter")
        return {f"{name}:{part}": gap[:, j, k] for j, name in enumerate(frame.channels) for k, part in enumerate(parts)}

    def floors(self, frame: _Frame) -> dict[str, float]:
        return {f"{name}:{part}": 0.02 for name in frame.channels for part in ("height", "slope", "bend", "scatter")}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        x = np.linspace(-1, 1, 21)
        height, slope = np.nan_to_num(_line(total)[..., :2]).T
        lines = frame.middle[:, None] + frame.rise[:, None] * (height[:, None] + slope[:, None] * x)
        return {"dose": frame.centre + frame.span * x} | {f"{name}-line": line for name, line in zip(frame.channels, lines, strict=True)}


def _means(patches: PatchSet) -> Array:
    return np.asarray(patches.images.reshape(*patches.images.shape[:2], -1).mean(axis=2, dtype=np.float64))


def _line(sums: Array) -> Array:
    """Return height at the middle dose, slope, bend and scatter of pooled sums (..., 9), shape (..., 4); NaN where doses are one."""
    n = np.maximum(sums[..., 0], 1.0)
    powers, y, xy, xxy, yy = sums[..., :5] / n[..., None], *(sums[..., k] / n for k in (5, 6, 7, 8))
    var = powers[..., 2] - powers[..., 1] ** 2
    known = var > 1e-12
    slope = np.where(known, (xy - powers[..., 1] * y) / np.where(known, var, 1.0), np.nan)
    height = y - slope * powers[..., 1]
    left = np.maximum(yy - y**2 - slope**2 * var, 0.0)
    # the bend: what is left, on the part of the square of the dose that no line explains
    skew = powers[..., 3] - powers[..., 2] * powers[..., 1]
    tilt = np.where(known, skew / np.where(known, var, 1.0), 0.0)
    square = powers[..., 4] - powers[..., 2] ** 2 - tilt**2 * var
    bent = square > 1e-12
    bend = np.where(bent, (xxy - powers[..., 2] * y - tilt * (xy - powers[..., 1] * y)) / np.where(bent, square, 1.0), 0.0)
    return np.stack([height, slope, np.where(known, bend, np.nan), np.where(known, np.sqrt(left), np.nan)], axis=-1)
