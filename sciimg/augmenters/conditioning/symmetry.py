"""Flips and axis exchanges as recorded augmentations.

``told`` symmetries come with a label that the networks see, so that they do not leak into samples (Karras 2022, section 5: non-leaking
augmentation); untold ones state that the tissue has no preferred direction. Axes are exchanged only where the sampling is the same.
"""

from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["none", "flips", "all"]


@dataclass(frozen=True, slots=True)
class Element:
    """Exchange spatial axes, then flip some of them."""

    order: tuple[int, ...]
    flips: tuple[bool, ...]

    def apply(self, image: NDArray[np.generic]) -> NDArray[np.generic]:
        """Transform the trailing spatial axes of an array."""
        dims = len(self.order)
        lead = image.ndim - dims
        out = image.transpose(*range(lead), *(lead + axis for axis in self.order))
        return out[(..., *(slice(None, None, -1) if flip else slice(None) for flip in self.flips))]


def symmetry_group(kind: Kind, shape: tuple[int, ...], spacing: tuple[float, ...]) -> tuple[Element, ...]:
    """Return the elements allowed for patches of this shape and spacing; the identity comes first."""
    dims = len(shape)
    identity = tuple(range(dims))
    if kind == "none":
        return (Element(identity, (False,) * dims),)
    orders = [identity]
    if kind == "all":
        kinds = list(zip(shape, spacing, strict=True))
        orders = [order for order in permutations(range(dims)) if [kinds[axis] for axis in order] == kinds]
    return tuple(Element(order, flips) for order in orders for flips in product((False, True), repeat=dims))


def label_length(elements: tuple[Element, ...], told: bool) -> int:
    return len(elements) - 1 if told else 0


def labels_of(chosen: NDArray[np.int64], elements: tuple[Element, ...], told: bool) -> NDArray[np.float32]:
    """Return one-hot labels, shape (N, label_length); the identity is all zeros."""
    length = label_length(elements, told)
    out = np.zeros((len(chosen), length), np.float32)
    if told:
        rows = np.flatnonzero(chosen)
        out[rows, chosen[rows] - 1] = 1.0
    return out
