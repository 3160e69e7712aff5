"""Train a recipe on patches and write the model folder: weights, description, curves; resumed exactly after a crash."""

import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sciimg.augmenters import checkpoint
from sciimg.augmenters.build import build
from sciimg.augmenters.checkpoint import Curves, State
from sciimg.augmenters.conditioning.schema import ConditionSchema, learn_schema
from sciimg.augmenters.conditioning.symmetry import label_length, symmetry_group
from sciimg.augmenters.device import described, enough_memory, usable
from sciimg.augmenters.feed import Drawn, Feed, Patches, split_channels
from sciimg.augmenters.formation.formation import Formation, learn_formation
from sciimg.augmenters.intensity import IntensityScale, learn_scale
from sciimg.augmenters.loop import Loop, Progress
from sciimg.augmenters.model_file import TIMES, ModelCard, write_model
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.system import System, count_parameters
from sciimg.augmenters.team import Team
from sciimg.errors import InputError, Problem
from sciimg.files import sweep, sync_directory, write_json
from sciimg.protocol.data import Condition
from sciimg.randomness import seed_of
from sciimg.records import digest_of
from sciimg.types import PatchSet

_SURVEY = 512  # random training patches on which ranges and scales are learned
_SURVEY_PIXELS = 2**25
_FEWEST = 4  # places that do not overlap; fewer cannot be learned from, only copied


def fit(
    recipe: Recipe,
    source: Patches,
    held_out: Patches,
    conditions: tuple[Condition, ...],
    *,
    key: tuple[str, ...],
    out: Path,
    provenance: dict[str, Any],
    progress: Progress | None = None,
    fed_from: Drawn | None = None,
    device: str | None = None,
    team: Team | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Train and write a model folder, whole or not at all.

    Parameters
    ----------
    recipe : Recipe
        For the dimensions of the patches (:func:`sciimg.augmenters.recipes.get_recipe`).
    source, held_out : Patches
        The training part, and the part that early stopping looks at; never the holdout.
    conditions : tuple of Condition
        As in the study.
    key : tuple of str
        Every random draw depends on it, e.g. (study digest, "train", name).
    out : Path
        The model folder. While training runs, ``.NAME.partial`` beside it holds the checkpoint; the same call resumes from there
        and gives the same bytes as an undisturbed one.
    provenance : dict
        JSON to keep in the model: study digest, digest of the training collection.
    progress : callable, optional
        ``progress(phase, step, steps, values)`` after every step.
    fed_from : Drawn, optional
        Gives the batches, where that is not ``source`` itself: the same patches in an order that a disk can follow.
    device : str, optional
        Where to train: ``cpu``, whose bits repeat, or ``cuda``, whose do not; the model says which it was. See :func:`.device.usable`.
    team : Team, optional
        This process and those that call the same function at the same time (:func:`.team.together`); its device instead of ``device``.
        Training may go on with another number of them.
    stop : callable, optional
        Asked after every step, in every process: whether to keep what is done, and end.

    Raises
    ------
    InputError
        Too few or constant images, conditions that the data do not have, or none where the recipe needs one.
    TrainingFailedError
        The loss is no longer finite; the best weights are kept beside the checkpoint.
    CheckpointedError
        A process was told to stop.
    """
    recipe.check_told(condition.kind for condition in conditions)
    team = Team(0, (usable(device),)) if team is None else team
    survey = _survey(source, key)
    elements = symmetry_group(recipe.training.symmetries, source.patch_shape, survey.spacing.values[-len(source.patch_shape) :])
    told = recipe.training.tell_symmetry
    schema = learn_schema(survey, conditions, source.classes, label_length(elements, told), recipe.conditioning.uses)
    made, _ = split_channels(survey, schema)
    names = tuple(name for name in survey.channels if schema.image is None or name not in schema.image.only_given)
    spacing = survey.spacing.values[-len(source.patch_shape) :]
    formation = None if recipe.formation is None else learn_formation(recipe.formation, made, names, spacing, survey.spacing.unit)
    scale = learn_scale(made if formation is None else formation.structure(made), names)
    shape = (made.shape[1], *source.patch_shape)
    card = _card(recipe, schema, scale, survey, shape, provenance, formation)
    identity = digest_of([card.model_dump(mode="json") | {"device": team.place.type}, list(key)])  # however many there are of it
    partial = out.with_name(f".{out.name}.partial")
    with _one_world(recipe.training.threads):
        torch.manual_seed(seed_of(*key, "weights"))
        with enough_memory("the networks", "Choose narrower ones (backbone.widths), or cut smaller patches."):
            system = build(recipe, schema, shape, spacing).to(team.place)
        state, tensors = _resumed(partial, identity, team)
        if (trained_on := described(*team.places)) not in state.devices[-1:]:
            state.devices.append(trained_on)
        feed = Feed(fed_from or source, schema, scale, system, elements, told, key, formation)
        looked_at = held_out.grid(limit=recipe.training.held_out_patches)
        state = Loop(system, feed, looked_at, partial, state, tensors, team, progress, stop).run()
    if team.first:
        _write(partial, out, system, card, state)
    team.wait()


def _survey(source: Patches, key: tuple[str, ...]) -> PatchSet:
    places = len(source.grid(limit=_FEWEST, stride=source.patch_shape))
    if places < _FEWEST:
        message = (
            f"Training needs {_FEWEST} patches of {source.patch_shape} or more; its part holds {places}. Add images, or cut smaller ones."
        )
        raise InputError(Problem("train", "too-few-images", message))
    size = max(32, min(_SURVEY, _SURVEY_PIXELS // math.prod(source.patch_shape)))
    return source.draw((*key, "survey"), range(size))


def _card(
    recipe: Recipe,
    schema: ConditionSchema,
    scale: IntensityScale,
    survey: PatchSet,
    shape: tuple[int, ...],
    provenance: dict[str, Any],
    formation: Formation | None,
) -> ModelCard:
    return ModelCard(
        recipe=recipe,
        shape=shape,
        conditions=schema,
        intensity=scale,
        formation=formation,
        spacing=survey.spacing.values,
        unit=survey.spacing.unit,
        label_kind=survey.label_kind,
        attributes=dict(survey.attributes),
        provenance=provenance,
        versions={name: version(name) for name in ("sciimg", "torch", "numpy")},
    )


def _resumed(partial: Path, identity: str, team: Team) -> tuple[State, dict[str, torch.Tensor]]:
    """Return where an earlier training stopped, as the first process finds it: another node may see its files later."""
    found = checkpoint.load(partial, identity) if team.first and partial.exists() else None
    if found is None and team.first:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    elif team.first:
        sweep(partial)
    if not team.alone:
        data = team.told(None if found is None else checkpoint.packed(*found))
        found = None if data is None else checkpoint.unpacked(data)
    return found or (State(identity=identity), {})


@contextmanager
def _one_world(threads: int) -> Iterator[None]:
    """Run with a set number of threads and leave torch's global state as it was."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(before)


def _write(partial: Path, out: Path, system: System, card: ModelCard, state: State) -> None:
    """Turn the checkpoint folder into the model folder."""
    parameters = {name: count_parameters(module) for name, module in system.named_children()}
    known = {"steps": state.done, "parameters": parameters, "device": ", then ".join(state.devices)}
    write_model(partial, system, card.model_copy(update=known), _summary(state.curves))
    write_json(partial / TIMES, _times(state))
    for leftover in (checkpoint.NAME, "best.safetensors"):
        (partial / leftover).unlink(missing_ok=True)
    if out.exists():
        shutil.rmtree(out)
    partial.replace(out)
    sync_directory(out.parent)


def _times(state: State) -> dict[str, float]:
    """Return what the model's digest leaves out: how long the first process trained, and which shares of that it waited."""
    total = max(state.seconds.get("training", 0.0), 1e-9)
    shares = {f"waited_for_{name}": state.seconds.get(name, 0.0) / total for name in ("data", "others")}
    return {"steps": sum(state.done.values()), "wall_s": round(total, 3)} | {name: round(share, 4) for name, share in shares.items()}


def _summary(curves: Curves) -> dict[str, dict[str, list[float]]]:
    """Return the curves with losses averaged over ten steps: small enough to keep as evidence."""
    out: dict[str, dict[str, list[float]]] = {}
    for phase, quantities in curves.items():
        out[phase] = {}
        for name, values in quantities.items():
            kept = (
                values
                if name.startswith("held-out")
                else [sum(v) / len(v) for v in (values[i : i + 10] for i in range(0, len(values), 10))]
            )
            out[phase][name] = [float(f"{value:.6g}") for value in kept]
    return out
