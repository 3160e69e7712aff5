"""New masks from real ones: bent and turned, or put together from objects and shapes of several; small objects are kept.

A mask is never taken over as it is, because a model that has learned pairs by heart would answer with the image it was learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import center_of_mass, distance_transform_edt, find_objects, gaussian_filter, map_coordinates

from sciimg.types import LabelKind

Mask = NDArray[np.int32]
_BEND_PX = {2: 2.0, 3: 1.0}  # standard deviation of the displacement by dimensions; thin structures of a volume would tear at 2
_BEND_SCALE_PX = 8.0  # how far neighbouring displacements agree
_TRIES = 40  # places that are tried for an object
_OTHERS = 4  # objects that are tried in its stead


@dataclass(frozen=True)
class Bend:
    """A turn and a smooth displacement, the same for everything that belongs to one sample: ``bend(array, order)``.

    Parameters
    ----------
    turns : int
        Quarter turns of the last two axes.
    flip : bool
        Of the last axis.
    shift : array, shape (dims, [Z,] Y, X)
        Where to look, from each place, in pixels.
    """

    turns: int
    flip: bool
    shift: NDArray[np.float64]

    def turned(self, array: NDArray[Any]) -> NDArray[Any]:
        out = np.rot90(array, self.turns) if self.turns else array
        return np.flip(out, axis=-1) if self.flip else out

    def __call__(self, array: NDArray[Any], order: int) -> NDArray[Any]:
        """Return an array ([Z,] Y, X), interpolated by splines of an order."""
        places = np.indices(self.shift.shape[1:]) + self.shift
        bent: NDArray[Any] = map_coordinates(self.turned(array), places, order=order, mode="nearest", output=array.dtype)
        return bent


def bending(shape: tuple[int, ...], rng: np.random.Generator, turn: bool) -> Bend:
    """Draw a turn and a bend for arrays of one shape.

    Turns are, in 2D, the eight symmetries of a square; in 3D left-right, for the other turns make no anatomy.

    Parameters
    ----------
    turn : bool
        Whether turned images are plausible.
    """
    turns = 0
    if turn and len(shape) == 2:
        turns = int(rng.integers(4)) if shape[0] == shape[1] else 2 * int(rng.integers(2))
    flip = bool(turn and rng.random() < 0.5)
    fields = (_unit(gaussian_filter(rng.normal(size=shape), _BEND_SCALE_PX, mode="wrap")) for _ in shape)
    return Bend(turns, flip, np.stack([_BEND_PX[len(shape)] * field for field in fields]))


def perturbed(mask: Mask, bend: Bend) -> Mask:
    """Return a mask ([Z,] Y, X), turned and bent, its numbers kept.

    Notes
    -----
    An object so small that bending loses it between two pixels is put back, as it was, where the bend carries its centre.
    """
    bent: Mask = bend(mask, 0)
    turned = bend.turned(mask)
    for number in np.setdiff1d(np.unique(mask), np.unique(bent)).tolist():
        _put_back(bent, turned == number, bend.shift, number)
    return bent


def _put_back(bent: Mask, where: NDArray[np.bool_], shift: NDArray[np.float64], number: int) -> None:
    """Draw an object into ``bent``, moved as a whole; it wins over what is there, because it would be nowhere else."""
    centre = tuple(round(c) for c in center_of_mass(where))
    moved = np.stack(np.nonzero(where), axis=1) - np.rint(shift[(slice(None), *centre)]).astype(int)
    moved = np.clip(moved, 0, np.array(bent.shape) - 1)
    bent[tuple(moved.T)] = number


def recombined(masks: Sequence[Mask], kind: LabelKind, rng: np.random.Generator, turn: bool) -> Mask:
    """Return a mask that none of the given ones is.

    Parameters
    ----------
    masks : sequence of array, shape ([Z,] Y, X)
        Real ones; the first says how much there is (number of objects), all give what there is.
    kind : {"instances", "classes"}
        Objects are laid out anew without overlap; classes, which have a place, are shapes between two of the masks.
    turn : bool
        Whether turned masks are plausible.
    """
    if kind == "instances":
        return _scattered(masks, rng, turn)
    between = _between(masks[0], masks[1 % len(masks)], rng)
    return perturbed(between, bending(between.shape, rng, turn))


def _scattered(masks: Sequence[Mask], rng: np.random.Generator, turn: bool) -> Mask:
    """Place as many objects as the first mask has, taken from all; the largest first, so that they find room.

    An object that the border of its patch cuts is put at the same border again, because nobody knows its other half.
    """
    pool = [(number, place, mask) for mask in masks for number, place in enumerate(find_objects(mask), start=1) if place is not None]
    out = np.zeros(masks[0].shape, np.int32)
    count = len([place for place in find_objects(masks[0]) if place is not None])
    if not pool or not count:
        return out
    chosen = [pool[i] for i in rng.integers(0, len(pool), count)]
    chosen.sort(key=lambda entry: -int((entry[2][entry[1]] == entry[0]).sum()))
    number = 1
    for first in chosen:
        others = (pool[i] for i in rng.integers(0, len(pool), _OTHERS))  # where an object finds no room, another may
        number += any(_place(out, entry, number, rng, turn) for entry in (first, *others))
    return out


def _place(out: Mask, entry: tuple[int, tuple[slice, ...], Mask], number: int, rng: np.random.Generator, turn: bool) -> bool:
    """Draw an object at a random free place, a pixel from others if there is room, touching them if not; say whether there was any."""
    own, place, mask = entry
    shape = mask[place] == own
    cut = [(part.start == 0, part.stop == size) for part, size in zip(place, mask.shape, strict=True)]
    if turn and not any(any(side) for side in cut):
        shape = np.flip(shape, tuple(axis for axis in range(shape.ndim) if rng.random() < 0.5))
        shape = np.swapaxes(shape, -1, -2) if rng.random() < 0.5 else shape
    room = [size - part for size, part in zip(out.shape, shape.shape, strict=True)]
    if min(room) < 0:
        return False
    for attempt in range(_TRIES):
        start = [0 if low else free if high else int(rng.integers(0, free + 1)) for free, (low, high) in zip(room, cut, strict=True)]
        box = tuple(slice(a, a + n) for a, n in zip(start, shape.shape, strict=True))
        near = tuple(slice(max(0, a - 1), a + n + 1) for a, n in zip(start, shape.shape, strict=True))
        if (out[near] == 0).all() if attempt < _TRIES // 2 else not (out[box][shape] > 0).any():
            out[box][shape] = number
            return True
    return False


def _between(a: Mask, b: Mask, rng: np.random.Generator) -> Mask:
    """Return shapes between two masks of classes: the class whose signed distances, weighted, are the largest at a voxel.

    Shape-based interpolation (Raya & Udupa 1990, doi:10.1109/42.52980). The weight keeps off the ends, where a real mask would come back.
    """
    weight = rng.uniform(0.25, 0.75)
    numbers = np.union1d(np.unique(a), np.unique(b))
    levels = np.stack([weight * _signed(a == n) + (1 - weight) * _signed(b == n) for n in numbers])
    return np.asarray(numbers[levels.argmax(0)], np.int32)


def _signed(where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance to the border of a region, above zero inside; a region that is not there is as far as the image is wide."""
    if not where.any():
        return np.full(where.shape, -float(max(where.shape)))
    if where.all():
        return np.full(where.shape, float(max(where.shape)))
    return np.asarray(distance_transform_edt(where) - distance_transform_edt(~where))


def _unit(field: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the field with zero mean, so that a mask is bent and not moved out of its place, and unit variance."""
    return np.asarray((field - field.mean()) / field.std())
