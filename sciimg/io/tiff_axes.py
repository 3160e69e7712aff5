"""How the planes of a TIFF series become an array in ``tczyx`` order."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import refuse
from sciimg.io.image import Box
from sciimg.io.spacing import Wishes
from sciimg.types import AXES

if TYPE_CHECKING:
    from tifffile import TiffPageSeries

_NAMELESS = "QI"  # tifffile's letters for an axis that the file does not name
_ORDER = "TCSZYX"  # samples of a pixel (S) are channels that vary faster than C


@dataclass(frozen=True)
class Layout:
    """Where each plane of a series lies in the image.

    Parameters
    ----------
    lead : str
        Axes over pages, slowest first, as letters of ``TCZ``.
    lead_shape : tuple of int
        Along ``lead``.
    page : str
        Axes inside a page: ``YX``, ``YXS``, ``SYX`` (or more, in letters of ``TCSZYX``).
    page_shape : tuple of int
        Along ``page``.
    axes, shape
        Of the image, in ``tczyx`` order; ``S`` is folded into ``c``.
    notes : tuple of Problem
    """

    lead: str
    lead_shape: tuple[int, ...]
    page: str
    page_shape: tuple[int, ...]
    axes: str
    shape: tuple[int, ...]
    notes: tuple[Problem, ...] = ()

    @property
    def channels(self) -> int:
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    def view(self, raw: NDArray[Any]) -> NDArray[Any]:
        """Return the whole series, given in the file's order, as a view or copy in image order."""
        return self._arrange(raw.reshape(self.lead_shape + self.page_shape), self.lead + self.page).reshape(self.shape)

    def planes(self, box: Box) -> Iterator[tuple[int, tuple[Any, ...]]]:
        """Yield, for a box, the number of each page it touches and the page's place in the array of :meth:`box_shape`."""
        ranges = self._lead_ranges(box)
        for index in product(*(range(r.start, r.stop) for r in ranges)):
            number = int(np.ravel_multi_index(index, self.lead_shape)) if index else 0
            by_axis = {a: i - r.start for a, i, r in zip(self.lead, index, ranges, strict=True)}
            yield number, tuple(by_axis.get(a, slice(None)) for a in self._full)

    def box_shape(self, box: Box) -> tuple[int, ...]:
        """Return the shape, over all of ``TCSZYX`` that the series has, of the pages a box touches, cropped."""
        ranges = dict(zip(self.lead, self._lead_ranges(box), strict=True)) | dict(zip(self.page, self._page_ranges(box), strict=True))
        return tuple(ranges[a].stop - ranges[a].start for a in self._full)

    def place(self, part: NDArray[Any], box: Box) -> NDArray[Any]:
        """Return the pixels of a page inside a box, its axes in image order.

        ``part``, over (separate samples, depth, rows, columns, samples of a pixel), is cut to the box's rows and columns already.
        """
        cut = dict(zip("YX", part.shape[2:4], strict=True))
        own = part.reshape(tuple(cut.get(a, n) for a, n in zip(self.page, self.page_shape, strict=True)))
        rest = tuple(slice(None) if a in "YX" else r for a, r in zip(self.page, self._page_ranges(box), strict=True))
        return self._arrange(own[rest], self.page)

    def window(self, target: NDArray[Any]) -> NDArray[Any] | None:
        """Return a page's place in the array of :meth:`box_shape` as a view over (separate samples, depth, rows, columns, samples).

        None for pages that hold more than a plane, which :meth:`place` puts there instead.
        """
        match self.page:
            case "YX":
                return target[None, None, :, :, None]
            case "SYX":
                return target[:, None, :, :, None]
            case "YXS":
                return target.transpose(1, 2, 0)[None, None]
            case _:
                return None

    def trim(self, out: NDArray[Any], box: Box) -> NDArray[Any]:
        """Fold samples into channels and cut the channels that the pages brought along."""
        lengths = dict(zip(self._full, out.shape, strict=True))
        folded = out.reshape(tuple(math.prod(lengths[b] for b in self._of(a)) for a in self.axes))
        if "c" not in self.axes:
            return folded
        at = self.axes.index("c")
        first = self._range_of("C", box).start * self._samples if "C" in self._full else 0
        skip = box[at].start - first
        return folded[(slice(None),) * at + (slice(skip, skip + box[at].stop - box[at].start),)]

    @property
    def _full(self) -> str:
        return "".join(a for a in _ORDER if a in self.lead + self.page)

    @property
    def _samples(self) -> int:
        return self.page_shape[self.page.index("S")] if "S" in self.page else 1

    def _of(self, axis: str) -> str:
        """Return the series' letters that an image axis is made of."""
        return "".join(a for a in self._full if (a if a != "S" else "C").lower() == axis)

    def _lead_ranges(self, box: Box) -> tuple[slice, ...]:
        return tuple(self._range_of(a, box) for a in self.lead)

    def _page_ranges(self, box: Box) -> tuple[slice, ...]:
        return tuple(slice(0, n) if a == "S" else self._range_of(a, box) for a, n in zip(self.page, self.page_shape, strict=True))

    def _range_of(self, letter: str, box: Box) -> slice:
        part = box[self.axes.index(letter.lower())]
        if letter != "C":
            return part
        return slice(part.start // self._samples, -(-part.stop // self._samples))

    def _arrange(self, array: NDArray[Any], letters: str) -> NDArray[Any]:
        return array.transpose([letters.index(a) for a in _ORDER if a in letters])


def layout_of(series: "TiffPageSeries", wishes: Wishes, path: Path) -> Layout:
    """Return the layout of a series, naming the axis that a plain stack leaves nameless.

    Raises
    ------
    InputError
        Kind ``unknown-axes`` where several axes are nameless, ``axes`` for axes that an image cannot have.
    """
    letters, notes = name_axes(series.axes, wishes, path)
    odd = sorted(set(letters) - set(_ORDER))
    if odd or len(set(letters)) != len(letters):
        raise refuse(path, "axes", f"Axes may be t, c, z, y, x; the file has {series.axes!r}. Save it as an OME-TIFF with these axes.")
    inside = len(series.keyframe.shape)
    if letters[-inside:].strip("SYXZ") and series.dataoffset is None:
        raise refuse(path, "axes", f"Pages must hold one plane; these hold {letters[-inside:]!r}.")
    lengths = dict(zip(letters, series.shape, strict=True))
    axes = "".join(a for a in AXES if a.upper() in letters or (a == "c" and "S" in letters))
    shape = tuple(lengths.get(a.upper(), 1) * (lengths.get("S", 1) if a == "c" else 1) for a in axes)
    return Layout(letters[:-inside], tuple(series.shape[:-inside]), letters[-inside:], tuple(series.shape[-inside:]), axes, shape, notes)


def name_axes(letters: str, wishes: Wishes, path: Path) -> tuple[str, tuple[Problem, ...]]:
    """Return the axes with one nameless stack axis named: by ``wishes.axes``, else z, or t where only y and x have a spacing."""
    nameless = [i for i, a in enumerate(letters) if a in _NAMELESS]
    if wishes.axes is not None and nameless:
        return _asked_for(letters, wishes.axes, path), ()
    if not nameless:
        return letters, ()
    if len(nameless) > 1:
        message = f"{len(nameless)} axes of the file have no names. Say what they are with `axes`, e.g. `tzyx`, or save it as an OME-TIFF."
        raise refuse(path, "unknown-axes", message)
    only_plane = wishes.spacing is not None and len(wishes.spacing.values) == 2
    name = next(a for a in ("TZC" if only_plane else "ZTC") if a not in letters)
    message = f"The file does not say what its stack axis is; it is taken as {name.lower()}. Set `axes` if that is wrong."
    return letters.replace(letters[nameless[0]], name), (Problem(path.name, "axis-not-named", message),)


def _asked_for(letters: str, axes: str, path: Path) -> str:
    wanted = axes.upper()
    own = letters.replace("S", "") if len(wanted) < len(letters) else letters
    fits = len(own) == len(wanted) and all(mine in _NAMELESS or mine == theirs for mine, theirs in zip(own, wanted, strict=True))
    if not fits:
        raise refuse(path, "axes", f"The axes {axes!r} do not fit the file, whose axes are {letters!r} (Q, I: without a name).")
    return wanted + ("S" if len(wanted) < len(letters) else "")
