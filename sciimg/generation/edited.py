"""Real images of a collection, edited by a model, into a synthetic collection that says of each what was done to it."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.augmenters.augmenter import CHUNK, Augmenter
from sciimg.augmenters.device import require_cpu
from sciimg.augmenters.model_file import ModelCard
from sciimg.augmenters.samplers.settings import Task
from sciimg.errors import InputError, Problem
from sciimg.generation.completion import known_part
from sciimg.generation.editing import Editor
from sciimg.generation.fusion import check_fields
from sciimg.generation.generate import as_image
from sciimg.generation.request import parsed
from sciimg.patches.regions import Region, to_table
from sciimg.patches.source import PatchSource
from sciimg.records import Digest, Lineage
from sciimg.store import Collection, CollectionWriter
from sciimg.types import PatchSet


def generate_edited(
    model: Path,
    out: Path,
    source: Path,
    count: int,
    fixed: Sequence[str] = (),
    *,
    task: Task | None = None,
    keep: str | None = None,
    masks: Path | None = None,
    strength: float | None = None,
    seed: int,
    study: Digest | None,
    sampler: str | None = None,
    steps: int | None = None,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
) -> int:
    """Edit ``count`` real images and write them as a synthetic collection; return how many.

    Parameters
    ----------
    model, out : Path
    source : Path
        Collection of real images, cut to the model's size; their labels are the masks, where the model is told of masks.
    count : int
        To interpolate: how many images from the first of the source to the second, both included. Else at most as many as the source has.
    fixed : sequence of str
        ``NAME=VALUE``; to edit and to interpolate, ``NAME=FROM..TO``. What is not given is taken from the catalogue of the source.
    task : Task, optional
        Default: the recipe's.
    keep : str, optional
        A box (:func:`sciimg.generation.completion.known_part`), or a collection whose labels, cut like the source, are above 0 where it is
        known.
    masks : Path, optional
        Collection whose labels, cut like the source, are the masks; default: the source.
    strength : float, optional
        Share of the noise that a copy does not inherit; default: the recipe's.
    seed, study, sampler, steps, workers
        As in :func:`sciimg.generation.generate.generate`.

    Raises
    ------
    InputError
        Kinds ``no-task``, ``no-editing``, ``bad-box``, ``no-mask``, ``bad-condition``, ``unknown-condition``, ``missing-condition``,
        ``channels``, ``too-few-images``, ``no-device``.
    """
    require_cpu("--source, to edit real images,")
    augmenter = Augmenter.load(model, "cpu")
    check_fields(augmenter)
    editor = Editor(augmenter, sampler=sampler, steps=steps, strength=strength)
    card, task = augmenter.card, task or editor.settings.task
    if task == "sample":
        message = (
            f"Recipe {card.recipe.name!r} draws without a source. Say what is to be done with the images: --task inpaint, copy, edit, …"
        )
        raise InputError(Problem("--task", "no-task", message))
    patches = cut(source, card, 2 if task == "interpolate" else count)
    labels = _labels(card, patches if masks is None else cut(masks, card, count), masks or source)
    before, after = _tables(card, patches, fixed, pairs=task in ("edit", "interpolate"))
    n = count if task == "interpolate" else len(patches)
    known = _known(keep, task, card, n) if task in ("inpaint", "outpaint") else None
    share = np.linspace(0, 1, n)
    key = (study or "no study", task, augmenter.digest, str(seed))
    name, taken = f"{card.recipe.name}-{task}", np.zeros(n, int) if task == "interpolate" else np.arange(n)

    def made(rows: list[int]) -> NDArray[Any]:
        at = taken[rows]
        images, own = patches.images[at], None if labels is None else labels[at]
        now, then = (table.iloc[at].reset_index(drop=True) for table in (before, after))
        how: dict[str, Any] = {"key": key, "indices": rows, "workers": workers}
        match task:
            case "inpaint" | "outpaint":
                assert known is not None
                return editor.complete(images, known[rows], own, now, **how)
            case "copy":
                return editor.copy(images, own, now, **how)
            case "interpolate":
                other, last = patches.images[[1] * len(rows)], after.iloc[[1] * len(rows)].reset_index(drop=True)
                return editor.interpolate(images, other, share[rows], own, (now, last), **how)
            case _:
                return editor.change(images, own, now, then, **how)

    with CollectionWriter(out, synthetic=True, study=study) as writer:
        for start in range(0, n, 8 * CHUNK):
            rows = [i for i in range(start, min(start + 8 * CHUNK, n)) if not writer.has(f"{name}-{i:06d}")]
            for row, pixels in zip(rows, made(rows) if rows else (), strict=True):
                at = int(taken[row])
                asked = {str(k): v.item() if isinstance(v, np.generic) else v for k, v in after.iloc[at].items()}
                lineage = Lineage(
                    study=study,
                    model=augmenter.digest,
                    recipe=card.recipe.name,
                    sampler=f"{editor.settings.name}, guidance {editor.settings.guidance:g}, {task}",
                    steps=editor.settings.steps,
                    seed=seed,
                    index=row,
                    condition=asked,
                )
                ends = patches.table.iloc[[0, 1] if task == "interpolate" else [at]]
                about: dict[str, Any] = {
                    "task": task,
                    "real_image": ", ".join(ends["image"].astype(str)),
                    "real_origin": json.dumps(list(ends["origin"])),
                }
                about |= {"strength": editor.settings.strength} if task == "copy" else {}
                writer.add(
                    f"{name}-{row:06d}",
                    as_image(augmenter, pixels, f"{name} {row}"),
                    group=str(patches.groups[at]),
                    conditions=asked,
                    labels=None if labels is None else labels[at],
                    label_kind=None if labels is None else card.label_kind,
                    lineage=lineage,
                    extra=about | ({"share": float(share[row])} if task == "interpolate" else {}),
                )
            if progress and rows:
                progress(f"{task}: {rows[-1] + 1} of {n}")
    return n


def cut(path: Path, card: ModelCard, count: int) -> PatchSet:
    """Return the first patches of a collection, of the model's size and channels."""
    collection = Collection(path)
    table = collection.columns("id", "group")
    volumes = {str(i): collection.volume(str(i)) for i in table["id"]}
    regions = to_table(
        Region(name, "train", group, (0,) * len(v.spatial_shape), v.spatial_shape)
        for (name, v), group in zip(volumes.items(), table["group"].astype(str), strict=True)
    )
    patches = PatchSource(collection, regions, "train", card.shape[1:]).grid(limit=count)
    told = sorted(name for name in _names(card) if name not in patches.table)
    columns = collection.columns("id", *told).set_index("id").loc[list(patches.table["image"].astype(str))].reset_index(drop=True)
    return replace(patches, table=pd.concat([patches.table.reset_index(drop=True), columns], axis=1))


def _labels(card: ModelCard, patches: PatchSet, where: Path) -> NDArray[np.int32] | None:
    if card.conditions.mask is None:
        return None
    if patches.labels is None:
        message = "The model is told of masks, and these images have no labels. Ingest them with their masks, or give --mask COLLECTION."
        raise InputError(Problem(str(where), "no-mask", message))
    return patches.labels


def _tables(card: ModelCard, patches: PatchSet, fixed: Sequence[str], *, pairs: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the conditions before and after: from NAME=FROM..TO, NAME=VALUE, or the catalogue of the source."""
    names = _names(card)
    scalars = {s.name for s in card.conditions.scalars}
    values, problems = parsed(fixed, set(names))
    tables: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for name in names:
        ends = values[name].split("..", 1) if name in values and pairs else [values[name]] if name in values else []
        if not ends and name not in patches.table:
            form = f"{name}=FROM..TO" if pairs else f"{name}=VALUE"
            problems.append(Problem(name, "missing-condition", f"The source does not say its {name}; give it: --condition {form}."))
            continue
        for table, end in zip(tables, (0, -1), strict=True):
            if not ends:
                table[name] = patches.table[name].to_numpy()
                continue
            try:
                table[name] = float(ends[end]) if name in scalars else ends[end]
            except ValueError:
                problems.append(Problem(name, "bad-condition", f"{name} is a number; got {values[name]!r}."))
    if problems:
        raise InputError(problems)
    before, after = (pd.DataFrame(table, index=range(len(patches))) for table in tables)
    return before, after


def _names(card: ModelCard) -> list[str]:
    return [*(s.name for s in card.conditions.scalars), *(c.name for c in card.conditions.classes)]


def _known(keep: str | None, task: Task, card: ModelCard, n: int) -> NDArray[np.bool_]:
    shape = card.shape[1:]
    if keep is None or not Path(keep).is_dir():
        return np.broadcast_to(known_part(keep, task, shape), (n, *shape))
    patches = cut(Path(keep), card, n)
    if patches.labels is None or len(patches) < n:
        message = f"Where images are known is told by labels above 0, one for each of {n} images; this collection has too few."
        raise InputError(Problem("--keep", "no-mask", message))
    return np.asarray(patches.labels > 0)
