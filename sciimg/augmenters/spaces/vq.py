"""A convolutional autoencoder whose latents are codes: one level, two, or residual scales."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciimg.augmenters.backbones.autoencoder import Decoder, Encoder, start_linear
from sciimg.augmenters.grid import Step, coarser, product
from sciimg.augmenters.spaces.codebook import Book, GumbelBook, NearestBook
from sciimg.augmenters.spaces.reconstruction import reconstruction_error, spread_loss
from sciimg.augmenters.spaces.residual import ResidualNoise
from sciimg.augmenters.spaces.settings import VQSpace
from sciimg.augmenters.spaces.tokens import Grids, TokenSpace, join_levels, split_levels
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, Player, autocast


class VQAutoencoder(TokenSpace):
    """Latents h are described level after level, coarsest first; every level quantises what the levels before it have left of h.

    * one level: VQ-VAE (van den Oord 2017, arXiv:1711.00937), or, with Gumbel codes, dVAE (Ramesh 2021, arXiv:2102.12092);
    * ``top``: a learned encoder takes h to a coarser grid and a learned decoder brings it back: VQ-VAE-2 (Razavi 2019,
      arXiv:1906.00446), whose lower level here quantises the difference from the upper one;
    * ``scales``: block means and linear interpolation in their place: the multi-scale residual quantiser of VAR (Tian 2024,
      arXiv:2404.02905, algorithms 1 and 2), without convolutions after the interpolation.

    Parameters
    ----------
    settings : VQSpace
    shape : tuple of int
        (C, [Z,] Y, X) of the images, padded to multiples of the factor.
    steps : sequence of Step
        How each halving of the grid goes, finest first; one for each entry of ``widths``, then of ``top``.
    """

    def __init__(self, settings: VQSpace, shape: tuple[int, ...], steps: Sequence[Step]) -> None:
        super().__init__()
        channels, latent, halved = shape[0], settings.code_channels, len(settings.widths)
        self.settings, self.vocabulary, self.image_shape = settings, settings.codes, shape
        self.above = product(steps[halved:], len(shape) - 1)
        self.encoder = Encoder(steps[:halved], channels, latent, settings.widths, settings.blocks)
        self.decoder = Decoder(steps[:halved], latent, channels, settings.widths, settings.blocks)
        self.rungs = nn.ModuleList()
        if settings.top:
            self.rungs.append(_Learned(steps[halved:], latent, settings))
        else:
            for grid in self.grids(shape)[:-1]:
                self.rungs.append(_Pooled(grid))
        self.books = nn.ModuleList(_book(settings) for _ in range(len(self.rungs) + 1))
        self.residual = ResidualNoise(shape) if settings.residual else None

    def grids(self, image_shape: tuple[int, ...]) -> Grids:
        finest = coarser(image_shape[1:], self.encoder.factor)
        if self.settings.top:
            return (coarser(finest, self.above), finest)
        return tuple(tuple(-(-size // 2**k) for size in finest) for k in reversed(range(self.settings.scales)))

    @torch.no_grad()
    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        with autocast(self.settings.training.precision, images.device.type):
            left = self.encoder(images)[0]
            levels = []
            for level, book in enumerate(self._books()):
                numbers = book.number(self._down(level, left))
                levels.append(numbers)
                left = left - self._up(level, book.look_up(numbers), left.shape[2:])
        return join_levels(levels)

    @torch.no_grad()
    def decode(self, points: Tensor, noise: Noise | None = None, condition: Condition | None = None) -> Tensor:
        images: Tensor
        with autocast(self.settings.training.precision, points.device.type):
            images, log_spread = self.decoder(self.latents(points))
        if noise is None or self.residual is None:
            return images
        textured: Tensor = self.residual(images, log_spread, noise)
        return textured

    def latents(self, codes: Tensor) -> Tensor:
        """Return what codes (N, L) say of h: (N, D, [z,] y, x) on the finest grid."""
        grids = self.grids(self.image_shape)
        parts = [
            self._up(level, book.look_up(numbers), grids[-1])
            for level, (book, numbers) in enumerate(zip(self._books(), split_levels(codes, grids), strict=True))
        ]
        return torch.stack(parts).sum(0)

    def learn(self, latents: Tensor, generator: torch.Generator, progress: float) -> tuple[Tensor, Tensor]:
        """Quantise h while training: what the decoder sees, and the penalty of all books."""
        total, penalty = torch.zeros_like(latents), latents.new_zeros(())
        for level, book in enumerate(self._books()):
            # the levels before are constants here, or the straight-through gradients of two levels would cancel
            quantised = book.learn(self._down(level, latents - total.detach()), generator, progress)
            field = self._up(level, quantised.vectors, latents.shape[2:])
            total, penalty = total + field, penalty + quantised.penalty
            if level < len(self.rungs) and isinstance(self.rungs[level], _Learned):
                penalty = penalty + self.settings.commitment * (latents.detach() - field).square().mean()
        return total, penalty

    def phases(self) -> tuple[Phase, ...]:
        return (_Tokenising(self),)

    def _books(self) -> list[Book]:
        return list(self.books)  # type: ignore[arg-type]

    def _down(self, level: int, latents: Tensor) -> Tensor:
        return latents if level == len(self.rungs) else self.rungs[level].down(latents)  # type: ignore[operator]

    def _up(self, level: int, vectors: Tensor, grid: Sequence[int]) -> Tensor:
        return vectors if level == len(self.rungs) else self.rungs[level].up(vectors, grid)  # type: ignore[operator]


class _Learned(nn.Module):
    """To a coarser grid and back by networks."""

    def __init__(self, steps: Sequence[Step], latent: int, settings: VQSpace) -> None:
        super().__init__()
        self.encoder = Encoder(steps, latent, latent, settings.top, settings.blocks)
        self.decoder = Decoder(steps, latent, latent, settings.top, settings.blocks)

    def down(self, latents: Tensor) -> Tensor:
        out: Tensor = self.encoder(latents)[0]
        return out

    def up(self, vectors: Tensor, grid: Sequence[int]) -> Tensor:
        out: Tensor = self.decoder(vectors)[0]
        return out


class _Pooled(nn.Module):
    """To a coarser grid by means and back by linear interpolation; only the last scale passes gradients, all of them."""

    def __init__(self, grid: tuple[int, ...]) -> None:
        super().__init__()
        self.grid = grid

    def down(self, latents: Tensor) -> Tensor:
        pool = functional.adaptive_avg_pool2d if len(self.grid) == 2 else functional.adaptive_avg_pool3d
        return pool(latents.detach(), self.grid)  # type: ignore[arg-type]

    def up(self, vectors: Tensor, grid: Sequence[int]) -> Tensor:
        return functional.interpolate(vectors, tuple(grid), mode="bilinear" if len(grid) == 2 else "trilinear")


class _Tokenising(Phase):
    """L1 of values and of finite differences, and what the books add."""

    name = "tokeniser"

    def __init__(self, space: VQAutoencoder) -> None:
        self.space, self.settings, self.schedule = space, space.settings, space.settings.training

    def players(self) -> tuple[Player, ...]:
        space = self.space
        return (Player("autoencoder", (space.encoder, space.decoder, space.rungs, space.books), self.schedule),)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """Start from principal components of blocks of pixels, in their own proportions: distances of latents are errors of pixels."""
        encoder, decoder = self.space.encoder, self.space.decoder
        start_linear(encoder, decoder, batch.images)
        strength = decoder.linear.weight.flatten(2).square().sum((0, 2)).sqrt()
        strength = (strength / strength.square().mean().sqrt()).clamp_min(1e-3)
        column = strength.view(-1, *([1] * encoder.dims))
        encoder.linear.weight.mul_(column.unsqueeze(1))
        assert encoder.linear.bias is not None
        encoder.linear.bias.mul_(strength)
        decoder.linear.weight.div_(column.unsqueeze(0))

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        latents = self.space.encoder(batch.images)[0]
        seen, penalty = self.space.learn(latents, batch.generator, batch.progress)
        decoded, log_spread = self.space.decoder(seen)
        error = reconstruction_error(decoded, batch.images, self.settings.gradient_weight)
        losses = {"loss": error + penalty, "error": error, "penalty": penalty}
        if self.space.residual is not None:
            spread = spread_loss((decoded - batch.images).detach(), log_spread)
            losses |= {"loss": losses["loss"] + self.settings.spread_weight * spread, "spread": spread}
        return losses

    def held_out(self, batch: Batch) -> Tensor | None:
        """None for nearest codes: books are buffers of the last step, and earlier weights do not fit them."""
        if self.settings.quantiser == "nearest":
            return None
        return reconstruction_error(self.space.decode(self.space.encode(batch.images)), batch.images, self.settings.gradient_weight)

    @torch.no_grad()
    def finish(self, batch: Batch) -> None:
        """Measure the noise law of what the codes leave out."""
        if self.space.residual is None:
            return
        with autocast(self.schedule.precision, batch.images.device.type):
            parts = [self.space.decoder(self.space.latents(self.space.encode(part))) for part in batch.images.split(16)]
        decoded, log_spread = (torch.cat(column) for column in zip(*parts, strict=True))
        self.space.residual.calibrate(batch.images, decoded, log_spread, batch.generator)


def _book(settings: VQSpace) -> Book:
    if settings.quantiser == "gumbel":
        return GumbelBook(settings.codes, settings.code_channels, settings.soft, settings.evenness)
    return NearestBook(settings.codes, settings.code_channels, settings.decay, settings.dead, settings.commitment)
