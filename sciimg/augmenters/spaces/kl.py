"""A convolutional autoencoder with a Gaussian bottleneck; latents are standardised per channel."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sciimg.augmenters.backbones.autoencoder import Decoder, Encoder, start_linear
from sciimg.augmenters.grid import Step, coarser
from sciimg.augmenters.spaces.residual import ResidualNoise
from sciimg.augmenters.spaces.settings import KLSpace
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, Player, Space, White, autocast


class KLAutoencoder(Space):
    """Rombach et al. 2022, arXiv:2112.10752, section 3.1, with an L1 + gradient loss in place of learned perceptual ones.

    Parameters
    ----------
    settings : KLSpace
    shape : tuple of int
        (C, [Z,] Y, X) of the images, padded to multiples of the factor.
    steps : sequence of Step
        How each halving of the grid goes, finest first; one a width.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: KLSpace, shape: tuple[int, ...], steps: Sequence[Step]) -> None:
        super().__init__()
        dims, channels, latent = len(shape) - 1, shape[0], settings.latent_channels
        self.settings = settings
        self.encoder = Encoder(steps, channels, latent, settings.widths, settings.blocks)
        self.decoder = Decoder(steps, latent, channels, settings.widths, settings.blocks)
        self.residual = ResidualNoise(shape) if settings.residual else None
        self.register_buffer("mean", torch.zeros(1, latent, *([1] * dims)))
        self.register_buffer("std", torch.ones(1, latent, *([1] * dims)))

    @property
    def factor(self) -> Step:
        return self.encoder.factor

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.settings.latent_channels, *coarser(image_shape[1:], self.factor))

    def posterior(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latent."""
        mean, log_variance = self.encoder(images)
        return mean, log_variance.clamp(-14.0, 4.0) - 6.0

    @torch.no_grad()
    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        with autocast(self.settings.training.precision):
            return (self.posterior(images)[0] - self.mean) / self.std

    @torch.no_grad()
    def decode(self, points: Tensor, noise: Noise | None = None, condition: Condition | None = None) -> Tensor:
        images, log_spread = self._decoded(points)
        if noise is None or self.residual is None:
            return images
        textured: Tensor = self.residual(images, log_spread, noise)
        return textured

    def fields(self, points: Tensor, condition: Condition | None = None) -> Tensor:
        return torch.cat(self._decoded(points), dim=1)

    def finish(self, fields: Tensor, white: White) -> Tensor:
        images, log_spread = fields.chunk(2, dim=1)
        return images if self.residual is None else self.residual.spread_out(images, log_spread, white)

    @torch.no_grad()
    def _decoded(self, points: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(self.settings.training.precision):
            images, log_spread = self.decoder(points * self.std + self.mean)
        return images, log_spread

    def phases(self) -> tuple[Phase, ...]:
        return (_Reconstruction(self),)


class _Reconstruction(Phase):
    """L1 of values and of finite differences, and a light KL term."""

    name = "autoencoder"

    def __init__(self, space: KLAutoencoder) -> None:
        self.space, self.settings, self.schedule = space, space.settings, space.settings.training

    def players(self) -> tuple[Player, ...]:
        return (Player("autoencoder", (self.space.encoder, self.space.decoder), self.schedule),)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        start_linear(self.space.encoder, self.space.decoder, batch.images)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        mean, log_variance = self.space.posterior(batch.images)
        latent = mean + torch.randn(mean.shape, generator=batch.generator) * (0.5 * log_variance).exp()
        decoded, log_spread = self.space.decoder(latent)
        error = self._error(decoded, batch.images)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()  # Kingma & Welling 2014, appendix B
        losses = {"loss": error + self.settings.kl_weight * kl, "error": error, "kl": kl}
        if self.space.residual is not None:
            spread = self._spread_loss((decoded - batch.images).detach(), log_spread)
            losses |= {"loss": losses["loss"] + self.settings.spread_weight * spread, "spread": spread}
        return losses

    def held_out(self, batch: Batch) -> Tensor:
        return self._error(self.space.decoder(self.space.posterior(batch.images)[0])[0], batch.images)

    @torch.no_grad()
    def finish(self, batch: Batch) -> None:
        """Measure latent mean and standard deviation per channel, and the colour of the residual."""
        space, axes = self.space, (0, *range(2, batch.images.ndim))
        with autocast(self.schedule.precision):
            latent = torch.cat([space.posterior(part)[0] for part in batch.images.split(16)])
            parts = [space.decoder(part) for part in latent.split(16)]
        space.mean.copy_(latent.mean(axes, keepdim=True))
        space.std.copy_(latent.std(axes, keepdim=True).clamp_min(1e-6))
        if space.residual is not None:
            decoded, log_spread = (torch.cat(column) for column in zip(*parts, strict=True))
            space.residual.calibrate(batch.images, decoded, log_spread, batch.generator)

    def _error(self, decoded: Tensor, images: Tensor) -> Tensor:
        error = decoded - images
        slopes = sum((torch.diff(error, dim=axis).abs().mean() for axis in range(2, error.ndim)), start=torch.zeros(()))
        return error.abs().mean() + self.settings.gradient_weight * slopes

    @staticmethod
    def _spread_loss(error: Tensor, log_spread: Tensor) -> Tensor:
        """Negative log likelihood of a Laplace law with the predicted spread: an unbounded Gaussian one would follow a few pixels."""
        return (log_spread + error.abs() * (-log_spread).exp()).mean()
