"""Reader studies from the command line: blinded sheets out of a run, scores out of filled sheets."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciimg.errors import InputError, Problem
from sciimg.files import write_json
from sciimg.protocol.models import StainSeparation, Study

if TYPE_CHECKING:
    from sciimg.review.presentation import Presentation
    from sciimg.review.score import ReviewScore
    from sciimg.types import PatchSet

COLLECTION = Path("ingest/collection")
REGIONS = Path("split/regions.parquet")
EVIDENCE = Path("review/evidence.json")


@dataclass(frozen=True)
class Material:
    """What a reader study of a run is made from: the recipe that would be released (or the first candidate) beside the real holdout."""

    study: Study
    recipe: str
    real: "PatchSet"
    synthetic: "PatchSet"
    show: "Presentation"


def material(run: Path) -> Material:
    """Return the images of a run that readers may be shown.

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
    recipe = _recipe(run, study)
    synthetic = synthetic_set(study, run / f"generate-{recipe}" / "synthetic")
    if synthetic is None or not (run / REGIONS).exists():
        message = f"Sheets need samples of recipe {recipe!r}; generate-{recipe} is not finished. Run `sciimg run` on the study first."
        raise InputError(Problem(str(run), "no-samples", message))
    real = real_data(study, run / COLLECTION, pd.read_parquet(run / REGIONS)).holdout
    return Material(study, recipe, real, synthetic, presentation_of(real.images, real.channels, real.spacing, stains_of(study)))


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
        ``files`` for the readers, the ``key``, the ``recipe``, and how many ``readers`` and ``items``.

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
    return {"files": files, "key": str(place), "recipe": of.recipe, "readers": len(names), "items": len(key.items) // len(names)}


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
    from sciimg.review.score import score_files

    if partial and run is not None:
        message = "A run is decided with a complete reader study. Leave --partial away, or score without --run."
        raise InputError(Problem("--partial", "partial-score", message))
    score = score_files(answers, key, partial=partial)
    if run is not None:
        _record(score, run)
    return score.summary()


def _record(score: "ReviewScore", run: Path) -> None:
    """Write score and evidence; who signs the evidence signs, through the heads of their chains, every answer of the sessions."""
    from sciimg.review.evidence import metrics
    from sciimg.stages.ledger import Run

    if not (run / "run.json").exists():
        raise InputError(Problem(str(run), "not-a-run", "A score is recorded in a run folder, runs/<study>-<digest8>; this is none."))
    digest = Run(run).loaded.study.digest
    if score.study not in (None, digest):
        message = f"These answers belong to study {score.study}, the run to {digest}. Name the run that the sheets were made from."
        raise InputError(Problem(str(run), "other-study", message))
    write_json(run / "review/score.json", score.as_json())
    sessions = {"sessions": list(score.sessions)} if score.sessions else {}
    write_json(run / EVIDENCE, {"metrics": [m.as_json() for m in metrics(score)], **sessions})


def stains_of(study: Study) -> StainSeparation | None:
    """Return the stain separation that the images went through, if any: it says how to show them."""
    return next((p for source in study.sources for p in source.prepare if isinstance(p, StainSeparation)), None)


def _recipe(run: Path, study: Study) -> str:
    from sciimg.records import Decision

    decided = run / "decide/decision.json"
    released = Decision.model_validate_json(decided.read_text(encoding="utf-8")).released if decided.exists() else None
    return released or next((r.name for r in study.recipes if r.role == "candidate"), study.recipes[0].name)
