"""What earlier runs in the same work folder say: what the same kind of stage took for a unit of its work."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from sciimg.errors import SciimgError
from sciimg.protocol import LoadedStudy
from sciimg.protocol.models import RecipePlan, Study
from sciimg.stages.forecast.material import Material, ingested, labels_of
from sciimg.stages.forecast.ranges import BYTES, START, Forecast, Range
from sciimg.stages.forecast.usual import sample_bytes, samples, usual
from sciimg.stages.ledger import Run

_FACTOR, _LEAST = 1.5, 1.25  # by how much one run may be off, and however well several agree
_MOST = 50  # runs that are looked at


@dataclass(frozen=True)
class Past:
    """A finished stage of an earlier run: its costs, and how much work it was."""

    kind: str
    recipe: str | None
    study: Study
    about: Material
    entry: Mapping[str, Any]
    card: Mapping[str, Any] | None


def past_stages(workdir: Path) -> Iterator[Past]:
    """Yield every stage that was carried out in this work folder; runs that cannot be read teach nothing."""
    for path in sorted(workdir.glob("*/run.json"))[:_MOST]:
        earlier = Run(path.parent)
        with suppress(SciimgError, OSError, ValueError, KeyError, StopIteration):
            study = earlier.loaded.study
            about = ingested(earlier.folder("ingest") / "collection", _told(earlier.loaded))
            for entry_file in sorted(earlier.path.glob("*/stage.json")):
                kind, recipe = plain(entry_file.parent.name)
                entry = json.loads(entry_file.read_text(encoding="utf-8"))
                model = earlier.folder(entry_file.parent.name.replace("generate-", "train-")) / "model" / "model.json"
                card = json.loads(model.read_text(encoding="utf-8")) if kind in ("train", "generate") else None
                yield Past(kind, recipe, study, about, entry, card)


def _told(loaded: LoadedStudy) -> Material:
    return replace(Material(0, 0, 0, (), "uint16"), **labels_of(loaded.study.sources[0]))


def of_earlier(kind: str, recipe: str | None, study: Study, about: Material, past: Sequence[Past]) -> Forecast | None:
    """Return a forecast from stages of the same kind, scaled by how much more work this one is."""
    alike = [p for p in past if p.kind == kind and same_networks(p, recipe, study)]
    if not alike:
        return None
    timings = [p.entry["timings"] for p in alike]
    rates = [t["cpu_s"] / _units(p.kind, p.recipe, p.study, p.about) for p, t in zip(alike, timings, strict=True)]
    longer = median(max(1.0, t["wall_s"] / t["cpu_s"]) if t["cpu_s"] > 1 else 1.0 for t in timings)
    rate = median(rates)
    factor = max(_LEAST, *(max(r / rate, rate / r) for r in rates)) if len(rates) > 1 and rate else _FACTOR
    cpu = Range.around(rate * _units(kind, recipe, study, about), factor)
    wall = cpu * longer + START
    memory = Range.around(max(t["peak_mb"] for t in timings), _LEAST)
    packed = median(p.entry["outputs"]["bytes"] / _bulk(p.kind, p.study, p.about) for p in alike)
    kept = Range.around(packed * _bulk(kind, study, about), BYTES)
    what = "an earlier run" if len(alike) == 1 else f"{len(alike)} earlier runs"
    beside = 3 * kept.value if kind == "train" else 0.0
    return Forecast(cpu, wall, memory, kept, beside, what)


def _units(kind: str, recipe: str | None, study: Study, about: Material) -> float:
    """Return how much work a stage is; only ratios between stages of one kind count."""
    if recipe is None or kind not in ("train", "generate"):
        typical = usual(kind, study, about)
        assert typical is not None
        return typical.cpu_s
    settings = settings_of(plan_of(study, recipe), study)
    voxels = _voxels(study)
    if kind == "generate":
        return samples(study) * (1 + (study.generate.steps or settings["sampler"]["steps"])) * voxels
    schedules = [settings["training"], settings["space"].get("training")]
    return sum(float(s["steps"] * s["batch"]) for s in schedules if s) * voxels


def _voxels(study: Study) -> float:
    product = 1.0
    for n in study.patches.shape:
        product *= n
    return product


def _bulk(kind: str, study: Study, about: Material) -> float:
    """Return what the bytes of a stage grow with; a model of the same networks has the same size."""
    if kind == "train":
        return 1.0
    if kind == "generate":
        return samples(study) * sample_bytes(study, about)
    typical = usual(kind, study, about)
    assert typical is not None
    return typical.kept_bytes


def plan_of(study: Study, recipe: str) -> RecipePlan:
    return next(r for r in study.recipes if r.name == recipe)


def settings_of(plan: RecipePlan, study: Study) -> dict[str, Any]:
    from sciimg.augmenters.recipes import get_recipe

    return get_recipe(plan.recipe, plan.options, study.dims).model_dump(mode="json")


def same_networks(past: Past, recipe: str | None, study: Study) -> bool:
    """Whether an earlier stage trained, or sampled, the networks that this one will: budgets may differ, and the images."""
    if past.card is None or recipe is None:
        return past.card is None
    mine, theirs = settings_of(plan_of(study, recipe), study), past.card["recipe"]
    return len(past.card["shape"]) == study.dims + 1 and _network(mine) == _network(theirs)


def _network(settings: Mapping[str, Any]) -> Any:
    space = {key: value for key, value in settings["space"].items() if key != "training"}
    threads = settings["training"]["threads"]
    return [space, settings["process"], settings["backbone"], settings["sampler"]["name"], threads]


def plain(name: str) -> tuple[str, str | None]:
    """Return kind and recipe of a stage, whatever the fold."""
    if name.startswith("fold-"):
        name = name.split("-", 2)[2]
    kind, _, recipe = name.partition("-")
    return kind, recipe or None
