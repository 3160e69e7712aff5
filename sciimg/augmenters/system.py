"""The seam between recipes and the one training loop: what a space and a process must offer, and what they are given.

A recipe is data (:mod:`sciimg.augmenters.recipes`). :mod:`sciimg.augmenters.build` turns it into two modules:

* a :class:`Space`, where the process lives: ``encode`` images into it, ``decode`` them back;
* a :class:`Process`, which turns noise into points of that space under a condition.

Both say through ``phases()`` what has to be trained, in order. A :class:`Phase` has *players*: groups of modules with an optimiser each.
On every step the loop goes through the players in the order given and, for each, freezes the parameters of the others, calls
``phase.loss(player, batch)``, backpropagates ``["loss"]``, clips the gradient and steps that player's optimiser. So one loop trains an
autoencoder, a diffusion model (one player) and a GAN (``discriminator`` then ``generator``). The loop owns autocast, learning-rate
schedule, EMA, checkpoints, resume, NaN handling and curves; a phase owns mathematics alone.

Rules that make training repeat bit by bit and resume exactly:

* every random draw inside ``loss`` comes from ``batch.generator`` (``draws.normal(shape, g)``), seeded by
  (key, phase, player, step), or, for layers such as
  dropout, from the default torch generator, which the loop seeds in the same way; nothing else is random and nothing is kept between
  steps except in parameters and *registered buffers* of the modules (an adaptive augmentation strength is a buffer);
* a batch may be a share of one that several processes train on (:mod:`.draws`): what is drawn for samples is drawn by the functions there,
  and so is what a loss needs of other samples than its own; everything else must be a mean over samples;
* what a phase has to measure once (latent statistics) it measures in ``prepare`` or ``finish`` and keeps in buffers;
* modules hold float32 weights; the loop runs ``loss`` under bf16 autocast when the recipe asks for it. A phase that needs float32 for a
  part (a double backward of R1/R2) switches it off there: ``with torch.autocast(x.device.type, enabled=False)``.

Sampling is a function of the condition and of a :class:`Noise`, which holds one generator a sample, so that a sample does not depend on the
batch it is computed in. Modules must not mix samples of a batch (no batch normalisation).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from sciimg.augmenters import draws
from sciimg.augmenters.backbones.layers import space_to_depth
from sciimg.augmenters.grid import Step
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule
from sciimg.errors import InputError, Problem
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
    image : Tensor, shape (N, I, [Z,] Y, X), optional
        Normalised channels of a source image: another contrast, a coarse image, a reference.
    tokens : Tensor of int64, shape (N, T), optional
        Words of a caption by number; 0 is no word.
    known : Tensor, shape (N, C + 1, [Z,] Y, X), optional
        On the grid of the process: points where they are given, zero elsewhere, and 1 where they are. Never withheld.
    """

    maps: Tensor
    vector: Tensor
    keep: Tensor
    image: Tensor | None = None
    tokens: Tensor | None = None
    known: Tensor | None = None

    def __len__(self) -> int:
        return len(self.vector)

    @property
    def spatial(self) -> Tensor:
        """Everything that is told at places, as channels: maps, then the source image, then what is known."""
        parts = [part for part in (self.maps, self.image, self.known) if part is not None]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]

    def dropped(self, probability: float, generator: torch.Generator) -> Condition:
        """Withhold the whole condition of some samples (Ho & Salimans 2022, classifier-free guidance)."""
        keep = (draws.uniform((len(self), 1), generator) >= probability).to(self.vector.dtype)
        return self.masked(keep)

    def withheld(self) -> Condition:
        """Return the empty condition of the same shapes."""
        return self.masked(torch.zeros_like(self.keep))

    def masked(self, keep: Tensor) -> Condition:
        spatial = keep.view((-1,) + (1,) * (self.maps.ndim - 1))
        image = None if self.image is None else self.image * spatial
        tokens = None if self.tokens is None else self.tokens * keep.long()
        return Condition(self.maps * spatial, self.vector * keep, self.keep * keep, image, tokens, self.known)

    def without(self, *kinds: Literal["maps", "image"]) -> Condition:
        """Return the same with no maps, or no image, at all: what a network hears that never learned to listen to them."""
        maps = self.maps[:, :0] if "maps" in kinds else self.maps
        return replace(self, maps=maps, image=None if "image" in kinds else self.image)

    def first(self, n: int) -> Condition:
        """Return the first ``n`` samples' conditions."""
        return Condition(*(None if part is None else part[:n] for part in self._parts))  # type: ignore[arg-type]

    def split(self, size: int) -> list[Condition]:
        """Return the conditions of successive parts of at most ``size`` samples."""
        return [
            Condition(*(None if part is None else part[start : start + size] for part in self._parts))  # type: ignore[arg-type]
            for start in range(0, len(self), size)
        ]

    def last(self, n: int) -> Condition:
        """Return the last ``n`` samples' conditions."""
        return Condition(*(None if part is None else part[-n:] for part in self._parts))  # type: ignore[arg-type]

    def piece(self, part: slice, generator: torch.Generator) -> Condition:
        """Return this process's share of the conditions of a part of the whole batch (:func:`.draws.piece`)."""
        return Condition(*(None if own is None else draws.piece(own, part, generator) for own in self._parts))  # type: ignore[arg-type]

    def joined(self, other: Condition) -> Condition:
        """Return these conditions followed by others."""
        pairs = zip(self._parts, other._parts, strict=True)
        return Condition(*(None if a is None or b is None else torch.cat([a, b]) for a, b in pairs))  # type: ignore[arg-type]

    def resized(self, shape: Sequence[int]) -> Condition:
        """Return what is told at places on a coarser grid, for a process in a smaller space: folded into channels, nothing lost."""
        factor = tuple(old // new for old, new in zip(self.maps.shape[2:], shape, strict=True))
        image = None if self.image is None else space_to_depth(self.image, factor)
        return replace(self, maps=space_to_depth(self.maps, factor), image=image)

    def on(self, device: torch.device) -> Condition:
        """Return the same on another device."""
        return Condition(*(None if part is None else part.to(device, non_blocking=True) for part in self._parts))  # type: ignore[arg-type]

    @property
    def _parts(self) -> tuple[Tensor | None, ...]:
        return (self.maps, self.vector, self.keep, self.image, self.tokens, self.known)


@dataclass(frozen=True, slots=True)
class FieldSizes:
    """What a network that works on fields needs to know to be built.

    Parameters
    ----------
    channels : int
        Of a point of the space.
    grid : tuple of int
        ([Z,] Y, X) of a point.
    steps : tuple of Step
        How the network's levels get coarser, finest first.
    maps, vector, words : int
        Channels of ``condition.spatial`` on this grid, length of ``condition.vector``, number of words of captions (0: none).
    image : int
        How many of ``maps`` belong to the source image; the others are drawn from the label image.
    attend : bool
        Whether the network looks at captions word by word.
    """

    channels: int
    grid: tuple[int, ...]
    steps: tuple[Step, ...]
    maps: int = 0
    vector: int = 0
    words: int = 0
    image: int = 0
    attend: bool = False

    @property
    def masks(self) -> int:
        return self.maps - self.image

    @property
    def dims(self) -> int:
        return len(self.grid)


def _as_it_is(condition: Condition, generator: torch.Generator) -> Condition:
    return condition


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a network that learns by itself: after the parts before it, which stay as they are from then on.

    Parameters
    ----------
    name : str
        Of the phase of training.
    modules : tuple of Module
        What learns.
    told : callable
        ``told(condition, generator)`` is what this part learns from: a base network is not told what its side network will be.
    begin : callable, optional
        Called once before the first step: a side network may start as a copy of its base.
    """

    name: str
    modules: tuple[nn.Module, ...]
    told: Callable[[Condition, torch.Generator], Condition] = _as_it_is
    begin: Callable[[], None] | None = None


class FieldNetwork(nn.Module, ABC):
    """A backbone of diffusion and flow: predicts a field on the grid of its input."""

    def stages(self) -> tuple[Stage, ...]:
        """Return the parts that learn one after another; most networks learn as a whole."""
        return (Stage("process", (self,)),)

    @abstractmethod
    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Return the field; ``x`` has shape (N, C, [Z,] Y, X), ``time`` (N,); the condition's maps are on the same grid."""


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
    """Modules that one optimiser trains, on every step or on every few (a generator whose critic moves more often)."""

    name: str
    modules: tuple[nn.Module, ...]
    schedule: Schedule
    every: int = 1

    def parameters(self) -> list[nn.Parameter]:
        return [p for module in self.modules for p in module.parameters()]


class Phase(ABC):
    """One stretch of training. ``schedule`` gives steps, batch, precision, held-out rhythm; players may carry their own rates."""

    name: str
    schedule: Schedule

    @abstractmethod
    def players(self) -> tuple[Player, ...]:
        """Return the players in the order in which they move on every step; with none, no step is taken (:class:`Measurement`)."""

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

    def finish(self, batch: Batch) -> None:  # noqa: B027 — optional
        """The same after the last step, with the weights that are kept."""


class Measurement(Phase):
    """A phase that learns nothing by steps: ``prepare`` measures once, and that is all."""

    schedule = Schedule(steps=1)

    def players(self) -> tuple[Player, ...]:
        return ()

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        raise AssertionError("a phase without players has no loss")

    @abstractmethod
    def prepare(self, batch: Batch) -> None: ...


class Noise:
    """Standard normal noise that belongs to samples, not to batches: sample ``i`` draws from its own generator.

    Parameters
    ----------
    key : tuple of str or int
        Study digest, stage and whatever else the draw depends on.
    indices : sequence of int
        Number of each sample; sample ``i`` is seeded by ``seed_of(*key, i)``.
    device : device
        Where the values are wanted. They are drawn on the CPU, so that they are the same everywhere.
    """

    def __init__(self, key: tuple[str | int, ...], indices: Sequence[int], device: torch.device | str = "cpu") -> None:
        self._generators = [torch.Generator("cpu").manual_seed(seed_of(*key, int(i))) for i in indices]
        self.device = torch.device(device)

    def __len__(self) -> int:
        return len(self._generators)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Draw the next standard normal values of every sample; the result has shape (N, *shape)."""
        return torch.stack([torch.randn(tuple(shape), generator=g, device="cpu") for g in self._generators]).to(self.device)

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Draw the next values of every sample, even in [0, 1); float64, shape (N, *shape)."""
        drawn = [torch.rand(tuple(shape), generator=g, dtype=torch.float64, device="cpu") for g in self._generators]
        return torch.stack(drawn).to(self.device)


White = Callable[[int, Sequence[int]], Tensor]
"""``white(channels, halo)``: noise (N, channels, [Z,] Y, X) for the fields' place, wider by ``halo`` samples on both sides of each axis."""


class Space(nn.Module, ABC):
    """Where a process lives. Coordinates have about zero mean and unit variance in every channel.

    ``exact`` says that decoding undoes encoding: nothing is lost, so there is no reconstruction to judge.
    """

    exact = False

    @abstractmethod
    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (channels, [z,] y, x) of a point for images of shape (C, [Z,] Y, X)."""

    @abstractmethod
    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        """Map images into the space, deterministically and without gradients; the condition is on the grid of the images."""

    @abstractmethod
    def decode(self, points: Tensor, noise: Noise | None = None, condition: Condition | None = None) -> Tensor:
        """Map points of the space to images; with ``noise``, draw also what the space leaves undetermined (fine texture)."""

    def fields(self, points: Tensor, condition: Condition | None = None) -> Tensor:
        """Return what ``decode`` makes of points before anything is drawn: what overlapping windows of a large field may be blended in.

        Shape (N, F, [Z,] Y, X) on the grid of the images.
        """
        return self.decode(points, None, condition)

    def finish(self, fields: Tensor, white: White) -> Tensor:
        """Turn blended ``fields`` of any size into images; what is drawn is drawn from ``white``, which knows the coordinates."""
        return fields

    def phases(self) -> tuple[Phase, ...]:
        return ()


class Process(nn.Module, ABC):
    """How noise becomes data, inside a space. ``samplers`` names what can draw from it."""

    samplers: tuple[str, ...]

    @abstractmethod
    def phases(self) -> tuple[Phase, ...]:
        """Return what has to be trained, in order. ``Batch.images`` are images: the phase itself takes them into the space."""

    @abstractmethod
    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        """Return points of the space, shape (N, *shape), for the N conditions."""


class Encoder(Process):
    """A process that reads images and draws none: trained, saved and loaded as any other, asked for features in place of samples."""

    samplers = ()

    @abstractmethod
    def features(self, points: Tensor) -> Tensor:
        """Return what is found in points of the space, shape (N, F)."""

    def filled(self, points: Tensor) -> Tensor | None:
        """Return points whose parts are each told from the other parts, or None where the encoder cannot."""
        return None

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        message = "This recipe is an encoder: it reads images and draws none. Generate with a recipe that has a sampler."
        raise InputError(Problem("sampler", "draws-nothing", message))


class System(nn.Module):
    """A recipe built for images of one shape: any size is padded to what the networks need and cropped back exactly.

    Parameters
    ----------
    space, process : Module
    shape : tuple of int
        (C, [Z,] Y, X) of the images.
    padded : tuple of int
        The same as the networks need it.
    """

    def __init__(self, space: Space, process: Process, shape: tuple[int, ...], padded: tuple[int, ...]) -> None:
        super().__init__()
        self.space, self.process, self.image_shape, self.padded_shape = space, process, shape, padded

    def phases(self) -> tuple[Phase, ...]:
        return (*self.space.phases(), *self.process.phases())

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def pad(self, x: Tensor) -> Tensor:
        """Repeat the border up to the padded shape; x has shape (N, any, [Z,] Y, X)."""
        short = [new - old for new, old in zip(self.padded_shape[1:], x.shape[2:], strict=True)]
        if not any(short) or x.shape[1] == 0:
            return x if not any(short) else x.new_zeros((*x.shape[:2], *self.padded_shape[1:]))
        sides = [side for n in reversed(short) for side in (n // 2, n - n // 2)]
        return nn.functional.pad(x, sides, mode="replicate")

    def crop(self, x: Tensor) -> Tensor:
        """Undo :meth:`pad`."""
        starts = [(new - old) // 2 for new, old in zip(self.padded_shape[1:], self.image_shape[1:], strict=True)]
        for axis, (start, size) in enumerate(zip(starts, self.image_shape[1:], strict=True), start=2):
            x = x.narrow(axis, start, size)
        return x

    def pad_condition(self, condition: Condition) -> Condition:
        image = None if condition.image is None else self.pad(condition.image)
        return replace(condition, maps=self.pad(condition.maps), image=image)

    @torch.no_grad()
    def sample(self, condition: Condition, noise: Noise, settings: SamplerSettings) -> Tensor:
        """Return normalised images (N, C, [Z,] Y, X) for N conditions on the grid of the images."""
        told = self.pad_condition(condition)
        points = self.process.sample(told, noise, self.space.shape(self.padded_shape), settings)
        return self.crop(self.space.decode(points, noise, told))

    @torch.no_grad()
    def reconstruct(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        """Return what the space keeps of normalised images (N, C, [Z,] Y, X), or how an encoder fills them."""
        told = None if condition is None else self.pad_condition(condition)
        points = self.space.encode(self.pad(images), told)
        if isinstance(self.process, Encoder) and (filled := self.process.filled(points)) is not None:
            points = filled
        return self.crop(self.space.decode(points, None, told))

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Return what an encoder finds in normalised images (N, C, [Z,] Y, X), shape (N, F)."""
        assert isinstance(self.process, Encoder)
        return self.process.features(self.space.encode(self.pad(images)))


def padded_shape(shape: tuple[int, ...], multiple: Step) -> tuple[int, ...]:
    """Round the spatial sizes of (C, [Z,] Y, X) up to a multiple for each axis."""
    return (shape[0], *(-(-size // step) * step for size, step in zip(shape[1:], multiple, strict=True)))


def autocast(precision: Literal["bf16", "fp32"], device: torch.device | str) -> torch.autocast:
    """Return the context in which networks run."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bf16")


def count_parameters(module: nn.Module) -> int:
    return sum(math.prod(p.shape) for p in module.parameters())
