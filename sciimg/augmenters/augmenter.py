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
from sciimg.augmenters.device import enough_memory, usable
from sciimg.augmenters.model_file import ModelCard, model_digest, read_card, read_weights
from sciimg.augmenters.processes.adversarial import AdversarialProcess
from sciimg.augmenters.recipe import refuse_encoders
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.spaces.settings import KLSpace
from sciimg.augmenters.system import Condition, Encoder, Noise, System
from sciimg.errors import InputError, Problem
from sciimg.randomness import generator
from sciimg.records import Digest

CHUNK = 8  # samples computed together; sample i always sits at place i % CHUNK, so that its last bits never depend on its company


class Augmenter:
    """Trained networks with what they know of their data.

    Use :meth:`load`.
    """

    def __init__(self, card: ModelCard, system: System, digest: Digest) -> None:
        self.card, self.system, self.digest = card, system, digest

    @classmethod
    def load(cls, path: Path, device: str | None = None) -> Self:
        """Read a model folder.

        Parameters
        ----------
        device : str, optional
            Where to run it: ``cpu``, or ``cuda`` where there is one. Only the CPU's bits are the same everywhere. See
            :func:`.device.usable`.

        Raises
        ------
        InputError
            The folder is not a model, is damaged, or belongs to another recipe or version; there is no such device.
        """
        card = read_card(path)
        system = build(card.recipe, card.conditions, card.shape, card.spacing[-(len(card.shape) - 1) :])
        read_weights(path, system, card.recipe.name)
        return cls(card, system.eval().to(usable(device)), model_digest(path))

    @property
    def dims(self) -> int:
        return len(self.card.shape) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of the images that it draws."""
        return np.dtype(self.card.intensity.dtype if self.card.formation is None else self.card.formation.dtype)

    @property
    def conditions(self) -> ConditionSchema:
        return self.card.conditions

    def sampler(
        self, name: str | None = None, steps: int | None = None, guidance: float | None = None, truncation: float | None = None
    ) -> SamplerSettings:
        """Return the recipe's sampler with changes.

        Raises
        ------
        InputError
            Kinds ``unknown-sampler``: the recipe's process cannot use it; ``bad-option``: it has no use for a setting; ``draws-nothing``:
            the recipe is an encoder.
        """
        own = self.card.recipe.sampler
        refuse_encoders(self.card.recipe)
        known = self.system.process.samplers
        if name is not None and name not in known:
            message = f"Recipe {self.card.recipe.name!r} is sampled by {', '.join(known)}; got {name!r}."
            raise InputError(Problem("sampler", "unknown-sampler", message))
        if truncation is not None and not isinstance(self.system.process, AdversarialProcess):
            message = f"Only adversarial recipes can truncate their noise; {self.card.recipe.name!r} cannot. Leave truncation out."
            raise InputError(Problem("sampler.truncation", "bad-option", message))
        changes = {"name": name, "steps": steps, "guidance": guidance, "truncation": truncation}
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
        truncation: float | None = None,
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
        sampler, steps, guidance, truncation
            Default: the recipe's.
        workers : int
            Chunks computed at the same time, one thread each. Changes nothing in the result.

        Returns
        -------
        array, shape (N, C, [Z,] Y, X)
            In the units and the number type of the collection.
        """
        settings = self.sampler(sampler, steps, guidance, truncation)

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
        self._check_shape(labels, source, len(table))
        rows_of: dict[int, list[int]] = {}
        for row, index in enumerate(indices):
            rows_of.setdefault(index // CHUNK, []).append(row)

        def chunk(rows: list[int]) -> NDArray[Any]:
            return self._chunk(draw, labels, table, source, key, rows, [indices[row] for row in rows])

        out = np.empty((len(table), *self.card.shape), self.dtype)
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

    def reconstruct(
        self, images: NDArray[Any], labels: NDArray[np.int32] | None = None, table: pd.DataFrame | None = None
    ) -> NDArray[Any] | None:
        """Return images (N, C, [Z,] Y, X) after a way through the latent space, or with each patch told from the others.

        None when the space loses nothing and the process is no encoder that can fill patches. Labels (N, [Z,] Y, X) and a table of N
        rows, as for :meth:`sample`, are for an autoencoder that listens to the condition.
        """
        process, space = self.system.process, self.card.recipe.space
        fills = isinstance(process, Encoder) and type(process).filled is not Encoder.filled
        if self.system.space.exact and not fills:
            return None
        listens = isinstance(space, KLSpace) and space.conditional
        if listens and table is None:
            message = "The autoencoder of the model listens to the condition; give labels and table of the images too."
            raise InputError(Problem("images", "missing-condition", message))

        def back(part: Tensor, rows: NDArray[np.intp]) -> Tensor:
            if not listens or table is None:
                return self.system.reconstruct(part)
            own = None if labels is None else labels[rows]
            told = encode_condition(self.conditions, own, table.iloc[rows].reset_index(drop=True), self.card.shape[1:])
            return self.system.reconstruct(part, told.on(part.device))

        structure = self.card.intensity.inverse(self._read(images, back).numpy())
        return self._formed(structure, pd.DataFrame(index=range(len(images))), ("reconstruct",), range(len(images)))

    def features(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return what an encoder finds in images (N, C, [Z,] Y, X), shape (N, F).

        Raises
        ------
        InputError
            Kind ``no-encoder``: the recipe is none; kind ``shape``.
        """
        if self.card.recipe.draws:
            message = f"Recipe {self.card.recipe.name!r} draws images and gives no features; train an encoder (clip, mae)."
            raise InputError(Problem("features", "no-encoder", message))
        return np.asarray(self._read(images, lambda part, _: self.system.features(part)).numpy())

    def _read(self, images: NDArray[Any], function: Callable[[Tensor, NDArray[np.intp]], Tensor]) -> Tensor:
        """Apply a function of normalised images and their rows in chunks of one size, so that no image depends on its company."""
        if images.shape[1:] != self.card.shape:
            raise InputError(Problem("images", "shape", f"The model reads images of shape {self.card.shape}; got {images.shape[1:]}."))
        device, formation = self.system.device, self.card.formation
        out = []
        for start in range(0, len(images), CHUNK):
            kept = min(CHUNK, len(images) - start)
            rows = np.minimum(np.arange(start, start + CHUNK), len(images) - 1)
            real = images[rows] if formation is None else formation.structure(images[rows])
            part = torch.from_numpy(self.card.intensity.forward(real)).to(device)
            out.append(function(part, rows)[:kept].float().cpu())
        return torch.cat(out)

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
        device = self.system.device
        with enough_memory(f"{CHUNK} samples of {self.card.shape[1:]} at a time", "Use fewer workers, or a machine with more."):
            told = self.told(own, table.iloc[row_at], given).on(device)
            images = draw(told, Noise(key, range(first, first + CHUNK), device), row_at)
        structure = self.card.intensity.inverse(images.cpu().numpy()[places])
        return self._formed(structure, table.iloc[rows], key, indices)

    def _formed(self, structure: NDArray[Any], table: pd.DataFrame, key: tuple[str | int, ...], indices: Sequence[int]) -> NDArray[Any]:
        """Return images of structures (N, C, [Z,] Y, X): the same, where nothing but the network forms them."""
        formation = self.card.formation
        if formation is None:
            return structure
        name, usual = formation.condition
        values = table[name].to_numpy(float) if name in table else np.full(len(table), usual)
        rows = zip(structure, values, indices, strict=True)
        return np.stack([formation.form(own, {name: float(value)}, generator(*key, "formation", index)) for own, value, index in rows])

    def _check_shape(self, labels: NDArray[np.int32] | None, source: NDArray[Any] | None, n: int) -> None:
        image = self.conditions.image
        if image is not None and source is not None and source.shape != (wanted := (n, len(image.channels), *self.card.shape[1:])):
            message = f"The model translates the channels {', '.join(image.channels)} of {self.card.shape[1:]} pixels; {n} source images "
            raise InputError(Problem(image.name, "shape", f"{message}need shape {wanted}, got {source.shape}."))
        if labels is not None and labels.shape != (n, *self.card.shape[1:]):
            message = (
                f"The model makes samples of {self.card.shape[1:]} pixels; {n} masks of that size are needed, got shape {labels.shape}."
            )
            raise InputError(Problem("mask", "shape", message))
