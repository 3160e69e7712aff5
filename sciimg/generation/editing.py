"""What begins from real images: fill in, go on beyond the border, copy without identity, blend, change one attribute.

Every task is one way through the same model. The real image is taken into the space of the process; there it is held fixed where it is
known (inpaint, outpaint), or carried back to its noise, which is redrawn in part (copy), turned towards another's (interpolate), or solved
again under another condition (edit). Diffusion and flow can do it, because their noise is as large as their images and their path can be
walked both ways.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.samplers.inversion import invert, remixed, slerp
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.samplers.solvers import Predict, solver_of, step_of
from sciimg.augmenters.system import Condition, Noise, autocast
from sciimg.errors import InputError, Problem
from sciimg.generation.completion import carried_on, completed, nearest_known, pooled

Key = tuple[str | int, ...]
_FREE = 0.3  # time from which known pixels that a network was not told are held no longer: finest structure is made on both sides together


class Editor:
    """A model at work on real images of its own size.

    Parameters
    ----------
    augmenter : Augmenter
    sampler, steps, guidance
        Default: the recipe's.
    strength, rounds
        Of the recipe's sampler settings; default: the recipe's.

    Raises
    ------
    InputError
        Kind ``no-editing``: the recipe's process has no path between images and noise.

    Notes
    -----
    Images have shape (N, C, [Z,] Y, X), labels (N, [Z,] Y, X) or None, tables N rows; image ``i`` is made from noise of (key, indices[i]).
    """

    def __init__(
        self,
        augmenter: Augmenter,
        *,
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        strength: float | None = None,
        rounds: int | None = None,
    ) -> None:
        process = augmenter.system.process
        if not isinstance(process, GaussianProcess):
            name = augmenter.card.recipe.name
            message = (
                f"Recipe {name!r} has no path from images back to noise. Train a diffusion or flow recipe, e.g. 'inpainting' or 'ldm'."
            )
            raise InputError(Problem("--task", "no-editing", message))
        changes = {k: v for k, v in {"strength": strength, "rounds": rounds}.items() if v is not None}
        self.settings = SamplerSettings.model_validate(augmenter.sampler(sampler, steps, guidance).model_dump() | changes)
        self._augmenter, self._process, self._system = augmenter, process, augmenter.system
        self._times = process.grid(self.settings)

    def complete(
        self,
        images: NDArray[Any],
        keep: NDArray[np.bool_],
        labels: NDArray[np.int32] | None,
        table: pd.DataFrame,
        *,
        key: Key,
        indices: Sequence[int],
        workers: int = 1,
    ) -> NDArray[Any]:
        """Draw what is unknown; known voxels come back bit for bit.

        Parameters
        ----------
        keep : array of bool, shape (N, [Z,] Y, X)
            Where the images are known; what they hold elsewhere is not looked at.

        Notes
        -----
        Along the path the known part is what the path makes of it, and the network's prediction of it is replaced by it (Lugmayr et al.
        2022, arXiv:2201.09865, eq. 8); every step is taken ``rounds`` times with noise put back in between (algorithm 1), so that the new
        part is made to fit. A point of a latent space is known where all its pixels are. Unless the network was told all known pixels, the
        last of the path is walked freely on both sides of the border, and how far that ends from the known pixels is carried on into the
        unknown.
        """
        filled = np.stack([nearest_known(image, known) for image, known in zip(self._checked(images), keep, strict=True)])

        def drawn(told: Condition, noise: Noise, rows: list[int]) -> Tensor:
            system, known = self._system, self._padded(filled[rows])
            kept = system.pad(torch.from_numpy(keep[rows][:, None].astype(np.float32))) > 0.5
            data = system.space.encode(known, told).double()
            whole = -pooled(-kept.float(), data.shape[2:]) > 0.5  # the smallest of each block
            told_all = self._process.settings.holes and data.shape[2:] == known.shape[2:]
            with autocast(self._process.schedule.precision, "cpu"):
                points = completed(
                    step_of(self.settings),
                    self._predictor(self._process.knowing(told.resized(data.shape[2:]), data, whole), data),
                    self._process.path,
                    data,
                    whole,
                    self._times,
                    noise.normal,
                    self.settings.rounds,
                    free=0.0 if told_all else _FREE,
                )
            made = system.space.decode(points.float(), noise, told)
            if not told_all:
                made = made + carried_on(known - made, kept)
            return system.crop(torch.where(kept, known, made))

        made = self._made(drawn, labels, table, key, indices, workers)
        return np.where(keep[:, None], images, made)

    def copy(
        self,
        images: NDArray[Any],
        labels: NDArray[np.int32] | None,
        table: pd.DataFrame,
        *,
        key: Key,
        indices: Sequence[int],
        workers: int = 1,
    ) -> NDArray[Any]:
        """Draw images that say the same and are of nobody: of the noise behind each, the share ``strength`` is redrawn."""
        self._checked(images)

        def drawn(told: Condition, noise: Noise, rows: list[int]) -> Tensor:
            behind = self._noise_behind(images[rows], told)
            fresh = noise.normal(behind.shape[1:]).double()
            return self._solved(remixed(behind, fresh, self.settings.strength), told, noise)

        return self._made(drawn, labels, table, key, indices, workers)

    def interpolate(
        self,
        first: NDArray[Any],
        second: NDArray[Any],
        share: NDArray[np.float64],
        labels: NDArray[np.int32] | None,
        tables: tuple[pd.DataFrame, pd.DataFrame],
        *,
        key: Key,
        indices: Sequence[int],
        workers: int = 1,
    ) -> NDArray[Any]:
        """Draw what lies between two real images: their noises are joined by an arc, their scalars by a line.

        Parameters
        ----------
        first, second : array, shape (N, C, [Z,] Y, X)
        share : array, shape (N,)
            0: the first; 1: the second.
        labels : array, shape (N, [Z,] Y, X), or None
            One mask for both ends and what lies between.
        tables : (DataFrame, DataFrame)
            Of the first and of the second; classes change in the middle.
        """
        self._checked(first)
        between = tables[0].copy()
        for name in between:
            a, b = (table[name].to_numpy() for table in tables)
            between[name] = (1 - share) * a + share * b if a.dtype.kind in "iuf" else np.where(share < 0.5, a, b)

        def drawn(told: Condition, noise: Noise, rows: list[int]) -> Tensor:
            own = None if labels is None else labels[rows]
            ends = [
                self._noise_behind(images[rows], self._told(own, table.iloc[rows]))
                for images, table in zip((first, second), tables, strict=True)
            ]
            return self._solved(slerp(ends[0], ends[1], torch.from_numpy(share[rows])), told, noise)

        return self._made(drawn, labels, between, key, indices, workers)

    def change(
        self,
        images: NDArray[Any],
        labels: NDArray[np.int32] | None,
        table: pd.DataFrame,
        wanted: pd.DataFrame,
        *,
        key: Key,
        indices: Sequence[int],
        workers: int = 1,
    ) -> NDArray[Any]:
        """Draw the images again with other scalars or classes: the noise behind them, found under ``table``, is solved under ``wanted``."""
        self._checked(images)

        def drawn(told: Condition, noise: Noise, rows: list[int]) -> Tensor:
            before = self._told(None if labels is None else labels[rows], table.iloc[rows])
            return self._solved(self._noise_behind(images[rows], before), told, noise)

        return self._made(drawn, labels, wanted, key, indices, workers)

    # ------------------------------------------------------------ parts

    def _made(
        self,
        drawn: Callable[[Condition, Noise, list[int]], Tensor],
        labels: NDArray[np.int32] | None,
        table: pd.DataFrame,
        key: Key,
        indices: Sequence[int],
        workers: int,
    ) -> NDArray[Any]:
        def padded(told: Condition, noise: Noise, rows: list[int]) -> Tensor:
            return drawn(self._system.pad_condition(told), noise, rows)

        return self._augmenter.drawn(padded, labels, table, None, key=key, indices=indices, workers=workers)

    def _told(self, labels: NDArray[np.int32] | None, table: pd.DataFrame) -> Condition:
        return self._system.pad_condition(self._augmenter.told(labels, table))

    def _padded(self, images: NDArray[Any]) -> Tensor:
        return self._system.pad(torch.from_numpy(self._augmenter.card.intensity.forward(images)))

    def _predictor(self, told: Condition, like: Tensor, guidance: float | None = None) -> Predict:
        settings = self.settings if guidance is None else self.settings.model_copy(update={"guidance": guidance})
        return self._process.field(told.resized(like.shape[2:]), settings)

    def _noise_behind(self, images: NDArray[Any], told: Condition) -> Tensor:
        """Return the noise from which the model makes images; without guidance, which has no way back."""
        data = self._system.space.encode(self._padded(images), told).double()
        with autocast(self._process.schedule.precision, "cpu"):
            return invert(self._predictor(told, data, 1.0), self._process.path, data, self._times)

    def _solved(self, start: Tensor, told: Condition, noise: Noise) -> Tensor:
        with autocast(self._process.schedule.precision, "cpu"):
            solver = solver_of(self.settings)
            points = solver(self._predictor(told, start), self._process.path, start, self._times, noise.normal).float()
        return self._system.crop(self._system.space.decode(points, noise, told))

    def _checked(self, images: NDArray[Any]) -> NDArray[Any]:
        if images.shape[1:] != self._augmenter.card.shape:
            message = f"The model works on images of shape {self._augmenter.card.shape}; got {images.shape[1:]}."
            raise InputError(Problem("--source", "shape", message))
        return images
