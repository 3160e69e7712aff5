"""Samples of a trained model into a collection; resumed where it stopped."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.augmenters.augmenter import CHUNK, Augmenter
from sciimg.generation.conditions import Conditions
from sciimg.io.image import Image
from sciimg.records import Digest, Lineage, digest_bytes
from sciimg.store import CollectionWriter
from sciimg.types import Spacing
from sciimg.watermark import embed

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
    workers: int = 1,
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
    workers : int
        Chunks at the same time; does not change results.
    about : sequence of mapping, optional
        Further catalogue columns of each sample, beside those of the conditions.
    watermark : float, optional
        Size of the mark that each sample gets, in standard deviations of its local noise: :func:`sciimg.watermark.embed`.

    Notes
    -----
    A sample that was made from a source image holds the made channels only; its lineage has the digest of the source's pixels.
    """
    augmenter = Augmenter.load(model)
    settings = augmenter.sampler(sampler, steps, guidance)
    name, image = augmenter.card.recipe.name, augmenter.conditions.image
    key = (study or "no study", "generate", augmenter.digest, str(seed))
    asked_for = _with_captions(augmenter, conditions.table)
    count = len(asked_for)
    with CollectionWriter(out, synthetic=True, study=study) as writer:
        for start in range(0, count, _BATCH):
            rows = [i for i in range(start, min(start + _BATCH, count)) if not writer.has(_id(name, i))]
            if not rows:
                continue
            labels = None if conditions.labels is None else conditions.labels[rows]
            table = asked_for.iloc[rows].reset_index(drop=True)
            source = None if conditions.source is None else conditions.source[rows]
            images = augmenter.sample(
                labels, table, source, key=key, indices=rows, sampler=sampler, steps=steps, guidance=guidance, workers=workers
            )
            for place, row in enumerate(rows):
                asked = {str(k): _plain(v) for k, v in asked_for.iloc[row].items()}
                lineage = Lineage(
                    study=study,
                    model=augmenter.digest,
                    recipe=name,
                    sampler=f"{settings.name}, guidance {settings.guidance:g}",
                    steps=settings.steps,
                    seed=seed,
                    index=row,
                    condition=asked | ({} if image is None or source is None else {image.name: _digest(source[place])}),
                )
                pixels = images[place] if watermark is None else embed(images[place], str(study), _id(name, row), watermark)
                writer.add(
                    _id(name, row),
                    as_image(augmenter, pixels, f"{name} sample {row}"),
                    group=conditions.groups[row],
                    conditions=asked,
                    labels=None if labels is None else labels[place],
                    label_kind=augmenter.card.label_kind if labels is not None else None,
                    lineage=lineage,
                    extra={k: v for columns in (conditions.about, about) if columns for k, v in columns[row].items()},
                )
            if progress:
                progress(f"generated {rows[-1] + 1} of {count}")
    return count


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


def _id(recipe: str, index: int) -> str:
    return f"{recipe}-{index:06d}"


def _digest(pixels: NDArray[Any]) -> Digest:
    """Return the digest of a source image, (C, [Z,] Y, X) in C order and little endian."""
    return digest_bytes(np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes())


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
