"""One field from many overlapping windows: what the windows predict is blended at every call of the solver, so that there are no seams.

Each window sees as much as the network was trained on. Before the solver moves on, the predictions of all windows are averaged with smooth
weights (MultiDiffusion: Bar-Tal et al. 2023, arXiv:2302.08113, eq. 5; smooth weights: Jiménez 2023, arXiv:2302.02412), so every window
goes on from a state that its neighbours share, and they come to agree. That needs the state of the whole field: it lives on disk, in
cells, and a task holds a few of them.

A task is a function of files of the pass before and of noise keyed by coordinates. It may therefore run on any worker, in any order, and
again after a kill; its result is renamed into place when it is whole, and what is in place is not computed again.
"""

import math
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal, assert_never

import numpy as np
import torch
from torch import Tensor

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.grid_noise import GridNoise, WindowNoise
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.paths import Path as NoisePath
from sciimg.augmenters.samplers.multistep import Carried
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.samplers.solvers import Predict, SolverStep, step_of
from sciimg.augmenters.system import Condition, Process, autocast
from sciimg.errors import InputError, Problem
from sciimg.files import still_wanted
from sciimg.generation.windows import Box, Index, Windows
from sciimg.store.apart import Made, intact
from sciimg.workers import Workers

CHUNK = 8  # windows that a network sees at once: always the same ones together, because company may change the last bits
Told = Callable[[Sequence[Index]], Condition]
OnWindows = Callable[[Sequence[Index]], Tensor]
OnCell = Callable[[Index, Tensor], Tensor]
Step = Literal["windows", "cells"]  # of a field: what the network makes of windows, and what is kept of cells
Ask = Callable[[str, Step, list[Index]], Made[list[Index]]]


class Fields:
    """Fields on disk, one after another, each computed from the one before.

    Parameters
    ----------
    folder : Path
        What an interrupted run left there is taken up.
    threads : int
        Tasks at the same time in one process. Changes nothing in the results.
    progress : callable, optional
        Told of every field that is whole.
    """

    def __init__(self, folder: Path, threads: int = 1, progress: Callable[[str], None] | None = None) -> None:
        self.folder, self._threads, self._progress = folder, threads, progress
        folder.mkdir(parents=True, exist_ok=True)

    def make(self, name: str, windows: Windows, on_windows: OnWindows | None, on_cell: OnCell, replaces: str | None = None) -> None:
        """Compute a field cell by cell.

        Parameters
        ----------
        name : str
        windows : Windows
        on_windows : callable, optional
            Returns (N, F, [Z,] Y, X) for N windows; what overlaps is blended.
        on_cell : callable
            Returns what to keep of a cell, given its index and the blended (F, [Z,] Y, X) (empty without ``on_windows``).
        replaces : str, optional
            A field that is no longer needed afterwards.
        """
        done = self.folder / f"{name}.done"
        if not done.exists():
            every = list(windows.indices())
            chunks = [every[i : i + CHUNK] for i in range(0, len(every), CHUNK)]
            if on_windows is not None:
                self._all(name, "windows", chunks, lambda chunk: self.predict(name, windows, on_windows, chunk))
            self._all(name, "cells", chunks, lambda chunk: self.blend(name, windows, on_windows, on_cell, chunk))
            done.touch()
            if self._progress:
                self._progress(f"{name} of {math.prod(windows.counts)} windows")
        for old in (self._seen(name), *([self.folder / replaces] if replaces else [])):
            shutil.rmtree(old, ignore_errors=True)

    def cell(self, name: str, index: Index) -> Tensor:
        """Return what was kept of a cell."""
        return _load(self._place(name, index))

    def read(self, name: str, windows: Windows, box: Box) -> Tensor:
        """Return a box of a field; axes before the spatial ones are whole."""
        out = None
        for index in windows.cells_in(box):
            own = windows.cell(index)
            low = [max(a.start, b.start) for a, b in zip(box, own, strict=True)]
            high = [min(a.stop, b.stop) for a, b in zip(box, own, strict=True)]
            there: tuple[Any, ...] = (..., *(slice(i - a.start, j - a.start) for i, j, a in zip(low, high, box, strict=True)))
            here: tuple[Any, ...] = (..., *(slice(i - b.start, j - b.start) for i, j, b in zip(low, high, own, strict=True)))
            part = self.cell(name, index)
            if out is None:
                out = part.new_empty((*part.shape[: part.ndim - len(box)], *(b.stop - b.start for b in box)))
            out[there] = part[here]
        assert out is not None
        return out

    def predict(self, name: str, windows: Windows, on_windows: OnWindows, chunk: list[Index]) -> list[Path]:
        """Keep what the network makes of some windows; return the files, those that were there too."""
        places = [self._seen(name) / f"{_name(index)}.npy" for index in chunk]
        if not all(place.exists() for place in places):
            whole = [*chunk, *[chunk[-1]] * (CHUNK - len(chunk))]
            for place, index, values in zip(places, chunk, on_windows(whole), strict=False):
                _save(place, values.float() * torch.from_numpy(windows.weight(index)))
        return places

    def blend(self, name: str, windows: Windows, on_windows: OnWindows | None, on_cell: OnCell, chunk: list[Index]) -> list[Path]:
        """Keep some cells; return the files, those that were there too."""
        places = [self._place(name, index) for index in chunk]
        for index, place in zip(chunk, places, strict=True):
            if not place.exists():
                blended = torch.zeros(0) if on_windows is None else self._blended(self._seen(name), windows, index)
                _save(place, on_cell(index, blended))
        return places

    def _blended(self, folder: Path, windows: Windows, index: Index) -> Tensor:
        own, total = windows.cell(index), torch.zeros(())
        for other in windows.seen_by(index):
            view = windows.window(other)
            stop = [min(a.stop, b.stop) for a, b in zip(own, view, strict=True)]
            here = tuple(slice(a.start - b.start, j - b.start) for a, b, j in zip(own, view, stop, strict=True))
            part = _load(folder / f"{_name(other)}.npy")
            if not total.ndim:
                total = torch.zeros((part.shape[0], *(b.stop - b.start for b in own)), dtype=torch.float64)
            total[(slice(None), *(slice(0, s.stop - s.start) for s in here))] += part[(slice(None), *here)]
        return total

    def _all(self, name: str, step: Step, chunks: Sequence[list[Index]], work: Callable[[list[Index]], list[Path]]) -> None:
        """Do the tasks of one step of a field, all of them before the next step."""
        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(self._threads) as pool:
                list(pool.map(partial(_alone, work), chunks))
        finally:
            torch.set_num_threads(before)

    def _seen(self, name: str) -> Path:
        return self.folder / f"{name}.windows"

    def _place(self, name: str, index: Index) -> Path:
        return self.folder / name / f"{_name(index)}.npy"


class SpreadFields(Fields):
    """Fields whose tasks go to workers. A worker draws the same image, and does nothing but its task: :class:`OneTask`.

    Parameters
    ----------
    folder, progress
        As of :class:`Fields`.
    workers : Workers
    ask : callable
        ``ask(name, step, chunk)`` does one task, wherever it is sent to, and returns the files with their checksums.
    """

    def __init__(self, folder: Path, workers: Workers, ask: Ask, progress: Callable[[str], None] | None = None) -> None:
        super().__init__(folder, 1, progress)
        self._workers, self._ask = workers, ask

    def _all(self, name: str, step: Step, chunks: Sequence[list[Index]], work: Callable[[list[Index]], list[Path]]) -> None:
        for chunk, files in self._workers.map(intact, self._workers.map(partial(self._ask, name, step), chunks)):
            for file in (file for file, whole in files if not whole):
                file.unlink(missing_ok=True)
            _alone(work, chunk)  # finds everything there but what was damaged


class OneTask(Fields):
    """Fields of which one task is done, and nothing else."""

    def __init__(self, folder: Path, name: str, step: Step, chunk: list[Index]) -> None:
        super().__init__(still_wanted(folder))
        self._only, self.places = (name, step, chunk), list[Path]()

    def make(self, name: str, windows: Windows, on_windows: OnWindows | None, on_cell: OnCell, replaces: str | None = None) -> None:
        wanted, step, chunk = self._only
        if name != wanted:
            return
        match step:
            case "windows":
                assert on_windows is not None
                self.places = _alone(partial(self.predict, name, windows, on_windows), chunk)
            case "cells":
                self.places = _alone(partial(self.blend, name, windows, on_windows, on_cell), chunk)
            case _:
                assert_never(step)
        raise TaskDoneError


class TaskDoneError(Exception):
    """The one task is done; what would follow is the work of others."""


def _alone(work: Callable[[list[Index]], list[Path]], chunk: list[Index]) -> list[Path]:
    torch.set_num_threads(1)  # the setting belongs to the calling thread
    with torch.no_grad():
        return work(chunk)


# ---------------------------------------------------------------- points of a space


def draw_points(
    process: Process, told: Told, field: GridNoise, channels: int, windows: Windows, settings: SamplerSettings, fields: Fields
) -> str:
    """Draw one field of points; return its name in ``fields``, whose cells have shape (1, channels, [Z,] Y, X).

    Parameters
    ----------
    process : Process
    told : callable
        Returns the condition of N windows, on the grid of the images.
    field : GridNoise
        All noise.
    channels : int
    windows : Windows
        In points.
    settings : SamplerSettings
    fields : Fields

    Raises
    ------
    InputError
        Kind ``no-volumes``: the process cannot be blended.
    """
    if isinstance(process, GaussianProcess):
        return _solved(process, told, field, channels, windows, settings, fields)
    if process.samplers == ("one-step",):
        return _one_step(process, told, field, channels, windows, settings, fields)
    message = "Whole volumes are drawn by flow, diffusion and one-step processes, whose windows can be blended; this one draws in an order."
    raise InputError(Problem("--shape", "no-volumes", message))


def check_fields(augmenter: Augmenter) -> None:
    """Refuse models whose images cannot be made part by part, or walked back to noise of unit variance.

    Raises
    ------
    InputError
        Kind ``no-fields``.
    """
    process, name = augmenter.system.process, augmenter.card.recipe.name
    if augmenter.card.formation is not None:
        message = f"Recipe {name!r} forms whole images by explicit optics and noise. Use a recipe without a formation, e.g. 'ldm'."
        raise InputError(Problem("recipe", "no-fields", message))
    if isinstance(process, GaussianProcess) and abs(process.path.spread(process.start) - 1) > 1e-3:
        message = f"Recipe {name!r} begins with noise of another spread than its data. Use a flow or a variance-preserving recipe."
        raise InputError(Problem("recipe", "no-fields", message))


def _one_step(
    process: Process, told: Told, field: GridNoise, channels: int, windows: Windows, settings: SamplerSettings, fields: Fields
) -> str:
    def on_windows(chunk: Sequence[Index]) -> Tensor:
        noise = WindowNoise(field, [windows.start(index) for index in chunk], windows.size)
        return process.sample(told(chunk), noise, (channels, *windows.size), settings)

    fields.make("points", windows, on_windows, lambda index, made: made[None].float())
    return "points"


def _solved(
    process: GaussianProcess, told: Told, field: GridNoise, channels: int, windows: Windows, settings: SamplerSettings, fields: Fields
) -> str:
    """Take the solver step by step; a cell's file holds what the solver carries to this step, the state last.

    Where a step asks for several predictions, those so far follow, and then what it asks about next.
    """
    step_to, path, times = step_of(settings), process.path, process.grid(settings)

    def start(index: Index, _: Tensor) -> Tensor:
        box = windows.cell(index)
        return field.under("start").box(channels, [b.start for b in box], [b.stop - b.start for b in box])[None]

    name = "state"
    fields.make(name, windows, None, start)
    for number, (at, time, carries) in enumerate(_calls(step_to, path, times)):
        before, name = name, f"call-{number:04d}"

        def on_windows(chunk: Sequence[Index], before: str = before, time: float = time) -> Tensor:
            x = torch.stack([fields.read(before, windows, windows.window(index))[-1] for index in chunk]).double()
            with autocast(process.schedule.precision, "cpu"):
                return process.field(told(chunk).resized(windows.size), settings)(x, time)[0]

        def on_cell(index: Index, data: Tensor, before: str = before, at: int = at, carries: int = carries) -> Tensor:
            box, known = windows.cell(index), fields.cell(before, index)
            *remembered, state = known[:carries, None].double()
            predicted, draws = [*known[carries:-1], data], count()

            def normal(shape: Sequence[int]) -> Tensor:
                return field.under("fresh", at, next(draws)).box(shape[0], [b.start for b in box], shape[1:])[None]

            try:
                x, *remembered = step_to(_replayed(path, predicted), path, (state, *remembered), times, at, normal)
            except _AskedError as asked:
                return torch.cat([known[:carries], *(p[None].float() for p in predicted), asked.x.float()])
            return torch.cat([*(remembered if at + 2 < len(times) else ()), x]).float()

        fields.make(name, windows, on_windows, on_cell, replaces=before)
    return name


class _AskedError(Exception):
    """The solver wants a prediction that is not there yet."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x


def _replayed(path: NoisePath, predicted: Sequence[Tensor]) -> Predict:
    """Return what answers a solver with the predictions that are there; the next one it is left to ask for."""
    given = iter(predicted)

    def predict(at: Tensor, time: float) -> tuple[Tensor, Tensor]:
        data = next(given, None)
        if data is None:
            raise _AskedError(at)
        data = data[None].double()
        return data, (at - path.alpha(time) * data) / path.sigma(time)  # the blend of the windows' noise: they saw the same state

    return predict


def _calls(step_to: SolverStep, path: NoisePath, times: Sequence[float]) -> list[tuple[int, float, int]]:
    """Return (step, time, number of fields carried to the step) of every prediction that the solver asks for."""
    found: list[tuple[int, float, int]] = []
    carried: Carried = (torch.zeros(1, 1, dtype=torch.float64),)
    for at in range(len(times) - 1):

        def predict(x: Tensor, time: float, at: int = at, carries: int = len(carried)) -> tuple[Tensor, Tensor]:
            found.append((at, time, carries))
            return x, x

        carried = step_to(predict, path, carried, times, at, lambda shape: torch.zeros(1, *shape))
    return found


def _name(index: Index) -> str:
    return "-".join(str(i) for i in index)


def _save(place: Path, values: Tensor) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_suffix(f".{secrets.token_hex(4)}.partial")  # of this attempt alone: a worker that was given up may still write
    with beside.open("wb") as stream:
        np.save(stream, values.detach().numpy())
        stream.flush()
        os.fsync(stream.fileno())
    beside.replace(place)


def _load(place: Path) -> Tensor:
    return torch.from_numpy(np.load(place, allow_pickle=False))
