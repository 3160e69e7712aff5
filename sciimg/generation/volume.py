"""Images and volumes larger than memory, straight into a collection.

A field of points is drawn in overlapping windows that the solver treats as one (:mod:`sciimg.generation.fusion`), decoded in the same
windows, and written as a sharded OME-Zarr image with its pyramid. Memory holds a few windows and one slab of the writer; the field itself
is beside the collection, in ``.NAME.field``, and an interrupted call is taken up there.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.conditioning.encoder import encode_condition
from sciimg.augmenters.device import require_cpu
from sciimg.augmenters.grid_noise import GridNoise
from sciimg.augmenters.model_file import ModelCard, model_digest
from sciimg.augmenters.system import Condition
from sciimg.errors import InputError, Problem
from sciimg.files import checksum
from sciimg.generation.fusion import Fields, OneTask, SpreadFields, Step, TaskDoneError, check_fields, draw_points
from sciimg.generation.generate import loaded
from sciimg.generation.request import values_of
from sciimg.generation.windows import Box, Index, covering
from sciimg.io.image import Image
from sciimg.records import Digest, Lineage, digest_of
from sciimg.store import Collection, CollectionWriter
from sciimg.store.apart import Made
from sciimg.store.volume import Volume
from sciimg.types import Channel, Spacing
from sciimg.workers import HERE, Workers


@dataclass(frozen=True)
class Asked:
    """What one large image is asked for.

    Parameters
    ----------
    values : mapping of str to value or (value, value)
        Scalars and classes; of a pair of numbers, a scalar goes evenly from one to the other along the last axis.
    labels : Volume, optional
        Whose label image is the mask; read box by box, its border repeated where it ends.
    group : str
    """

    values: dict[str, Any]
    labels: Volume | None
    group: str


def generate_volumes(
    model: Path,
    out: Path,
    asked: Sequence[Asked],
    shape: tuple[int, ...],
    *,
    seed: int,
    study: Digest | None,
    sampler: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    threads: int = 1,
    workers: Workers = HERE,
    progress: Callable[[str], None] | None = None,
) -> int:
    """Draw one image of ``shape`` for each of ``asked`` and write them as a synthetic collection; return how many.

    Parameters
    ----------
    model, out : Path
    asked : sequence of Asked
    shape : tuple of int
        ([Z,] Y, X); of any size.
    seed, study, sampler, steps, guidance
        As in :func:`sciimg.generation.generate.generate`.
    threads : int
        Windows computed at the same time in one process; changes no byte.
    workers : Workers
        Where they are computed; changes no byte.

    Raises
    ------
    InputError
        Kinds ``no-device``, ``shape``, ``no-mask``, ``mismatched-mask``, ``no-volumes``, ``no-overlap``, and those of the model's
        conditions.
    """
    require_cpu("--shape")
    digest = model_digest(model)
    augmenter = loaded(model, digest, "cpu")
    check_fields(augmenter)
    large = [_Large(model, digest, one, shape, sampler, steps, guidance) for one in asked]
    settings, name = large[0].settings if large else augmenter.sampler(sampler, steps, guidance), augmenter.card.recipe.name
    key = (study or "no study", "generate", augmenter.digest, str(seed))
    scratch = out.with_name(f".{out.name}.field")
    with CollectionWriter(out, synthetic=True, study=study) as writer:
        for index, one in enumerate(large):
            id = f"{name}-{index:06d}"
            if writer.has(id):
                continue
            lineage = Lineage(
                study=study,
                model=augmenter.digest,
                recipe=name,
                sampler=f"{settings.name}, guidance {settings.guidance:g}, windows {'x'.join(map(str, augmenter.card.shape[1:]))}",
                steps=settings.steps,
                seed=seed,
                index=index,
                condition={k: list(v) if isinstance(v, tuple) else v for k, v in one.asked.values.items()},
            )
            mask = one.asked.labels
            identity = digest_of({"lineage": lineage.as_json(), "shape": list(shape), "mask": None if mask is None else mask.digest})
            folder, noise = _begun(scratch, identity), (*key, index)
            fields = Fields(folder, threads, progress)
            if workers.several:
                fields = SpreadFields(folder, workers, partial(_one_task, one, noise, folder, identity), progress)
            image = one.drawn(noise, fields, identity)
            writer.add(
                id,
                image,
                group=one.asked.group,
                conditions={k: v for k, v in one.asked.values.items() if not isinstance(v, tuple)},
                labels=None if mask is None else _label_image(mask, shape),
                label_kind=None if mask is None else augmenter.card.label_kind,
                lineage=lineage,
            )
        shutil.rmtree(scratch, ignore_errors=True)
    return len(large)


def _begun(folder: Path, identity: Digest) -> Path:
    """Keep what is there for the same image alone."""
    mark = folder / "identity"
    if not (mark.exists() and mark.read_text() == identity):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.write_text(identity)
    return folder


class _Large:
    """One large image that a model draws. To a worker goes what it is made from."""

    def __init__(
        self,
        model: Path,
        digest: Digest,
        asked: Asked,
        shape: tuple[int, ...],
        sampler: str | None,
        steps: int | None,
        guidance: float | None,
    ) -> None:
        self._made_from = (model, digest, asked, shape, sampler, steps, guidance)
        self.augmenter = augmenter = loaded(model, digest, "cpu")
        self.asked, self.shape, self.settings = asked, shape, augmenter.sampler(sampler, steps, guidance)
        self._check()
        card, system = augmenter.card, augmenter.system
        self.channels, *grid = system.space.shape(system.padded_shape)
        padded, own = system.padded_shape[1:], card.shape[1:]
        self.factor = tuple(image // point for image, point in zip(padded, grid, strict=True))
        before = [(new - old) // 2 for new, old in zip(padded, own, strict=True)]
        first = [-(-pad // f) for pad, f in zip(before, self.factor, strict=True)]
        usable = [(pad + n) // f - lead for pad, n, f, lead in zip(before, own, self.factor, first, strict=True)]
        wanted = [-(-n // f) for n, f in zip(shape, self.factor, strict=True)]
        self.points = covering(wanted, grid, first, usable, _alignment(augmenter, tuple(grid)))
        self.pixels = self.points.scaled(self.factor)

    def __reduce__(self) -> tuple[type["_Large"], tuple[Any, ...]]:
        return _Large, self._made_from

    def drawn(self, key: tuple[str | int, ...], fields: Fields, digest: Digest) -> Image:
        """Draw, and return the image as it lies on disk in cells."""
        system, card, field = self.augmenter.system, self.augmenter.card, GridNoise(key)
        pixels = self.pixels
        points = draw_points(system.process, self._told, field, self.channels, self.points, self.settings, fields)

        def decoded(chunk: Sequence[Index]) -> Tensor:
            seen = torch.stack([fields.read(points, self.points, self.points.window(index))[-1] for index in chunk])
            return system.space.fields(seen, self._told(chunk))

        def finished(index: Index, blended: Tensor) -> Tensor:
            box, calls = pixels.cell(index), iter(range(1_000))

            def white(channels: int, halo: Sequence[int]) -> Tensor:
                start = [b.start - h for b, h in zip(box, halo, strict=True)]
                size = [b.stop - b.start + 2 * h for b, h in zip(box, halo, strict=True)]
                return field.under("texture", next(calls)).box(channels, start, size)[None]

            images = system.space.finish(blended[None].float(), white)
            return torch.from_numpy(card.intensity.inverse(images.numpy())[0])

        fields.make("image", pixels, decoded, finished, replaces=points)

        def load(box: Box) -> NDArray[Any]:
            places = tuple(slice(b.start + lead, b.stop + lead) for b, lead in zip(box[1:], pixels.first, strict=True))
            return np.asarray(fields.read("image", pixels, places).numpy()[box[0]])

        return Image(
            load=load,
            axes="czyx" if self.augmenter.dims == 3 else "cyx",
            shape=(card.shape[0], *self.shape),
            dtype=np.dtype(card.intensity.dtype),
            spacing=Spacing(card.spacing[-len(self.shape) :], card.unit),
            channels=tuple(Channel(c.name) for c in card.intensity.channels),
            acquisition=card.attributes,
            source=f"{card.recipe.name} sample",
            hash=lambda: digest,
        )

    def _told(self, chunk: Sequence[Index]) -> Condition:
        """Return the conditions of windows, on the grid of the padded images."""
        boxes = [self.pixels.window(index) for index in chunk]
        places = [tuple(slice(b.start - lead, b.stop - lead) for b, lead in zip(box, self.pixels.first, strict=True)) for box in boxes]
        table = pd.DataFrame([{name: self._value(value, place) for name, value in self.asked.values.items()} for place in places])
        table = table if len(table.columns) else pd.DataFrame(index=range(len(chunk)))
        mask = self.asked.labels
        labels = None if mask is None else np.stack([_labels_at(mask, place, self.shape) for place in places])
        return encode_condition(self.augmenter.conditions, labels, table, self.pixels.size)

    def _value(self, value: Any, place: Box) -> Any:
        if not isinstance(value, tuple):
            return value
        middle = 0.5 * (place[-1].start + place[-1].stop - 1)
        share = min(max(middle / max(1, self.shape[-1] - 1), 0.0), 1.0)
        return value[0] + share * (value[1] - value[0])

    def _check(self) -> None:
        card, problems = self.augmenter.card, []
        _check_axes(card, self.shape)
        if card.conditions.image is not None:
            problems.append(
                Problem("--shape", "no-volumes", "A model that turns images into others works patch by patch; leave out --shape.")
            )
        mask = self.asked.labels
        if mask is not None and mask.spatial_shape != self.shape:
            message = f"The mask must be as large as the image, {self.shape}; it has {mask.spatial_shape}. Choose --shape by the mask."
            problems.append(Problem("--mask", "mismatched-mask", message))
        if problems:
            raise InputError(problems)
        table = pd.DataFrame([{k: v[end] if isinstance(v, tuple) else v for k, v in self.asked.values.items()} for end in (0, 1)])
        highest = None if mask is None else np.array([mask.label_max], np.int32)
        card.conditions.check(highest, table)


def _one_task(
    large: _Large, key: tuple[str | int, ...], folder: Path, digest: Digest, name: str, step: Step, chunk: list[Index]
) -> Made[list[Index]]:
    """Do one task of the drawing of a large image, on a worker."""
    fields = OneTask(folder, name, step, chunk)
    with suppress(TaskDoneError):
        large.drawn(key, fields, digest)
    return chunk, [(place, checksum(place)) for place in fields.places]


def _alignment(augmenter: Augmenter, grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return by how many points windows may be moved: noise on coarser grids must meet."""
    shapes = getattr(getattr(augmenter.system.process, "generator", None), "noise_shapes", None)
    coarsest = [s[1:] for s in shapes(grid) if len(s) > 1] if shapes else []
    return tuple(math.lcm(*(size // max(1, own[axis]) for own in coarsest)) if coarsest else 1 for axis, size in enumerate(grid))


def _labels_at(volume: Volume, place: Box, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Read labels of a box that may reach over the border, which is repeated."""
    inside = tuple(
        slice(min(max(p.start, 0), n - 1), max(min(p.stop, n), min(max(p.start, 0), n - 1) + 1)) for p, n in zip(place, shape, strict=True)
    )
    labels = volume.read_labels(inside)
    assert labels is not None
    for axis, (p, n) in enumerate(zip(place, inside, strict=True)):
        at = np.clip(np.arange(p.start, p.stop), n.start, n.stop - 1) - n.start
        labels = labels.take(at, axis)
    return labels


def _label_image(volume: Volume, shape: tuple[int, ...]) -> Image:
    def load(box: Box) -> NDArray[Any]:
        labels = volume.read_labels(box)
        assert labels is not None
        return labels

    return Image(
        load=load,
        axes="zyx"[-len(shape) :],
        shape=shape,
        dtype=np.dtype(np.int32),
        spacing=volume.spacing,
        channels=(Channel("mask"),),
        source=volume.path.name,
        hash=lambda: volume.digest or volume.measured_digest(),
    )


def asked_by_hand(card: ModelCard, count: int, fixed: Sequence[str], masks: Path | None, shape: tuple[int, ...], seed: int) -> list[Asked]:
    """Return what ``count`` large images are asked for; masks of a collection, as large as the images, are taken in turn.

    Parameters
    ----------
    fixed : sequence of str
        ``NAME=VALUE``, or ``NAME=A..B`` for a scalar that goes from A to B along the last axis.

    Raises
    ------
    InputError
        Kind ``shape``: as many axes as the model's images have; ``no-mask``: no image of the collection has labels of this shape; and those
        of a bad condition.
    """
    _check_axes(card, shape)
    columns, problems = values_of(card, count, fixed, seed, along=True)
    if card.conditions.mask is not None and masks is None:
        message = "The model is conditioned on a mask. Give a collection with labels: --mask COLLECTION."
        problems.append(Problem("--mask", "no-mask", message))
    if problems:
        raise InputError(problems)
    values = [{k: _plain(v if isinstance(v, tuple | str | float) else v[i]) for k, v in columns.items()} for i in range(count)]
    if masks is None or card.conditions.mask is None:
        return [Asked(own, None, f"sample-{i}") for i, own in enumerate(values)]
    collection = Collection(masks)
    table = collection.columns("id", "group")
    rows = zip(table["id"].astype(str), table["group"].astype(str), strict=True)
    fit = [(collection.volume(id), group) for id, group in rows if collection.volume(id).label_kind is not None]
    fit = [(volume, group) for volume, group in fit if volume.spatial_shape == shape]
    if not fit:
        message = f"No image of this collection has labels of shape {shape}. Choose --shape by the masks, or ingest masks of that shape."
        raise InputError(Problem(str(masks), "no-mask", message))
    return [Asked(own, *fit[i % len(fit)]) for i, own in enumerate(values)]


def _check_axes(card: ModelCard, shape: tuple[int, ...]) -> None:
    dims = len(card.shape) - 1
    if len(shape) != dims or min(shape) < 1:
        message = f"The model makes images of {dims} dimensions; --shape needs as many sizes above 0, got {shape}."
        raise InputError(Problem("--shape", "shape", message))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
