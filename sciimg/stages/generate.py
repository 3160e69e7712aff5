"""Generate with one recipe of a study: the samples to release, and those that let judges compare pair by pair."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.protocol.models import GeneratedMasks, RecipePlan, Study
from sciimg.workers import HERE, Workers, open_workers

if TYPE_CHECKING:
    from sciimg.augmenters.model_file import ModelCard
    from sciimg.patches.source import PatchSource

_PAIRS = 64  # at most, in ``paired`` and ``reconstruction``


def generate_recipe(
    study: Study,
    plan: RecipePlan,
    model: Path,
    collection: Path,
    regions: Path,
    out: Path,
    *,
    key: tuple[str, ...] = (),
    workers: Workers = HERE,
) -> None:
    """Make the synthetic collections of one recipe.

    synthetic/        what may be released: conditions drawn from the training part and perturbed
    paired/           one sample for the condition of a real holdout patch (columns real_image, real_origin); never released
    reconstruction/   real holdout patches after a way through the latent space, where there is one; never released
    unmarked/         the first samples as they were before their watermark, where the study asks for one; never released

    Where the recipe translates, all of them hold the channels that it makes; the given ones come from the same real patch as the mask.

    Parameters
    ----------
    model : Path
        Model folder.
    collection, regions : Path
        Real images, and the split of them.
    out : Path
        Folder to fill; what an interrupted attempt left is kept.
    key : tuple of str
        What draws depend on beside the study and the recipe: the fold, where it is not the split of the study.
    workers : Workers
        Where samples are drawn, a thread each: stages run side by side.
    """
    from sciimg.augmenters.model_file import read_card
    from sciimg.augmenters.recipe import refuse_encoders
    from sciimg.generation.conditions import Conditions, channels_of, draw_conditions
    from sciimg.generation.generate import generate
    from sciimg.patches.conditions import told_columns
    from sciimg.patches.source import PatchSource
    from sciimg.stages.ledger import log
    from sciimg.store import Collection

    card = read_card(model)
    refuse_encoders(card.recipe)
    images, table, asked = Collection(collection), pd.read_parquet(regions), study.generate
    source = PatchSource(images, table, "train", study.patches.shape, study.conditions, study.patches.min_foreground)
    mask_key, key = (study.digest, "masks", *key), (study.digest, "generate", plan.name, *key)
    given = card.conditions.image.channels if card.conditions.image else ()
    solver = card.recipe.sampler.name != "one-step"  # a study's solver is for the recipes that have one
    how: dict[str, Any] = {
        "study": study.digest,
        "sampler": asked.sampler if solver else None,
        "steps": asked.steps if solver else None,
        "guidance": asked.guidance if solver else None,
        "workers": workers,
        "progress": log,
    }
    mark = None if study.release.watermark is None else study.release.watermark.alpha
    wanted = ["synthetic", *(["unmarked"] if mark else [])]
    if not all((out / name).exists() for name in wanted):
        turn = not card.recipe.training.tell_symmetry
        if isinstance(asked.masks, GeneratedMasks):
            unseen = PatchSource(images, table, "calibration", study.patches.shape)
            made = _made_masks(study, asked.masks, source, unseen, out, mask_key)
            conditions = draw_conditions(source, range(asked.count), key, turn=turn, given=given, made=made)
        else:
            conditions = draw_conditions(source, range(asked.count), key, turn=turn, given=given, masks=asked.masks or "perturbed")
        if not (out / "synthetic").exists():
            generate(model, out / "synthetic", conditions, seed=asked.seed, watermark=mark, **how)
        if mark:  # a sample depends on its number alone, so these are the same ones
            generate(model, out / "unmarked", conditions.first(_PAIRS), seed=asked.seed, **how)
    holdout = PatchSource(images, table, "holdout", study.patches.shape, study.conditions, study.patches.min_foreground)
    real = holdout.grid(limit=min(_PAIRS, study.validation.samples), seed_key=(*key, "paired"))
    real = real.take(np.flatnonzero(_seen(card, real.table)))
    about = [{"real_image": str(r["image"]), "real_origin": str(r["origin"])} for _, r in real.table.iterrows()]
    names = list(told_columns(study.conditions))
    if not (out / "paired").exists():
        told = _inside(card, real.table[names].reset_index(drop=True))
        groups = [str(g) for g in real.groups]
        shown = channels_of(real, given) if given else None
        generate(
            model, out / "paired", Conditions(real.labels, told, groups, shown), seed=asked.seed + 1, about=about, watermark=mark, **how
        )
    _reconstruct(model, real, about, out / "reconstruction", study)


def _made_masks(
    study: Study, plan: GeneratedMasks, train: "PatchSource", unseen: "PatchSource", out: Path, key: tuple[str, ...]
) -> NDArray[np.int32]:
    """Train a recipe on the masks of the training part and draw as many as are asked for; the model is kept in ``masks/``."""
    from sciimg.augmenters.augmenter import Augmenter
    from sciimg.augmenters.recipes import get_recipe
    from sciimg.augmenters.training import fit
    from sciimg.generation.mask_images import MaskImages, image_to_mask

    kind = train.draw(("kind",), range(1)).label_kind
    if kind is None:
        raise InputError(Problem("generate.masks", "no-labels", "Masks are learned from label images, and the collection has none."))
    model = out / "masks"
    if not model.exists():
        recipe = get_recipe(plan.recipe, plan.options, study.dims)
        about = {"study": study.digest, "recipe": plan.recipe, "of": "masks"}
        fit(recipe, MaskImages(train, kind), MaskImages(unseen, kind), (), key=key, out=model, provenance=about)
    drawn = Augmenter.load(model).sample(
        None, pd.DataFrame(index=range(study.generate.count)), key=key, indices=range(study.generate.count)
    )
    return image_to_mask(drawn, kind)


def _seen(card: "ModelCard", table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which rows have classes and words that the model has seen: a rare one may be in the holdout alone."""
    seen = np.ones(len(table), dtype=bool)
    for category in card.conditions.classes:
        seen &= table[category.name].astype(str).isin(category.values).to_numpy()
    if (text := card.conditions.text) is not None:
        seen &= np.array([not text.unknown([caption]) for caption in text.captions(table)], dtype=bool)
    return seen


def _inside(card: "ModelCard", table: pd.DataFrame) -> pd.DataFrame:
    """Clip scalars of the holdout to the range that the model has seen; a condition beyond it is refused by the model."""
    told = table.copy()
    for scalar in card.conditions.scalars:
        told[scalar.name] = np.clip(told[scalar.name].to_numpy(float), scalar.low, scalar.high)
    return told


def _reconstruct(model: Path, real: Any, about: Sequence[dict[str, str]], out: Path, study: Study) -> None:
    from sciimg.augmenters.augmenter import Augmenter
    from sciimg.generation.conditions import channels_of
    from sciimg.generation.generate import as_image
    from sciimg.store import CollectionWriter

    augmenter = Augmenter.load(model)
    made = [channel.name for channel in augmenter.card.intensity.channels]
    images = None if out.exists() else augmenter.reconstruct(channels_of(real, made), real.labels, real.table)
    if images is None:
        return
    with CollectionWriter(out, synthetic=True, study=study.digest) as writer:
        for i, pixels in enumerate(images):
            writer.add(
                f"reconstruction-{i:06d}",
                as_image(augmenter, pixels, f"reconstruction {i}"),
                group=str(real.groups[i]),
                labels=None if real.labels is None else real.labels[i],
                label_kind=real.label_kind,
                extra=about[i],
            )


def generate_command(
    model: Path,
    out: Path,
    *,
    count: int,
    conditions: Sequence[str],
    masks: Path | None,
    seed: int,
    sampler: str | None,
    steps: int | None,
    shape: str | None = None,
    source: Path | None = None,
    task: str | None = None,
    keep: str | None = None,
    strength: float | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Generate from the command line; return what was made.

    Parameters
    ----------
    conditions : sequence of str
        ``NAME=VALUE``, the same for all samples; a condition that is not given varies evenly over what the model has seen.
    masks : Path or None
        A collection whose labels are the masks, taken in turn; needed where the model is conditioned on a mask.
    shape : str or None
        ``Z,Y,X`` of images of any size; the size that the model was trained on when left out.
    source, task, keep, strength
        Real images to translate, where the model does that: columns ``source_image`` and ``source_origin`` say which one a sample is
        of. Else real images to begin from, and what is done with them: :func:`sciimg.generation.edited.generate_edited`.
    workers : int, optional
        Processes, as in :func:`sciimg.workers.open_workers`. In one process there are as many threads as cores.
    """
    from sciimg.augmenters.model_file import read_card
    from sciimg.generation.generate import generate
    from sciimg.generation.request import requested
    from sciimg.stages.ledger import log

    card = read_card(model)
    study = card.provenance.get("study")
    threads = os.cpu_count() or 1
    made = {"out": str(out), "count": count, "model": str(model), "recipe": card.recipe.name, "seed": seed}
    if source is not None and card.conditions.image is None:
        if workers not in (None, 1):
            message = "Real images are edited in one process, on all of its cores. Leave out --workers."
            raise InputError(Problem("--workers", "one-process", message))
        from sciimg.augmenters.samplers.settings import Task
        from sciimg.generation.edited import generate_edited

        if task is not None and task not in get_args(Task):
            raise InputError(Problem("--task", "no-task", f"Tasks are {', '.join(get_args(Task))}; got {task!r}."))
        how = {"seed": seed, "study": study, "sampler": sampler, "steps": steps, "workers": threads, "progress": log}
        known = {"task": task, "keep": keep, "masks": masks, "strength": strength}
        done = generate_edited(model, out, source, count, conditions, **known, **how)  # type: ignore[arg-type]
        return made | {"count": done, "source": str(source)}
    if any(option is not None for option in (task, keep, strength)):
        raise InputError(Problem("--task", "no-source", "What begins from real images needs them: --source COLLECTION."))
    drawn: dict[str, Any] = {"seed": seed, "study": study, "sampler": sampler, "steps": steps, "threads": threads, "progress": log}
    if shape is not None:
        from sciimg.generation.volume import asked_by_hand, generate_volumes

        sizes = _parsed_shape(shape)
        asked = asked_by_hand(card, count, conditions, masks, sizes, seed)
        with open_workers(workers) as places:
            generate_volumes(model, out, asked, sizes, workers=places, **drawn)
        return made | {"shape": list(sizes)}
    wanted = requested(card, count, conditions, masks, seed, source)
    with open_workers(workers) as places:
        generate(model, out, wanted, workers=places, **drawn)
    return made


def _parsed_shape(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if len(parts) not in (2, 3) or not all(part.strip().isdecimal() and int(part) for part in parts):
        raise InputError(Problem("--shape", "shape", f"A shape is Z,Y,X or Y,X in whole numbers above zero; got {text!r}."))
    return tuple(int(part) for part in parts)
