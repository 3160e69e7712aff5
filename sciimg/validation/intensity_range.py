"""The width of the intensity scale on which two images are compared.

A default of 65535 makes any 8- or 12-bit pair look perfect, so the range is given, or read off the acquisition, or the true bit depth of
the reference; a floating-point image has none, and is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.outcome import LARGEST, UndefinedError

# What readers call the number of bits that a detector fills: DICOM (0028,0101) Bits Stored, OME Pixels/@SignificantBits.
BIT_KEYS = ("BitsStored", "significant_bits")
SMALLEST = 1 / LARGEST
DEPTHS = (8, 10, 12, 14, 16)  # of the analogue-digital converters in use


@dataclass(frozen=True, slots=True)
class DataRange:
    """The range and where it comes from, for the record."""

    value: float
    origin: str


def data_range_of(reference: PatchSet, test: PatchSet, given: float | None) -> DataRange:
    """Return the data range by the first rule that applies: given, metadata of the reference, true bit depth of the reference.

    Metadata count where they say less than the container holds: many writers declare 16 bits for any 16-bit file. The true bit depth is the
    smallest usual one that holds every pixel of the reference, unless that is constant; 8-bit files are 8 bits deep whatever they hold.

    Raises
    ------
    UndefinedError
        If no rule applies, or if the test needs two bits more than the reference: it is on another scale. One bit more may be overshoot.
    """
    if given is not None:
        if not SMALLEST <= given <= LARGEST:
            raise UndefinedError(f"data_range must be a number above 0 (from {SMALLEST:g} to {LARGEST:g}); got {given}")
        return DataRange(float(given), "given")
    if reference.images.dtype != test.images.dtype:
        raise UndefinedError(
            f"the reference is {reference.images.dtype}, the test {test.images.dtype}: give data_range, in the unit that both share"
        )
    bits = _declared_bits(reference.attributes)
    if bits is not None and reference.images.dtype.kind in "ui" and bits < 8 * reference.images.dtype.itemsize:
        found = DataRange(2.0**bits - 1, f"{bits} bits, from the reference's metadata")
    else:
        found = _true_depth(reference.images)
    top = int(test.images.max(initial=0))
    if top > 2 * found.value + 1:
        raise UndefinedError(
            f"the reference's scale ends at {found.value:g} ({found.origin}), the test goes up to {top}: two scales. Bring them to one, "
            "or give data_range (--data-range)"
        )
    return found


def _declared_bits(attributes: Mapping[str, Any]) -> int | None:
    found = (attributes.get(key) for key in BIT_KEYS)
    return next((int(bits) for bits in found if isinstance(bits, (int, float)) and 1 <= bits <= 32), None)


def depth_of(images: NDArray[Any]) -> int | None:
    """Return the smallest usual depth, in bits, that holds every pixel of 16-bit images; None where it cannot be told."""
    if images.dtype.kind != "u" or images.dtype.itemsize != 2 or images.max() == images.min():
        return None
    return next(bits for bits in DEPTHS if images.max() < 2**bits)


def _true_depth(images: NDArray[Any]) -> DataRange:
    dtype = images.dtype
    if dtype == np.uint8:
        return DataRange(255.0, "8-bit files")
    if dtype.kind == "u" and dtype.itemsize == 2:
        top, bits = int(images.max()), depth_of(images)
        if bits is None:
            raise UndefinedError(
                f"the reference is {top} everywhere, which does not tell how many bits its detector fills: give data_range"
            )
        return DataRange(2.0**bits - 1, f"{bits} bits: the smallest usual depth that holds the reference's largest pixel, {top}")
    raise UndefinedError(f"{dtype} images do not say how wide their intensity scale is: give data_range")
