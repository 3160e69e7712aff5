"""A feature space from a network that the user brings: trained elsewhere, on whatever images, for whatever task.

Two kinds of file. ``FILE.safetensors`` is an encoder that sciimg has trained, of another study for example. ``FILE.pt`` is any network in
TorchScript, as ``torch.jit.save`` writes it (no pickle is opened): it takes float32 images (N, C, [Z,] Y, X) with any N, the channels and
the shape of the samples, each channel brought to mean 0 and standard deviation 1 on the reference images, and returns one vector an image,
(N, D), or maps (N, D, ...), whose means are taken. Like any program, take such a file from people you trust only.

Whoever made it, it judges only if it tells the planted faults from real images.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciimg.errors import InputError, Problem
from sciimg.validation.features.encoder import TrainedEncoder
from sciimg.validation.features.space import Embed
from sciimg.validation.segmentation import one_thread

Array = NDArray[np.float64]
Single = NDArray[np.float32]

_CHUNK_VOXELS = 2**20


def weights(path: Path, channels: int, shape: tuple[int, ...]) -> Embed:
    """Return the embedding of a file, tried on two images of noise with ``channels`` and spatial ``shape``.

    Raises
    ------
    InputError
        Kinds ``not-found``, ``bad-weights`` (cannot be read, or is of another kind) and ``unfit-weights`` (takes other images).
    """
    if not path.is_file():
        raise InputError(Problem(str(path), "not-found", "The weights are a file: FILE.safetensors or FILE.pt; there is none here."))
    embed = _encoder(path) if path.suffix == ".safetensors" else _script(path)
    noise = np.random.default_rng(0).standard_normal((2, channels, *shape)).astype(np.float32)
    try:
        found = embed(noise)
    except Exception as error:  # a network may fail in any way on images that it was not made for
        message = f"The network must take images of shape {noise.shape} with any N; it fails: {type(error).__name__}: {str(error)[:300]}"
        raise InputError(Problem(str(path), "unfit-weights", message)) from error
    if found.ndim != 2 or len(found) != 2 or not np.isfinite(found).all():
        message = f"One vector an image is expected, (2, D); the network gives {found.shape} for two images, or what is not finite."
        raise InputError(Problem(str(path), "unfit-weights", message))
    return embed


def _encoder(path: Path) -> Embed:
    try:
        return TrainedEncoder.load(path).embed
    except Exception as error:  # a file from anywhere
        message = "An encoder that sciimg has trained is expected (encoder.safetensors of a run); save other networks with torch.jit.save."
        raise InputError(Problem(str(path), "bad-weights", message)) from error


def _script(path: Path) -> Embed:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # its successor, torch.export, opens pickles
            network = torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        message = "A network in TorchScript is expected, as torch.jit.save writes it (FILE.pt); pickles are never opened."
        raise InputError(Problem(str(path), "bad-weights", message)) from error

    def embed(images: Single) -> Array:
        size = max(1, _CHUNK_VOXELS // int(np.prod(images.shape[1:])))
        with one_thread(), torch.inference_mode():
            parts = [_vectors(network(torch.from_numpy(images[i : i + size]))) for i in range(0, len(images), size)]
        return np.concatenate(parts)

    return embed


def _vectors(output: Any) -> Array:
    if not isinstance(output, Tensor):
        raise TypeError(f"one tensor is expected, got {type(output).__name__}")
    maps = output.double()
    return np.asarray(maps.mean(tuple(range(2, maps.ndim))) if maps.ndim > 2 else maps)
