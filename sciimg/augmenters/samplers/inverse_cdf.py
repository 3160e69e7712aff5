"""Codes drawn by the inverse of their distribution function, so that a sample is a function of its own uniform numbers."""

import torch
from torch import Tensor


def draw(logits: Tensor, uniform: Tensor, temperature: float = 1.0, top_k: int | None = None) -> Tensor:
    """Return the code at which the distribution function passes a uniform number.

    Parameters
    ----------
    logits : Tensor, shape (N, n, K)
    uniform : Tensor, shape (N, n)
        In [0, 1); float64.
    temperature : float
        Logits are divided by it.
    top_k : int, optional
        Codes less likely than the ``top_k`` likeliest are never drawn (Fan et al. 2018, arXiv:1805.04833).

    Returns
    -------
    Tensor, int64, shape (N, n)
    """
    scaled = logits.double() / temperature
    if top_k is not None and top_k < scaled.shape[-1]:
        least = scaled.topk(top_k, dim=-1).values[..., -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    passed = scaled.softmax(-1).cumsum(-1)
    # the sum of all may miss 1 by a rounding error; the last code with any share takes what is left
    return (passed <= uniform[..., None] * passed[..., -1:]).sum(-1).clamp(max=logits.shape[-1] - 1)
