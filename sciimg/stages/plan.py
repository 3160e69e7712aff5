"""Which stages a study has, and what each does: the one list that every engine follows.

Each ``_work`` function is glue: it names the folders that a stage reads and writes and calls the room that does the job. Rooms are
imported inside, because a stage should load only what it needs.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

from sciimg.files import write_json
from sciimg.protocol.models import RecipePlan, Study
from sciimg.records import digest_file
from sciimg.stages.ledger import Run, Stage, environment, log

COLLECTION = Path("ingest/collection")
REGIONS = Path("split/regions.parquet")


def plan(study: Study) -> dict[str, Stage]:
    """Return the stages of a study by name, in an order in which they can run.

    Of the heavy stages that are ready at the same time the earlier ones begin first, so training stands before what is quicker.
    """
    recipes = [r.name for r in study.recipes]
    stages = [
        Stage("ingest", (), _ingest, parameters=_source_files),
        Stage("split", ("ingest",), _split),
        *(
            Stage(f"train-{r.name}", ("ingest", "split"), partial(_train, r), parameters=partial(_resolved, r), heavy=True)
            for r in study.recipes
        ),
        Stage("baseline", ("ingest", "split"), _baseline, heavy=True),
        Stage("verify", (), _verify, parameters=_this_machine, heavy=True),
        *(Stage(f"generate-{r.name}", ("ingest", "split", f"train-{r.name}"), partial(_generate, r), heavy=True) for r in study.recipes),
        *(Stage(f"validate-{r}", ("ingest", "split", "baseline", f"generate-{r}"), partial(_validate, r), heavy=True) for r in recipes),
        Stage("decide", ("split", "verify", *(f"validate-{r}" for r in recipes)), _decide, parameters=_readers),
        Stage("release", ("ingest", *(f"{s}-{r}" for r in recipes for s in ("train", "generate")), "decide"), _release, parameters=_signer),
    ]
    return {stage.name: stage for stage in stages}


# ---------------------------------------------------------------- what a stage depends on beyond the study and earlier stages


def _source_files(run: Run) -> Any:
    """Digest of every file that the study's sources name: changed images are other inputs."""
    from sciimg.stages.source_files import source_digests

    return source_digests(run.loaded)


def _this_machine(run: Run) -> Any:
    return environment()


def _resolved(recipe: RecipePlan, run: Run) -> Any:
    """Every setting of the recipe, also those that the study leaves to it: another default is another model."""
    from sciimg.augmenters.recipes import get_recipe

    return get_recipe(recipe.recipe, recipe.options, run.loaded.study.dims).model_dump(mode="json")


def _readers(run: Run) -> Any:
    """Digest of the scored reader study, if there is one: a decision taken before it is taken again."""
    from sciimg.stages.review import EVIDENCE

    return digest_file(run.path / EVIDENCE) if (run.path / EVIDENCE).exists() else None


def _signer(run: Run) -> Any:
    from sciimg.provenance.keys import own_key

    return own_key().id


# ---------------------------------------------------------------- what a stage does


def _ingest(run: Run, out: Path) -> None:
    from sciimg.stages.ingest import ingest_study

    ingest_study(run.loaded, out)


def _split(run: Run, out: Path) -> None:
    from sciimg.stages.split import split_collection

    split_collection(run.loaded.study, run.path / COLLECTION, out)


def _verify(run: Run, out: Path) -> None:
    from sciimg.stages.verify import verify_machine

    write_json(out / "evidence.json", verify_machine())


def _train(recipe: RecipePlan, run: Run, out: Path) -> None:
    from sciimg.stages.train import train_recipe

    train_recipe(run.loaded.study, recipe, run.path / COLLECTION, run.path / REGIONS, out / "model", log)


def _generate(recipe: RecipePlan, run: Run, out: Path) -> None:
    from sciimg.stages.generate import generate_recipe

    model = run.folder(f"train-{recipe.name}") / "model"
    generate_recipe(run.loaded.study, recipe, model, run.path / COLLECTION, run.path / REGIONS, out)


def _baseline(run: Run, out: Path) -> None:
    from sciimg.stages.baseline import baseline

    baseline(run.loaded.study, real=run.path / COLLECTION, regions=run.path / REGIONS, out=out)


def _validate(recipe: str, run: Run, out: Path) -> None:
    from sciimg.stages.validate import validate

    made = run.folder(f"generate-{recipe}")
    validate(
        run.loaded.study,
        real=run.path / COLLECTION,
        regions=run.path / REGIONS,
        synthetic=made / "synthetic",
        paired=_if_there(made / "paired"),
        reconstruction=_if_there(made / "reconstruction"),
        unmarked=_if_there(made / "unmarked"),
        made_baseline=run.folder("baseline"),
        folder=run.loaded.folder,
        out=out,
    )


def _decide(run: Run, out: Path) -> None:
    from sciimg.decision import collect, decide

    recipes, common = collect({stage: json.loads(path.read_text()) for stage, path in _evidence(run).items()})
    write_json(out / "decision.json", decide(run.loaded.study, recipes, common).as_json())


def _release(run: Run, out: Path) -> None:
    from sciimg.provenance.keys import own_key
    from sciimg.provenance.release import publish
    from sciimg.records import Decision, Digest
    from sciimg.report.build import report_of_run, write_report
    from sciimg.store import Collection
    from sciimg.store.catalogue import removed_in

    release = out / "release"
    ingested = json.loads((run.folder("ingest") / "rejected.json").read_text())
    decision = Decision.model_validate_json((run.folder("decide") / "decision.json").read_text())

    def render(place: Path, payload: Digest) -> None:
        write_report(report_of_run(run.path, place), place)

    publish(
        release,
        own_key(),
        study=run.loaded,
        decision=decision,
        evidence=_evidence(run),
        synthetic=run.folder(f"generate-{decision.released}") / "synthetic" if decision.released else None,
        stages={name: entry for name in plan(run.loaded.study) if (entry := run.ledger(name))},
        environment=environment(),
        rejected=ingested["rejected"],
        notes=ingested.get("notes", ()),
        removed=removed_in(Collection(run.path / COLLECTION).catalogue.to_dict("records")),
        render=render,
    )


def _evidence(run: Run) -> dict[str, Path]:
    """Return the evidence files that the decision reads, by stage."""
    from sciimg.stages.review import EVIDENCE

    stages = ["split", "verify", *(f"validate-{r.name}" for r in run.loaded.study.recipes)]
    files = {stage: run.folder(stage) / "evidence.json" for stage in stages}
    return files | ({"review": reading} if (reading := run.path / EVIDENCE).exists() else {})


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
