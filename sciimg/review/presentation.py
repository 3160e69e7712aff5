"""Images as a person would see them: one way of showing that is fixed on real images and used for real and synthetic alike.

Separated stains become the brightfield colours they came from; a single channel is grey; several fluorescence channels are overlaid in
colours that the colour-blind can tell apart; a volume is shown as its three orthogonal mid-planes. No image is stretched by its own
extremes: intensities stay comparable across a page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sciimg.protocol.data import StainSeparation
from sciimg.types import Spacing

Rgb = NDArray[np.uint8]  # (..., H, W, 3)
Array = NDArray[np.float64]

# Natural-log absorption of red, green, blue by one unit of stain: rows of skimage.color.rgb_from_hed, Ruifrok & Johnston 2001.
STAINS: Mapping[str, tuple[float, float, float]] = {
    "haematoxylin": (0.65, 0.70, 0.29),
    "eosin": (0.07, 0.99, 0.11),
    "dab": (0.27, 0.57, 0.78),
}
# Cyan, magenta, yellow, then blue, red: neighbours stay distinct under the common colour-vision deficiencies.
COLOURS = np.array([(0.0, 0.9, 0.9), (1.0, 0.25, 0.85), (1.0, 0.85, 0.1), (0.35, 0.5, 1.0), (1.0, 0.4, 0.3)])
PLANES = ("z", "y", "x")  # the axis across which each mid-plane of a volume is cut
WINDOW = (0.5, 99.8)  # percentiles of real intensities that become black and white


@dataclass(frozen=True)
class Presentation:
    """How the images of one study are shown.

    Parameters
    ----------
    kind : str
        ``"brightfield"``, ``"grey"`` or ``"composite"``.
    channels : tuple of str
        As in the collection.
    black, white : array, shape (C,)
        Window of each channel, from real images; for brightfield, ``black`` is the value of no stain and ``white`` is unused.
    absorption : array, shape (C, 3), or None
        Optical density (natural logarithm) of red, green and blue per unit of pixel value.
    spacing : Spacing
        Makes planes of anisotropic volumes keep their proportions.
    """

    kind: Literal["brightfield", "grey", "composite"]
    channels: tuple[str, ...]
    black: Array
    white: Array
    absorption: Array | None
    spacing: Spacing

    @property
    def words(self) -> str:
        """Say in one sentence what the reader sees."""
        match self.kind:
            case "brightfield":
                names = " and ".join(self.channels)
                return f"Stain channels ({names}) are rendered back to brightfield colours; no contrast is stretched."
            case "grey":
                low, high = f"{self.black[0]:.5g}", f"{self.white[0]:.5g}"
                return f"Every image of this page uses the same window, from {low} (black) to {high} (white), taken from real images."
            case "composite":
                return "Channels are overlaid in colour, each in one window for every image of this page, taken from real images."

    def render(self, images: NDArray[np.generic]) -> Rgb:
        """Return colours for planes.

        Parameters
        ----------
        images : array, shape (..., C, Y, X)
            Pixel values of the collection.

        Returns
        -------
        array of uint8, shape (..., Y, X, 3)
        """
        values = np.moveaxis(np.asarray(images, dtype=np.float64), -3, -1)
        if self.absorption is not None:
            colours = np.exp(-((values - self.black) @ self.absorption))  # Beer-Lambert; black is the value of no stain
        else:
            shown = np.clip((values - self.black) / (self.white - self.black), 0, 1)
            colours = np.repeat(shown, 3, axis=-1) if self.kind == "grey" else np.clip(shown @ self._colours(), 0, 1)
        return _bytes(colours)

    def channel(self, images: NDArray[np.generic], index: int) -> Rgb:
        """Return one channel of planes (..., C, Y, X) alone: in its stain's colour, or grey."""
        only = np.zeros(images.shape)
        if self.absorption is not None:
            only += self.black[:, None, None]
        only[..., index, :, :] = images[..., index, :, :]
        if self.absorption is not None:
            return self.render(only)
        plane = (np.asarray(images[..., index, :, :], dtype=np.float64) - self.black[index]) / (self.white[index] - self.black[index])
        return np.repeat(_bytes(plane)[..., None], 3, axis=-1)

    def planes(self, images: NDArray[np.generic]) -> list[NDArray[np.generic]]:
        """Return what is shown of each sample: the image itself, or the three mid-planes of a volume, each (N, C, H, W)."""
        return mid_planes(images, self.spacing)

    def _colours(self) -> Array:
        return np.resize(COLOURS, (len(self.channels), 3))


def mid_planes(images: NDArray[np.generic], spacing: Spacing) -> list[NDArray[np.generic]]:
    """Return the three mid-planes of volumes (N, ..., Z, Y, X), rows repeated where spacing is coarser; planes come back as they are."""
    depth = len(spacing.values)
    if depth == 2:
        return [images]
    planes = []
    for axis in range(3):
        cut = np.take(images, images.shape[axis - 3] // 2, axis=axis - 3)
        rows, columns = (spacing.values[a] for a in range(3) if a != axis)
        finest = min(rows, columns)
        cut = np.repeat(cut, max(1, round(rows / finest)), axis=-2)
        planes.append(np.repeat(cut, max(1, round(columns / finest)), axis=-1))
    return planes


def presentation_of(
    real: NDArray[np.generic], channels: Sequence[str], spacing: Spacing, stains: StainSeparation | None = None
) -> Presentation:
    """Return the way of showing that belongs to these real images.

    Parameters
    ----------
    real : array, shape (N, C, [Z,] Y, X)
        Real images; windows are their percentiles.
    channels : sequence of str
        Names along ``C``.
    spacing : Spacing
        Of the spatial axes.
    stains : StainSeparation, optional
        The preparation that made the channels, when they are stains.
    """
    flat = np.moveaxis(np.asarray(real), 1, 0).reshape(len(channels), -1)
    black, white = np.percentile(flat, WINDOW, axis=1)
    white = np.where(white > black, white, black + 1)
    absorption = None
    if stains is not None and all(name in STAINS for name in channels):
        absorption = unit_absorption(tuple(channels)) / stains.scale
        black = np.full(len(channels), stains.offset * stains.scale)
        return Presentation("brightfield", tuple(channels), black, white, absorption, spacing)
    kind: Literal["grey", "composite"] = "grey" if len(channels) == 1 else "composite"
    return Presentation(kind, tuple(channels), black, white, None, spacing)


def unit_absorption(channels: tuple[str, ...]) -> Array:
    """Return the natural-log optical density of red, green and blue for one unit of each stain, shape (C, 3)."""
    vectors = np.array([STAINS[name] for name in channels])
    unit: Array = np.log(10.0) * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _bytes(values: Array) -> Rgb:
    return np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
