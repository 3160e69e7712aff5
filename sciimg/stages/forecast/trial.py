"""``python -m sciimg.stages.forecast.trial STUDY RECIPE MATERIAL``: a few steps of one recipe at the real sizes, on images of noise, timed.

Prints one JSON value a line on stdout as soon as it is known, so that a trial that is stopped has said what it saw:

    {"step": [phase, wall_s, cpu_s]}          for each step
    {"fit": {"wall_s", "cpu_s", "bytes"}}     the whole short training and the size of its model
    {"phases": [[phase, steps, look every]]}  what the recipe would do
    {"draw": [solver steps, wall_s, cpu_s]}   a chunk of samples in so many steps of the solver
    {"peak_mb": …}                            of this process

The work is that of training and of generation themselves; only the images are made up, so nothing need have been ingested.
"""

import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from sciimg.patches.conditions import told_columns
from sciimg.protocol.data import ScalarCondition
from sciimg.protocol.models import Study
from sciimg.randomness import generator
from sciimg.stages.forecast.material import Material
from sciimg.types import PatchSet, Spacing

STEPS = 3  # of each phase; the first warms up
LIMIT_S = 30  # of processor time, after which the system stops the trial: a busy machine is given longer
_KEPT = 64  # different patches; which ones they are does not change what a step costs


class Noise:
    """Patches of the sizes and conditions of a study, of images that show nothing: what training needs of a source."""

    def __init__(self, study: Study, material: Material) -> None:
        rng = generator("trial", study.digest)
        self.study, self.material = study, material
        shape = (_KEPT, len(material.channels), *study.patches.shape)
        dtype = np.dtype(material.dtype)
        top = 255 if dtype.itemsize == 1 else 4000
        self._images = (
            rng.poisson(rng.uniform(0.1 * top, 0.6 * top, (_KEPT, 1) + (1,) * len(study.patches.shape)), shape).clip(0, top).astype(dtype)
        )
        self._labels = self._blobs() if material.labels else None

    @property
    def patch_shape(self) -> tuple[int, ...]:
        return self.study.patches.shape

    @property
    def classes(self) -> int:
        return self.material.classes

    def draw(self, seed_key: Any, indices: Sequence[int]) -> PatchSet:
        rows = np.asarray(indices) % _KEPT
        return PatchSet(
            self._images[rows],
            None if self._labels is None else self._labels[rows],
            np.array([f"g{i}" for i in rows]),
            self._table(rows),
            Spacing((1.0,) * len(self.patch_shape), "micrometer"),
            self.material.channels,
            self.material.labels,
            {},
        )

    def grid(self, limit: int | None = None, stride: tuple[int, ...] | None = None) -> PatchSet:
        return self.draw((), range(limit or _KEPT))

    def _table(self, rows: Any) -> pd.DataFrame:
        scalars = {c.name for c in self.study.conditions if isinstance(c, ScalarCondition)}
        columns = {n: rows / _KEPT if n in scalars else np.array(["a", "b"])[rows % 2] for n in told_columns(self.study.conditions)}
        return pd.DataFrame(columns, index=range(len(rows)))

    def _blobs(self) -> Any:
        """Return labels with every class, or some objects, in the lower corners of patches."""
        labels = np.zeros((_KEPT, *self.patch_shape), np.int32)
        size = [max(1, n // 4) for n in self.patch_shape]
        for number in range(1, max(2, self.classes) + 1):
            box = tuple(slice(((number * 2 + i) % 3) * s, ((number * 2 + i) % 3 + 1) * s) for i, s in enumerate(size))
            labels[(slice(None), *box)] = number
        return labels


def main(study_file: str, name: str, about: str) -> int:
    """Time one recipe of a study; return the exit code."""
    from sciimg.augmenters.augmenter import CHUNK, Augmenter
    from sciimg.augmenters.build import build
    from sciimg.augmenters.device import usable
    from sciimg.augmenters.model_file import read_card
    from sciimg.augmenters.recipes import get_recipe
    from sciimg.augmenters.training import fit
    from sciimg.protocol import load_study
    from sciimg.stages.costs.measured import peak_mb

    study = load_study(Path(study_file)).study
    plan = next(r for r in study.recipes if r.name == name)
    whole = get_recipe(plan.recipe, plan.options, study.dims)
    source = Noise(study, Material(**(json.loads(about) | {"channels": tuple(json.loads(about)["channels"])})))
    short = get_recipe(plan.recipe, dict(plan.options) | _short(whole), study.dims)
    last = [time.monotonic(), time.process_time()]

    def progress(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        now = [time.monotonic(), time.process_time()]
        _say(step=[phase, *(round(b - a, 4) for a, b in zip(last, now, strict=True))])
        last[:] = now

    with TemporaryDirectory() as folder:
        out = Path(folder) / "model"
        begun = [time.monotonic(), time.process_time()]
        fit(short, source, source, study.conditions, key=("trial", study.digest, name), out=out, provenance={}, progress=progress)
        spent = [time.monotonic() - begun[0], time.process_time() - begun[1]]
        _say(fit={"wall_s": spent[0], "cpu_s": spent[1], "bytes": sum(p.stat().st_size for p in out.iterdir())})
        card = read_card(out)
        system = build(whole, card.conditions, card.shape, card.spacing[-len(study.patches.shape) :])
        _say(phases=[[p.name, p.schedule.steps if p.players() else 0, p.schedule.held_out_every] for p in system.phases()])
        if whole.draws:
            model = Augmenter.load(out)
            wanted = study.generate.steps if whole.sampler.name != "one-step" else None
            asked = model.sampler(study.generate.sampler if wanted or whole.sampler.name != "one-step" else None, wanted).steps
            for steps in dict.fromkeys((min(2, asked), min(4, asked))):
                with _timed() as spent:
                    _draw(model, source, study, steps, CHUNK)
                _say(draw=[steps, asked, *spent])
    _say(peak_mb=peak_mb(), device=str(usable()))
    return 0


def _draw(model: Any, source: Noise, study: Study, steps: int, count: int) -> None:
    patches = source.draw((), range(count))
    given = model.conditions.image
    shown = None if given is None else patches.images[:, [patches.channels.index(name) for name in given.channels]]
    solver = model.card.recipe.sampler.name != "one-step"
    how = {"sampler": study.generate.sampler, "steps": steps, "guidance": study.generate.guidance} if solver else {}
    text = model.conditions.text
    table = (
        patches.table if text is None or text.lacks(patches.table) else patches.table.assign(**{text.name: text.captions(patches.table)})
    )
    labels = patches.labels if model.conditions.mask else None
    model.sample(labels, table, shown, key=("trial",), indices=range(count), **how)


def _short(recipe: Any) -> dict[str, Any]:
    """Return options that end every phase after a few steps."""
    few = {"steps": STEPS, "warmup": 1, "held_out_every": STEPS, "checkpoint_every": 10**6, "patience": None}
    places = ["training", *(["space.training"] if getattr(recipe.space, "training", None) is not None else [])]
    return {f"{place}.{key}": value for place in places for key, value in few.items()}


@contextmanager
def _timed() -> Iterator[list[float]]:
    spent: list[float] = []
    begun = time.monotonic(), time.process_time()
    yield spent
    spent += [round(time.monotonic() - begun[0], 4), round(time.process_time() - begun[1], 4)]


def _say(**value: Any) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S + 1))
    sys.exit(main(*sys.argv[1:]))
