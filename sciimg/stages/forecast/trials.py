"""A few steps of a recipe at the real sizes, timed here and now, and what they say of the whole."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from sciimg.protocol import LoadedStudy
from sciimg.protocol.models import RecipePlan, Study
from sciimg.stages.forecast.earlier import Past, plan_of, same_networks, settings_of
from sciimg.stages.forecast.material import Material
from sciimg.stages.forecast.ranges import BYTES, MEMORY, START, Forecast, Range
from sciimg.stages.forecast.usual import sample_bytes, samples

LIMIT_S = 120.0  # after which a trial is stopped, however little processor time it was given; what it saw until then counts
_TIMED, _STOPPED = 1.8, 4.0  # by how much predictions may be off, as a factor
_LOOK_S = 1.5  # what a process of a stage needs before it begins to work, in processor seconds on the machine of reference
_CHUNK = 8  # of sciimg.augmenters.augmenter, which is not imported for it: that takes seconds


def needs_trial(wanted: Sequence[tuple[str, str | None]], recipe: RecipePlan, study: Study, past: Sequence[Past]) -> bool:
    asked = [kind for kind, name in wanted if name == recipe.name and kind in ("train", "generate")]
    return any(not any(p.kind == kind and same_networks(p, recipe.name, study) for p in past) for kind in asked)


class Trials:
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
        settings = settings_of(plan_of(self.loaded.study, recipe), self.loaded.study)
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
        return Forecast(Range.around(cpu, factor), took + START, Range.around(peak, MEMORY), Range.around(kept, BYTES), beside, what)


def trial(loaded: LoadedStudy, recipe: RecipePlan, about: Material, limit_s: float = LIMIT_S) -> list[dict[str, Any]]:
    """Return what :mod:`sciimg.stages.forecast.trial` said of a recipe until it ended, or was stopped."""
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder) / "study.yaml"
        study.write_text(loaded.text, encoding="utf-8")
        command = [sys.executable, "-m", "sciimg.stages.forecast.trial", str(study), recipe.name, json.dumps(asdict(about))]
        environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"TMPDIR": folder}  # what it leaves when it is stopped goes with the folder
        try:
            done = subprocess.run(command, capture_output=True, timeout=limit_s, env=environment, check=False)
            printed, failed = done.stdout, done.returncode not in (0, -signal.SIGXCPU)
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
        except subprocess.TimeoutExpired as stopped:
            printed, failed, last = stopped.stdout or b"", False, ""
    said = [json.loads(line) for line in printed.decode().splitlines() if line.startswith("{") and line.endswith("}")]
    return said + ([{"failed": f"a trial of {recipe.name} ended with an error: {last}"}] if failed else [])
