"""Books of codes: vectors by number. The nearest one (VQ-VAE), or one drawn through a relaxed softmax (dVAE)."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciimg.augmenters.draws import uniform, whole


@dataclass(frozen=True, slots=True)
class Quantised:
    """What a book made of latents while training.

    Parameters
    ----------
    vectors : Tensor, shape (N, D, *grid)
        What the decoder sees; gradients go through to the latents.
    penalty : Tensor, scalar
        What the book adds to the loss.
    """

    vectors: Tensor
    penalty: Tensor


class Book(nn.Module, ABC):
    """``codes`` are vectors, shape (K, D)."""

    codes: Tensor

    @abstractmethod
    def number(self, latents: Tensor) -> Tensor:
        """Return the code of each latent: (N, D, *grid) → int64 (N, *grid)."""

    @abstractmethod
    def learn(self, latents: Tensor, generator: torch.Generator, progress: float) -> Quantised:
        """Quantise while training."""

    def look_up(self, numbers: Tensor) -> Tensor:
        """Return the vectors of codes: (N, *grid) → (N, D, *grid)."""
        return self.codes[numbers].movedim(-1, 1)


class NearestBook(Book):
    """The nearest code; codes are running averages of the latents that chose them (van den Oord 2017, arXiv:1711.00937, appendix A.1).

    Parameters
    ----------
    codes, channels : int
        K and D.
    decay : float
        Of the running averages.
    dead : float
        A code whose running count falls below this share of an even use is restarted at a random latent of the batch.
    commitment : float
        Weight beta of eq. 3.
    """

    counts: Tensor
    sums: Tensor

    def __init__(self, codes: int, channels: int, decay: float, dead: float, commitment: float) -> None:
        super().__init__()
        self.decay, self.dead, self.commitment = decay, dead, commitment
        start = torch.randn(codes, channels) / codes  # near nothing: what a code stands for comes from data alone
        self.register_buffer("codes", start)
        self.register_buffer("counts", torch.ones(codes))
        self.register_buffer("sums", start.clone())

    def number(self, latents: Tensor) -> Tensor:
        with torch.autocast(latents.device.type, enabled=False):
            flat = latents.float().movedim(1, -1)
            return (self.codes.square().sum(1) - 2 * flat @ self.codes.T).argmin(-1)

    def learn(self, latents: Tensor, generator: torch.Generator, progress: float) -> Quantised:
        with torch.no_grad():
            numbers = self.number(latents)
            vectors = self.look_up(numbers)
            every = whole(latents.detach().float().movedim(1, -1), generator).flatten(0, -2)
            self.update(every, whole(numbers, generator).flatten(), generator)
        penalty = self.commitment * (latents - vectors).square().mean()
        return Quantised(latents + (vectors - latents).detach(), penalty)  # straight-through

    def update(self, latents: Tensor, numbers: Tensor, generator: torch.Generator) -> None:
        """Move the running averages by one whole batch, latents (M, D) with codes (M,); then restart dead codes."""
        counts = torch.zeros_like(self.counts).index_add_(0, numbers, torch.ones_like(latents[:, 0]))
        sums = torch.zeros_like(self.sums).index_add_(0, numbers, latents)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        even = len(latents) / len(self.codes)
        dead = self.counts < self.dead * even
        # drawn for all codes, dead or not, so that the draw does not depend on how many there are
        chosen = latents[torch.randint(len(latents), (len(self.codes),), generator=generator, device=generator.device).to(latents.device)]
        self.sums.copy_(torch.where(dead[:, None], chosen * even, self.sums))
        self.counts.copy_(torch.where(dead, torch.full_like(self.counts, even), self.counts))
        self.codes.copy_(self.sums / self.counts[:, None])


class GumbelBook(Book):
    """Codes by a softmax over logits, relaxed with Gumbel noise while training (Ramesh et al. 2021, arXiv:2102.12092, section 2.1).

    Parameters
    ----------
    codes, channels : int
    soft : float
        Temperature at the end; it falls from 1 as a cosine.
    evenness : float
        Weight of KL(q || uniform), per place.
    """

    def __init__(self, codes: int, channels: int, soft: float, evenness: float) -> None:
        super().__init__()
        self.soft, self.evenness = soft, evenness
        start = torch.randn(codes, channels)
        self.codes = nn.Parameter(start)
        # logits start as -|latent - code|^2 / 2 up to a constant: the likeliest code is the nearest one
        self.weight = nn.Parameter(start.clone())
        self.bias = nn.Parameter(-0.5 * start.square().sum(1))

    def logits(self, latents: Tensor) -> Tensor:
        """Return (N, *grid, K)."""
        with torch.autocast(latents.device.type, enabled=False):
            return functional.linear(latents.float().movedim(1, -1), self.weight, self.bias)

    def number(self, latents: Tensor) -> Tensor:
        return self.logits(latents).argmax(-1)

    def learn(self, latents: Tensor, generator: torch.Generator, progress: float) -> Quantised:
        logits = self.logits(latents)
        even = uniform(logits.shape, generator).to(logits.device)
        gumbel = -(-even.clamp(1e-9, 1 - 1e-7).log()).log()
        shares = ((logits + gumbel) / self.temperature(progress)).softmax(-1)
        with torch.autocast(latents.device.type, enabled=False):
            vectors = (shares @ self.codes).movedim(-1, 1)
        log_q = logits.log_softmax(-1)
        divergence = (log_q.exp() * (log_q + math.log(len(self.codes)))).sum(-1).mean()
        return Quantised(vectors, self.evenness * divergence)

    def temperature(self, progress: float) -> float:
        """Fall from 1 to ``soft`` along a cosine over the first four fifths of training; then stay."""
        share = min(1.0, progress / 0.8)
        fall = 0.5 * (1 + math.cos(math.pi * share))
        return self.soft + (1 - self.soft) * fall
