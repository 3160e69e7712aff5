"""The seam between recipes and the one training loop: what a space and a process must offer, and what they are given.

A recipe is data (:mod:`sciimg.augmenters.recipes`). :mod:`sciimg.augmenters.build` turns it into two modules:

* a :class:`Space`, where the process lives: ``encode`` images into it, ``decode`` them back;
* a :class:`Process`, which turns noise into points of that space under a condition.

Both say through ``phases()`` what has to be trained, in order. A :class:`Phase` has *players*: groups of modules with an optimiser each.
On every step the loop goes through the players in the order given and, for each, freezes the parameters of the others, calls
``phase.loss(player, batch)``, backpropagates ``["loss"]``, clips the gradient and steps that player's optimiser. So one loop trains an
autoencoder, a diffusion model (one player) and a GAN (``discriminator`` then ``generator``). The loop owns autocast, learning-rate schedule, EMA,
checkpoints, resume, NaN handling and curves; a phase owns mathematics alone.

Rules that make training repeat bit by bit and resume exactly:

* every random draw inside ``loss`` comes from ``batch.generator`` (torch) — seeded by (key, phase, step) — or, for layers such as dropout,
  from the default torch generator, which the loop seeds in the same way; nothing else is random and nothing is kept between steps
  except in parameters and *registered buffers* of the modules (an adaptive augmentation strength is a buffer);
* what a phase has to measure once before it starts (latent statistics) it measures in ``prepare`` and keeps in buffers;
* modules hold float32 weights; the loop runs ``loss`` under bf16 autocast when the recipe asks for it. A phase that needs float32 for a part (a
  double backward of R1/R2) switches it off there: ``with torch.autocast("cpu", enabled=False)``.

Sampling is a function of the condition and of a :class:`Noise`, which holds one generator a sample, so that a sample does not depend on the
batch it is computed in. Modules must not mix samples of a batch (no batch normalisation).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sciimg.augmenters.settings import SamplerSettings, Schedule
from sciimg.randomness import seed_of


@dataclass(frozen=True, slots=True)
class Condition:
    """What the networks are told about each sample, as tensors.

    Parameters
    ----------
    maps : Tensor, shape (N, M, [Z,] Y, X)
        Channels drawn from the label image (foreground and boundary, or one-hot classes); M is 0 when no mask is a condition.
    vector : Tensor, shape (N, V)
        Standardised scalars, one-hot classes and the augmentation label (zero: not augmented).
    keep : Tensor, shape (N, 1)
        1 where the condition is told, 0 where it is withheld for classifier-free guidance.
    """

    maps: Tensor
    vector: Tensor
    keep: Tensor

    def __len__(self) -> int:
        return len(self.vector)

    def dropped(self, probability: float, generator: torch.Generator) -> Condition:
        """Withhold the whole condition of some samples (Ho & Salimans 2022, classifier-free guidance)."""
        keep = (torch.rand(len(self), 1, generator=generator) >= probability).to(self.vector.dtype)
        return self.masked(keep)

    def withheld(self) -> Condition:
        """Return the empty condition of the same shapes."""
        return self.masked(torch.zeros_like(self.keep))

    def masked(self, keep: Tensor) -> Condition:
        spatial = (-1,) + (1,) * (self.maps.ndim - 1)
        return Condition(self.maps * keep.view(spatial), self.vector * keep, self.keep * keep)

    def resized(self, shape: Sequence[int]) -> Condition:
        """Return the maps at a coarser grid (area average), for a process that lives in a smaller space."""
        if tuple(self.maps.shape[2:]) == tuple(shape):
            return self
        factor = tuple(old // new for old, new in zip(self.maps.shape[2:], shape, strict=True))
        pool = nn.functional.avg_pool3d if len(factor) == 3 else nn.functional.avg_pool2d
        return replace(self, maps=pool(self.maps, factor))


@dataclass(frozen=True, slots=True)
class Batch:
    """One step's data.

    Parameters
    ----------
    images : Tensor, shape (N, C, [Z,] Y, X)
        Normalised intensities (about zero mean and unit scale), float32.
    condition : Condition
        Never dropped: a phase that wants guidance drops it itself.
    generator : torch.Generator
        The only source of randomness in a loss; a function of (key, phase, step, player).
    step, steps : int
        Number of this step and of all steps of the phase.
    """

    images: Tensor
    condition: Condition
    generator: torch.Generator
    step: int
    steps: int

    @property
    def progress(self) -> float:
        return self.step / max(1, self.steps)


@dataclass(frozen=True, slots=True)
class Player:
    """Modules that one optimiser trains."""

    name: str
    modules: tuple[nn.Module, ...]
    schedule: Schedule

    def parameters(self) -> list[nn.Parameter]:
        return [p for module in self.modules for p in module.parameters()]


class Phase(ABC):
    """One stretch of training. ``schedule`` gives steps, batch size, precision, held-out rhythm; players may carry their own rates."""

    name: str
    schedule: Schedule

    @abstractmethod
    def players(self) -> tuple[Player, ...]:
        """Return the players in the order in which they move on every step."""

    @abstractmethod
    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        """Return scalars to record; ``"loss"`` is the one that the player minimises."""

    def held_out(self, batch: Batch) -> Tensor | None:
        """Return the loss on unseen data that early stopping follows, or None when no loss orders the models (a GAN).

        Called without gradients, in evaluation mode, with EMA weights; ``batch.generator`` is the same at every call, so that values
        compare.
        """
        return None

    def prepare(self, batch: Batch) -> None:  # noqa: B027 — optional
        """Measure once, on one large batch and before the first step, what the phase needs (kept in buffers)."""


class Noise:
    """Standard normal noise that belongs to samples, not to batches: sample ``i`` draws from its own generator.

    Parameters
    ----------
    key : tuple of str or int
        Study digest, stage and whatever else the draw depends on.
    indices : sequence of int
        Number of each sample; sample ``i`` is seeded by ``seed_of(*key, i)``.
    """

    def __init__(self, key: tuple[str | int, ...], indices: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed_of(*key, int(i))) for i in indices]

    def __len__(self) -> int:
        return len(self._generators)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draw the next values of every sample; result has shape (N, \\*shape)."""
        return torch.stack([torch.randn(tuple(shape), generator=g) for g in self._generators])


class Space(nn.Module, ABC):
    """Where a process lives. Coordinates have about zero mean and unit variance in every channel."""

    @abstractmethod
    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, [z,] y, x) of a point for images of shape (C, [Z,] Y, X)."""

    @abstractmethod
    def encode(self, images: Tensor, condition: Condition) -> Tensor:
        """Map images into the space, deterministically."""

    @abstractmethod
    def decode(self, points: Tensor, condition: Condition, noise: Noise | None = None) -> Tensor:
        """Map points of the space to images."""

    def phases(self) -> tuple[Phase, ...]:
        return ()


class Process(nn.Module, ABC):
    """How noise becomes data, inside a space."""

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """Return what has to be trained, in order. ``Batch.images`` are images: the phase encodes them itself when the space asks for it."""

    @abstractmethod
    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        """Return points of the space, shape (N, \\*shape), for the N conditions."""


def count_parameters(module: nn.Module) -> int:
    return sum(math.prod(p.shape) for p in module.parameters())
