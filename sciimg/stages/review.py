"""Reader studies from the command line: blinded sheets out of a run, scores out of filled sheets."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciimg.decision import REVIEW_STAGE
from sciimg.errors import InputError, Problem
from sciimg.files import write_json
from sciimg.protocol.data import StainSeparation
from sciimg.protocol.models import Study

if TYPE_CHECKING:
    from sciimg.review.key import ReviewKey
    from sciimg.review.presentation import Presentation
    from sciimg.review.score import Matched
    from sciimg.types import PatchSet

COLLECTION = Path("ingest/collection")
REGIONS = Path("split/regions.parquet")


@dataclass(frozen=True)
class Material:
    """What a reader study of a run is made from: the recipe that would be released (or the first candidate) beside the real holdout."""

    study: Study
    recipe: str
    real: "PatchSet"
    synthetic: "PatchSet"
    show: "Presentation"


def answered(run: Path, study: Study) -> dict[str, Path]:
    """Return the evidence of readers by stage: for each recipe whose images they have seen, a file in the run."""
    files = {f"{REVIEW_STAGE}{r.name}": _evidence(run, r.name) for r in study.recipes}
    return {stage: path for stage, path in files.items() if path.exists()}


def _evidence(run: Path, recipe: str) -> Path:
    return run / "review" / recipe / "evidence.json"


def material(run: Path, recipe: str | None = None) -> Material:
    """Return the images of a run that readers may be shown; of the recipe that would be released, or of the one that is named.

    Raises
    ------
    InputError
        If the run has not generated samples.
    """
    import pandas as pd

    from sciimg.review.presentation import presentation_of
    from sciimg.stages.ledger import Run
    from sciimg.validation.material import real_data, synthetic_set

    study = Run(run).loaded.study
    recipe = recipe or _recipe(run, study)
    synthetic = synthetic_set(study, run / f"generate-{recipe}" / "synthetic")
    if synthetic is None or not (run / REGIONS).exists():
        message = f"Readers need samples of recipe {recipe!r}; generate-{recipe} is not finished. Run `sciimg run` on the study first."
        raise InputError(Problem(str(run), "no-samples", message))
    real = real_data(study, run / COLLECTION, pd.read_parquet(run / REGIONS)).holdout
    return Material(study, recipe, real, synthetic, presentation_of(real.images, real.channels, real.spacing, stains_of(study)))


def run_of(study: Path, workdir: Path) -> Path:
    """Return the run folder that is meant: the folder itself, or that of a study file.

    Raises
    ------
    InputError
        If there is no such run.
    """
    from sciimg.protocol import load_study
    from sciimg.stages.ledger import Run, run_folder

    folder = study if study.is_dir() else run_folder(load_study(study).study, workdir)
    if not (folder / "run.json").exists():
        message = f"Readers see the samples of a run; there is none in {folder}. Run `sciimg run` on the study first, or give --workdir."
        raise InputError(Problem(str(study), "not-a-run", message))
    return Run(folder).path


def sheets_command(run: Path, out: Path, readers: int | None = None) -> dict[str, Any]:
    """Write blinded sheets for the recipe that a run would release (or its first candidate).

    Parameters
    ----------
    run : Path
        A run folder with generated samples.
    out : Path
        New folder for the readers; the key goes beside it, as ``<out>-key.json``.
    readers : int, optional
        How many sheets; default: as many as the study plans, or 3.

    Returns
    -------
    dict
        ``files`` for the readers, the ``key``, the ``recipe``, how many ``readers`` and ``items``, and ``cautions`` about the images.

    Raises
    ------
    InputError
        If the run has not generated samples, and for what :func:`sciimg.review.sheets.write_sheets` refuses.
    """
    from sciimg.review.sheets import write_sheets

    of = material(run)
    study = of.study
    names = [f"reader-{n}" for n in range(1, (readers or study.review.readers or 3) + 1)]
    place = out.with_name(f"{out.name}-key.json")
    key = write_sheets(
        of.real,
        of.synthetic,
        of.show,
        study.review,
        out=out,
        key_file=place,
        readers=names,
        seed_key=(study.digest, of.recipe),
        title=f"Reading sheet: {study.name}",
        study=study.digest,
        recipe=of.recipe,
        date=study.registered,
    )
    files = [str(p) for p in sorted(out.rglob("*")) if p.is_file()]
    return {
        "files": files,
        "key": str(place),
        "recipe": of.recipe,
        "readers": len(names),
        "items": len(key.items) // len(names),
        "cautions": key.cautions,
    }


def score_command(answers: list[Path], key: Path | None, run: Path | None = None, *, partial: bool = False) -> dict[str, Any]:
    """Score sessions, filled sheets or long tables; return the JSON of ``sciimg review score``.

    Parameters
    ----------
    run : Path, optional
        A run whose study planned the review: the score becomes its evidence, and the next ``sciimg run`` decides with it.
    partial : bool
        Score although sheets or answers are missing; the notes then say so. Not for a run: what is decided with is complete.

    Raises
    ------
    InputError
        With every problem of every file at once; for a folder that is no run, and a score of another study.
    """
    from sciimg.review.score import matched

    if partial and run is not None:
        message = "A run is decided with a complete reader study. Leave --partial away, or score without --run."
        raise InputError(Problem("--partial", "partial-score", message))
    found = matched(answers, key, partial=partial)
    if run is not None:
        _record(found, run)
    return found.score().summary()


def _record(found: "Matched", run: Path) -> None:
    """Write the evidence; who signs it signs every reading and, through the heads of their chains, every answer of the sessions."""
    from sciimg.review.evidence import as_evidence
    from sciimg.stages.ledger import Run

    if not (run / "run.json").exists():
        raise InputError(Problem(str(run), "not-a-run", "A score is recorded in a run folder, runs/<study>-<digest8>; this is none."))
    study, key = Run(run).loaded.study, found.key
    if key is None or key.study is None:
        message = "A run is decided with answers about its own images; the key says which those were. Give a session, or --key KEY.json."
        raise InputError(Problem(str(run), "no-key", message))
    if key.study != study.digest:
        message = f"These answers belong to study {key.study}, the run to {study.digest}. Name the run that the sheets were made from."
        raise InputError(Problem(str(run), "other-study", message))
    if key.recipe is None or key != _drawn(run, study, key.recipe, key.readers):
        message = "The key is not the one that this run draws: other images, items, questions or truths. Take the key as it was written."
        raise InputError(Problem(str(run), "other-key", message))
    place, evidence = _evidence(run, key.recipe), as_evidence(found.readings, key.plan, found.heads, key.cautions)
    if place.exists() and json.loads(place.read_text(encoding="utf-8")) != json.loads(json.dumps(evidence)):
        message = (
            "Other answers about these images are recorded; readings are not repeated until they please. Move the file away if it is wrong."
        )
        raise InputError(Problem(str(place), "recorded-already", message))
    write_json(place, evidence)


def _drawn(run: Path, study: Study, recipe: str, readers: tuple[str, ...]) -> "ReviewKey | None":
    """Return the key that a run gives, or None where it has no such recipe."""
    from sciimg.review.items import draw_session

    if recipe not in [r.name for r in study.recipes]:
        return None
    of = material(run, recipe)
    return draw_session(of.real, of.synthetic, study.review, readers, (study.digest, recipe), study=study.digest, recipe=recipe).key


def stains_of(study: Study) -> StainSeparation | None:
    """Return the stain separation that the images went through, if any: it says how to show them."""
    return next((p for source in study.sources for p in source.prepare if isinstance(p, StainSeparation)), None)


def _recipe(run: Path, study: Study) -> str:
    from sciimg.records import Decision

    candidates = [r.name for r in study.recipes if r.role == "candidate"] or [study.recipes[0].name]
    decided = run / "decide/decision.json"
    if not decided.exists():
        return candidates[0]
    decision = Decision.model_validate_json(decided.read_text(encoding="utf-8"))
    failed = {gate.recipe for gate in decision.gates if gate.outcome == "failed"}
    return decision.released or next((name for name in candidates if name not in failed), candidates[0])
