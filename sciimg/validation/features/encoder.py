"""A small convolutional encoder that learns from the training images themselves, in 2D or 3D, without labels.

Two tasks at once. Contrastive (SimCLR): two random crops of one patch, mirrored and turned, should have similar codes; crops of other
patches should not, and neither should a blurred, noisier or gamma-changed crop of the same patch. Estimation: how strongly was a crop
blurred, made noisy or bent? Measured on tissue, the first task alone left the features blind to blur and noise, and so did normalisation
layers.

Features are mean and log spread of the maps of every stage, and the hidden layer that both tasks read. One thread, float32, explicit seeds:
the same bits every time.

References
----------
Chen T, Kornblith S, Norouzi M, Hinton G (2020) A simple framework for contrastive learning of visual representations. ICML,
arXiv:2002.05709
"""

import itertools
import json
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any, assert_never

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

from sciimg.files import write_bytes
from sciimg.randomness import generator, seed_of
from sciimg.validation.segmentation import one_thread

Array = NDArray[np.float64]
Single = NDArray[np.float32]

WIDTHS = (16, 24, 32, 48)
TEMPERATURE = 0.2
ESTIMATION_WEIGHT = 20.0
_HIDDEN, _CODE = 64, 32
_VOXELS = 2**16  # of a training batch (single view), within the limits below
_BATCH = (8, 48)
_CROP = {2: 0.75, 3: 0.6}  # of every side
_SHORTEST = 2 ** len(WIDTHS)
_FLOOR = 0.01  # below this a spread is numerical
_LIMIT = 10.0  # normalised intensities are clipped here
_CHUNK_VOXELS = 2**20


class Fault(IntEnum):
    """What is planted in the third view."""

    BLUR = 0
    NOISE = 1
    GAMMA = 2


class Encoder(nn.Module):
    """Plain convolutions, of stride two after the first; no normalisation, which would hide contrast."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        sizes = itertools.pairwise((channels, *WIDTHS))
        self.stages = nn.ModuleList(conv(a, b, 3, stride=1 if i == 0 else 2, padding=1) for i, (a, b) in enumerate(sizes))
        self.hidden = nn.Sequential(nn.Linear(2 * sum(WIDTHS), _HIDDEN), nn.SiLU())
        self.code = nn.Linear(_HIDDEN, _CODE)
        self.strengths = nn.Linear(_HIDDEN, len(Fault))
        for layer in self.stages:
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias) if layer.bias is not None else None
        nn.init.zeros_(self.strengths.weight)
        self.channels, self.dims = channels, dims

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log spread of every stage's maps (N, 2 · sum of widths), and the hidden layer (N, 64)."""
        axes = tuple(range(2, images.ndim))
        means, spreads, maps = [], [], images
        for stage in self.stages:
            maps = F.silu(stage(maps))
            means.append(maps.mean(axes))
            spreads.append((maps.var(axes, unbiased=False).add(1e-6).sqrt() + _FLOOR).log())
        statistics = torch.cat([*means, *spreads], dim=1)
        return statistics, self.hidden(statistics)


@dataclass(frozen=True)
class TrainedEncoder:
    """An encoder with what is known of its training."""

    network: Encoder
    losses: tuple[float, ...]

    def embed(self, images: Single) -> Array:
        """Return the features of images (N, C, [Z,] Y, X) of unit scale; sides shorter than 16 px are mirrored up to that."""
        size = max(1, _CHUNK_VOXELS // (int(np.prod(images.shape[2:])) * WIDTHS[0]))
        self.network.eval()
        with one_thread(), torch.inference_mode():
            chunks = (self.network(_tensor(images[i : i + size])) for i in range(0, len(images), size))
            parts = [torch.cat(chunk, dim=1).double().numpy() for chunk in chunks]
        return np.asarray(np.concatenate(parts))

    def save(self, path: Path) -> None:
        """Write weights and description to one safetensors file."""
        from safetensors.torch import save

        about = {"channels": self.network.channels, "dims": self.network.dims, "losses": self.losses}
        write_bytes(path, save(dict(self.network.state_dict()), metadata={"sciimg.encoder": json.dumps(about)}))

    @classmethod
    def load(cls, path: Path) -> "TrainedEncoder":
        """Read what :meth:`save` wrote."""
        from safetensors import safe_open

        with safe_open(path, framework="pt") as stored:
            about = json.loads(stored.metadata()["sciimg.encoder"])
            network = Encoder(about["channels"], about["dims"])
            network.load_state_dict({name: stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118
        return cls(network, tuple(about["losses"]))


def train_encoder(images: Single, *, steps: int, key: tuple[str | int, ...]) -> TrainedEncoder:
    """Train on images (N, C, [Z,] Y, X) of unit scale.

    Parameters
    ----------
    steps : int
        Optimiser steps; the batch follows from the size of an image.
    key : tuple
        Seeds weights, batches and views.
    """
    rng = generator(*key, "views")
    with one_thread():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of(*key, "weights"))
            network = Encoder(images.shape[1], images.ndim - 2)
        optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=max(steps, 2))
        losses = []
        for _ in range(steps):
            views, strengths = _views(images, rng)
            hidden = network(views)[1]
            agreement = contrastive_loss(F.normalize(network.code(hidden), dim=1), len(views) // 3)
            loss = agreement + ESTIMATION_WEIGHT * F.mse_loss(network.strengths(hidden), strengths)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
    return TrainedEncoder(network, tuple(losses))


def contrastive_loss(codes: Tensor, size: int) -> Tensor:
    """Return NT-Xent (Chen 2020, eq. 1) of unit codes: row i < size belongs to row i + size; rows after 2 · size are only negatives."""
    similarity = codes @ codes.T / TEMPERATURE
    similarity = similarity.masked_fill(torch.eye(len(codes), dtype=torch.bool), float("-inf"))
    return F.cross_entropy(similarity[: 2 * size], torch.arange(2 * size).roll(size))


def _views(images: Single, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return two sound views and a faulty one of a random batch, (3N, C, [Z,] Y, X), and the strength of each fault, (3N, faults)."""
    voxels = int(np.prod(images.shape[2:]))
    size = min(len(images), int(np.clip(_VOXELS // voxels, *_BATCH)))
    rows = rng.choice(len(images), size, replace=False)
    shape = tuple(max(min(n, _SHORTEST), round(_CROP[images.ndim - 2] * n)) for n in images.shape[2:])
    views = np.stack([_view(images[row], shape, rng) for _ in range(3) for row in rows])
    strengths = np.zeros((len(views), len(Fault)), np.float32)
    for i in range(2 * size, len(views)):
        fault = Fault(int(rng.integers(len(Fault))))
        views[i], strengths[i, fault] = _plant(fault, views[i], rng)
    return _tensor(views), torch.from_numpy(strengths)


def _plant(fault: Fault, image: Single, rng: np.random.Generator) -> tuple[Single, float]:
    """Return an image (C, [Z,] Y, X) with a fault of random strength, and the strength on a scale of about one."""
    axes = tuple(range(1, image.ndim))
    match fault:
        case Fault.BLUR:
            sigma_px = float(rng.uniform(0.3, 1.5))
            return ndimage.gaussian_filter(image, (0, *(sigma_px,) * len(axes))), sigma_px
        case Fault.NOISE:
            grain = np.sqrt(np.mean(np.square(np.diff(image, axis=-1)), axis=axes, keepdims=True) / 2)
            factor = float(rng.uniform(0.2, 1.2))
            return np.asarray(image + factor * grain * rng.standard_normal(image.shape), dtype=np.float32), factor
        case Fault.GAMMA:
            low, high = image.min(axis=axes, keepdims=True), image.max(axis=axes, keepdims=True)
            span = np.maximum(high - low, 1e-6)
            log_gamma = float(rng.choice([-1, 1]) * rng.uniform(0.1, 0.4))
            return np.asarray(low + span * ((image - low) / span) ** np.exp(log_gamma), dtype=np.float32), 2 * log_gamma
        case _:
            assert_never(fault)


def _view(image: Single, shape: tuple[int, ...], rng: np.random.Generator) -> Single:
    """A random crop, mirrored along random axes, with the two last axes exchanged in half of the cases where they are equally long."""
    start = [int(rng.integers(n - m + 1)) for n, m in zip(image.shape[1:], shape, strict=True)]
    crop = image[(slice(None), *(slice(s, s + m) for s, m in zip(start, shape, strict=True)))]
    mirrored = crop[(slice(None), *(slice(None, None, -1 if rng.random() < 0.5 else 1) for _ in shape))]
    return mirrored.swapaxes(-1, -2) if shape[-1] == shape[-2] and rng.random() < 0.5 else mirrored


def _tensor(images: NDArray[Any]) -> Tensor:
    short = [(0, max(0, _SHORTEST - n)) for n in images.shape[2:]]
    if any(after for _, after in short):
        images = np.pad(images, [(0, 0), (0, 0), *short], mode="symmetric")
    return torch.from_numpy(np.clip(images, -_LIMIT, _LIMIT, dtype=np.float32))
