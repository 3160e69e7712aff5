"""Intensities of the collection ↔ numbers of about zero mean and unit scale; invertible, one law a channel, no torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.augmenters.settings import Settings
from sciimg.errors import InputError, Problem

_KNEE = 3.0  # standard deviations; beyond it the scale is logarithmic, so that a few hot pixels do not rule the loss


class ChannelScale(Settings):
    """Affine, with logarithmic ends; ``low`` and ``high`` are the extremes of the training part."""

    name: str
    centre: float
    scale: float
    low: float
    high: float


class IntensityScale(Settings):
    """The scales of all channels and the number type of the collection."""

    channels: tuple[ChannelScale, ...]
    dtype: str

    def forward(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return normalised images of the same shape (N, C, [Z,] Y, X)."""
        out = np.empty(images.shape, np.float32)
        for index, channel in enumerate(self.channels):
            y = (images[:, index].astype(np.float64) - channel.centre) / channel.scale
            excess = np.maximum(np.abs(y) - _KNEE, 0.0)
            out[:, index] = np.sign(y) * (np.minimum(np.abs(y), _KNEE) + np.log1p(excess))
        return out

    def inverse(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """Return images in the units and the dtype of the collection, clipped to the extremes of the training part."""
        dtype = np.dtype(self.dtype)
        out = np.empty(images.shape, dtype)
        for index, channel in enumerate(self.channels):
            y = np.clip(images[:, index].astype(np.float64), -30.0, 30.0)
            excess = np.maximum(np.abs(y) - _KNEE, 0.0)
            x = np.sign(y) * (np.minimum(np.abs(y), _KNEE) + np.expm1(excess)) * channel.scale + channel.centre
            x = np.clip(x, channel.low, channel.high)
            out[:, index] = np.rint(x) if dtype.kind in "iu" else x
        return out


def learn_scale(images: NDArray[Any], names: tuple[str, ...]) -> IntensityScale:
    """Measure the scale of each channel on training patches (N, C, [Z,] Y, X).

    Raises
    ------
    InputError
        Kinds ``constant-channel``, ``not-finite``.
    """
    problems: list[Problem] = []
    channels: list[ChannelScale] = []
    for index, name in enumerate(names):
        values = images[:, index].astype(np.float64)
        if not np.isfinite(values).all():
            problems.append(Problem(name, "not-finite", "The training images hold NaN or infinity. Ingest them again, or leave them out."))
            continue
        low, high = float(values.min()), float(values.max())
        core = np.clip(values, *np.quantile(values, [0.001, 0.999]))
        scale = float(core.std()) or float(values.std())
        if not scale > 0:
            problems.append(
                Problem(name, "constant-channel", f"Every training pixel is {low:g}: there is nothing to learn. Leave the channel out.")
            )
            continue
        channels.append(ChannelScale(name=name, centre=float(core.mean()), scale=scale, low=low, high=high))
    if problems:
        raise InputError(problems)
    return IntensityScale(channels=tuple(channels), dtype=str(images.dtype))
