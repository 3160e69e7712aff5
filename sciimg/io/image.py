"""The lazy image that every reader returns and the store writes.

An ``Image`` knows what a file declares (axes, shape, dtype, spacing, channels, acquisition) and reads pixels only when asked, a box at
a time. Readers guarantee: axes in the order ``tczyx``, native byte order, real numbers of a kind the store keeps exactly, and an
:class:`~sciimg.errors.InputError` instead of NaN, infinity or half an array. Conformance: ``tests/conformance/test_readers.py``.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import refuse
from sciimg.records import Digest
from sciimg.types import AXES, SPATIAL, Channel, Spacing

Box = tuple[slice, ...]
Load = Callable[[Box], NDArray[Any]]


@runtime_checkable
class Filler(Protocol):
    """A loader that also decodes straight into memory of the caller, and does so from several threads at once."""

    def __call__(self, box: Box, /) -> NDArray[Any]: ...

    def fill(self, box: Box, out: NDArray[Any], /) -> None:
        """Write the pixels of a box into ``out``, which has its shape and the image's dtype and need not be contiguous."""


MEMORY_LIMIT = 4 * 2**30  # bytes that one piece (a TIFF plane, a whole gzipped volume, a box) may take: the budget of the demo

_GREY = "intensity"
_COLOURS = {3: ("red", "green", "blue"), 4: ("red", "green", "blue", "alpha")}


@dataclass(frozen=True, eq=False, kw_only=True)
class Image:
    """One image with what is known of it.

    Parameters
    ----------
    load : callable
        ``load(box)`` returns the pixels of a box whose slices are all explicit, in ``axes`` order. A :class:`Filler` is read in
        parallel, piece by piece; any other loader by one thread, a slab at a time.
    axes : str
        A subset of ``"tczyx"``, in that order, with at least ``y`` and ``x``.
    shape : tuple of int
        Along ``axes``.
    dtype : numpy.dtype
        Native byte order; unsigned or signed integer, float32 or float64.
    spacing : Spacing or None
        Along the spatial axes of ``axes``; None where nobody said.
    channels : tuple of Channel
        As many as the ``c`` axis is long (one when there is none).
    affine : array (4, 4) or None
        From voxel index (x, y, z, 1) to world coordinates in mm, right-anterior-superior.
    acquisition : mapping
        JSON values from an allow-list; never patient data or free text.
    source : str
        Display name of where it came from.
    hash : callable
        Returns the SHA-256 of the source's bytes.
    problems : tuple of Problem
        What was noticed and is no reason to refuse.
    memory_limit : int
        Largest box in bytes that :meth:`read` hands out.
    """

    load: Load
    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    spacing: Spacing | None
    channels: tuple[Channel, ...]
    source: str
    hash: Callable[[], Digest]
    affine: NDArray[np.float64] | None = None
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    memory_limit: int = MEMORY_LIMIT

    def __post_init__(self) -> None:
        check_axes(self.axes, self.source)
        if len(self.axes) != len(self.shape):
            raise refuse(self.source, "axes", f"Axes {self.axes!r} name {len(self.axes)} dimensions; the array has shape {self.shape}.")
        if min(self.shape) < 1:
            raise refuse(self.source, "empty-image", f"Every axis must have at least one sample; the shape is {self.shape}.")
        if self.spacing is not None and len(self.spacing.values) != len(self.spatial):
            raise refuse(self.source, "spacing", f"One spacing for each of the axes {self.spatial!r} is needed; got {self.spacing.values}.")
        if len(self.channels) != self.channel_count:
            raise refuse(self.source, "channel-count", f"{self.channel_count} channel(s) need as many names; got {self.channel_names}.")

    @property
    def spatial(self) -> str:
        """The spatial axes, in order."""
        return "".join(a for a in self.axes if a in SPATIAL)

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return tuple(n for a, n in zip(self.axes, self.shape, strict=True) if a in SPATIAL)

    @property
    def channel_count(self) -> int:
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    @property
    def channel_names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.channels)

    @property
    def nbytes(self) -> int:
        """Size of the whole array in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize

    @cached_property
    def sha256(self) -> Digest:
        """SHA-256 of the source's bytes, computed when first asked for."""
        return self.hash()

    def read(self, box: Box | None = None) -> NDArray[Any]:
        """Return the pixels of a box (everything by default), C-contiguous, in the image's axes and dtype; not to be written to.

        Raises
        ------
        InputError
            Kinds ``not-finite``, ``too-large``, ``truncated``, ``corrupt``: what was declared cannot be had.
        """
        whole = self._explicit(box)
        shape = tuple(s.stop - s.start for s in whole)
        size = math.prod(shape) * self.dtype.itemsize
        if size > self.memory_limit:
            raise too_large(self.source, shape, size, self.memory_limit)
        if not size:  # nothing is asked for, and loaders need not know how to give it
            return np.empty(shape, self.dtype)
        pixels = np.ascontiguousarray(self.load(whole), dtype=self.dtype)
        if pixels.shape != shape:
            raise refuse(self.source, "truncated", f"The file declares {shape} samples here and gives {pixels.shape}.")
        self._refuse_not_finite(pixels, whole)
        return pixels

    @property
    def parallel(self) -> bool:
        """Whether :meth:`fill` may be called from several threads at once and costs no more in small pieces."""
        return isinstance(self.load, Filler)

    def fill(self, box: Box, out: NDArray[Any]) -> None:
        """Read a box into ``out``, which has its shape and the image's dtype; errors as of :meth:`read`."""
        if not isinstance(self.load, Filler):
            out[...] = self.read(box)
            return
        whole = self._explicit(box)
        self.load.fill(whole, out)
        self._refuse_not_finite(out, whole)

    def with_problems(self, *problems: Problem) -> "Image":
        """Return the image with more noticed."""
        return replace(self, problems=(*self.problems, *problems))

    def recorded(self, step: Mapping[str, Any]) -> dict[str, Any]:
        """Return the acquisition with one more preparation step on record."""
        return dict(self.acquisition) | {"preparation": [*self.acquisition.get("preparation", []), dict(step)]}

    def _explicit(self, box: Box | None) -> Box:
        if box is None:
            return tuple(slice(0, n) for n in self.shape)
        if len(box) != len(self.shape) or any(s.step not in (None, 1) for s in box):
            raise ValueError(f"A box is one slice of step 1 for each of {self.axes!r}; got {box}.")
        ranges = [s.indices(n) for s, n in zip(box, self.shape, strict=True)]
        return tuple(slice(start, max(start, stop)) for start, stop, _ in ranges)

    def _refuse_not_finite(self, pixels: NDArray[Any], box: Box) -> None:
        # One sum is NaN or infinite whenever a term is; the slow look for the place happens only then (or on an overflowing sum).
        if pixels.dtype.kind != "f":
            return
        with np.errstate(invalid="ignore", over="ignore"):
            if np.isfinite(np.sum(pixels, dtype=np.float64)):
                return
        bad = ~np.isfinite(pixels)
        count = int(np.count_nonzero(bad))
        if count:
            first = np.unravel_index(int(np.argmax(bad)), bad.shape)
            place = ", ".join(f"{a}={int(i) + s.start}" for a, i, s in zip(self.axes, first, box, strict=True))
            message = (
                f"Every pixel must be a finite number; {count} of the {pixels.size} read are NaN or infinite, the first at {place}. "
                "Repair them or leave the file out."
            )
            raise refuse(self.source, "not-finite", message)

    @classmethod
    def from_array(
        cls,
        array: NDArray[Any],
        axes: str,
        spacing: Spacing | None,
        channels: tuple[Channel | str, ...] = (),
        affine: NDArray[np.float64] | None = None,
        acquisition: Mapping[str, Any] | None = None,
        source: str = "array",
    ) -> "Image":
        """Wrap an array that Python hands over.

        Parameters
        ----------
        array : array
            Any real dtype; ``axes`` may name its dimensions in any order (``"yxc"`` is fine).
        axes : str
            One letter of ``tczyx`` a dimension.
        spacing : Spacing or None
            Along the spatial axes in z, y, x order.
        channels, affine, acquisition, source
            As in :class:`Image`; channel names are made up where none are given.

        Raises
        ------
        InputError
            Kinds ``axes``, ``complex``, ``dtype``, ``empty-image``, ``spacing``, ``channel-count``.
        """
        array = np.asarray(array)
        if len(axes) != array.ndim:
            raise refuse(source, "axes", f"Axes {axes!r} name {len(axes)} dimensions; the array has shape {array.shape}.")
        dtype = accepted_dtype(array.dtype, source)
        ordered = "".join(a for a in AXES if a in axes)
        if sorted(ordered) != sorted(axes):
            raise refuse(source, "axes", f"Axes must be different letters of {AXES!r}; got {axes!r}.")
        pixels = array.transpose([axes.index(a) for a in ordered])
        named = tuple(c if isinstance(c, Channel) else Channel(c) for c in channels)
        return cls(
            load=lambda box: pixels[box],
            axes=ordered,
            shape=pixels.shape,
            dtype=dtype,
            spacing=spacing,
            channels=named or default_channels(array.shape[axes.index("c")] if "c" in axes else 1),
            affine=affine,
            acquisition=acquisition or {},
            source=source,
            hash=lambda: digest_array(pixels),
        )


def check_axes(axes: str, where: str) -> None:
    """Raise unless ``axes`` is a subset of ``tczyx`` in that order that ends in ``yx``."""
    if axes != "".join(a for a in AXES if a in axes) or not axes.endswith("yx"):
        raise refuse(where, "axes", f"Axes must be letters of {AXES!r} in that order, with y and x; got {axes!r}.")


def accepted_dtype(dtype: np.dtype[Any], where: str) -> np.dtype[Any]:
    """Return the native dtype in which pixels of ``dtype`` are kept exactly.

    Raises
    ------
    InputError
        Kind ``complex`` or ``dtype``, for numbers that an image cannot hold.
    """
    match dtype.kind, dtype.itemsize:
        case ("u" | "i", _) | ("f", 4 | 8):
            return dtype.newbyteorder("=")
        case ("b", _):
            return np.dtype(np.uint8)
        case ("f", 2):
            return np.dtype(np.float32)
        case ("c", _):
            raise refuse(where, "complex", f"Pixels must be real numbers; these are {dtype}. Save magnitude and phase as two images.")
        case _:
            raise refuse(where, "dtype", f"Pixels must be integers or floating-point numbers; these are {dtype}. Convert them.")


def default_channels(count: int, *, colour: bool = False) -> tuple[Channel, ...]:
    """Return names for channels that have none; ``colour`` says that three or four of them are red, green, blue (and alpha)."""
    if colour and count in _COLOURS:
        return tuple(Channel(name) for name in _COLOURS[count])
    return (Channel(_GREY),) if count == 1 else tuple(Channel(f"channel-{i}") for i in range(count))


def too_large(where: str, shape: tuple[int, ...], size: int, limit: int) -> Exception:
    """Return the error for a piece that would not fit into memory."""
    message = (
        f"A piece of shape {shape} takes {size / 2**30:.1f} GiB at once; the limit is {limit / 2**30:.1f} GiB. If the image is really that "
        "large, split it or save it plane by plane; if not, the header is wrong."
    )
    return refuse(where, "too-large", message)


def digest_array(array: NDArray[Any]) -> Digest:
    """Return the SHA-256 of an array's dtype, shape and values (C order, little-endian)."""
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    head = f"{plain.dtype.str}{plain.shape}".encode()
    return "sha256:" + hashlib.sha256(head + plain.tobytes()).hexdigest()
