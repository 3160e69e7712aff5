"""A trained model that draws samples and reconstructs images; bit-identical on the CPU whatever the batch, subset or number of workers."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.encoder import encode_condition
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.model_file import ModelCard, model_digest, read_card, read_weights
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.system import Condition, Noise, System
from sciimg.errors import InputError, Problem
from sciimg.records import Digest

CHUNK = 8  # samples computed together; sample i always sits at place i % CHUNK, so that its last bits never depend on its company


class Augmenter:
    """Trained networks with what they know of their data.

    Use :meth:`load`.
    """

    def __init__(self, card: ModelCard, system: System, digest: Digest) -> None:
        self.card, self.system, self.digest = card, system, digest

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a model folder.

        Raises
        ------
        InputError
            The folder is not a model, is damaged, or belongs to another recipe or version.
        """
        card = read_card(path)
        system = build(card.recipe, card.conditions, card.shape, card.spacing[-(len(card.shape) - 1) :])
        read_weights(path, system)
        return cls(card, system.eval(), model_digest(path))

    @property
    def dims(self) -> int:
        return len(self.card.shape) - 1

    @property
    def conditions(self) -> ConditionSchema:
        return self.card.conditions

    def sampler(self, name: str | None = None, steps: int | None = None, guidance: float | None = None) -> SamplerSettings:
        """Return the recipe's sampler with changes.

        Raises
        ------
        InputError
            Kind ``unknown-sampler``: the recipe's process cannot use it.
        """
        own = self.card.recipe.sampler
        known = self.system.process.samplers
        if name is not None and name not in known:
            message = f"Recipe {self.card.recipe.name!r} is sampled by {', '.join(known)}; got {name!r}."
            raise InputError(Problem("sampler", "unknown-sampler", message))
        changes = {"name": name, "steps": steps, "guidance": guidance}
        return SamplerSettings.model_validate(own.model_dump() | {k: v for k, v in changes.items() if v is not None})

    def sample(
        self,
        labels: NDArray[np.int32] | None,
        table: pd.DataFrame,
        source: NDArray[Any] | None = None,
        *,
        key: tuple[str | int, ...],
        indices: Sequence[int],
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        workers: int = 1,
    ) -> NDArray[Any]:
        """Draw one image a row.

        Parameters
        ----------
        labels : array, shape (N, [Z,] Y, X), or None
            Label images, when the model is conditioned on a mask.
        table : DataFrame with N rows
            One column a scalar or class condition.
        source : array, shape (N, I, [Z,] Y, X), optional
            The given channels, when the model is conditioned on an image.
        key : tuple of str or int
            E.g. (study digest, "generate", model digest, seed).
        indices : sequence of N int
            Number of each sample: noise is a function of (key, index).
        sampler, steps, guidance
            Default: the recipe's.
        workers : int
            Chunks computed at the same time, one thread each. Changes nothing in the result.

        Returns
        -------
        array, shape (N, C, [Z,] Y, X)
            In the units and the number type of the collection.
        """
        settings = self.sampler(sampler, steps, guidance)

        def drawn(told: Condition, noise: Noise, rows: list[int]) -> Tensor:
            return self.system.sample(told, noise, settings)

        return self.drawn(drawn, labels, table, source, key=key, indices=indices, workers=workers)

    def drawn(
        self,
        draw: Callable[[Condition, Noise, list[int]], Tensor],
        labels: NDArray[np.int32] | None,
        table: pd.DataFrame,
        source: NDArray[Any] | None = None,
        *,
        key: tuple[str | int, ...],
        indices: Sequence[int],
        workers: int = 1,
    ) -> NDArray[Any]:
        """Draw one image a row in a way of the caller's own; everything else is as in :meth:`sample`.

        Parameters
        ----------
        draw : callable
            Returns normalised images (N, C, [Z,] Y, X), given the condition, the noise and the rows of N samples.
        """
        self.conditions.check(labels, table, source)
        self._check_shape(labels, len(table))
        rows_of: dict[int, list[int]] = {}
        for row, index in enumerate(indices):
            rows_of.setdefault(index // CHUNK, []).append(row)

        def chunk(rows: list[int]) -> NDArray[Any]:
            return self._chunk(draw, labels, table, source, key, rows, [indices[row] for row in rows])

        out = np.empty((len(table), *self.card.shape), np.dtype(self.card.intensity.dtype))
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(workers) as pool:
                for rows, images in zip(rows_of.values(), pool.map(chunk, rows_of.values()), strict=True):
                    out[rows] = images
        finally:
            torch.set_num_threads(before)
        return out

    def told(self, labels: NDArray[np.int32] | None, table: pd.DataFrame, source: NDArray[Any] | None = None) -> Condition:
        """Return the condition of N samples, on the grid of the images."""
        return encode_condition(self.conditions, labels, table.reset_index(drop=True), self.card.shape[1:], source=source)

    def reconstruct(self, images: NDArray[Any]) -> NDArray[Any] | None:
        """Return images (N, C, [Z,] Y, X) after a way through the latent space, or None when the space is not an autoencoder."""
        if not self.card.recipe.space.halvings:
            return None
        if images.shape[1:] != self.card.shape:
            raise InputError(
                Problem("images", "shape", f"The model reconstructs images of shape {self.card.shape}; got {images.shape[1:]}.")
            )
        out = np.empty(images.shape, np.dtype(self.card.intensity.dtype))
        for start in range(0, len(images), CHUNK):
            part = torch.from_numpy(self.card.intensity.forward(images[start : start + CHUNK]))
            kept = len(part)
            part = torch.cat([part, part[-1:].expand(CHUNK - kept, *part.shape[1:])])
            out[start : start + kept] = self.card.intensity.inverse(self.system.reconstruct(part)[:kept].numpy())
        return out

    @torch.no_grad()
    def _chunk(
        self,
        draw: Callable[[Condition, Noise, list[int]], Tensor],
        labels: NDArray[np.int32] | None,
        table: pd.DataFrame,
        source: NDArray[Any] | None,
        key: tuple[str | int, ...],
        rows: list[int],
        indices: list[int],
    ) -> NDArray[Any]:
        """Compute one canonical chunk: wanted samples at their own places, copies of the first elsewhere."""
        torch.set_num_threads(1)  # the setting belongs to the calling thread
        first = indices[0] // CHUNK * CHUNK
        places = [index - first for index in indices]
        row_at = [rows[places.index(place)] if place in places else rows[0] for place in range(CHUNK)]
        own, given = (None if part is None else part[row_at] for part in (labels, source))
        images = draw(self.told(own, table.iloc[row_at], given), Noise(key, range(first, first + CHUNK)), row_at)
        return self.card.intensity.inverse(images.numpy()[places])

    def _check_shape(self, labels: NDArray[np.int32] | None, n: int) -> None:
        if labels is not None and labels.shape != (n, *self.card.shape[1:]):
            message = (
                f"The model makes samples of {self.card.shape[1:]} pixels; {n} masks of that size are needed, got shape {labels.shape}."
            )
            raise InputError(Problem("mask", "shape", message))
