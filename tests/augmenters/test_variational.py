"""Variational autoencoders: the divergence in closed form, the warm-up, the prior, the trade-off of beta, and a decoder that listens."""

from pathlib import Path

import numpy as np
import pytest
import torch
from textures import CONDITIONS, Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.spaces.kl import KLAutoencoder, divergence, misfit, weight_of
from sciimg.augmenters.spaces.settings import ELBO, KLSpace
from sciimg.augmenters.system import Condition, Noise, System
from sciimg.augmenters.training import fit
from sciimg.errors import InputError

SHAPE = (2, 16, 16)
OPTIONS = {
    "space.widths": [16, 16],
    "space.latent_channels": 4,
    "space.training.steps": 60,
    "space.training.batch": 8,
    "space.training.precision": "fp32",
    "space.training.held_out_every": 60,
    "space.training.checkpoint_every": 60,
    "training.held_out_patches": 4,
}


def test_divergence_of_the_prior_is_zero_and_of_others_the_integral() -> None:
    assert float(divergence(torch.zeros(3), torch.zeros(3)).abs().max()) == 0.0
    mean, log_variance = torch.tensor([0.7, -1.2]), torch.tensor([-0.5, 0.3])
    law, prior = torch.distributions.Normal(mean, (0.5 * log_variance).exp()), torch.distributions.Normal(0.0, 1.0)
    torch.testing.assert_close(divergence(mean, log_variance), torch.distributions.kl_divergence(law, prior))


def test_misfit_is_the_likelihood_at_the_likeliest_variance() -> None:
    """Up to log(2 pi e) / 2 it is the smallest mean negative log likelihood that any variance gives."""
    images = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    decoded = 0.3 * images
    constant = 0.5 * float(torch.log(torch.tensor(2 * torch.pi * torch.e)))
    likelihoods = [-torch.distributions.Normal(decoded, s).log_prob(images).mean() for s in torch.linspace(0.3, 1.5, 241)]
    assert float(misfit(decoded, images)) + constant == pytest.approx(float(min(likelihoods)), abs=1e-4)


def test_the_weight_rises_and_stays() -> None:
    elbo = ELBO(beta=4.0, warmup=0.5)
    assert [weight_of(elbo, p) for p in (0.0, 0.25, 0.5, 1.0)] == [0.0, 2.0, 4.0, 4.0]
    assert weight_of(ELBO(beta=4.0, warmup=0.0), 0.0) == 4.0


def test_samples_come_from_the_standard_normal_prior() -> None:
    system = build(get_recipe("vae", OPTIONS), ConditionSchema(), SHAPE)
    shape = system.space.shape(SHAPE)
    told = Condition(torch.zeros(4, 0, 16, 16), torch.zeros(4, 0), torch.ones(4, 1))
    points = system.process.sample(told, Noise(("k",), range(4)), shape, SamplerSettings(name="one-step", steps=1))
    assert torch.equal(points, Noise(("k",), range(4)).normal(shape))


def test_the_prior_belongs_to_a_space_that_has_one() -> None:
    recipe = get_recipe("vae", OPTIONS | {"space.elbo": None})
    with pytest.raises(InputError, match=r"space\.elbo"):
        build(recipe, ConditionSchema(), SHAPE)


def trained(out: Path, name: str, **more: object) -> Augmenter:
    recipe: Recipe = get_recipe(name, OPTIONS | {k.replace("__", "."): v for k, v in more.items()})
    fit(recipe, Textures(), Textures(part="calibration"), CONDITIONS, key=("k",), out=out, provenance={})
    return Augmenter.load(out)


def test_beta_trades_error_for_rate(tmp_path: Path) -> None:
    """Higgins et al. 2017: a larger weight keeps less information about the image and pays with a larger error."""
    images = Textures(part="holdout").draw(("t",), range(16)).images
    rates, errors = [], []
    for beta in (0.3, 30.0):
        model = trained(tmp_path / str(beta), "beta-vae", space__elbo__beta=beta)
        space = model.system.space
        assert isinstance(space, KLAutoencoder)
        with torch.no_grad():
            rates.append(float(divergence(*space.posterior(torch.from_numpy(model.card.intensity.forward(images)))).sum()))
        errors.append(float(np.square(model.reconstruct(images).astype(float) - images).mean()))
    assert rates[1] < 0.5 * rates[0]
    assert errors[1] > errors[0]


@pytest.mark.parametrize("dims", [2, 3])
def test_a_conditional_autoencoder_hears_maps_and_vector(dims: int) -> None:
    torch.manual_seed(0)
    grid, steps = (8,) * dims, ((2,) * dims, (1,) * (dims - 1) + (2,))
    settings = KLSpace(
        widths=(8, 8), latent_channels=2, conditional=True, elbo=ELBO(), residual=False, training=get_recipe("vae", OPTIONS).space.training
    )
    space = KLAutoencoder(settings, (1, *grid), steps, (3, 2))
    for p in space.parameters():
        torch.nn.init.normal_(p, 0, 0.3)
    images = torch.randn(2, 1, *grid)
    told = Condition(torch.rand(2, 3, *grid), torch.randn(2, 2), torch.ones(2, 1))
    points = space.encode(images, told)
    assert tuple(points.shape[1:]) == space.shape((1, *grid))
    for other in (Condition(told.maps.flip(0), told.vector, told.keep), Condition(told.maps, told.vector + 1, told.keep)):
        assert not torch.equal(space.encode(images, other), points)
        assert not torch.equal(space.decode(points, None, other), space.decode(points, None, told))


def test_reconstruction_by_a_conditional_model_needs_the_condition(tmp_path: Path) -> None:
    model = trained(tmp_path / "m", "cvae", space__training__steps=2)
    real = Textures(part="holdout").draw(("t",), range(3))
    with pytest.raises(InputError, match="give labels and table"):
        model.reconstruct(real.images)
    whole = model.reconstruct(real.images, real.labels, real.table)
    assert whole.shape == real.images.shape
    assert isinstance(model.system, System)
