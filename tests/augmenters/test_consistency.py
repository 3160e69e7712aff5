"""The consistency decoder: the boundary condition holds exactly, a point mass has its closed form, and draws belong to samples."""

import pytest
import torch

from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.spaces.consistency import ConsistencyTexture, noise_levels
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.settings import ConsistencyDecoder
from sciimg.augmenters.system import Condition, Noise

STEPS = {2: (2, 2), 3: (1, 2, 2)}


def texture(dims: int, evaluations: int = 2) -> ConsistencyTexture:
    torch.manual_seed(0)
    settings = ConsistencyDecoder(width=8, blocks=1, evaluations=evaluations, training=Schedule(steps=1, precision="fp32"))
    return ConsistencyTexture(settings, (2, *[8] * dims), STEPS[dims])


@pytest.mark.parametrize("dims", [2, 3])
def test_without_noise_it_is_the_identity(dims: int) -> None:
    """f(x, 0) = x for any weights (Song et al. 2023, section 3)."""
    model = texture(dims)
    for p in model.parameters():
        torch.nn.init.normal_(p, 0, 0.3)
    x, told = torch.randn(3, 2, *[8] * dims), model.told(torch.randn(3, 2, *[8] * dims), torch.zeros(3, 2, *[8] * dims))
    with torch.no_grad():
        assert torch.equal(model(x, torch.zeros(3), told), x)
        assert not torch.allclose(model(x, torch.ones(3), told), x)


def test_noise_levels_rise_between_their_ends() -> None:
    levels = noise_levels(10)
    assert (levels.diff() > 0).all() and (levels.diff().diff() > 0).all()
    assert float(levels[0]) == pytest.approx(0.02) and float(levels[-1]) == pytest.approx(20.0)


class EndsAtZero(torch.nn.Module):
    """The exact network for data that are always 0: all paths end there, so the output cancels what the skip passes on."""

    def forward(self, x: torch.Tensor, time: torch.Tensor, told: Condition) -> torch.Tensor:
        return -x * ((1 - time) / time).view(-1, 1, 1, 1)  # time = sigma / (1 + sigma)


def test_the_exact_solution_for_a_point_mass_has_no_loss_and_draws_it() -> None:
    model, zeros = texture(2), torch.zeros(8, 2, 8, 8)
    told = model.told(zeros, zeros)
    for progress in (0.0, 0.5, 1.0):
        assert float(model.loss(zeros, told, progress, torch.Generator().manual_seed(0)).detach()) > 0.05
    model.network = EndsAtZero()
    for progress in (0.0, 0.5, 1.0):
        assert float(model.loss(zeros, told, progress, torch.Generator().manual_seed(0))) < 1e-3
    torch.testing.assert_close(model.draw(zeros, zeros, Noise(("k",), range(8))), zeros, atol=1e-4, rtol=0)


def test_a_loss_is_a_function_of_its_generator() -> None:
    model, x = texture(2), torch.randn(4, 2, 8, 8)
    told = model.told(x, x)
    a, b, c = (float(model.loss(x, told, 0.5, torch.Generator().manual_seed(s)).detach()) for s in (1, 1, 2))
    assert a == b != c


@pytest.mark.parametrize("evaluations", [1, 2, 3])
def test_a_draw_belongs_to_its_sample(evaluations: int) -> None:
    model = texture(2, evaluations)
    decoded = torch.randn(3, 2, 8, 8)
    with torch.no_grad():
        whole = model.draw(decoded, torch.zeros_like(decoded), Noise(("k",), range(3)))
        last = model.draw(decoded[2:], torch.zeros_like(decoded[2:]), Noise(("k",), [2]))
    torch.testing.assert_close(whole[2:], last, atol=1e-5, rtol=1e-5)
    assert not torch.equal(whole, decoded)


def test_the_space_draws_texture_only_when_asked() -> None:
    recipe = get_recipe("ldm-consistency-decoder", {"space.widths": [8], "space.consistency.width": 8, "space.consistency.blocks": 1})
    space = KLAutoencoder(recipe.space, (1, 8, 8), ((2, 2),))
    assert [phase.name for phase in space.phases()] == ["autoencoder", "consistency"]
    points = torch.randn(2, *space.shape((1, 8, 8)))
    mean = space.decode(points)
    assert torch.equal(mean, space.decode(points)) and not torch.equal(mean, space.decode(points, Noise(("k",), range(2))))
