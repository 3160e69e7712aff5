"""The few plain shapes of data that rooms hand to one another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd  # named, never needed to run

AXES = "tczyx"  # the only order in which arrays travel; an image has a subset of these
SPATIAL = "zyx"

Unit = Literal["nanometer", "micrometer", "millimeter", "pixel"]
LabelKind = Literal["instances", "classes"]
Part = Literal["train", "calibration", "holdout"]
PARTS: tuple[Part, ...] = ("train", "calibration", "holdout")


@dataclass(frozen=True, slots=True)
class Spacing:
    """Distance between neighbouring samples along each spatial axis an image has, in z, y, x order."""

    values: tuple[float, ...]
    unit: Unit

    def __post_init__(self) -> None:
        if not self.values or not all(np.isfinite(v) and v > 0 for v in self.values):
            raise ValueError(f"Spacing must be > 0 on every axis; got {self.values}.")


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: its name and, where known, its emission wavelength."""

    name: str
    wavelength_nm: float | None = None


@dataclass(frozen=True, slots=True)
class PatchSet:
    """Images of one shape with what is known of each: the currency of training data and of judges.

    Parameters
    ----------
    images : array, shape (N, C, [Z,] Y, X)
        Intensities in the units of the collection (not normalised).
    labels : array of int32, shape (N, [Z,] Y, X), or None
        Object numbers (``label_kind='instances'``) or class numbers; 0 is background.
    groups : array of str, shape (N,)
        The independent unit (subject, field, block) of each image; statistics resample these.
    table : DataFrame with N rows
        Condition columns, and ``image`` and ``origin`` (JSON list) where the patch has a place in a real image.
    spacing, channels, label_kind
        As in the collection.
    """

    images: NDArray[Any]
    labels: NDArray[np.int32] | None
    groups: NDArray[Any]
    table: "pd.DataFrame"
    spacing: Spacing
    channels: tuple[str, ...]
    label_kind: LabelKind | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.images)
        if len(self.groups) != n or len(self.table) != n or (self.labels is not None and len(self.labels) != n):
            raise ValueError("images, labels, groups and table must have the same length.")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def dims(self) -> int:
        """Number of spatial dimensions, 2 or 3."""
        return self.images.ndim - 2

    def take(self, index: NDArray[Any] | list[int]) -> "PatchSet":
        """Return the chosen rows, in the order given."""
        rows = np.asarray(index) if len(index) else np.empty(0, dtype=np.intp)  # an empty list has no integer type of its own
        return PatchSet(
            self.images[rows],
            None if self.labels is None else self.labels[rows],
            self.groups[rows],
            self.table.iloc[rows].reset_index(drop=True),
            self.spacing,
            self.channels,
            self.label_kind,
            self.attributes,
        )
