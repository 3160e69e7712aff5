"""Train one recipe of a study."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from sciimg.augmenters.ranks import LOST, Rank, quieten, rank_of
from sciimg.errors import SciimgError
from sciimg.protocol.models import RecipePlan, Study
from sciimg.stages import signals
from sciimg.types import Part

if TYPE_CHECKING:
    from sciimg.augmenters.loop import Progress
    from sciimg.augmenters.team import Team

_EVERY_S = 10.0  # between progress lines


def train_recipe(
    study: Study, plan: RecipePlan, collection: Path, regions: Path, out: Path, say: Callable[[str], None], *, key: tuple[str, ...] = ()
) -> None:
    """Train a recipe on the training part, early stopping on the calibration part; the holdout is not opened.

    Parameters
    ----------
    collection, regions : Path
        Real images, and the split of them.
    out : Path
        Model folder to make.
    say : callable
        Receives progress lines.
    key : tuple of str
        What draws depend on beside the study and the recipe: the fold, where it is not the split of the study.
    """
    from sciimg.augmenters.team import together

    work = partial(_train, study, plan, collection, regions, out, key)
    together(work, first=partial(work, progress=_Lines(say)))


def _train(
    study: Study,
    plan: RecipePlan,
    collection: Path,
    regions: Path,
    out: Path,
    key: tuple[str, ...],
    team: "Team",
    progress: "Progress | None" = None,
) -> None:
    """The work of one process of those that train together."""
    from sciimg.augmenters.recipes import get_recipe
    from sciimg.augmenters.training import fit
    from sciimg.patches.source import PatchSource
    from sciimg.patches.stream import feeding
    from sciimg.store import Collection

    recipe = get_recipe(plan.recipe, plan.options, study.dims)
    images, table = Collection(collection), pd.read_parquet(regions)

    def part(name: Part) -> PatchSource:
        return PatchSource(images, table, name, study.patches.shape, study.conditions, study.patches.min_foreground)

    source = part("train")
    fit(
        recipe,
        source,
        part("calibration"),
        study.conditions,
        key=(study.digest, "train", plan.name, *key),
        out=out,
        provenance={"study": study.digest, "collection": images.digest, "recipe": plan.name} | ({"of": " ".join(key)} if key else {}),
        progress=progress,
        fed_from=feeding(source, study.patches.balance),
        team=team,
        stop=signals.asked,
    )


class _Lines:
    """A plain progress line now and then."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say, self._next = say, 0.0

    def __call__(self, phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        now = time.monotonic()
        if now >= self._next or step == steps:
            self._next = now + _EVERY_S
            self._say(f"{phase} {step}/{steps} " + " ".join(f"{k} {v:.4g}" for k, v in values.items()))


def train_command(study: Path, data: Path, out: Path, recipe: str | None) -> dict[str, Any] | None:
    """Train from the command line: split the collection as the study says, train, return the model's digest.

    Of several processes that ``srun`` or torchrun started, the first one speaks for all; the others return None, or exit as it does.

    Raises
    ------
    InputError
        Kind ``unknown-recipe``: the study has no recipe of this name; kind ``exists``: there is something at ``out``.
    CheckpointedError
        SIGTERM or SIGUSR1 came.
    """
    rank = rank_of()
    signals.note()
    try:
        return _train_model(study, data, out, recipe) if rank is None else _train_together(rank, study, data, out, recipe)
    finally:
        signals.forget()


def _train_together(rank: Rank, study: Path, data: Path, out: Path, recipe: str | None) -> dict[str, Any] | None:
    from sciimg.stages.ledger import log

    quieten()
    from sciimg.augmenters.team import joined

    def stop(error: SciimgError) -> int:
        if rank.first:
            log(f"Error  {error}")
        return error.exit_code

    try:
        with joined(rank, stop) as meeting:
            value = _train_model(study, data, out, recipe, writes=rank.first)
            if rank.first:
                meeting.tell(None)
                return value
            meeting.outcome()
            return None
    except SciimgError as error:
        if rank.first or any(p.kind in LOST for p in error.problems):
            raise
        raise SystemExit(error.exit_code) from None


def _train_model(study: Path, data: Path, out: Path, recipe: str | None, *, writes: bool = True) -> dict[str, Any]:
    import tempfile

    from sciimg.augmenters.model_file import model_digest
    from sciimg.augmenters.recipes import get_recipe, too_small
    from sciimg.errors import InputError, Problem
    from sciimg.protocol import load_study
    from sciimg.stages.ledger import log
    from sciimg.stages.split import REGIONS, split_collection

    plan = load_study(study).study
    names = [r.name for r in plan.recipes]
    if recipe is not None and recipe not in names:
        raise InputError(Problem("--recipe", "unknown-recipe", f"The study has the recipes {', '.join(names)}; got {recipe!r}."))
    if writes and out.exists():
        raise InputError(Problem(str(out), "exists", "There is something here already. Choose another name or delete it."))
    chosen = next(r for r in plan.recipes if recipe in (None, r.name))
    if problems := too_small(get_recipe(chosen.recipe, chosen.options, plan.dims)):
        raise InputError(problems)
    with tempfile.TemporaryDirectory() as folder:
        split_collection(plan, data, Path(folder))
        train_recipe(plan, chosen, data, Path(folder) / REGIONS, out, log)
    return {"model": str(out), "recipe": chosen.name, "study": plan.digest, "digest": model_digest(out)} if writes else {}
