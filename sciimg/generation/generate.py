"""Samples of a trained model into a collection; resumed where it stopped."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.augmenters.augmenter import CHUNK, Augmenter
from sciimg.augmenters.device import usable
from sciimg.augmenters.model_file import model_digest
from sciimg.errors import InputError, Problem
from sciimg.files import checksum
from sciimg.generation.conditions import Conditions
from sciimg.io.image import Image
from sciimg.records import Digest, Lineage, digest_bytes, digest_of
from sciimg.store import CollectionWriter
from sciimg.store.apart import Made, held, intact
from sciimg.store.writer import Images
from sciimg.types import Spacing
from sciimg.watermark import embed
from sciimg.workers import HERE, Workers

_ARRAYS = ("labels", "source")  # of conditions: read by workers from files
_BATCH = 8 * CHUNK  # samples between two writes; results do not depend on it


def generate(
    model: Path,
    out: Path,
    conditions: Conditions,
    *,
    seed: int,
    study: Digest | None,
    sampler: str | None = None,
    steps: int | None = None,
    guidance: float | None = None,
    threads: int = 1,
    workers: Workers = HERE,
    about: Sequence[Mapping[str, Any]] | None = None,
    watermark: float | None = None,
    progress: Callable[[str], None] | None = None,
) -> int:
    """Draw one sample a condition and write them as a synthetic collection; return how many.

    Parameters
    ----------
    model : Path
        Model folder.
    out : Path
        The collection to make. What an interrupted call left beside it is taken up.
    conditions : Conditions
        Row ``i`` is the condition of sample ``i``.
    seed : int
        With the study, the model and the sample's number it decides the noise.
    study : Digest or None
    sampler, steps, guidance
        Default: the recipe's.
    threads : int
        Chunks at the same time in one process; does not change results.
    workers : Workers
        Where chunks are drawn; does not change results.
    about : sequence of mapping, optional
        Further catalogue columns of each sample, beside those of the conditions.
    watermark : float, optional
        Size of the mark that each sample gets, in standard deviations of its local noise: :func:`sciimg.watermark.embed`.

    Notes
    -----
    A sample that was made from a source image holds the made channels only; its lineage has the digest of the source's pixels.
    """
    drawer = Drawer(model, model_digest(model), seed, study, sampler, steps, guidance, watermark, str(usable()))
    augmenter = drawer.augmenter
    augmenter.sampler(sampler, steps, guidance)
    asked = replace(conditions, table=_with_captions(augmenter, conditions.table), about=_merged(conditions.about, about))
    count, size = len(asked.table), CHUNK if workers.several else _BATCH
    settings = digest_of([augmenter.digest, seed, sampler, steps, guidance, watermark])
    with CollectionWriter(out, synthetic=True, study=study, settings=settings) as writer:
        batches = (range(start, min(start + size, count)) for start in range(0, count, size))
        wanted = (rows for batch in batches if (rows := [i for i in batch if not writer.has(drawer.id(i))]))
        if not workers.several:
            for rows in wanted:
                drawer.draw(asked.take(rows), rows, writer.add, threads)
                _tell(progress, rows, count)
            return count
        work = writer.work
        folder = _arrays_beside(work, asked)
        tasks = ((rows, replace(asked, labels=None, source=None).take(rows)) for rows in wanted)
        made = workers.map(partial(_drawn_apart, drawer, work, folder), tasks)
        for rows, places in workers.map(intact, made):
            for row, (place, whole) in zip(rows, places, strict=True):
                if whole:
                    writer.adopt(drawer.id(row), place)
            if damaged := [row for row, (_, whole) in zip(rows, places, strict=True) if not whole]:
                drawer.draw(asked.take(damaged), damaged, writer.add, threads)
            _tell(progress, rows, count)
    return count


@dataclass(frozen=True)
class Drawer:
    """All that samples depend on beside their conditions; small enough to be handed to a worker, which loads the model itself.

    Parameters
    ----------
    digest : Digest
        Of the model.
    device : str
        Where its networks run.
    model, seed, study, sampler, steps, guidance, watermark
        As of :func:`generate`.
    """

    model: Path
    digest: Digest
    seed: int
    study: Digest | None
    sampler: str | None
    steps: int | None
    guidance: float | None
    watermark: float | None
    device: str

    @property
    def augmenter(self) -> Augmenter:
        return loaded(self.model, self.digest, self.device)

    def id(self, index: int) -> str:
        return f"{self.augmenter.card.recipe.name}-{index:06d}"

    def draw(self, asked: Conditions, rows: Sequence[int], add: Callable[..., object], threads: int = 1) -> None:
        """Draw the samples of these numbers, one a row of the conditions, and ``add`` them to a collection."""
        augmenter = self.augmenter
        how: dict[str, Any] = {"sampler": self.sampler, "steps": self.steps, "guidance": self.guidance}
        settings = augmenter.sampler(self.sampler, self.steps, self.guidance)
        name, image, labels = augmenter.card.recipe.name, augmenter.conditions.image, asked.labels
        key = (self.study or "no study", "generate", augmenter.digest, str(self.seed))
        images = augmenter.sample(labels, asked.table, asked.source, key=key, indices=rows, workers=threads, **how)
        for place, row in enumerate(rows):
            told = {str(k): _plain(v) for k, v in asked.table.iloc[place].items()}
            given = {} if image is None or asked.source is None else {image.name: _digest(asked.source[place])}
            lineage = Lineage(
                study=self.study,
                model=augmenter.digest,
                recipe=name,
                sampler=f"{settings.name}, guidance {settings.guidance:g}",
                steps=settings.steps,
                seed=self.seed,
                index=row,
                condition=told | given,
            )
            pixels = images[place] if self.watermark is None else embed(images[place], str(self.study), self.id(row), self.watermark)
            add(
                self.id(row),
                as_image(augmenter, pixels, f"{name} sample {row}"),
                group=asked.groups[place],
                conditions=told,
                labels=None if labels is None else labels[place],
                label_kind=augmenter.card.label_kind if labels is not None else None,
                lineage=lineage,
                extra=dict(asked.about[place]) if asked.about else {},
            )


@lru_cache(maxsize=1)
def loaded(model: Path, digest: Digest, device: str) -> Augmenter:
    """Return a model, kept for the next task.

    Raises
    ------
    InputError
        Kind ``other-model``: the folder holds another one.
    """
    augmenter = Augmenter.load(model, device)
    if augmenter.digest != digest:
        message = f"Every worker must see the model {digest}; here it is {augmenter.digest}. Use a folder that all machines share."
        raise InputError(Problem(str(model), "other-model", message))
    return augmenter


def _drawn_apart(drawer: Drawer, work: Images, folder: Path, task: tuple[list[int], Conditions]) -> Made[list[int]]:
    """Draw one chunk on a worker, apart from all others."""
    rows, asked = task
    arrays: dict[str, Any] = {
        name: np.asarray(np.load(file, mmap_mode="r")[rows]) for name in _ARRAYS if (file := folder / f"{name}.npy").exists()
    }
    own, asked = work.apart(drawer.id(rows[0])), replace(asked, **arrays)
    with held(own.folder):
        left = [place for place, row in enumerate(rows) if not (own.folder / f"{drawer.id(row)}.zarr").exists()]
        if left:
            drawer.draw(asked.take(left), [rows[place] for place in left], own.write)
        places = [own.folder / f"{drawer.id(row)}.zarr" for row in rows]
        return rows, [(place, checksum(place)) for place in places]


def _arrays_beside(work: Images, asked: Conditions) -> Path:
    """Return a folder from which workers read the rows of the arrays that they need; it goes with what they write."""
    folder = work.folder / "asked"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in _ARRAYS:
        if (array := getattr(asked, name)) is not None:
            np.save(folder / f"{name}.npy", array)
    return folder


def _tell(progress: Callable[[str], None] | None, rows: Sequence[int], count: int) -> None:
    if progress:
        progress(f"generated {rows[-1] + 1} of {count}")


def _merged(*columns: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """Return the columns of each sample together."""
    given = [c for c in columns if c]
    return [{k: v for one in own for k, v in one.items()} for own in zip(*given, strict=True)] if given else None


def as_image(augmenter: Augmenter, pixels: NDArray[Any], source: str) -> Image:
    """Wrap one sample, shape (C, [Z,] Y, X), with what the model knows of its training images."""
    card = augmenter.card
    return Image.from_array(
        np.ascontiguousarray(pixels),
        "czyx" if augmenter.dims == 3 else "cyx",
        Spacing(card.spacing, card.unit),
        channels=tuple(c.name for c in card.intensity.channels),
        acquisition=card.attributes,
        source=source,
    )


def _with_captions(augmenter: Augmenter, table: pd.DataFrame) -> pd.DataFrame:
    """Write captions out, so that lineage says what the model was told."""
    text = augmenter.conditions.text
    return table if text is None or text.lacks(table) else table.assign(**{text.name: text.captions(table)})


def _digest(pixels: NDArray[Any]) -> Digest:
    """Return the digest of a source image, (C, [Z,] Y, X) in C order and little endian."""
    return digest_bytes(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
