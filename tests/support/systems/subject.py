"""What a conformance row is asked about, and who answers: a trained recipe, or one of the three impostors."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.feed import Patches
from sciimg.augmenters.recipe import Recipe
from sciimg.protocol.data import Condition, ImageCondition
from sciimg.types import PatchSet

Key = tuple[str | int, ...]
COPY = 0.98  # correlation from which a sample counts as a verbatim copy of a training image
FEWEST = 0.5  # share of samples that must not be copies; below it nothing is measured
_REASONS: ContextVar[list[str] | None] = ContextVar("reasons", default=None)


class Answerer(Protocol):
    """Gives images for conditions; ``model`` is None where there is no network."""

    model: Augmenter | None

    def sample(
        self,
        labels: NDArray[np.int32] | None,
        table: pd.DataFrame,
        source: NDArray[Any] | None = None,
        *,
        key: Key = ("conformance",),
        indices: Sequence[int] | None = None,
        **how: Any,
    ) -> NDArray[Any]: ...

    def reconstruct(self, images: NDArray[Any]) -> NDArray[Any] | None: ...


@dataclass(frozen=True)
class Dataset:
    """Real data with the protocol of a patch source, in two parts that share no pixel."""

    train: Patches
    unseen: Patches
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, eq=False)
class Subject:
    """One row: a recipe on real data.

    Parameters
    ----------
    recipe : Recipe
    dims : int
    data : Dataset
    told : PatchSet
        Real and unseen: conditions to ask for, images to compare with.
    training : PatchSet
    trained : Answerer, optional
        The recipe itself, for measures that compare every answerer with a part of it.
    """

    recipe: Recipe
    dims: int
    data: Dataset
    told: PatchSet
    training: PatchSet
    trained: "Answerer | None" = None

    def made_of(self, patches: PatchSet) -> NDArray[Any]:
        """Return the channels that the recipe makes."""
        return patches.images[:, [i for i, name in enumerate(patches.channels) if name not in self.only_given]]

    def given_of(self, patches: PatchSet) -> NDArray[Any] | None:
        """Return the channels that are told to it, or None."""
        return patches.images[:, [patches.channels.index(name) for name in self.given]] if self.given else None

    @property
    def given(self) -> tuple[str, ...]:
        return tuple(name for own in self._sources for name in own.channels)

    @property
    def only_given(self) -> tuple[str, ...]:
        return tuple(name for own in self._sources if not own.made for name in own.channels)

    @property
    def _sources(self) -> list[ImageCondition]:
        return [c for c in self.data.conditions if isinstance(c, ImageCondition) and "image" in self.recipe.conditioning.uses]

    def fresh(self, images: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which images are no verbatim copies of training images, turned or mirrored ones included."""
        training = self.made_of(self.training)
        views = [training] if self.dims == 3 else [np.rot90(v, k, (-2, -1)) for v in (training, training[..., ::-1]) for k in range(4)]
        fit = [view for view in views if view.shape == training.shape]
        return np.asarray(np.max([nearest(images, view) for view in fit], axis=0) < COPY)


Measure = Callable[[Answerer, Subject], float | None]
"""A number for an answerer, or None where it cannot be had. Larger or smaller is better as the recipe's ``reach`` says."""


def missing(why: str) -> None:
    """Return no number, and say why there is none."""
    found = _REASONS.get()
    if found is not None:
        found.append(why)


@contextmanager
def reasons() -> Iterator[list[str]]:
    """Yield a list that :func:`missing` fills while the context lasts."""
    found: list[str] = []
    before = _REASONS.set(found)
    try:
        yield found
    finally:
        _REASONS.reset(before)


def nearest(images: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Return the largest correlation of each image with any of the others."""

    def unit(x: NDArray[Any]) -> NDArray[np.float64]:
        flat = x.reshape(len(x), -1).astype(np.float64)
        flat = flat - flat.mean(1, keepdims=True)
        return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12))

    return np.asarray((unit(images) @ unit(others).T).max(1))


def asked(answerer: Answerer, subject: Subject, told: PatchSet | None = None, **how: Any) -> tuple[NDArray[Any], PatchSet] | None:
    """Return samples for real conditions with copies thrown out, and the real patches they belong to; None where too few are left."""
    told = subject.told if told is None else told
    images = answerer.sample(told.labels, told.table, subject.given_of(told), **how)
    kept = np.flatnonzero(subject.fresh(images))
    if len(kept) < FEWEST * len(images):
        return missing(f"{len(images) - len(kept)} of {len(images)} samples are copies of training images")
    return images[kept], told.take(kept)


# ---------------------------------------------------------------- who answers


class Trained:
    """A model; scalars are clipped to what it has seen, and rows of unseen classes are not its fault."""

    def __init__(self, model: Augmenter) -> None:
        self.model: Augmenter | None = model
        self._model = model

    def sample(
        self,
        labels: NDArray[np.int32] | None,
        table: pd.DataFrame,
        source: NDArray[Any] | None = None,
        *,
        key: Key = ("conformance",),
        indices: Sequence[int] | None = None,
        **how: Any,
    ) -> NDArray[Any]:
        table = table.copy()
        for scalar in self._model.conditions.scalars:
            table[scalar.name] = table[scalar.name].clip(scalar.low, scalar.high)
        labels = labels if self._model.conditions.mask is not None else None
        source = source if self._model.conditions.image is not None else None
        return self._model.sample(labels, table, source, key=key, indices=range(len(table)) if indices is None else indices, **how)

    def reconstruct(self, images: NDArray[Any]) -> NDArray[Any] | None:
        return self._model.reconstruct(images)


class BlurredMean:
    """The mean of the training images, blurred: the best answer of one who never looks at the question."""

    model: Augmenter | None = None

    def __init__(self, training: NDArray[Any]) -> None:
        mean = training.mean(0, dtype=np.float64)
        self._mean = ndimage.gaussian_filter(mean, (0, *(1.0,) * (mean.ndim - 1))).astype(training.dtype)

    def sample(self, labels: Any, table: pd.DataFrame, source: Any = None, **how: Any) -> NDArray[Any]:
        return np.broadcast_to(self._mean, (len(table), *self._mean.shape)).copy()

    def reconstruct(self, images: NDArray[Any]) -> NDArray[Any] | None:
        return np.broadcast_to(self._mean, (len(images), *self._mean.shape)).copy()


class Replay:
    """Training images in their order; asked to reconstruct, the nearest of them."""

    model: Augmenter | None = None

    def __init__(self, training: NDArray[Any]) -> None:
        self._training = training

    def sample(self, labels: Any, table: pd.DataFrame, source: Any = None, **how: Any) -> NDArray[Any]:
        return self._training[np.arange(len(table)) % len(self._training)]

    def reconstruct(self, images: NDArray[Any]) -> NDArray[Any] | None:
        flat = self._training.reshape(len(self._training), -1).astype(np.float64)
        place = [int(np.square(flat - image.reshape(1, -1)).sum(1).argmin()) for image in images.astype(np.float64)]
        return self._training[place]
