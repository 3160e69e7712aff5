"""Preparation of images as a study asks for it, recorded step by step, and labels that are made rather than given.

``prepare`` turns an image into another lazy image; every step leaves its parameters in ``acquisition["preparation"]``.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from sciimg.io.colour import luminance
from sciimg.io.faults import refuse
from sciimg.io.image import Box, Image
from sciimg.io.labels import LabelImage, label_index, labels_from_file, make_labels
from sciimg.io.stains import separate
from sciimg.protocol.data import Luminance, Preparation, Rescale, StainSeparation

__all__ = ["LabelImage", "label_index", "labels_from_file", "make_labels", "prepare"]


def prepare(image: Image, steps: Iterable[Preparation]) -> Image:
    """Return the image after the steps, in order.

    Raises
    ------
    InputError
        Kinds ``not-rgb``, ``not-grey``, ``flat-image``, and those of reading.
    """
    for step in steps:
        match step:
            case StainSeparation():
                image = separate(image, step)
            case Rescale():
                image = rescale(image, step)
            case Luminance():
                image = luminance(image)
            case _:
                assert_never(step)
    return image


def rescale(image: Image, step: Rescale) -> Image:
    """Return each channel mapped linearly so that its percentiles become 0 and ``top``; uint16, clipped at 0 and headroom × top.

    Raises
    ------
    InputError
        Kind ``flat-image``: the percentiles coincide.
    """
    at = image.axes.index("c") if "c" in image.axes else None
    pixels = image.read()
    others = tuple(i for i in range(pixels.ndim) if i != at)
    low, high = np.percentile(pixels, step.percentiles, axis=others, keepdims=True)
    if np.any(high <= low):
        message = f"Percentiles {step.percentiles} must differ to scale by them; both are {float(low.flat[0]):g}. Is the image blank?"
        raise refuse(image.source, "flat-image", message)
    ceiling = min(round(step.top * step.headroom), 65535)

    def load(box: Box) -> NDArray[Any]:
        part = (slice(None),) * (at or 0) + ((box[at],) if at is not None else ())
        scaled = (image.read(box) - low[part]) / (high[part] - low[part]) * step.top
        values: NDArray[Any] = np.clip(np.rint(scaled), 0, ceiling).astype(np.uint16)
        return values

    record = step.model_dump(mode="json") | {"low": low.ravel().tolist(), "high": high.ravel().tolist()}
    return replace(image, load=load, dtype=np.dtype(np.uint16), acquisition=image.recorded(record))
