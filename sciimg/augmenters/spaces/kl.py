"""A convolutional autoencoder with a Gaussian bottleneck; latents are standardised per channel."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sciimg.augmenters.backbones.autoencoder import Decoder, Encoder, start_linear
from sciimg.augmenters.draws import normal
from sciimg.augmenters.grid import Step, coarser, product
from sciimg.augmenters.spaces.consistency import ConsistencyTexture
from sciimg.augmenters.spaces.residual import ResidualNoise
from sciimg.augmenters.spaces.settings import ELBO, KLSpace
from sciimg.augmenters.system import Batch, Condition, Noise, Phase, Player, Space, White, autocast


class KLAutoencoder(Space):
    """Rombach et al. 2022, arXiv:2112.10752, section 3.1, with an L1 + gradient loss in place of learned perceptual ones.

    With ``settings.elbo`` it is a variational autoencoder: the latent has N(0, I) as its prior and is not standardised.

    Parameters
    ----------
    settings : KLSpace
    shape : tuple of int
        (C, [Z,] Y, X) of the images, padded to multiples of the factor.
    steps : sequence of Step
        How each halving of the grid goes, finest first; one a width.
    told : (int, int)
        Channels of ``condition.spatial`` on the grid of the images and length of ``condition.vector``, for a conditional one.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: KLSpace, shape: tuple[int, ...], steps: Sequence[Step], told: tuple[int, int] = (0, 0)) -> None:
        super().__init__()
        dims, channels = len(shape) - 1, shape[0]
        # no more than a block of pixels has values: more would say nothing
        latent = min(settings.latent_channels, channels * math.prod(product(steps, dims)))
        self.settings, self.latent = settings, latent
        listens = told if settings.conditional else None
        self.encoder = Encoder(steps, channels, latent, settings.widths, settings.blocks, listens)
        self.decoder = Decoder(steps, latent, channels, settings.widths, settings.blocks, listens)
        self.texture = None if settings.consistency is None else ConsistencyTexture(settings.consistency, shape, steps[0])
        self.residual = ResidualNoise(shape) if settings.residual and self.texture is None else None
        self.register_buffer("mean", torch.zeros(1, latent, *([1] * dims)))
        self.register_buffer("std", torch.ones(1, latent, *([1] * dims)))

    @property
    def factor(self) -> Step:
        return self.encoder.factor

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.latent, *coarser(image_shape[1:], self.factor))

    def posterior(self, images: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latent."""
        mean, log_variance = self.encoder(images, condition)
        return mean, log_variance.clamp(-14.0, 4.0) - (6.0 if self.settings.elbo is None else 0.0)

    def plain(self, points: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        """Return mean and log spread of the images of points."""
        with autocast(self.settings.training.precision, points.device):
            mean, log_spread = self.decoder(points * self.std + self.mean, condition)
        return mean, log_spread

    @torch.no_grad()
    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        with autocast(self.settings.training.precision, images.device):
            return (self.posterior(images, condition)[0] - self.mean) / self.std

    @torch.no_grad()
    def decode(self, points: Tensor, noise: Noise | None = None, condition: Condition | None = None) -> Tensor:
        images, log_spread = self.plain(points, condition)
        if noise is not None and self.texture is not None:
            with autocast(self.texture.settings.training.precision, points.device):
                return self.texture.draw(images, log_spread, noise)
        if noise is None or self.residual is None:
            return images
        textured: Tensor = self.residual(images, log_spread, noise)
        return textured

    def fields(self, points: Tensor, condition: Condition | None = None) -> Tensor:
        return torch.cat(self.plain(points, condition), dim=1)

    def finish(self, fields: Tensor, white: White) -> Tensor:
        images, log_spread = fields.chunk(2, dim=1)
        return images if self.residual is None else self.residual.spread_out(images, log_spread, white)

    def phases(self) -> tuple[Phase, ...]:
        first = _Reconstruction(self)
        return (first,) if self.texture is None else (first, _Consistency(self, self.texture))


class _Reconstruction(Phase):
    """L1 of values and of finite differences with a light KL term, or the evidence lower bound."""

    name = "autoencoder"

    def __init__(self, space: KLAutoencoder) -> None:
        self.space, self.settings, self.schedule = space, space.settings, space.settings.training

    def players(self) -> tuple[Player, ...]:
        return (Player("autoencoder", (self.space.encoder, self.space.decoder), self.schedule),)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        if self.settings.elbo is None:  # the bound itself says which directions are worth their rate
            start_linear(self.space.encoder, self.space.decoder, batch.images)

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        mean, log_variance = self.space.posterior(batch.images, batch.condition)
        latent = _drawn(mean, log_variance, batch.generator)
        decoded, log_spread = self.space.decoder(latent, batch.condition)
        kl = divergence(mean, log_variance)
        if self.settings.elbo is None:
            error, weight, kl = self._error(decoded, batch.images), self.settings.kl_weight, kl.mean()
        else:
            error, weight, kl = misfit(decoded, batch.images), weight_of(self.settings.elbo, batch.progress), kl.sum() / decoded.numel()
        losses = {"loss": error + weight * kl, "error": error, "kl": kl}
        if self.space.residual is not None:
            spread = self._spread_loss((decoded - batch.images).detach(), log_spread)
            losses |= {"loss": losses["loss"] + self.settings.spread_weight * spread, "spread": spread}
        return losses

    def held_out(self, batch: Batch) -> Tensor:
        mean, log_variance = self.space.posterior(batch.images, batch.condition)
        if self.settings.elbo is None:
            return self._error(self.space.decoder(mean, batch.condition)[0], batch.images)
        latent = _drawn(mean, log_variance, batch.generator)
        decoded: Tensor = self.space.decoder(latent, batch.condition)[0]
        return misfit(decoded, batch.images) + self.settings.elbo.beta * divergence(mean, log_variance).sum() / decoded.numel()

    @torch.no_grad()
    def finish(self, batch: Batch) -> None:
        """Measure latent mean and standard deviation per channel, and the colour of the residual."""
        space, axes = self.space, (0, *range(2, batch.images.ndim))
        told = batch.condition.split(16)
        with autocast(self.schedule.precision, batch.images.device):
            latent = torch.cat([space.posterior(part, own)[0] for part, own in zip(batch.images.split(16), told, strict=True)])
            parts = [space.decoder(part, own) for part, own in zip(latent.split(16), told, strict=True)]
        if self.settings.elbo is None:
            space.mean.copy_(latent.mean(axes, keepdim=True))
            space.std.copy_(latent.std(axes, keepdim=True).clamp_min(1e-6))
        if space.residual is not None:
            decoded, log_spread = (torch.cat(column) for column in zip(*parts, strict=True))
            space.residual.calibrate(batch.images, decoded, log_spread, batch.generator)

    def _error(self, decoded: Tensor, images: Tensor) -> Tensor:
        error = decoded - images
        slopes = sum((torch.diff(error, dim=axis).abs().mean() for axis in range(2, error.ndim)), start=error.new_zeros(()))
        return error.abs().mean() + self.settings.gradient_weight * slopes

    @staticmethod
    def _spread_loss(error: Tensor, log_spread: Tensor) -> Tensor:
        """Negative log likelihood of a Laplace law with the predicted spread: an unbounded Gaussian one would follow a few pixels."""
        return (log_spread + error.abs() * (-log_spread).exp()).mean()


class _Consistency(Phase):
    """Train the decoder of fine texture on what the plain one leaves out."""

    name = "consistency"

    def __init__(self, space: KLAutoencoder, texture: ConsistencyTexture) -> None:
        self.space, self.texture, self.schedule = space, texture, texture.settings.training

    def players(self) -> tuple[Player, ...]:
        return (Player("consistency", (self.texture.network,), self.schedule),)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        told = batch.condition.split(16)
        parts = [self._residual(images, own)[0] for images, own in zip(batch.images.split(16), told, strict=True)]
        self.texture.measure(torch.cat(parts))

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        residual, told = self._residual(batch.images, batch.condition)
        return {"loss": self.texture.loss(residual, told, batch.progress, batch.generator)}

    @torch.no_grad()
    def _residual(self, images: Tensor, condition: Condition) -> tuple[Tensor, Condition]:
        decoded, log_spread = self.space.plain(self.space.encode(images, condition), condition)
        return images - decoded, self.texture.told(decoded, log_spread)


def _drawn(mean: Tensor, log_variance: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from the posterior (Kingma & Welling 2014, section 2.4)."""
    return mean + normal(mean.shape, generator) * (0.5 * log_variance).exp()


def divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Return the KL divergence from N(0, 1), in nats, of every latent (Kingma & Welling 2014, arXiv:1312.6114, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


def misfit(decoded: Tensor, images: Tensor) -> Tensor:
    """Return the negative log likelihood a value, up to a constant, of a Gaussian of the likeliest variance: no weight has to be chosen.

    Rybkin et al. 2021, arXiv:2006.13202, eq. 6.
    """
    return 0.5 * (decoded - images).square().mean().log()


def weight_of(elbo: ELBO, progress: float) -> float:
    """Return the weight of the divergence at a share of the training: it rises linearly (Bowman et al. 2016, arXiv:1511.06349)."""
    return elbo.beta * min(1.0, progress / elbo.warmup) if elbo.warmup else elbo.beta
