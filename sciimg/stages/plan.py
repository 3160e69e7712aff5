"""Which stages a study has, and what each does: the one list that every engine follows.

Each ``_work`` function is glue: it names the folders that a stage reads and writes and calls the room that does the job. Rooms are
imported inside, because a stage should load only what it needs.
"""

from functools import partial
from pathlib import Path
from typing import Any

from sciimg.protocol.models import RecipePlan, Study
from sciimg.stages.ledger import Run, Stage

COLLECTION = Path("ingest/collection")
REGIONS = Path("split/regions.parquet")


def plan(study: Study) -> dict[str, Stage]:
    """Return the stages of a study by name, in an order in which they can run."""
    recipes = [r.name for r in study.recipes]
    trained = [f"train-{r}" for r in recipes]
    validated = [f"validate-{r}" for r in recipes]
    stages = [
        Stage("ingest", (), _ingest, parameters=_sources),
        Stage("split", ("ingest",), _split),
        *(Stage(f"train-{r.name}", ("ingest", "split"), partial(_train, r), heavy=True) for r in study.recipes),
        Stage("baseline", ("ingest", "split"), _baseline, heavy=True),
        Stage("verify", (), _verify, parameters=_this_machine, heavy=True),
        *(Stage(f"generate-{r}", ("ingest", "split", f"train-{r}"), partial(_generate, r), heavy=True) for r in recipes),
        *(
            Stage(f"validate-{r}", ("ingest", "split", "baseline", f"generate-{r}"), partial(_validate, r), heavy=True)
            for r in recipes
        ),
        Stage("review", tuple(f"generate-{r}" for r in recipes), _review),
        Stage("decide", ("split", "verify", "review", *validated), _decide),
        Stage("release", ("ingest", *trained, "decide"), _release, parameters=_signer),
    ]
    return {stage.name: stage for stage in stages}


def _recipe(study: Study, name: str) -> RecipePlan:
    return next(r for r in study.recipes if r.name == name)
