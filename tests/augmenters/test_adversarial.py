"""The game: losses against closed forms, exact resume of both players, samples that do not depend on their company, a game that learns."""

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.backbones.convnet import Discriminator, Generator
from sciimg.augmenters.backbones.settings import ConvNetBackbone
from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.model_file import TIMES
from sciimg.augmenters.processes.games import energy_score, gradient_penalty, relativistic
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Batch, Condition, FieldSizes, autocast
from sciimg.augmenters.training import fit
from sciimg.errors import InputError, TrainingFailedError
from tests.support.textures import CONDITIONS, Textures

TINY = {
    "backbone.generator": [8, 8],
    "backbone.generator_blocks": [1, 1],
    "backbone.discriminator": [8, 8],
    "backbone.discriminator_blocks": [1, 1],
    "backbone.features": 8,
    "training.steps": 6,
    "training.batch": 4,
    "training.checkpoint_every": 2,
    "training.held_out_patches": 4,
}


def sizes(dims: int = 2, scales: int = 3) -> FieldSizes:
    return FieldSizes(2, (16,) * dims, ((2,) * dims,) * scales, 1, 1)


def tiny(dims: int = 2, **options: object) -> Recipe:
    return get_recipe("gan", TINY | {k.replace("__", "."): v for k, v in options.items()}, dims)


def train(out: Path, recipe: Recipe | None = None, shape: tuple[int, ...] = (16, 16), **about: object) -> None:
    fit(recipe or tiny(), Textures(shape), Textures(shape, part="calibration"), CONDITIONS, key=("study",), out=out, provenance={}, **about)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != TIMES}


def condition(n: int, dims: int = 2, size: int = 16) -> Condition:
    rng = torch.Generator().manual_seed(3)
    return Condition(torch.rand(n, 1, *([size] * dims), generator=rng).round(), torch.randn(n, 1, generator=rng), torch.ones(n, 1))


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize("name", ["dcgan", "r3gan", "wgan-gp"])
def test_penalties_of_few_samples_have_the_gradients_of_full_precision(name: str) -> None:
    """torch's bf16 on the CPU is most of a gradient off here; what a recipe computes in must not reach the penalty."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        (game,) = build(get_recipe(name, {"process.shift": 0.0}), ConditionSchema(), (2, 32, 32)).process.phases()
    points = torch.randn(16, 2, 32, 32, generator=torch.Generator().manual_seed(1))
    told = Condition(torch.zeros(8, 0, 32, 32), torch.zeros(8, 0), torch.ones(8, 1))

    def gradients(precision: Literal["bf16", "fp32"]) -> torch.Tensor:
        batch = Batch(points[:8], told, torch.Generator().manual_seed(2), 0, 1)
        game.discriminator.zero_grad()
        with autocast(precision, "cpu"):
            game._penalty(game.discriminator.coefficients(points, 0.0), told, batch).backward()
        return torch.cat([p.grad.flatten() for p in game.discriminator.parameters() if p.grad is not None])

    exact, given = gradients("fp32"), gradients("bf16")
    assert float(exact.norm()) > 0
    assert float((given - exact).norm() / exact.norm()) < 0.02


def test_the_game_is_even_when_nothing_can_be_told_apart() -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0))
    assert float(relativistic(logits, logits)) == pytest.approx(math.log(2))
    assert float(relativistic(logits + 30, logits)) == pytest.approx(0, abs=1e-6)
    assert float(relativistic(logits, logits + 30)) == pytest.approx(30, rel=1e-5)


def test_the_energy_score_prefers_the_true_distribution() -> None:
    """Against N(0, 1): the true law beats a shifted, a narrower (collapsed) and a wider one; a plain error prefers the collapsed one."""
    rng = torch.Generator().manual_seed(0)

    def score(mean: float, spread: float) -> float:
        x, a, b = torch.randn(3, 1, 4, 100000, generator=rng)
        return float(energy_score([x], [mean + spread * a], [mean + spread * b]))

    best = score(0, 1)
    assert best < min(score(0.5, 1), score(0, 0.5), score(0, 0.0), score(0, 1.6)) - 0.01


def test_the_energy_score_of_points_is_their_distance() -> None:
    x, y = torch.zeros(1, 2, 3), torch.full((1, 2, 3), 4.0)
    assert float(energy_score([x], [y], [y])) == pytest.approx(math.sqrt(16 + 0.09) - 0.15, rel=1e-5)


class Linear(nn.Module):
    """Logits <w, x> at one place: the gradient is w."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(w)

    def forward(self, coefficients: list[torch.Tensor], condition: Condition) -> list[torch.Tensor]:
        return [(coefficients[0] * self.w).flatten(1).sum(1, keepdim=True)]


def test_the_penalty_of_a_linear_judge_is_its_squared_norm() -> None:
    w = torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(1))
    judge = Linear(w)
    points = torch.randn(5, 2, 4, 4)
    penalty = gradient_penalty(judge, [points], condition(5))  # type: ignore[arg-type]
    assert float(penalty.detach()) == pytest.approx(float(w.square().sum()), rel=1e-5)
    penalty.backward()
    torch.testing.assert_close(judge.w.grad, 2 * w)


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("dims", [2, 3])
def test_shapes(dims: int) -> None:
    settings = ConvNetBackbone(generator=(8, 8), generator_blocks=(1, 1), discriminator=(8, 8), discriminator_blocks=(1, 1))
    generator, discriminator = Generator(sizes(dims, 2), settings), Discriminator(sizes(dims, 2), settings)
    told = condition(3, dims)
    made = generator([torch.randn(3, *shape) for shape in generator.noise_shapes([16] * dims)], told)
    assert made.shape == (3, 2, *([16] * dims))
    logits = discriminator(discriminator.coefficients(made), told)
    assert [tuple(own.shape) for own in logits] == [(3, 8**dims), (3, 4**dims)]


def test_measured_scales_set_the_spread_of_what_is_made() -> None:
    """Before training, what is made has about the power of the data at every scale, and what is judged has unit variance."""
    generator, discriminator = Generator(sizes(), ConvNetBackbone()), Discriminator(sizes(), ConvNetBackbone())
    data = 100 * torch.randn(64, 2, 32, 32, generator=torch.Generator().manual_seed(5)).cumsum(-1)
    generator.measure(data)
    discriminator.measure(data)
    with torch.no_grad():
        made = generator([torch.randn(64, *shape) for shape in generator.noise_shapes([32, 32])], condition(64, size=32))
    assert 0.2 < float(made.std() / data.std()) < 2
    for own in discriminator.coefficients(data):
        torch.testing.assert_close(own.std((0, 2, 3)), torch.ones(own.shape[1]))


def test_samples_of_a_batch_do_not_mix() -> None:
    generator, discriminator = Generator(sizes(), ConvNetBackbone()), Discriminator(sizes(), ConvNetBackbone())
    noise = [torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)) for shape in generator.noise_shapes([16, 16])]
    told = condition(3)
    with torch.no_grad():
        for p in (*generator.parameters(), *discriminator.parameters()):
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
        together = generator(noise, told)
        one_by_one = (([part[i : i + 1] for part in noise], Condition(*(t[i : i + 1] for t in parts(told)))) for i in range(3))
        alone = torch.cat([generator(*asked) for asked in one_by_one])
        torch.testing.assert_close(alone, together, atol=1e-4, rtol=1e-4)
        judged = discriminator(discriminator.coefficients(together), told)
        one = discriminator(discriminator.coefficients(together[1:2]), Condition(*(t[1:2] for t in parts(told))))
    for a, b in zip(judged, one, strict=True):
        torch.testing.assert_close(a[1:2], b, atol=1e-4, rtol=1e-4)


def parts(told: Condition) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return told.maps, told.vector, told.keep


def test_settings_with_uneven_scales_are_refused() -> None:
    with pytest.raises(InputError, match="one entry a scale"):
        get_recipe("gan", {"backbone.generator": [8, 8]})


def test_a_flow_cannot_use_a_convnet(tmp_path: Path) -> None:
    recipe = get_recipe("pixel-flow").model_copy(update={"backbone": ConvNetBackbone()})
    with pytest.raises(InputError, match="flow, ddpm, edm, score and cascade take a unet"):
        train(tmp_path / "model", recipe)


# ---------------------------------------------------------------- training and sampling


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gan") / "model"
    train(out)
    return out


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_killed_game_resumes_to_the_same_bytes(undisturbed: Path, tmp_path: Path, at: int) -> None:
    def kill(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "model", progress=kill)
    train(tmp_path / "model")
    assert contents(tmp_path / "model") == contents(undisturbed)


def test_divergence_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingFailedError, match="diverged"):
        train(tmp_path / "model", tiny(training__learning_rate=1e30, training__warmup=0))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(("dims", "shape"), [(2, (15, 18)), (3, (8, 10, 12))])
def test_samples_are_the_same_in_any_company(tmp_path: Path, dims: int, shape: tuple[int, ...]) -> None:
    train(tmp_path / "model", tiny(dims, training__steps=2), shape)
    model = Augmenter.load(tmp_path / "model")
    patches = Textures(shape).draw(("ask",), range(11))
    ask = lambda rows: model.sample(patches.labels[rows], patches.table.iloc[rows], key=("g",), indices=rows)  # noqa: E731
    together = ask(list(range(11)))
    assert together.shape == (11, 2, *shape) and together.dtype == np.uint16
    assert np.array_equal(ask([7]), together[[7]]) and np.array_equal(ask([9, 2]), together[[9, 2]])
    assert not np.array_equal(model.sample(patches.labels, patches.table, key=("h",), indices=range(11)), together)


@pytest.mark.slow
def test_the_game_learns_levels_masks_and_variety(tmp_path: Path) -> None:
    """Discs of the mask come out bright, images differ where their noise does, and the level that is asked for is given."""
    wide = {"backbone.generator": [16, 16], "backbone.discriminator": [16, 16]}
    recipe = get_recipe("gan", TINY | wide | {"training.steps": 400, "training.batch": 16, "training.learning_rate": 2e-3})
    train(tmp_path / "model", recipe)
    model, source = Augmenter.load(tmp_path / "model"), Textures()
    patches = source.draw(("ask",), range(32))
    made, again = (model.sample(patches.labels, patches.table, key=(name,), indices=range(32)).astype(float)[:, 0] for name in ("g", "h"))
    inside = patches.labels > 0
    assert made[inside].mean() - made[~inside].mean() > 150  # 250 or 600 in the data
    between = np.abs(made - again).mean()
    assert 0.3 < between / np.abs(made - made[::-1]).mean() < 1.2
    assert np.corrcoef(made.mean((1, 2)), patches.table["level"])[0, 1] > 0.7
