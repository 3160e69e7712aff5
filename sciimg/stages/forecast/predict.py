"""What a run will cost, before anything starts: time, processor, memory and disk of every stage, each with how it is known.

Three ways to know, the best that there is for a stage:

``earlier``  runs in the same work folder: what the same kind of stage (of training and generation: with the same networks) took for a unit
             of its work;
``timed``    a few steps of training and a chunk of samples at the real sizes, made here and now (:mod:`sciimg.stages.forecast.trial`);
``usual``    unit costs that were measured on other machines, at the speed of this one (:mod:`sciimg.stages.forecast.usual`).

A range goes with each: the factor by which such predictions were off when they were tried (``reports/benchmarks/costs.json``), or the
spread of earlier runs. Ranges of sums add up, as if all errors pointed the same way.
"""

import heapq
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sciimg.errors import SciimgError
from sciimg.protocol import LoadedStudy
from sciimg.protocol.models import GeneratedMasks, Study
from sciimg.stages.costs.measured import cores
from sciimg.stages.forecast.earlier import Past, of_earlier, past_stages, plain
from sciimg.stages.forecast.material import Material, ingested, material
from sciimg.stages.forecast.ranges import BYTES, MEMORY, NOTHING, START, Forecast, Range
from sciimg.stages.forecast.trials import Trials, needs_trial
from sciimg.stages.forecast.usual import SPEED_S, Usual, speed_s, usual
from sciimg.stages.ledger import Run, Stage

_USUAL = 2.5  # by how much predictions from usual costs may be off, as a factor
_FLOW_S = 12.0  # of the flow with its server
_SERVER_MB = 450.0
_TEMPORARY_BYTES = 100e6  # what reports and the flow put beside, for a while


def predict(
    loaded: LoadedStudy, workdir: Path, run: Run, stages: Mapping[str, Stage], done: Mapping[str, bool], slots: int
) -> dict[str, Any]:
    """Return what the stages of a run that are not done will cost.

    Parameters
    ----------
    stages : mapping
        As :func:`sciimg.stages.plan.plan` gives them.
    done : mapping
        Which of them need not be done again.
    slots : int
        Heavy stages at the same time; 0 means one a core.

    Returns
    -------
    dict
        ``stages``: name to :meth:`Forecast.as_json`, or ``{"unknown": why}``; ``totals``; ``disk``; ``warnings``; ``notes``.
    """
    to_do = [name for name in stages if not done[name]]
    try:
        about = material(loaded)
        about = ingested(run.folder("ingest") / "collection", about) if run.ledger("ingest") else about
    except SciimgError as error:
        why = f"the size of the images is not known: {error.problems[0].message}"
        return {"stages": {n: {"unknown": why} for n in to_do}, "totals": None, "disk": None, "warnings": [], "notes": [why]}
    forecasts, unknown = _forecasts(loaded, list(past_stages(workdir)), to_do, about, slots)
    width = min(slots or cores(), cores())
    kept, beside = _sum(f.kept_bytes for f in forecasts.values()), sum(heapq.nlargest(width, (f.beside_bytes for f in forecasts.values())))
    memory, disk = _memory(stages, forecasts, width), _disk(workdir, kept + Range(beside, beside, beside))
    cpu = _sum(f.cpu_s for f in forecasts.values())
    totals = {"wall_s": _simulated(stages, forecasts, width), "cpu_s": cpu, "peak_mb": memory, "kept_bytes": kept}
    return {
        "stages": {name: forecasts[name].as_json() if name in forecasts else {"unknown": unknown[name]} for name in to_do},
        "totals": {name: value.as_json() for name, value in totals.items()} | {"at_least": bool(unknown)},
        "disk": disk,
        "warnings": _warnings(disk, memory),
        "notes": [*_notes(loaded.study, about, unknown), *_busy()],
    }


def _forecasts(
    loaded: LoadedStudy, past: Sequence["Past"], names: Sequence[str], about: Material, slots: int
) -> tuple[dict[str, Forecast], dict[str, str]]:
    """Return what is known of stages, and why nothing is known of the others; those of a fold cost what those of the study do."""
    study = loaded.study
    wanted = list(dict.fromkeys(plain(name) for name in names))
    timed = Trials(loaded, about, min(slots or cores(), cores()))
    timed.begin([recipe for recipe in study.recipes if needs_trial(wanted, recipe, study, past)])
    pace = speed_s() / SPEED_S
    found: dict[tuple[str, str | None], Forecast] = {}
    for kind, recipe in wanted:
        forecast = of_earlier(kind, recipe, study, about, past)
        if forecast is None and recipe is not None and kind in ("train", "generate"):
            forecast = timed.training(recipe) if kind == "train" else timed.generation(recipe)
        if forecast is None and (typical := usual(kind, study, about)) is not None:
            forecast = _of_usual(typical, pace)
        if forecast is not None:
            found[kind, recipe] = forecast
    known = {name: found[plain(name)] for name in names if plain(name) in found}
    return known, {name: timed.why(plain(name)[1]) for name in names if name not in known}


def _of_usual(typical: Usual, pace: float) -> Forecast:
    """Return a forecast from what a stage costs on the machine of reference, on one that needs ``pace`` times as long."""
    cpu = Range.around(typical.cpu_s * pace, _USUAL)
    sizes = Range.around(typical.peak_mb, MEMORY), Range.around(typical.kept_bytes, 2 * BYTES)
    return Forecast(cpu, cpu + START * max(1.0, pace), *sizes, 0.0, "usual costs, at this machine's speed")


def _sum(ranges: Iterable[Range]) -> Range:
    return sum(ranges, NOTHING)


def _simulated(stages: Mapping[str, Stage], forecasts: Mapping[str, Forecast], width: int) -> Range:
    """Return how long it takes until all is done, where ``width`` heavy stages run at the same time."""

    def end(which: str) -> float:
        return _FLOW_S + schedule(stages, {name: getattr(f.wall_s, which) for name, f in forecasts.items()}, width)

    return Range(end("low"), end("value"), end("high"))


def schedule(stages: Mapping[str, Stage], lasts: Mapping[str, float], width: int) -> float:
    """Return when the last stage ends; of those that are ready, the one that stands first begins first, as in a run."""
    ended, waiting, now = {name for name in stages if name not in lasts}, [name for name in stages if name in lasts], 0.0
    going: list[tuple[float, str]] = []
    while waiting or going:
        for name in list(waiting):
            full = stages[name].heavy and sum(stages[other].heavy for _, other in going) >= width
            if not full and all(need in ended for need in stages[name].needs):
                waiting.remove(name)
                heapq.heappush(going, (now + lasts[name], name))
        now, name = heapq.heappop(going)
        ended.add(name)
    return now


def _memory(stages: Mapping[str, Stage], forecasts: Mapping[str, Forecast], width: int) -> Range:
    """Return the memory of the largest stages that may run at the same time, and of the flow's own server."""
    heavy = [f.peak_mb for name, f in forecasts.items() if stages[name].heavy] or [f.peak_mb for f in forecasts.values()]
    return _sum(heapq.nlargest(width, heavy, key=lambda r: r.value)) + Range(_SERVER_MB, _SERVER_MB, _SERVER_MB)


def _disk(workdir: Path, needed: Range) -> dict[str, Any]:
    places = {"workdir": _there(workdir), "temporary": Path(tempfile.gettempdir())}
    wanted = {"workdir": needed, "temporary": Range(0.0, _TEMPORARY_BYTES / 4, _TEMPORARY_BYTES)}
    return {
        name: {"path": str(path), "needed_bytes": wanted[name].as_json(0), "free_bytes": shutil.disk_usage(path).free}
        for name, path in places.items()
    }


def _there(path: Path) -> Path:
    """Return the nearest folder that is there."""
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def _warnings(disk: Mapping[str, Any], memory: Range) -> list[str]:
    from sciimg.report.costs import size

    found = []
    for place in disk.values():
        needed, free = place["needed_bytes"], place["free_bytes"]
        if free < needed["high"]:
            does = "is not enough" if free < needed["value"] else "may not be enough"
            found.append(
                f"The disk of {place['path']} has {size(free)} free, which {does}: about {size(needed['value'])} "
                f"({size(needed['low'])} to {size(needed['high'])}) will be needed. Make room, or choose another --workdir (or TMPDIR)."
            )
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    if memory.value > have:
        found.append(f"About {memory.value:.0f} MiB of memory will be needed at once; this machine has {have:.0f} MiB. Use fewer --slots.")
    return found


def _notes(study: Study, about: Material, unknown: Mapping[str, str]) -> list[str]:
    found = [f"Not counted, because {why}: {listed}." for why, listed in _by_reason(unknown)]
    if not about.complete:
        found.append("The images' sizes are those of a few files of each source.")
    if isinstance(study.generate.masks, GeneratedMasks):
        found.append("The training of the recipe that draws masks is not counted.")
    return found


def _busy() -> list[str]:
    """Say where wall times, which are those of an idle machine, will not hold."""
    load = os.getloadavg()[0]
    if load < cores():
        return []
    return [f"This machine is busy (load {load:.0f} on {cores()} cores): wall times are those of an idle one."]


def _by_reason(unknown: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for why in dict.fromkeys(unknown.values()):
        yield why, ", ".join(name for name, own in unknown.items() if own == why)


def each_fold(study: Study, found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what each fold will cost where the split has not said yet how many there are."""
    from sciimg.report.costs import duration

    names = ["baseline", *(f"{kind}-{r.name}" for r in study.folded for kind in ("train", "generate", "validate"))]
    costs = [found[name]["cpu_s"]["value"] for name in names if "cpu_s" in found.get(name, {})]
    return [f"Each fold takes about {duration(sum(costs))} of processor time more; the split says how many there are."] if costs else []
