"""What an autoencoder of images loses, in numbers a gradient can follow."""

import torch
from torch import Tensor


def reconstruction_error(decoded: Tensor, images: Tensor, gradient_weight: float) -> Tensor:
    """L1 of values and, weighted, of finite differences along every axis; all (N, C, [Z,] Y, X)."""
    error = decoded - images
    slopes = sum((torch.diff(error, dim=axis).abs().mean() for axis in range(2, error.ndim)), start=error.new_zeros(()))
    return error.abs().mean() + gradient_weight * slopes


def spread_loss(error: Tensor, log_spread: Tensor) -> Tensor:
    """Negative log likelihood of a Laplace law with the predicted spread: an unbounded Gaussian one would follow a few pixels."""
    return (log_spread + error.abs() * (-log_spread).exp()).mean()
