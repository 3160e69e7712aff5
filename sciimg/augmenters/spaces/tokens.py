"""Spaces whose points are sequences of codes: what a process that predicts codes may rely on."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from sciimg.augmenters.system import Condition, Noise, Space

Grids = tuple[tuple[int, ...], ...]


class TokenSpace(Space):
    """A space of int64 codes below ``vocabulary``; a point is all codes of one image, level after level, each in the order of its grid.

    Unlike in other spaces, coordinates have no mean and no variance: codes of one level are names, and those of two levels have nothing
    in common.
    """

    vocabulary: int

    @abstractmethod
    def grids(self, image_shape: tuple[int, ...]) -> Grids:
        """Return ([z,] y, x) of every level, in the order of generation, for images of shape (C, [Z,] Y, X)."""

    @abstractmethod
    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        """Return codes, int64, shape (N, L)."""

    @abstractmethod
    def decode(self, points: Tensor, noise: Noise | None = None, condition: Condition | None = None) -> Tensor:
        """Return images for codes (N, L); with ``noise``, draw also what codes leave undetermined."""

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (L,)."""
        return (sum(lengths(self.grids(image_shape))),)


def lengths(grids: Sequence[Sequence[int]]) -> list[int]:
    """Return how many tokens each level has."""
    return [math.prod(grid) for grid in grids]


def split_levels(codes: Tensor, grids: Grids) -> list[Tensor]:
    """Return the codes of each level on its grid: (N, L) → (N, [z,] y, x) each."""
    return [part.reshape(len(codes), *grid) for part, grid in zip(codes.split(lengths(grids), dim=1), grids, strict=True)]


def join_levels(levels: Sequence[Tensor]) -> Tensor:
    """Undo :func:`split_levels`."""
    return torch.cat([level.flatten(1) for level in levels], dim=1)
