"""Noise whiteness: whether neighbouring pixels share their noise, one, two and three pixels apart along every axis."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import SPATIAL, PatchSet
from sciimg.validation.physics.check import Check, Control
from sciimg.validation.physics.controls import blurred, grainy
from sciimg.validation.physics.residuals import residual

Array = NDArray[np.float64]

LAGS = (1, 2, 3)
WHITE = np.array([-2 / 3, 1 / 6, 0.0])  # autocorrelation of [1, -2, 1] applied to white noise: (-4, 1, 0) / 6
_LEAST = 0.2  # share of pixel pairs that tell a sign; below it there is no noise to speak of


@dataclass(frozen=True)
class _Frame:
    channels: tuple[str, ...]
    axes: str


class NoiseWhiteness(Check):
    """Distance between autocorrelations of pixel-scale residuals, root mean square over lags 1 to 3, along every axis."""

    name = "noise-whiteness"
    estimator = (
        "per channel and axis: product of second differences along every axis; mean product of the signs of residuals 1, 2 and 3 pixels "
        "apart; autocorrelation = sin(pi/2 x that mean) (arcsine law), less that of white noise (-2/3, 1/6, 0); signs do not see how "
        "strong noise is, so photon noise of any brightness counts alike and edges do not rule; root mean square difference over lags"
    )
    unit = "correlation"
    source = (
        "second differences: Immerkaer 1996, doi:10.1006/cviu.1996.0060; arcsine law: Van Vleck & Middleton 1966, "
        "doi:10.1109/PROC.1966.4567"
    )
    controls = (Control("blur-1px", blurred(1.0)), Control("shared-noise-2-sigma", grainy(2.0)))

    def obstacle(self, real: PatchSet) -> str:
        least = LAGS[-1] + 4
        if min(real.images.shape[2:]) < least:
            return f"needs at least {least} pixels a side, got {real.images.shape[2:]}"
        pairs = self.measure(real, self.frame(real)).sum(axis=0)[..., 1]
        told = pairs.min(axis=(1, 2)) / (real.images[:, 0].size)
        if np.any(told < _LEAST):
            return f"channel {real.channels[int(told.argmin())]!r} has no noise: most of its pixels lie on straight lines"
        return ""

    def frame(self, real: PatchSet) -> _Frame:
        return _Frame(real.channels, SPATIAL[-real.dims :])

    def measure(self, patches: PatchSet, frame: _Frame) -> Array:
        """Return sums of products of signs and numbers of pairs, shape (N, C, axes, lags, 2)."""
        out = np.zeros((len(patches), len(frame.channels), len(frame.axes), len(LAGS), 2))
        for j in range(len(frame.channels)):
            signs = np.sign(residual(patches.images[:, j].astype(np.float64)))
            for a in range(len(frame.axes)):
                for k, lag in enumerate(LAGS):
                    n = signs.shape[a + 1]
                    product = np.take(signs, range(n - lag), axis=a + 1) * np.take(signs, range(lag, n), axis=a + 1)
                    flat = product.reshape(len(patches), -1)
                    out[:, j, a, k] = np.stack([flat.sum(axis=1), np.count_nonzero(flat, axis=1)], axis=-1)
        return out

    def distance(self, first: Array, second: Array, frame: _Frame) -> dict[str, Array]:
        gap = np.sqrt(((autocorrelation(first) - autocorrelation(second)) ** 2).mean(axis=-1))
        return {f"{name}:{axis}": gap[:, j, a] for j, name in enumerate(frame.channels) for a, axis in enumerate(frame.axes)}

    def floors(self, frame: _Frame) -> dict[str, float]:
        return {f"{name}:{axis}": 0.01 for name in frame.channels for axis in frame.axes}

    def curves(self, total: Array, frame: _Frame) -> dict[str, Array]:
        excess = np.nan_to_num(autocorrelation(total) - WHITE)
        drawn = {f"{name}-{axis}-colour": excess[j, a] for j, name in enumerate(frame.channels) for a, axis in enumerate(frame.axes)}
        return {"lag": np.array(LAGS, float)} | drawn


def autocorrelation(sums: Array) -> Array:
    """Return the autocorrelation from sums of sign products and numbers of pairs (..., 2); NaN where there is no pair."""
    mean = np.where(sums[..., 1] > 0, sums[..., 0] / np.maximum(sums[..., 1], 1.0), np.nan)
    return np.asarray(np.sin(np.pi / 2 * mean))
