"""The training window that an image is nearest to, turned or mirrored in any way, and by how much it is nearer than to any other place.

Two steps. *Coarse*: detail of the images, averaged over blocks, is compared at every offset and in every orientation by matrix
products, and the best few places are kept. *Fine*: around each of them the normalised cross-correlation (Lewis 1995) is computed at
every shift of the pixels themselves. Detail is a band of frequencies (a difference of Gaussians): brightness and contrast do not change
its correlation, and noise and re-compression, which live at the finest scales, change it little.

How high a correlation is by chance depends on the image: a round nucleus on black resembles every other one, and noise lowers all
correlations alike. So an image is measured against itself: its *score* is by how much the nearest place stands out from the next nearest
ones (in Fisher's z), as Carlini et al. compare the distance to the nearest training image with those to the next.

Cost grows with the number of images times that of training pixels, and memory with neither: images come in batches, training pieces one
after another, and of the places of a batch only the best are kept. Pieces may lie in a file (:mod:`sciimg.validation.stack`).

References
----------
Lewis JP (1995) Fast normalized cross-correlation. Vision Interface.
Carlini N et al. (2023) Extracting training data from diffusion models. USENIX Security, arXiv:2301.13188, section 4.2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sciimg.patches.duplicates import telling_pixels
from sciimg.types import PatchSet

Array = NDArray[np.float32]
Index = NDArray[np.int64]
Box = tuple[slice, ...]

_MIDDLE = 0.75  # of every side is searched for, so that a copy may lie at other offsets in a training image of the same size
_BESIDE = 3  # places that the nearest is measured against; more find less in sets of several kinds
PLACES = 16  # that are looked at finely: the nearest, and those that it is measured against
_COARSE_VOXELS = 2048  # of an image in the coarse step
_FINE_VOXELS = {2: 128**2, 3: 40**3}  # of an image in the fine step
_MOST_VOXELS = 2**22  # of all training pieces in the coarse step
_CHUNK = 4096  # windows a matrix product
_BATCH = 256  # images that are searched for at once
_HELD = 2**21  # candidates of a batch that are held before the best are kept
_KEPT_BYTES = 2**28  # of prepared training pieces; of more, each is prepared again for every batch of images
_FINE, _WIDE = 0.7, 2.0  # standard deviations of the band-pass, in pixels of small images and pairs of pixels of others
_FLAT = 1e-6  # of the largest energy of a window: less is rounding
_TELLING_PART = 1 / 16  # of the pixels must carry the detail: one speck or edge is alike everywhere


@dataclass(frozen=True)
class Nearest:
    """The nearest training window of each of N images.

    Parameters
    ----------
    score : array, shape (N,)
        By how much it stands out from the next nearest places, in Fisher's z; minus infinity where the image shows too little to tell.
    correlation : array, shape (N,)
        Normalised cross-correlation, -1 where the image shows too little.
    piece : array of int, shape (N,)
        Number of the training image.
    origin : array of int, shape (N, dims)
        Where the window begins, in pixels of that image.
    turn : array of int, shape (N,)
        Which of the :func:`symmetries` of the image the window looks like.
    """

    score: NDArray[np.float64]
    correlation: Array
    piece: Index
    origin: Index
    turn: Index

    @property
    def told(self) -> NDArray[np.bool_]:
        """Which images show enough to be recognised."""
        return np.isfinite(self.score)


@dataclass(frozen=True, slots=True)
class Match:
    """A place where an image matches a training piece: where it would begin, in pixels of the piece, and how it is turned."""

    piece: int
    origin: tuple[int, ...]
    turn: int
    correlation: float


@dataclass(frozen=True, slots=True)
class _Place:
    piece: int
    offset: tuple[int, ...]  # of the tile, in averaged pixels
    turn: int


@dataclass(slots=True)
class _Candidates:
    """Places that were found for the images of a batch: for each, score and turn (N,), the piece, and where in it, (N, dims)."""

    score: list[Array] = field(default_factory=list)
    turn: list[Index] = field(default_factory=list)
    piece: list[int] = field(default_factory=list)
    offset: list[Index] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.piece)

    def add(self, score: Array, turn: Index, piece: int, offset: Index) -> None:
        for own, value in zip((self.score, self.turn, self.piece, self.offset), (score, turn, piece, offset), strict=True):
            own.append(value)  # type: ignore[attr-defined]


class Training:
    """Training images, prepared to be searched.

    Parameters
    ----------
    pieces : sequence of arrays, each of shape (C, [Z,] Y, X)
        Whole training regions; those smaller than a patch are left out.
    patch_shape : tuple of int
        Of the images that will be asked about, along the spatial axes.
    names, groups : sequence of str, optional
        What each piece is called, and which unit it belongs to; by default its number.
    """

    def __init__(
        self,
        pieces: Sequence[NDArray[Any]],
        patch_shape: tuple[int, ...],
        names: Sequence[str] | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        self.pieces = list(pieces)
        self.names = [str(n) for n in names or range(len(pieces))]
        self.groups = [str(g) for g in groups or self.names]
        self.patch_shape = patch_shape
        dims = len(patch_shape)
        self._scale = 2 if min(patch_shape) >= 24 else 1
        self._fine = _factor(patch_shape, _FINE_VOXELS[dims])
        self.factor = max(self._scale, self._fine, _factor(patch_shape, _COARSE_VOXELS))
        voxels = sum(p[0].size for p in self.pieces)
        while voxels / self.factor**dims > _MOST_VOXELS and min(patch_shape) // (2 * self.factor) >= 6:
            self.factor *= 2
        self.step = self.factor // self._fine
        small = tuple(p // self.factor for p in patch_shape)
        self._tile = tuple(max(1, round(_MIDDLE * s)) for s in small)
        self._margin = tuple((s - t) // 2 for s, t in zip(small, self._tile, strict=True))
        self._searched = [i for i, p in enumerate(self.pieces) if all(n >= q for n, q in zip(p.shape[1:], patch_shape, strict=True))]
        self._prepared: dict[int, Array] = {}
        room, largest = _KEPT_BYTES, 0.0
        for i in self._searched:
            detail = self.detail(self.pieces[i])
            largest = max(largest, float((detail**2).mean()))
            room -= detail.nbytes
            if room >= 0:
                self._prepared[i] = detail
        self._floor = _FLAT * largest + 1e-30

    def detail(self, image: NDArray[Any]) -> Array:
        """Return the band of an image (C, …) in which it is compared."""
        fine = _averaged(image.astype(np.float32), self._fine)
        size = max(self._scale / self._fine, 1.0)
        narrow, wide = [(0.0, *([s * size] * (fine.ndim - 1))) for s in (_FINE, _WIDE)]
        return np.asarray(gaussian_filter(fine, narrow) - gaussian_filter(fine, wide), np.float32)

    def _detail_of(self, piece: int) -> Array:
        """Return the detail of a training piece: kept, or prepared again."""
        kept = self._prepared.get(piece)
        return self.detail(self.pieces[piece]) if kept is None else kept

    def nearest(self, images: NDArray[Any], *, leave_out: Sequence[frozenset[int]] | None = None) -> Nearest:
        """Search every image (N, C, [Z,] Y, X) under every symmetry at every offset.

        Parameters
        ----------
        leave_out : sequence of sets of int, optional
            Numbers of pieces in which an image is not searched: its own.
        """
        n, dims = len(images), len(self.patch_shape)
        found = Nearest(
            np.full(n, -np.inf), np.full(n, -1.0, np.float32), np.zeros(n, np.int64), np.zeros((n, dims), np.int64), np.zeros(n, np.int64)
        )
        for i, matches in self._searches(images, leave_out, PLACES):
            if matches:
                found.score[i] = standing([m.correlation for m in matches])
                found.correlation[i], found.piece[i], found.turn[i] = matches[0].correlation, matches[0].piece, matches[0].turn
                found.origin[i] = matches[0].origin
        return found

    def search(
        self, images: NDArray[Any], *, leave_out: Sequence[frozenset[int]] | None = None, most: int = 3 * PLACES
    ) -> list[list[Match]]:
        """Return for every image the matches at up to ``most`` places that lie apart, nearest first; none where it shows too little."""
        return [matches for _, matches in self._searches(images, leave_out, most)]

    def _searches(self, images: NDArray[Any], leave_out: Sequence[frozenset[int]] | None, most: int) -> Iterator[tuple[int, list[Match]]]:
        """Yield the number of every image with its matches, a batch at a time."""
        for first in range(0, len(images), _BATCH):
            some = slice(first, first + _BATCH)
            yield from enumerate(self._batch(images[some], None if leave_out is None else leave_out[some], most), first)

    def _batch(self, images: NDArray[Any], leave_out: Sequence[frozenset[int]] | None, most: int) -> list[list[Match]]:
        details = [self.detail(image) for image in images]
        telling = [i for i, d in enumerate(details) if self._tells(d)]
        found: list[list[Match]] = [[] for _ in images]
        for i, places in zip(telling, self._coarse([details[i] for i in telling], most if leave_out is None else 4 * most), strict=True):
            left = leave_out[i] if leave_out is not None else frozenset()
            allowed = [p for p in places if p.piece not in left][:most]
            tiles = symmetries(details[i][self._middle(self.step)])
            found[i] = sorted((self._refined(tiles[place.turn], place) for place in allowed), key=lambda m: -m.correlation)
        return found

    def tells(self, images: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which images show enough to be recognised."""
        return np.array([self._tells(self.detail(image)) for image in images], bool)

    def own(self, draws: PatchSet) -> list[frozenset[int]]:
        """Return the pieces of the image or the group of each training patch: where it is found because it is there."""
        column = next((c for c in ("image", "name", "id") if c in draws.table.columns), None)
        images = draws.groups if column is None else draws.table[column]
        named: dict[str, set[int]] = {}
        grouped: dict[str, set[int]] = {}
        for i, (name, group) in enumerate(zip(self.names, self.groups, strict=True)):
            named.setdefault(name, set()).add(i)
            grouped.setdefault(group, set()).add(i)
        units = zip(images, draws.groups, strict=True)
        return [frozenset(named.get(str(image), set()) | grouped.get(str(group), set())) for image, group in units]

    def window(self, nearest: Nearest, n: int) -> NDArray[Any]:
        """Return the training pixels that are nearest to image ``n``, turned as that image is, shape (C, [Z,] Y, X)."""
        piece = self.pieces[int(nearest.piece[n])]
        first = [max(0, min(int(o), size - p)) for o, size, p in zip(nearest.origin[n], piece.shape[1:], self.patch_shape, strict=True)]
        window = piece[(slice(None), *(slice(f, f + p) for f, p in zip(first, self.patch_shape, strict=True)))]
        return turned_back(window, int(nearest.turn[n]))

    def _middle(self, step: int) -> Box:
        return (slice(None), *(slice(m * step, (m + t) * step) for m, t in zip(self._margin, self._tile, strict=True)))

    def _tells(self, detail: Array) -> bool:
        middle = detail[self._middle(self.step)].astype(np.float64)
        energy = np.sqrt((middle**2).sum(axis=0))
        return float((energy**2).mean()) > self._floor and telling_pixels(energy) >= _TELLING_PART * energy.size

    def _coarse(self, details: Sequence[Array], most: int) -> list[list[_Place]]:
        """Return up to ``most`` places nearest to each image, best first."""
        kept: list[list[tuple[float, _Place]]] = [[] for _ in details]
        if not details:
            return []
        versions = [symmetries(_averaged(d, self.step)[self._middle(1)]) for d in details]
        numbers = [k for k, v in enumerate(versions[0]) if v.shape[1:] == self._tile]
        asked = np.stack([v[k].ravel() for v in versions for k in numbers])
        asked /= np.maximum(np.linalg.norm(asked, axis=1, keepdims=True), 1e-20)
        found = _Candidates()
        for piece in self._searched:
            for offsets, windows in self._windows(_averaged(self._detail_of(piece), self.step)):
                matched = (asked @ windows.T).reshape(len(details), len(numbers), -1)
                best = matched.argmax(axis=1)
                top = np.take_along_axis(matched, best[:, None], axis=1)[:, 0]
                for rows in _cells(offsets, self._tile):  # of windows side by side only the best is a place
                    at = rows[top[:, rows].argmax(axis=1)]
                    score, turn = (np.take_along_axis(of, at[:, None], axis=1)[:, 0] for of in (top, best))
                    found.add(score, turn, piece, offsets[at])
            if len(found) * len(details) > _HELD:  # places of one piece are compared with one another, never with those of the next
                kept = self._best(kept, found, numbers, most)
                found = _Candidates()
        return [[place for _, place in own] for own in self._best(kept, found, numbers, most)]

    def _best(
        self, kept: list[list[tuple[float, _Place]]], found: "_Candidates", numbers: Sequence[int], most: int
    ) -> list[list[tuple[float, _Place]]]:
        """Return the best places of each image among those that were kept and those that were found."""
        if not len(found):
            return kept
        score, turn = np.stack(found.score, axis=1), np.stack(found.turn, axis=1)
        new = (self._apart(i, score[i], turn[i], found, numbers, most) for i in range(len(kept)))
        return [sorted([*old, *own], key=lambda k: -k[0])[:most] for old, own in zip(kept, new, strict=True)]

    def _apart(
        self, i: int, score: Array, turn: Index, found: "_Candidates", numbers: Sequence[int], most: int
    ) -> list[tuple[float, _Place]]:
        """Return the best places of one image that do not lie within half a tile of a better one."""
        kept: list[tuple[float, _Place]] = []
        for c in np.argsort(-score, kind="stable"):
            piece, offset = found.piece[c], tuple(int(o) for o in found.offset[c][i])
            near = (k for _, k in kept if k.piece == piece)
            if any(all(2 * abs(a - b) < t for a, b, t in zip(offset, k.offset, self._tile, strict=True)) for k in near):
                continue
            kept.append((float(score[c]), _Place(piece, offset, numbers[int(turn[c])])))
            if len(kept) == most:
                break
        return kept

    def _windows(self, small: Array) -> Any:
        """Yield offsets (W, dims) and unit windows (W, size) of one piece, some thousand at a time."""
        view = sliding_window_view(small, self._tile, axis=tuple(range(1, small.ndim)))
        counts = view.shape[1 : small.ndim]
        offsets = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), axis=-1).reshape(-1, len(counts))
        for first in range(0, len(offsets), _CHUNK):
            some = offsets[first : first + _CHUNK]
            windows = np.moveaxis(view[(slice(None), *some.T)], 0, 1).reshape(len(some), -1)
            energy = np.maximum((windows**2).sum(axis=1, keepdims=True), self._floor * windows.shape[1])
            yield some, np.asarray(windows / np.sqrt(energy), np.float32)

    def _refined(self, tile: Array, place: _Place) -> Match:
        """Return the best match of a tile, turned as it is there, around a place."""
        whole = self._detail_of(place.piece)
        first = [max(0, o * self.step - self.step) for o in place.offset]
        last = [min(n, (o + 1) * self.step + t) for o, t, n in zip(place.offset, tile.shape[1:], whole.shape[1:], strict=True)]
        around = whole[(slice(None), *(slice(a, b) for a, b in zip(first, last, strict=True)))]
        axes = tuple(range(1, around.ndim))
        view = sliding_window_view(around, tile.shape[1:], axis=axes)
        inner = tuple(range(around.ndim, view.ndim))
        overlap = np.tensordot(view, tile, axes=((0, *inner), tuple(range(tile.ndim))))
        energy = _box_sums((around.astype(np.float64) ** 2).sum(axis=0), tile.shape[1:])
        norm = np.sqrt(np.maximum(energy, self._floor * tile.size) * max(float((tile**2).sum()), 1e-20))
        score = overlap / norm
        at = np.unravel_index(int(np.argmax(score)), score.shape)
        origin = tuple((f + int(a) - m * self.step) * self._fine for f, a, m in zip(first, at, self._margin, strict=True))
        return Match(place.piece, origin, place.turn, float(min(score[at], 1.0)))


def standing(correlations: Sequence[float]) -> float:
    """Return by how much the first of some correlations, sorted from the highest, stands out from the next three, in Fisher's z."""
    z = np.arctanh(np.clip(correlations[: 1 + _BESIDE], 0.0, 0.9999))
    return float(z[0] - (z[1:].mean() if len(z) > 1 else 0.0))


def symmetries(image: Array) -> list[Array]:
    """Return (C, …) arrays under all flips and, where axes are equally long in 2D, quarter turns: 8 versions."""
    spatial = image.ndim - 1
    flips = [tuple(a + 1 for a, flip in enumerate(which) if flip) for which in product((False, True), repeat=spatial)]
    versions = [np.flip(image, axes) for axes in flips]
    if spatial == 2 and image.shape[1] == image.shape[2]:
        versions += [np.swapaxes(v, 1, 2) for v in versions]
    return [np.ascontiguousarray(v) for v in versions]


def turned_back(image: NDArray[Any], number: int) -> NDArray[Any]:
    """Undo symmetry ``number`` of :func:`symmetries`."""
    spatial = image.ndim - 1
    which = list(product((False, True), repeat=spatial))[number % 2**spatial]
    plain = np.swapaxes(image, 1, 2) if number >= 2**spatial else image
    return np.flip(plain, tuple(a + 1 for a, flip in enumerate(which) if flip))


def _factor(shape: tuple[int, ...], voxels: int) -> int:
    """Return the power of 2 by which an image is averaged so that it keeps at most so many voxels, and 6 along every axis."""
    factor = 1
    while np.prod([n // factor for n in shape]) > voxels and min(shape) // (2 * factor) >= 6:
        factor *= 2
    return factor


def _cells(offsets: Index, tile: tuple[int, ...]) -> list[NDArray[np.intp]]:
    """Return the rows of each cell of a grid of half a tile."""
    cell = offsets // np.maximum(np.array(tile) // 2, 1)
    _, number = np.unique(cell, axis=0, return_inverse=True)
    order = np.argsort(number.ravel(), kind="stable")
    return np.split(order, np.flatnonzero(np.diff(number.ravel()[order])) + 1)


def _box_sums(values: NDArray[np.float64], box: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the sums over every box that lies inside."""
    for axis, n in enumerate(box):
        sums = np.insert(values.cumsum(axis=axis), 0, 0.0, axis=axis)
        values = np.take(sums, range(n, sums.shape[axis]), axis=axis) - np.take(sums, range(sums.shape[axis] - n), axis=axis)
    return values


def _averaged(image: Array, factor: int) -> Array:
    """Return means over blocks; a remainder at the far edge is left out."""
    if factor == 1:
        return image
    kept = [n // factor * factor for n in image.shape[1:]]
    cut = image[(slice(None), *(slice(0, k) for k in kept))]
    split = cut.reshape(cut.shape[0], *(v for k in kept for v in (k // factor, factor)))
    return np.asarray(split.mean(axis=tuple(range(2, split.ndim, 2))), np.float32)
