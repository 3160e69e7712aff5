"""Losses against closed forms, penalties of linear critics, and a generator that waits for its critic."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from systems.shrunk import shrunk
from torch import nn

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.backbones.dcgan import DCGenerator
from sciimg.augmenters.backbones.opponents import truncated
from sciimg.augmenters.backbones.settings import DCGANBackbone
from sciimg.augmenters.processes.games import Loss, fooled, lipschitz_penalty, orthogonal_penalty, slopes, told_apart
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Condition, FieldSizes
from sciimg.augmenters.training import fit
from sciimg.errors import InputError
from tests.support.textures import CONDITIONS, Textures


def untold(n: int) -> Condition:
    return Condition(torch.zeros(n, 0, 4, 4), torch.zeros(n, 0), torch.ones(n, 1))


def numbered(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize(
    ("loss", "apart", "won"),
    [
        ("relativistic", math.log(2), math.log(2)),
        ("non-saturating", 2 * math.log(2), math.log(2)),
        ("hinge", 2.0, 0.0),
        ("wasserstein", 0.0, 0.0),
    ],
)
def test_a_judge_that_says_nothing(loss: Loss, apart: float, won: float) -> None:
    zero = torch.zeros(7, 3)
    assert float(told_apart(loss, zero, zero)) == pytest.approx(apart)
    assert float(fooled(loss, zero, zero)) == pytest.approx(won)


@pytest.mark.parametrize("loss", ["relativistic", "non-saturating", "hinge", "wasserstein"])
def test_both_players_pull_the_logits_of_made_points_apart(loss: Loss) -> None:
    """The discriminator pushes them down and real ones up; the generator pulls them up."""
    real, made = torch.full((4, 1), 0.2, requires_grad=True), torch.full((4, 1), -0.1, requires_grad=True)
    up, down = torch.autograd.grad(told_apart(loss, real, made), (real, made))
    assert (up < 0).all() and (down > 0).all()
    (pulled,) = torch.autograd.grad(fooled(loss, real, made), made)
    assert (pulled < 0).all()


def test_the_best_judge_of_two_laws_reaches_their_divergence() -> None:
    """At D = p / (p + q) the loss is log 4 - 2 JS(p, q) (Goodfellow 2014, theorem 1), here for two unit normal laws."""
    x, y = numbered(0, 200000, 1), numbered(1, 200000, 1) + 1.5
    ratio = lambda v: 0.5 * ((v - 1.5) ** 2 - v**2)  # noqa: E731 — log p / q
    grid = torch.linspace(-8, 10, 20001, dtype=torch.float64)
    p, q = (torch.exp(-0.5 * (grid - m) ** 2) / math.sqrt(2 * math.pi) for m in (0.0, 1.5))
    m = 0.5 * (p + q)
    js = 0.5 * float(torch.trapezoid(p * (p / m).log() + q * (q / m).log(), grid))
    assert float(told_apart("non-saturating", ratio(x), ratio(y))) == pytest.approx(math.log(4) - 2 * js, abs=5e-3)


# ---------------------------------------------------------------- penalties


class Linear(nn.Module):
    """Logits <w, x> at one place: the slope is w everywhere."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, coefficients: list[torch.Tensor], condition: Condition) -> list[torch.Tensor]:
        return [(coefficients[0] * self.w).flatten(1).sum(1, keepdim=True)]


def test_the_penalties_of_a_linear_critic() -> None:
    w, g = numbered(0, 2, 4, 4), torch.Generator().manual_seed(0)
    real, made = [numbered(1, 5, 2, 4, 4)], [numbered(2, 5, 2, 4, 4)]
    judge, length = Linear(w), float(w.norm())
    torch.testing.assert_close(slopes(judge, real, untold(5)), torch.full((5,), length**2))
    penalty = lipschitz_penalty(judge, real, made, untold(5), g)
    assert float(penalty.detach()) == pytest.approx((length - 1) ** 2, rel=1e-4)
    assert float(lipschitz_penalty(Linear(w / length), real, made, untold(5), g).detach()) == pytest.approx(0, abs=1e-10)
    penalty.backward()
    torch.testing.assert_close(judge.w.grad, 2 * (length - 1) * w / length, rtol=1e-4, atol=1e-5)


class Small(nn.Module):
    """A critic of one hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, coefficients: list[torch.Tensor], condition: Condition) -> list[torch.Tensor]:
        return [self.body(coefficients[0])]


@pytest.mark.parametrize("far", [0.5, 1.0, 2.0])
def test_the_critics_loss_is_the_distance_of_the_laws(far: float) -> None:
    """A law and the same law moved by v are |v| apart in Wasserstein distance; the trained critic's loss says so."""
    torch.manual_seed(0)
    g, critic, n = torch.Generator().manual_seed(1), Small(), 256
    way = torch.nn.functional.normalize(torch.randn(1, 1, 4, 4, generator=g), dim=(1, 2, 3)) * far
    optimizer = torch.optim.Adam(critic.parameters(), 5e-3, betas=(0.5, 0.9))
    found = []
    for _ in range(250):
        real, made = torch.randn(n, 1, 4, 4, generator=g), torch.randn(n, 1, 4, 4, generator=g) + way
        told = told_apart("wasserstein", critic([real], untold(n))[0], critic([made], untold(n))[0])
        optimizer.zero_grad()
        (told + 10 * lipschitz_penalty(critic, [real], [made], untold(n), g)).backward()
        optimizer.step()
        found.append(-float(told.detach()))
    assert sum(found[-50:]) / 50 == pytest.approx(far, rel=0.2)


def test_orthogonal_filters_cost_nothing() -> None:
    layer = nn.Conv2d(3, 8, 3)
    nn.init.orthogonal_(layer.weight)
    assert float(orthogonal_penalty(layer).detach()) == pytest.approx(0, abs=1e-8)
    with torch.no_grad():
        layer.weight[1] = layer.weight[0]
    assert float(orthogonal_penalty(layer).detach()) == pytest.approx(2.0, rel=1e-4)  # one pair of equal unit filters, counted twice


# ---------------------------------------------------------------- noise


def test_truncated_noise_is_a_narrow_cut_normal_law() -> None:
    z = numbered(0, 100000)
    cut = truncated(z, 0.5)
    assert float(cut.abs().max()) <= 1.0
    # variance of a normal law cut at two deviations: 1 - 2 a phi(a) / (2 Phi(a) - 1) = 0.774
    assert float(cut.var() / 0.25) == pytest.approx(0.774, abs=0.01)
    assert (cut[z.argsort()].diff() >= 0).all()
    assert truncated(z, 1.0) is z


def test_truncation_makes_samples_alike() -> None:
    torch.manual_seed(0)
    sizes = FieldSizes(2, (16, 16), ((2, 2),) * 3)
    generator = DCGenerator(sizes, DCGANBackbone(generator=(16, 16, 16), discriminator=(8, 8, 8), skip_noise=True))
    noise, told = [numbered(0, 32, 64)], Condition(torch.zeros(32, 0, 16, 16), torch.zeros(32, 0), torch.ones(32, 1))
    with torch.no_grad():
        spreads = [float(generator(noise, told, truncation=t).std(0).mean()) for t in (0.03, 0.1, 1.0)]
    assert spreads == sorted(spreads) and spreads[0] < 0.6 * spreads[2]


def test_only_a_game_truncates(tmp_path: Path) -> None:
    """A model of another process says so; a game's samples change."""
    source = Textures((16, 16))
    table = source.draw(("ask",), range(3)).table
    for name in ("pixel-flow", "dcgan"):
        fit(shrunk(get_recipe(name)), source, source, (), key=("study",), out=tmp_path / name, provenance={})
        model = Augmenter.load(tmp_path / name)
        ask = {"key": ("k",), "indices": range(3)}
        if name == "pixel-flow":
            with pytest.raises(InputError, match="Leave truncation out"):
                model.sample(None, table, **ask, truncation=0.5)  # type: ignore[arg-type]
        else:
            whole, near = (model.sample(None, table, **ask, truncation=t) for t in (1.0, 0.2))  # type: ignore[arg-type]
            assert not np.array_equal(whole, near)


# ---------------------------------------------------------------- the loop


def test_the_generator_waits_for_its_critic(tmp_path: Path) -> None:
    """With three critic steps a generator step the generator moves twice in seven; a killed training resumes to the same bytes."""
    options = {
        "backbone.generator": [8, 8],
        "backbone.discriminator": [8, 8],
        "training.steps": 7,
        "training.batch": 4,
        "training.checkpoint_every": 2,
        "training.held_out_patches": 4,
    }
    recipe, moves = get_recipe("wgan-gp", options), []

    def watch(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        moves.append([name for name in values if name.endswith(".loss")])

    class Killed(BaseException):
        pass

    def kill(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if step == 5:
            raise Killed

    def train(name: str, progress: object) -> None:
        source = Textures((16, 16))
        fit(recipe, source, source, CONDITIONS, key=("study",), out=tmp_path / name, provenance={}, progress=progress)  # type: ignore[arg-type]

    train("whole", watch)
    assert [("generator.loss" in names) for names in moves] == [False, False, True] * 2 + [False]
    assert all("discriminator.loss" in names for names in moves)
    with pytest.raises(Killed):
        train("broken", kill)
    train("broken", None)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert weights[0] == weights[1]
