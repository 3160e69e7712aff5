"""What a metric says when there is no number: a reason."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.io.spacing import AGREE, convert
from sciimg.records import Metric, Shortage
from sciimg.types import PatchSet, Spacing

LARGEST = 1e30  # intensities beyond are no detector's, and their powers leave the range of floats


class UndefinedError(Exception):
    """A quantity that does not exist for these data; the text says why, in words for the report."""

    @property
    def reason(self) -> str:
        """The text as it was given: one that is :class:`sciimg.records.TooFew` says how many are needed."""
        return self.args[0] if self.args and isinstance(self.args[0], str) else str(self)


def measured(name: str, compute: Callable[[], Metric], **fields: Any) -> Metric:
    """Return the metric that ``compute`` makes, or the undefined outcome with the reason it raised."""
    try:
        return compute()
    except UndefinedError as error:
        return Metric.undefined(name, error.reason, **fields)


def shared_shortage(blank: Sequence[Metric | None]) -> Shortage | None:
    """Return the largest shortage of metrics that are undefined for want of data; None where one of them is so for another reason."""
    found = [None if m is None else m.shortage for m in blank]
    known = [s for s in found if s is not None]
    return max(known, key=lambda s: s.needed - s.found) if known and len(known) == len(found) else None


def faults_of(patches: PatchSet, what: str, *, constant: bool = False) -> str:
    """Return why a set of images cannot be measured at all (empty, NaN, beyond all scales, constant unless allowed), or ``""``."""
    if len(patches) == 0:
        return f"no {what} images"
    if patches.images.dtype.kind == "f":
        if bad := _not_finite(patches.images):
            return f"{bad} of {len(patches)} {what} images hold NaN or infinity"
        if max(patches.images.max(), -patches.images.min()) > LARGEST:
            return f"{what} images hold intensities beyond {LARGEST:g}: no detector gives such, and their squares are no numbers"
    if not constant and patches.images.min() == patches.images.max():
        return f"all {what} images are constant: every pixel is {patches.images.flat[0]}"
    return ""


def mismatch(first: PatchSet, second: PatchSet, names: tuple[str, str]) -> str:
    """Return why two sets cannot be compared (channels, shape, dtype, size of the pixels), or ``""``."""
    if first.images.shape[1:] != second.images.shape[1:]:
        return f"{names[1]} images have (channels, shape) {second.images.shape[1:]}, {names[0]} ones {first.images.shape[1:]}"
    if first.images.dtype != second.images.dtype:
        return (
            f"{names[1]} images are {second.images.dtype}, {names[0]} ones {first.images.dtype}: nothing says that they share an "
            "intensity scale; save both in one dtype"
        )
    if spacings_differ(first.spacing, second.spacing):
        return (
            f"{names[1]} images have pixels of {said(second.spacing)}, {names[0]} ones of {said(first.spacing)}: one object has two sizes"
        )
    return ""


def spacings_differ(first: Spacing, second: Spacing) -> bool:
    """Whether two sets say different sizes of their pixels; one that knows none (unit ``pixel``) contradicts no physical one."""
    if (first.unit == "pixel") != (second.unit == "pixel"):
        return False
    pairs = zip(reversed(first.values), reversed(second.values), strict=False)  # planes of volumes have the axes that come last
    return any(abs(convert(b, second.unit, first.unit) / a - 1) > AGREE for a, b in pairs)


def said(spacing: Spacing) -> str:
    """Return a spacing in words, e.g. ``"0.5 x 0.1 x 0.1 micrometer"``."""
    return f"{' x '.join(f'{v:g}' for v in spacing.values)} {spacing.unit}"


def _not_finite(images: NDArray[Any]) -> int:
    return sum(not np.isfinite(image).all() for image in images)
