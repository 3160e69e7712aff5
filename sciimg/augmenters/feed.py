"""Training data as batches: patches drawn by (key, phase, step), transformed by a recorded symmetry, normalised, padded."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sciimg.augmenters.conditioning.encoder import encode_condition
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.conditioning.symmetry import Element, labels_of
from sciimg.augmenters.formation.formation import Formation
from sciimg.augmenters.intensity import IntensityScale
from sciimg.augmenters.system import Batch, Condition, System
from sciimg.randomness import generator, seed_of
from sciimg.types import PatchSet

Key = tuple[str | int, ...]


class Drawn(Protocol):
    """What batches are made of: random patches by key and index."""

    def draw(self, seed_key: Key, indices: Sequence[int]) -> PatchSet: ...


class Patches(Drawn, Protocol):
    """What training needs of a :class:`sciimg.patches.source.PatchSource`."""

    @property
    def patch_shape(self) -> tuple[int, ...]: ...

    @property
    def classes(self) -> int: ...

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None) -> PatchSet: ...


class Feed:
    """Batches of one source for one system.

    Parameters
    ----------
    source : Drawn
    schema : ConditionSchema
    scale : IntensityScale
    system : System
        Knows the padded shape.
    elements : tuple of Element
        Symmetries to draw from; the identity is the first.
    told : bool
        Whether the network is told which one was drawn.
    key : tuple of str or int
        Every draw depends on it.
    formation : Formation, optional
        What it can compute is taken out of the images, so that networks learn structure alone.
    """

    def __init__(
        self,
        source: Drawn,
        schema: ConditionSchema,
        scale: IntensityScale,
        system: System,
        elements: tuple[Element, ...],
        told: bool,
        key: Key,
        formation: Formation | None = None,
    ) -> None:
        self.source, self.schema, self.scale, self.system = source, schema, scale, system
        self.elements, self.told, self.key, self.formation = elements, told, key, formation

    def batch(self, phase: str, step: int, steps: int, size: int, share: range | None = None) -> Batch:
        """Return the training batch of a step, or a share of it: a function of (key, phase, step) alone."""
        share = range(size) if share is None else share
        patches = self.source.draw((*self.key, phase), range(step * size + share.start, step * size + share.stop))
        chosen = generator(*self.key, phase, "symmetry", step).integers(0, len(self.elements), size)[share.start : share.stop]
        return self._batch(transformed(patches, self.elements, chosen), chosen, self.torch_generator(phase, step), step, steps)

    def fixed(self, patches: PatchSet, size: int) -> Iterator[Batch]:
        """Yield patches as they are, in batches whose generators are the same at every call."""
        for start in range(0, len(patches), size):
            part = patches.take(np.arange(start, min(start + size, len(patches))))
            yield self._batch(part, np.zeros(len(part), np.int64), self.torch_generator("held-out", start), 0, 1)

    def torch_generator(self, *name: str | int) -> torch.Generator:
        return torch.Generator(self.system.device).manual_seed(seed_of(*self.key, *name))

    def _batch(
        self, patches: PatchSet, chosen: "np.ndarray[tuple[int], np.dtype[np.int64]]", noise: torch.Generator, step: int, steps: int
    ) -> Batch:
        made, given = split_channels(patches, self.schema)
        if self.formation is not None:
            made = self.formation.structure(made)
        images = self.system.pad(torch.from_numpy(self.scale.forward(made)))
        told = labels_of(chosen, self.elements, self.told)
        condition: Condition = encode_condition(self.schema, patches.labels, patches.table, patches.images.shape[2:], told, given)
        device = self.system.device
        return Batch(images.to(device, non_blocking=True), self.system.pad_condition(condition).on(device), noise, step, steps)


class Ahead:
    """Batches by step, each made while the one before is learned from: a batch is a function of its step, whoever makes it and when.

    Parameters
    ----------
    make : callable
        ``make(step)`` returns a batch.
    steps : int
        Of the phase; nothing is made beyond.
    """

    def __init__(self, make: Callable[[int], Batch], steps: int) -> None:
        self._make, self._steps = make, steps
        self._next: tuple[int, Future[Batch]] | None = None
        self._maker = ThreadPoolExecutor(1, thread_name_prefix="sciimg-batch")

    def batch(self, step: int) -> Batch:
        """Return the batch of a step; soonest where steps follow one another."""
        number, made = self._next or (-1, None)
        batch = made.result() if made is not None and number == step else self._make(step)
        self._next = (step + 1, self._maker.submit(self._make, step + 1)) if step + 1 < self._steps else None
        return batch

    def close(self) -> None:
        """Make no more."""
        self._maker.shutdown(cancel_futures=True)


def split_channels(patches: PatchSet, schema: ConditionSchema) -> "tuple[NDArray[Any], NDArray[Any] | None]":
    """Return the channels to make, and those that are given (None where no image is a condition)."""
    if schema.image is None:
        return patches.images, None
    given = [patches.channels.index(name) for name in schema.image.channels]
    made = [i for i, name in enumerate(patches.channels) if name not in schema.image.only_given]
    return patches.images[:, made], patches.images[:, given]


def transformed(patches: PatchSet, elements: tuple[Element, ...], chosen: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> PatchSet:
    """Return the patches with one symmetry each; tables and groups stay."""
    if len(elements) == 1:
        return patches
    images = np.stack([elements[k].apply(image) for k, image in zip(chosen, patches.images, strict=True)])
    labels = patches.labels
    if labels is not None:
        labels = np.stack([elements[k].apply(label) for k, label in zip(chosen, labels, strict=True)]).astype(np.int32, copy=False)
    return PatchSet(
        images, labels, patches.groups, patches.table, patches.spacing, patches.channels, patches.label_kind, patches.attributes
    )
