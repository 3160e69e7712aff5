"""Which stages a study has, and what each does: the one list that every engine follows.

Each ``_work`` function is glue: it names the folders that a stage reads and writes and calls the room that does the job. Rooms are
imported inside, because a stage should load only what it needs.
"""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sciimg.files import write_json
from sciimg.protocol.models import RecipePlan, Study
from sciimg.records import digest_file
from sciimg.stages.ledger import Run, Stage, environment, log
from sciimg.stages.split import FOLDS, REGIONS, fold_files

COLLECTION = Path("ingest/collection")


@dataclass(frozen=True)
class Cut:
    """What stages see of the real images: the split of the study, or a fold of it, in which the same stages have names of their own."""

    fold: int = 0  # from 1; 0 is the study itself

    def name(self, stage: str) -> str:
        return f"fold-{self.fold}-{stage}" if self.fold else stage

    def regions(self, run: Run) -> Path:
        return run.folder("split") / (f"{FOLDS}/{self.fold}.parquet" if self.fold else REGIONS)

    @property
    def key(self) -> tuple[str, ...]:
        """What random draws depend on beside the study."""
        return ("fold", str(self.fold)) if self.fold else ()


def plan(study: Study, folds: int | None = None) -> dict[str, Stage]:
    """Return the stages of a study by name, in an order in which they can run.

    Of the heavy stages that are ready at the same time the earlier ones begin first, so training stands before what is quicker; but the
    baseline of the study before all training, because its rehearsal may show that hours of it are not worth beginning.

    Parameters
    ----------
    folds : int or None
        How many there are where the study leaves one group out, as :func:`folds_of` knows it; without it the plan ends with the split.
    """
    first = [Stage("ingest", (), _ingest, parameters=_source_files, heavy=True), Stage("split", ("ingest",), _split)]
    asked = study.validation.cross_validation
    count = 0 if asked is None else asked.folds or folds
    if count is None:
        return {stage.name: stage for stage in first}
    own, again = Cut(), [Cut(fold) for fold in range(1, count + 1)]
    recipes, folded = study.recipes, study.folded
    cuts = [(own, recipes), *((cut, folded) for cut in again)]
    stages = [
        *first,
        _judges(own),
        *(_training(recipe, cut) for cut, these in cuts for recipe in these),
        *(_judges(cut) for cut in again),
        Stage("verify", (), _verify, parameters=_this_machine, heavy=True),
        *(_generation(recipe, cut) for cut, these in cuts for recipe in these),
        *(_validation(recipe, cut) for cut, these in cuts for recipe in these),
        *(_pooling(recipe, again) for recipe in folded),
        Stage("decide", ("split", "verify", *_judging(study)), _decide, parameters=_readers),
        Stage(
            "release",
            ("ingest", *(f"{stage}-{r.name}" for r in recipes for stage in ("train", "generate")), "decide"),
            _release,
            parameters=_signed_with,
        ),
    ]
    return {stage.name: stage for stage in stages}


def plan_of(run: Run) -> dict[str, Stage]:
    """Return the stages of a run, as far as they are known."""
    return plan(run.loaded.study, folds_of(run))


def folds_of(run: Run) -> int | None:
    """Return into how many folds the split of a run fell; None where it is not done."""
    return None if run.ledger("split") is None else len(fold_files(run.folder("split")))


def _judges(cut: Cut) -> Stage:
    return Stage(cut.name("baseline"), ("ingest", "split"), partial(_baseline, cut), heavy=True)


def _training(recipe: RecipePlan, cut: Cut) -> Stage:
    name = cut.name(f"train-{recipe.name}")
    return Stage(name, ("ingest", "split"), partial(_train, recipe, cut), parameters=partial(_resolved, recipe), heavy=True, trains=True)


def _generation(recipe: RecipePlan, cut: Cut) -> Stage:
    needs = ("ingest", "split", cut.name(f"train-{recipe.name}"))
    return Stage(cut.name(f"generate-{recipe.name}"), needs, partial(_generate, recipe, cut), heavy=True)


def _validation(recipe: RecipePlan, cut: Cut) -> Stage:
    needs = ("ingest", "split", cut.name("baseline"), cut.name(f"generate-{recipe.name}"))
    return Stage(cut.name(f"validate-{recipe.name}"), needs, partial(_validate, recipe.name, cut), heavy=True)


def _pooling(recipe: RecipePlan, folds: list[Cut]) -> Stage:
    needs = ("ingest", "split", *(cut.name(f"validate-{recipe.name}") for cut in folds))
    return Stage(f"folds-{recipe.name}", needs, partial(_pool, recipe.name, folds))


def _judging(study: Study) -> list[str]:
    """Return the stages whose evidence speaks of a recipe."""
    return [*(f"validate-{r.name}" for r in study.recipes), *(f"folds-{r.name}" for r in study.folded)]


# ---------------------------------------------------------------- what a stage depends on beyond the study and earlier stages


def _source_files(run: Run) -> Any:
    """Digest of every file that the study's sources name: changed images are other inputs."""
    from sciimg.stages.source_files import source_digests

    return source_digests(run.loaded)


def _this_machine(run: Run) -> Any:
    if not _benchmarks(run):
        return environment()
    from sciimg.verification.bands import bands_digest

    return environment() | {"bands": bands_digest()}


def _benchmarks(run: Run) -> bool:
    asked = run.loaded.study.verification
    return asked is not None and asked.benchmarks


def _resolved(recipe: RecipePlan, run: Run) -> Any:
    """Every setting of the recipe, also those that the study leaves to it: another default is another model."""
    from sciimg.augmenters.recipes import get_recipe

    return get_recipe(recipe.recipe, recipe.options, run.loaded.study.dims).model_dump(mode="json")


def _readers(run: Run) -> Any:
    """Digests of the scored reader studies, if there are any: a decision taken before them is taken again."""
    from sciimg.stages.review import answered

    return {stage: digest_file(path) for stage, path in answered(run.path, run.loaded.study).items()} or None


def _signed_with(run: Run) -> Any:
    """Whose key signs, and what readers said where they were asked: it is released even where it changes no decision."""
    from sciimg.provenance.keys import own_key

    readers = _readers(run)
    return own_key().id if readers is None else {"key": own_key().id, "readers": readers}


# ---------------------------------------------------------------- what a stage does


def _ingest(run: Run, out: Path) -> None:
    from sciimg.stages.ingest import ingest_study

    ingest_study(run.loaded, out)


def _split(run: Run, out: Path) -> None:
    from sciimg.stages.split import split_collection

    split_collection(run.loaded.study, run.path / COLLECTION, out)


def _verify(run: Run, out: Path) -> None:
    from sciimg.stages.verify import verify_machine

    write_json(out / "evidence.json", verify_machine(_benchmarks(run), log))


def _train(recipe: RecipePlan, cut: Cut, run: Run, out: Path) -> None:
    from sciimg.stages.train import train_recipe

    train_recipe(run.loaded.study, recipe, run.path / COLLECTION, cut.regions(run), out / "model", log, key=cut.key)


def _generate(recipe: RecipePlan, cut: Cut, run: Run, out: Path) -> None:
    from sciimg.stages.generate import generate_recipe
    from sciimg.workers import open_workers

    model = run.folder(cut.name(f"train-{recipe.name}")) / "model"
    with open_workers() as workers:
        generate_recipe(run.loaded.study, recipe, model, run.path / COLLECTION, cut.regions(run), out, key=cut.key, workers=workers)


def _baseline(cut: Cut, run: Run, out: Path) -> None:
    from sciimg.stages.baseline import baseline
    from sciimg.stages.rehearsal import concerns, rehearse

    given: dict[str, Any] = {"real": run.path / COLLECTION, "regions": cut.regions(run)}
    baseline(run.loaded.study, out=out, key=cut.key, **given)
    if not cut.fold:  # a fold meets the gates of the study through its pool alone
        rehearse(run.loaded.study, baseline=out, folder=run.loaded.folder, **given)
        for line in concerns(out):
            log(line)


def _validate(recipe: str, cut: Cut, run: Run, out: Path) -> None:
    from sciimg.stages.validate import validate

    made = run.folder(cut.name(f"generate-{recipe}"))
    validate(
        run.loaded.study,
        real=run.path / COLLECTION,
        regions=cut.regions(run),
        synthetic=made / "synthetic",
        paired=_if_there(made / "paired"),
        reconstruction=_if_there(made / "reconstruction"),
        unmarked=_if_there(made / "unmarked"),
        made_baseline=run.folder(cut.name("baseline")),
        folder=run.loaded.folder,
        out=out,
        key=cut.key,
    )


def _pool(recipe: str, folds: list[Cut], run: Run, out: Path) -> None:
    from sciimg.stages.folds import pool_folds

    judged = [run.folder(cut.name(f"validate-{recipe}")) for cut in folds]
    pool_folds(run.loaded.study, run.path / COLLECTION, run.folder("split"), judged, out)


def _decide(run: Run, out: Path) -> None:
    from sciimg.decision import collect, decide

    recipes, common = collect({stage: json.loads(path.read_text()) for stage, path in _evidence(run).items()})
    write_json(out / "decision.json", decide(run.loaded.study, recipes, common).as_json())


def _release(run: Run, out: Path) -> None:
    from sciimg.provenance.keys import own_key
    from sciimg.provenance.release import publish
    from sciimg.records import Decision, Digest
    from sciimg.report.build import report_of_run, write_report
    from sciimg.stages.attested import keep_attested
    from sciimg.stages.rehearsal import REHEARSAL
    from sciimg.store import Collection
    from sciimg.store.catalogue import removed_in

    release = out / "release"
    rehearsal = run.folder("baseline") / REHEARSAL
    keep_attested(run)
    ingested = json.loads((run.folder("ingest") / "rejected.json").read_text())
    decision = Decision.model_validate_json((run.folder("decide") / "decision.json").read_text())

    def render(place: Path, payload: Digest) -> None:
        write_report(report_of_run(run.path, place, costs=False, signer=own_key().signer), place)

    publish(
        release,
        own_key(),
        study=run.loaded,
        decision=decision,
        evidence=_evidence(run) | ({"rehearsal": rehearsal} if rehearsal.exists() else {}),
        synthetic=run.folder(f"generate-{decision.released}") / "synthetic" if decision.released else None,
        stages={name: entry for name in plan_of(run) if (entry := run.ledger(name))},
        environment=environment(),
        rejected=ingested["rejected"],
        notes=ingested.get("notes", ()),
        removed=removed_in(Collection(run.path / COLLECTION).columns("id", "removed").to_dict("records")),
        render=render,
    )


def _evidence(run: Run) -> dict[str, Path]:
    """Return the evidence files that the decision reads, by stage."""
    from sciimg.stages.review import answered

    stages = ["split", "verify", *_judging(run.loaded.study)]
    files = {stage: run.folder(stage) / "evidence.json" for stage in stages}
    return files | answered(run.path, run.loaded.study)


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
