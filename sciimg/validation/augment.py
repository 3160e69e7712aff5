"""Classical augmentation for the downstream comparison, kept apart from everything that the generators use.

Parameters are drawn per sample, then applied to a whole batch as one affine resampling and one change of intensity.
"""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Augmentation = Literal["none", "symmetries", "classical"]

_GAIN = (0.8, 1.25)
_SHIFT = 0.2  # in standard deviations
_NOISE = 0.15  # in standard deviations
_ZOOM = (0.8, 1.25)
_TILT = np.pi / 12  # of oriented images


def augmented(
    images: Tensor, classes: Tensor, kind: Augmentation, rng: np.random.Generator, *, oriented: bool = False
) -> tuple[Tensor, Tensor]:
    """Augment normalised images (N, C, [Z,] Y, X) together with their classes (N, [Z,] Y, X).

    ``symmetries`` flips axes and turns by quarters in the plane; ``classical`` turns by any angle, flips, zooms (0.8 to 1.25), changes
    gain and offset per channel and adds noise.

    ``oriented`` images (anatomy, whose classes say where head and tail are) are neither flipped nor turned by more than 15 degrees:
    a turned hippocampus is wrong training data, and would make the classical arm a straw man.
    """
    if kind == "none" or (oriented and kind == "symmetries"):
        return images, classes
    if kind == "symmetries":
        return _symmetries(images, classes, rng)
    matrices = np.stack([_affine(tuple(images.shape[2:]), rng, oriented) for _ in range(len(images))])
    grid = F.affine_grid(torch.from_numpy(matrices), list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    labels = F.grid_sample(classes[:, None].float(), grid, mode="nearest", padding_mode="reflection", align_corners=False)[:, 0].long()
    shape = (*images.shape[:2], *(1,) * (images.ndim - 2))
    gain = _tensor(rng.uniform(*_GAIN, shape))
    shift = _tensor(rng.uniform(-_SHIFT, _SHIFT, shape))
    noise = _tensor(rng.uniform(0, _NOISE, (len(images), *shape[1:])) * rng.standard_normal(images.shape))
    return moved * gain + shift + noise, labels


def _symmetries(images: Tensor, classes: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    square = images.shape[-1] == images.shape[-2]
    pairs = []
    for image, label in zip(images, classes, strict=True):
        turns = int(rng.integers(4)) if square else 2 * int(rng.integers(2))
        flipped = [-1 - axis for axis in range(label.ndim) if rng.integers(2)]
        pairs.append((torch.rot90(image, turns, (-2, -1)).flip(flipped), torch.rot90(label, turns, (-2, -1)).flip(flipped)))
    return torch.stack([image for image, _ in pairs]), torch.stack([label for _, label in pairs])


def _affine(shape: tuple[int, ...], rng: np.random.Generator, oriented: bool) -> NDArray[np.float32]:
    """Return a (dims, dims + 1) matrix in torch's x, y[, z] order: rotation in the y-x plane, flips, one zoom.

    Torch counts every axis from -1 to 1; a rotation of pixels is a rotation between these units only after scaling by the sides.
    """
    dims = len(shape)
    angle = rng.uniform(-_TILT, _TILT) if oriented else rng.uniform(0, 2 * np.pi)
    matrix = np.eye(dims)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix *= np.exp(rng.uniform(*np.log(_ZOOM)))
    if not oriented:
        matrix *= rng.choice([-1.0, 1.0], dims)[:, None]
    sides = np.array(shape[::-1], dtype=np.float64)
    matrix *= sides / sides[:, None]
    return np.concatenate([matrix, np.zeros((dims, 1))], axis=1).astype(np.float32)


def _tensor(array: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
