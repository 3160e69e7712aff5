"""What a run will cost, before anything starts: time, processor, memory and disk of every stage, each with how it is known.

Three ways to know, the best that there is for a stage:

``earlier``  runs in the same work folder: what the same kind of stage (of training and generation: with the same networks) took for a unit
             of its work;
``timed``    a few steps of training and a chunk of samples at the real sizes, made here and now (:mod:`sciimg.stages.trial`);
``usual``    unit costs that were measured on other machines, at the speed of this one (:mod:`sciimg.stages.usual`).

A range goes with each: the factor by which such predictions were off when they were tried (``reports/benchmarks/costs.json``), or the
spread of earlier runs. Ranges of sums add up, as if all errors pointed the same way.
"""

import heapq
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from sciimg.errors import SciimgError
from sciimg.protocol import LoadedStudy
from sciimg.protocol.models import GeneratedMasks, RecipePlan, Study
from sciimg.stages.costs import cores
from sciimg.stages.ledger import Run, Stage
from sciimg.stages.material import Material, ingested, labels_of, material
from sciimg.stages.usual import SPEED_S, Usual, sample_bytes, samples, speed_s, usual

TRIAL_S = 120.0  # after which a trial is stopped, however little processor time it was given; what it saw until then counts
_EARLIER, _TIMED, _USUAL, _STOPPED = 1.5, 1.8, 2.5, 4.0  # by how much predictions of a kind may be off, as a factor
_LEAST = 1.25  # however well earlier runs agree
_BYTES, _MEMORY = 1.6, 1.3
_START_S, _FLOW_S = 2.5, 12.0  # of a stage's process, and of the flow with its server
_LOOK_S = 1.5  # what a process of a stage needs before it begins to work, in processor seconds on the machine of reference
_MOST_EARLIER = 50  # runs that are looked at
_SERVER_MB = 450.0
_TEMPORARY_BYTES = 100e6  # what reports and the flow put beside, for a while


@dataclass(frozen=True)
class Range:
    """A number with what it may be at least and at most."""

    low: float
    value: float
    high: float

    @classmethod
    def around(cls, value: float, factor: float) -> "Range":
        return cls(value / factor, value, value * factor)

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.value + other.value, self.high + other.high)

    def __mul__(self, by: float) -> "Range":
        return Range(self.low * by, self.value * by, self.high * by)

    def as_json(self, digits: int = 1) -> dict[str, float]:
        return {key: round(value, digits) for key, value in asdict(self).items()}


_NOTHING, _START = Range(0.0, 0.0, 0.0), Range(_START_S, _START_S, _START_S)


@dataclass(frozen=True)
class Forecast:
    """What one stage will cost, and how that is known.

    Parameters
    ----------
    cpu_s, wall_s, peak_mb, kept_bytes : Range
    beside_bytes : float
        On disk while it works, beyond what it keeps.
    known_from : str
    """

    cpu_s: Range
    wall_s: Range
    peak_mb: Range
    kept_bytes: Range
    beside_bytes: float
    known_from: str

    def as_json(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name).as_json() for name in ("wall_s", "cpu_s", "peak_mb", "kept_bytes")}
        return numbers | {"beside_bytes": round(self.beside_bytes), "known_from": self.known_from}


# ---------------------------------------------------------------- the whole


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
    forecasts, unknown = _forecasts(loaded, list(_past(workdir)), to_do, about, slots)
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
    loaded: LoadedStudy, past: Sequence["_Past"], names: Sequence[str], about: Material, slots: int
) -> tuple[dict[str, Forecast], dict[str, str]]:
    """Return what is known of stages, and why nothing is known of the others; those of a fold cost what those of the study do."""
    study = loaded.study
    wanted = list(dict.fromkeys(_plain(name) for name in names))
    timed = _Trials(loaded, about, min(slots or cores(), cores()))
    timed.begin([recipe for recipe in study.recipes if _needs_trial(wanted, recipe, study, past)])
    pace = speed_s() / SPEED_S
    found: dict[tuple[str, str | None], Forecast] = {}
    for kind, recipe in wanted:
        forecast = _of_earlier(kind, recipe, study, about, past)
        if forecast is None and recipe is not None and kind in ("train", "generate"):
            forecast = timed.training(recipe) if kind == "train" else timed.generation(recipe)
        if forecast is None and (typical := usual(kind, study, about)) is not None:
            forecast = _of_usual(typical, pace)
        if forecast is not None:
            found[kind, recipe] = forecast
    known = {name: found[_plain(name)] for name in names if _plain(name) in found}
    return known, {name: timed.why(_plain(name)[1]) for name in names if name not in known}


def _of_usual(typical: Usual, pace: float) -> Forecast:
    """Return a forecast from what a stage costs on the machine of reference, on one that needs ``pace`` times as long."""
    cpu = Range.around(typical.cpu_s * pace, _USUAL)
    sizes = Range.around(typical.peak_mb, _MEMORY), Range.around(typical.kept_bytes, 2 * _BYTES)
    return Forecast(cpu, cpu + _START * max(1.0, pace), *sizes, 0.0, "usual costs, at this machine's speed")


def _plain(name: str) -> tuple[str, str | None]:
    """Return kind and recipe of a stage, whatever the fold."""
    if name.startswith("fold-"):
        name = name.split("-", 2)[2]
    kind, _, recipe = name.partition("-")
    return kind, recipe or None


def _sum(ranges: Iterable[Range]) -> Range:
    return sum(ranges, _NOTHING)


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


def table(about: Mapping[str, Any]) -> str:
    """Return what :func:`sciimg.stages.launch.dry_run` says, for people."""
    from sciimg.report.costs import duration, lines, size

    def shown(value: Mapping[str, float], word: Callable[[float], str]) -> tuple[str, str]:
        return word(value["value"]), f"{word(value['low'])} to {word(value['high'])}"

    def row(name: str, state: str, own: Mapping[str, Any]) -> tuple[str, ...]:
        if "unknown" in own:
            return (name, state, "?", "", "?", "?", "?", "")
        wall = shown(own["wall_s"], duration)
        cpu, kept = duration(own["cpu_s"]["value"]), size(own["kept_bytes"]["value"])
        return (name, state, *wall, cpu, f"{own['peak_mb']['value']:.0f} MiB", kept, own.get("known_from", ""))

    stages = [*about["stages"], *about["later"]]
    rows = [row(s["stage"], "to do", s["predicted"]) if "predicted" in s else (s["stage"], "done", *[""] * 6) for s in stages]
    found, whole = about["predicted"], about["predicted"]["totals"]
    if whole:
        rows.append(row("all", "at least" if whole["at_least"] else "", whole))
    head = ("Stage", "State", "Wall", "from, to", "Processor", "Memory", "Kept", "Known from")
    said = lines(rows, head)
    said.append(f"{len(about['stages'])} stages" + ("" if about["folds"] is not None else "; the others are known after the split"))
    if found["disk"]:
        told = [f"{name} {shown(d['needed_bytes'], size)[0]} of {size(d['free_bytes'])} free" for name, d in found["disk"].items()]
        said.append(f"Disk: {', '.join(told)}")
    return "\n".join([*said, *found["notes"], *(f"Warning  {w}" for w in found["warnings"])])


# ---------------------------------------------------------------- earlier runs


@dataclass(frozen=True)
class _Past:
    """A finished stage of an earlier run: its costs, and how much work it was."""

    kind: str
    recipe: str | None
    study: Study
    about: Material
    entry: Mapping[str, Any]
    card: Mapping[str, Any] | None


def _past(workdir: Path) -> Iterator[_Past]:
    """Yield every stage that was carried out in this work folder; runs that cannot be read teach nothing."""
    for path in sorted(workdir.glob("*/run.json"))[:_MOST_EARLIER]:
        earlier = Run(path.parent)
        with suppress(SciimgError, OSError, ValueError, KeyError, StopIteration):
            study = earlier.loaded.study
            about = ingested(earlier.folder("ingest") / "collection", _told(earlier.loaded))
            for entry_file in sorted(earlier.path.glob("*/stage.json")):
                kind, recipe = _plain(entry_file.parent.name)
                entry = json.loads(entry_file.read_text(encoding="utf-8"))
                model = earlier.folder(entry_file.parent.name.replace("generate-", "train-")) / "model" / "model.json"
                card = json.loads(model.read_text(encoding="utf-8")) if kind in ("train", "generate") else None
                yield _Past(kind, recipe, study, about, entry, card)


def _told(loaded: LoadedStudy) -> Material:
    return replace(Material(0, 0, 0, (), "uint16"), **labels_of(loaded.study.sources[0]))


def _of_earlier(kind: str, recipe: str | None, study: Study, about: Material, past: Sequence[_Past]) -> Forecast | None:
    """Return a forecast from stages of the same kind, scaled by how much more work this one is."""
    alike = [p for p in past if p.kind == kind and _same_networks(p, recipe, study)]
    if not alike:
        return None
    timings = [p.entry["timings"] for p in alike]
    rates = [t["cpu_s"] / _units(p.kind, p.recipe, p.study, p.about) for p, t in zip(alike, timings, strict=True)]
    longer = median(max(1.0, t["wall_s"] / t["cpu_s"]) if t["cpu_s"] > 1 else 1.0 for t in timings)
    rate = median(rates)
    factor = max(_LEAST, *(max(r / rate, rate / r) for r in rates)) if len(rates) > 1 and rate else _EARLIER
    cpu = Range.around(rate * _units(kind, recipe, study, about), factor)
    wall = cpu * longer + _START
    memory = Range.around(max(t["peak_mb"] for t in timings), _LEAST)
    packed = median(p.entry["outputs"]["bytes"] / _bulk(p.kind, p.study, p.about) for p in alike)
    kept = Range.around(packed * _bulk(kind, study, about), _BYTES)
    what = "an earlier run" if len(alike) == 1 else f"{len(alike)} earlier runs"
    beside = 3 * kept.value if kind == "train" else 0.0
    return Forecast(cpu, wall, memory, kept, beside, what)


def _units(kind: str, recipe: str | None, study: Study, about: Material) -> float:
    """Return how much work a stage is; only ratios between stages of one kind count."""
    if recipe is None or kind not in ("train", "generate"):
        typical = usual(kind, study, about)
        assert typical is not None
        return typical.cpu_s
    settings = _settings(_plan(study, recipe), study)
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


def _plan(study: Study, recipe: str) -> RecipePlan:
    return next(r for r in study.recipes if r.name == recipe)


def _settings(plan: RecipePlan, study: Study) -> dict[str, Any]:
    from sciimg.augmenters.recipes import get_recipe

    return get_recipe(plan.recipe, plan.options, study.dims).model_dump(mode="json")


def _same_networks(past: _Past, recipe: str | None, study: Study) -> bool:
    """Whether an earlier stage trained, or sampled, the networks that this one will: budgets may differ, and the images."""
    if past.card is None or recipe is None:
        return past.card is None
    mine, theirs = _settings(_plan(study, recipe), study), past.card["recipe"]
    return len(past.card["shape"]) == study.dims + 1 and _network(mine) == _network(theirs)


def _network(settings: Mapping[str, Any]) -> Any:
    space = {key: value for key, value in settings["space"].items() if key != "training"}
    threads = settings["training"]["threads"]
    return [space, settings["process"], settings["backbone"], settings["sampler"]["name"], threads]


# ---------------------------------------------------------------- trials


def _needs_trial(wanted: Sequence[tuple[str, str | None]], recipe: RecipePlan, study: Study, past: Sequence[_Past]) -> bool:
    asked = [kind for kind, name in wanted if name == recipe.name and kind in ("train", "generate")]
    return any(not any(p.kind == kind and _same_networks(p, recipe.name, study) for p in past) for kind in asked)


class _Trials:
    """A few steps of each recipe, in processes of their own, as many at a time as stages will run."""

    def __init__(self, loaded: LoadedStudy, about: Material, width: int) -> None:
        self.loaded, self.about, self.width = loaded, about, width
        self._said: dict[str, list[dict[str, Any]]] = {}

    def begin(self, recipes: Sequence[RecipePlan]) -> None:
        """Carry out the trials of all, and wait for them."""
        with ThreadPoolExecutor(self.width) as pool:
            for recipe, said in zip(recipes, pool.map(self._tried, recipes), strict=True):
                self._said[recipe.name] = said

    def _tried(self, recipe: RecipePlan) -> list[dict[str, Any]]:
        return trial(self.loaded, recipe, self.about)

    def _values(self, recipe: str, key: str) -> list[Any]:
        return [line[key] for line in self._said.get(recipe, ()) if key in line]

    def why(self, recipe: str | None) -> str:
        """Return why a trial tells nothing."""
        said = self._values(recipe or "", "failed")
        return said[0] if said else f"not one step of {recipe} was done in the time that a trial has"

    def training(self, recipe: str) -> Forecast | None:
        """Return what a training will cost: what is done once, and so many steps of each phase."""
        steps: dict[str, list[tuple[float, float]]] = {}
        for phase, wall, cpu in self._values(recipe, "step"):
            steps.setdefault(phase, []).append((wall, cpu))
        phases = self._values(recipe, "phases")
        if not steps:
            return None
        if not phases or set(steps) < {phase for phase, count, _ in phases[0] if count}:
            return self._stopped(recipe, steps)
        fit = self._values(recipe, "fit")[0]
        each = {phase: tuple(min(values) for values in zip(*(seen[1:] or seen), strict=True)) for phase, seen in steps.items()}
        totals = []
        for i, spent in enumerate((fit["wall_s"], fit["cpu_s"])):
            once = spent - sum(each[phase][i] * len(seen) for phase, seen in steps.items())
            totals.append(once + sum(each[phase][i] * (count + count / every) for phase, count, every in phases[0] if phase in each))
        return self._forecast(recipe, totals[0], totals[1], _TIMED, fit["bytes"], 3 * fit["bytes"])

    def _stopped(self, recipe: str, steps: Mapping[str, Sequence[tuple[float, float]]]) -> Forecast:
        """Return what the steps that a trial came to say, where it was stopped before it had seen all."""
        settings = _settings(_plan(self.loaded.study, recipe), self.loaded.study)
        count = settings["training"]["steps"] + (settings["space"].get("training") or {}).get("steps", 0)
        wall, cpu = (median(values) for values in zip(*(s for seen in steps.values() for s in (seen[1:] or seen)), strict=True))
        return self._forecast(recipe, wall * count, cpu * count, _STOPPED, 20e6, 60e6)

    def generation(self, recipe: str) -> Forecast | None:
        """Return what generation will cost: chunks of samples, each so many steps of the solver."""
        drawn = self._values(recipe, "draw")
        if not drawn:
            return None
        count = samples(self.loaded.study)
        (few, asked, *first), *more = drawn
        chunk = list(first)
        if more:
            slope = [max(0.0, (b - a) / (more[0][0] - few)) for a, b in zip(first, more[0][2:], strict=True)]
            chunk = [b + s * (asked - more[0][0]) for b, s in zip(more[0][2:], slope, strict=True)]
        writing = 0.005 * count
        wall, cpu = (c * count / _CHUNK + writing + _LOOK_S for c in chunk)
        return self._forecast(recipe, wall, cpu, _TIMED, count * sample_bytes(self.loaded.study, self.about), 0.0)

    def _forecast(self, recipe: str, wall: float, cpu: float, factor: float, kept: float, beside: float) -> Forecast:
        device = next(iter(self._values(recipe, "device")), "cpu")
        peak = next(iter(self._values(recipe, "peak_mb")), 1000.0)
        took = Range.around(cpu if device == "cpu" else wall, factor)  # here others may be at work; a GPU's time is no processor's
        what = "a few steps, timed" if factor == _TIMED else "the steps that were done before the trial was stopped"
        return Forecast(Range.around(cpu, factor), took + _START, Range.around(peak, _MEMORY), Range.around(kept, _BYTES), beside, what)


_CHUNK = 8  # of sciimg.augmenters.augmenter, which is not imported for it: that takes seconds


def trial(loaded: LoadedStudy, recipe: RecipePlan, about: Material, limit_s: float = TRIAL_S) -> list[dict[str, Any]]:
    """Return what :mod:`sciimg.stages.trial` said of a recipe until it ended, or was stopped."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.yaml"
        study.write_text(loaded.text, encoding="utf-8")
        command = [sys.executable, "-m", "sciimg.stages.trial", str(study), recipe.name, json.dumps(asdict(about))]
        environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"TMPDIR": folder}  # what it leaves when it is stopped goes with the folder
        try:
            done = subprocess.run(command, capture_output=True, timeout=limit_s, env=environment, check=False)
            printed, failed = done.stdout, done.returncode not in (0, -signal.SIGXCPU)
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        except subprocess.TimeoutExpired as stopped:
            printed, failed, last = stopped.stdout or b"", False, ""
    said = [json.loads(line) for line in printed.decode().splitlines() if line.startswith("{") and line.endswith("}")]
    return said + ([{"failed": f"a trial of {recipe.name} ended with an error: {last}"}] if failed else [])
