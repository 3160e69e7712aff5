"""The way of an image into a space and back: intensities, latent scale, and the KL term."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from sciimg.augmenters.intensity import learn_scale
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.settings import KLSpace
from sciimg.augmenters.system import Batch, Condition
from sciimg.randomness import generator
from sciimg.records import Check
from sciimg.verification.checks import check


def checks() -> Iterator[Check]:
    """Intensity round trip, standardised latents, and the Gaussian KL of the training loss."""
    levels = generator("verify", "levels").integers(0, 60000, (64, 2, 8, 8)).astype(np.uint16)
    scale = learn_scale(levels, ("a", "b"))
    back = scale.inverse(scale.forward(levels))
    error = float(np.abs(back.astype(np.int64) - levels).max())
    yield check("intensity-round-trip", 0, error, 1, "grey levels; float32 has 24 bits")
    batch, space = _batch(), _calibrated(KLAutoencoder)
    latent = space.encode(batch.images).detach()
    axes = (0, 2, 3)
    yield check("latent-mean", 0, float(latent.mean(axes).abs().max()), 1e-4, "standardised per channel over the calibration batch")
    yield check("latent-std", 1, float(latent.std(axes).mean()), 1e-3, "standardised per channel over the calibration batch")
    source = "standardising takes every scale and offset off; Rombach et al. 2022, arXiv:2112.10752, app. G"
    apart = float((_calibrated(_Elsewhere).encode(batch.images).detach() - latent).abs().max())
    yield check("latent-scale-invariance", 0, apart, 1e-4, source)
    with torch.no_grad():
        mean, log_variance = space.posterior(batch.images)
        plain = space.decoder(mean, batch.condition)[0]
        apart = float((space.decode(latent) - plain).abs().max() / plain.abs().max())
        theory = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).mean()
        got = space.phases()[0].loss("autoencoder", batch)["kl"]
    yield check("latent-scale-undone", 0, apart, 1e-4, "the decoder is given what the encoder gave: decode(encode(x)) = D(E(x))")
    yield check(
        "gaussian-kl", float(theory), float(got), 1e-4 * float(theory.abs()) + 1e-6, "Kingma & Welling 2014, arXiv:1312.6114, app. B"
    )


class _Elsewhere(KLAutoencoder):
    """The same autoencoder with its latents on another scale, about another origin."""

    def posterior(self, images: Tensor, condition: Condition | None = None) -> tuple[Tensor, Tensor]:
        mean, log_variance = super().posterior(images, condition)
        return 7 * mean - 30, log_variance


def _calibrated(kind: type[KLAutoencoder]) -> KLAutoencoder:
    """Return an autoencoder with seeded weights, after what training does before its first step and after its last."""
    settings = KLSpace(latent_channels=3, widths=(8,), residual=False, training=Schedule(steps=1, precision="fp32"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        space = kind(settings, (2, 16, 16), ((2, 2),))
        (phase,) = space.phases()
        phase.prepare(_batch())
        phase.finish(_batch())
    return space


def _batch() -> Batch:
    images = torch.randn(32, 2, 16, 16, generator=torch.Generator().manual_seed(3)).cumsum(-1) * 0.3
    condition = Condition(torch.zeros(32, 0, 16, 16), torch.zeros(32, 0), torch.ones(32, 1))
    return Batch(images, condition, torch.Generator().manual_seed(4), 0, 1)
