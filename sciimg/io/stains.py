"""Separation of brightfield colours into stains.

References
----------
Ruifrok and Johnston 2001, Quantification of histochemical staining by color deconvolution, Anal Quant Cytol Histol 23(4), 291-299. The
vectors are those of ``skimage.color.rgb_from_hed``, each scaled to length 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.io.faults import refuse
from sciimg.io.image import Box, Image
from sciimg.protocol.data import StainSeparation
from sciimg.types import Channel

VECTORS: Mapping[str, tuple[float, float, float]] = {  # optical density of red, green, blue
    "haematoxylin": (0.65, 0.70, 0.29),
    "eosin": (0.07, 0.99, 0.11),
    "dab": (0.27, 0.57, 0.78),
}
_TOP = 65535


def stain_matrix(stains: Sequence[str]) -> NDArray[np.float64]:
    """Return unit vectors (3, 3), a row a stain; with two stains the third row is what both leave over, at right angles to them."""
    rows = [_unit(np.array(VECTORS[name])) for name in stains]
    if len(rows) == 2:
        rows.append(_unit(np.cross(rows[0], rows[1])))
    return np.stack(rows)


def optical_density(colours: NDArray[Any], white: float) -> NDArray[np.float64]:
    """Return the decadic optical density of intensities, where ``white`` is clear glass and 0 counts as 1, the darkest that is known."""
    density: NDArray[np.float64] = -np.log10(np.maximum(colours, 1) / white)
    return density


def separate(image: Image, step: StainSeparation) -> Image:
    """Return the stains of an RGB(A) image as uint16 channels: ``round((density + offset) * scale)``, clipped to 0 ... 65535.

    Raises
    ------
    InputError
        Kind ``not-rgb``.
    """
    if image.channel_names[:3] != ("red", "green", "blue") or image.dtype not in (np.dtype(np.uint8), np.dtype(np.uint16)):
        message = f"Stains are separated in 8- or 16-bit RGB images; this is {image.dtype} with channels {', '.join(image.channel_names)}."
        raise refuse(image.source, "not-rgb", message)
    if not 2 <= len(step.stains) <= 3:
        raise refuse(image.source, "stains", f"Two or three stains can be told apart in three colours; got {len(step.stains)}.")
    matrix = stain_matrix(step.stains)
    unmix = np.linalg.inv(matrix)[:, : len(step.stains)]
    white, at = float(np.iinfo(image.dtype).max), image.axes.index("c")

    def load(box: Box) -> NDArray[Any]:
        colours = image.read((*box[:at], slice(0, 3), *box[at + 1 :]))
        density = np.moveaxis(optical_density(colours, white), at, -1) @ unmix
        values = np.clip(np.rint((density + step.offset) * step.scale), 0, _TOP).astype(np.uint16)
        return np.moveaxis(values, -1, at)[(slice(None),) * at + (box[at],)]

    record = step.model_dump(mode="json") | {"vectors": matrix.round(12).tolist(), "white": white}
    return replace(
        image,
        load=load,
        shape=(*image.shape[:at], len(step.stains), *image.shape[at + 1 :]),
        dtype=np.dtype(np.uint16),
        channels=tuple(Channel(name) for name in step.stains),
        acquisition=image.recorded(record),
    )


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    unit: NDArray[np.float64] = vector / np.linalg.norm(vector)
    return unit
