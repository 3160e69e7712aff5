"""Pairs of networks: modulated convolutions against scaled weights, growth that ends at the full network, stages, words."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from sciimg.augmenters.backbones.dcgan import DCGenerator, DCJudge
from sciimg.augmenters.backbones.opponents import Judge, PointGenerator
from sciimg.augmenters.backbones.progressive import ProgressiveGenerator, ProgressiveJudge, grown, repeated
from sciimg.augmenters.backbones.pyramid import block_means, doubled
from sciimg.augmenters.backbones.settings import DCGANBackbone, ProgressiveBackbone, StackedBackbone, StyleBackbone
from sciimg.augmenters.backbones.stacked import Refiner
from sciimg.augmenters.backbones.style import StyleGenerator, modulated
from sciimg.augmenters.conditioning.words import WordAttention, Words
from sciimg.augmenters.grid import coarser
from sciimg.augmenters.system import Condition, FieldSizes

STEPS = {2: ((2, 2), (2, 1), (2, 2)), 3: ((1, 2, 2), (2, 2, 2), (2, 2, 2))}
GRID = {2: (16, 12), 3: (8, 16, 8)}


def numbered(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def sizes(dims: int = 2, maps: int = 1, vector: int = 2, words: int = 5) -> FieldSizes:
    return FieldSizes(2, GRID[dims], STEPS[dims], maps, vector, words)


def told(n: int, dims: int = 2, maps: int = 1, vector: int = 2, words: int = 5) -> Condition:
    tokens = torch.randint(0, words + 1, (n, 4), generator=torch.Generator().manual_seed(9)) if words else None
    return Condition(numbered(7, n, maps, *GRID[dims]), numbered(8, n, vector), torch.ones(n, 1), tokens=tokens)


def pairs(dims: int, own: FieldSizes) -> list[tuple[PointGenerator, Judge]]:
    widths = {"generator": (8, 8, 8), "discriminator": (8, 8, 8)}
    dc = [DCGANBackbone(**widths, skip_noise=skip) for skip in (False, True)]  # type: ignore[arg-type]
    progressive, style = ProgressiveBackbone(**widths), StyleBackbone(**widths)  # type: ignore[arg-type]
    return [
        *((DCGenerator(own, s), DCJudge(own, s)) for s in dc),
        (ProgressiveGenerator(own, progressive), ProgressiveJudge(own, progressive)),
        (StyleGenerator(own, style), DCJudge(own, dc[0])),
    ]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("conditional", [True, False])
def test_shapes_and_samples_that_do_not_mix(dims: int, conditional: bool) -> None:
    """On an anisotropic grid, with and without anything told, half grown and full."""
    torch.manual_seed(0)
    about = {"maps": 1, "vector": 2, "words": 5} if conditional else {"maps": 0, "vector": 0, "words": 0}
    own, condition = sizes(dims, **about), told(3, dims, **about)
    one = Condition(*(None if part is None else part[1:2] for part in condition._parts))  # type: ignore[arg-type]
    for generator, judge in pairs(dims, own):
        generator.eval()
        noise = [numbered(i, 3, *shape) for i, shape in enumerate(generator.noise_shapes(GRID[dims]))]
        for progress in (0.1, 0.45, 1.0):
            with torch.no_grad():
                made = generator(noise, condition, progress=progress)
                assert made.shape == (3, 2, *GRID[dims])
                logits = judge(judge.coefficients(made, progress), condition, progress)
                assert [part.shape for part in logits] == [(3, 1)]
                alone = generator([part[1:2] for part in noise], one, progress=progress)
                torch.testing.assert_close(alone, made[1:2], atol=1e-4, rtol=1e-4)
                again = judge(judge.coefficients(alone, progress), one, progress)
            torch.testing.assert_close(again[0], logits[0][1:2], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_everything_told_reaches_what_is_made(dims: int) -> None:
    torch.manual_seed(0)
    condition = told(2, dims)
    assert condition.tokens is not None
    changes = [replace(condition, maps=-condition.maps), replace(condition, vector=-condition.vector)]
    changes.append(replace(condition, tokens=(condition.tokens + 1) % 6))
    for generator, judge in pairs(dims, sizes(dims)):
        noise = [numbered(i, 2, *shape) for i, shape in enumerate(generator.noise_shapes(GRID[dims]))]
        generator.eval()
        with torch.no_grad():
            made = generator(noise, condition)
            points = judge.coefficients(made)
            for other in changes:
                assert (generator(noise, other) - made).abs().max() > 1e-4
                assert (judge(points, other)[0] - judge(points, condition)[0]).abs().max() > 1e-4


# ---------------------------------------------------------------- styles


@pytest.mark.parametrize("dims", [2, 3])
def test_modulation_is_a_scaling_of_weights(dims: int) -> None:
    """Scaling inputs and dividing outputs equals a convolution of each sample with its own scaled and normalised weights."""
    x, weight, style = numbered(0, 3, 4, *([6] * dims)), numbered(1, 5, 4, *([3] * dims)), numbered(2, 3, 4)
    got = modulated(x, weight, style)
    for i in range(3):
        own = weight * style[i].view(1, 4, *([1] * dims))
        own = own / own.flatten(1).norm(dim=1).view(5, *([1] * (dims + 1)))
        torch.testing.assert_close(got[i : i + 1], (F.conv2d if dims == 2 else F.conv3d)(x[i : i + 1], own, padding=1))


def test_demodulation_keeps_unit_variance() -> None:
    x, weight, style = numbered(0, 2, 32, 64, 64), 5 * numbered(1, 8, 32, 3, 3), 10 * numbered(2, 2, 32)
    spread = modulated(x, weight, style)[..., 1:-1, 1:-1].std((2, 3))
    torch.testing.assert_close(spread, torch.ones_like(spread), atol=0.1, rtol=0.0)


def style_generator() -> tuple[StyleGenerator, list[torch.Tensor], Condition]:
    torch.manual_seed(0)
    generator = StyleGenerator(sizes(), StyleBackbone(generator=(8, 8, 8), discriminator=(8, 8, 8), mixing=0.5))
    noise = [numbered(i, 64, *shape) for i, shape in enumerate(generator.noise_shapes(GRID[2]))]
    return generator, noise, told(64)


def test_styles_are_mixed_only_while_training_and_as_often_as_asked() -> None:
    generator, noise, condition = style_generator()
    crossed = generator._crossed(numbered(3, 20000, 1))
    assert float(crossed[:, -1].float().mean()) == pytest.approx(0.5, abs=0.02)  # the finest level of every mixed sample
    assert not crossed[:, 0].any() and float(crossed[:, 1].float().mean()) == pytest.approx(0.25, abs=0.02)
    with torch.no_grad():
        training, asked = generator.train()(noise, condition), generator.eval()(noise, condition)
    same = (training == asked).flatten(1).all(1)
    assert 0.25 < float(same.float().mean()) < 0.75


def test_truncation_draws_styles_to_their_mean() -> None:
    generator, noise, condition = style_generator()
    generator.eval()
    with torch.no_grad():
        generator.settle(condition, torch.Generator().manual_seed(0))
        assert generator.centre.abs().max() > 0
        nearly = generator(noise, condition, truncation=1e-6)
        mean = generator.synthesise(generator.centre.expand(64, 3, -1), noise[1:], condition)
    torch.testing.assert_close(nearly, mean, atol=1e-3, rtol=1e-3)


# ---------------------------------------------------------------- growth


def test_growth_starts_coarse_and_ends_at_the_full_network() -> None:
    assert grown(0.0, 3, 0.5) == (0, 1.0)
    assert grown(0.5, 3, 0.5) == (2, 1.0) == grown(1.0, 3, 0.5)
    places = [level - 1 + fade for level, fade in (grown(p / 200, 3, 0.5) for p in range(201))]
    assert places == sorted(places) and max(b - a for a, b in pairwise(places)) < 0.05  # no jump
    assert grown(0.3, 1, 0.5) == (0, 1.0)


def test_a_new_level_enters_without_a_jump() -> None:
    """Just before and just after a level begins, generator and judge do nearly the same."""
    torch.manual_seed(0)
    settings = ProgressiveBackbone(generator=(8, 8, 8), discriminator=(8, 8, 8), growing=0.5)
    generator, judge = ProgressiveGenerator(sizes(), settings), ProgressiveJudge(sizes(), settings)
    noise, condition = [numbered(0, 2, 64)], told(2)
    with torch.no_grad():
        for start in (0.125, 0.375):
            before, after = (generator(noise, condition, progress=start + d) for d in (-1e-6, 1e-6))
            torch.testing.assert_close(before, after, atol=1e-3, rtol=1e-3)
        full = generator(noise, condition)
        torch.testing.assert_close(generator(noise, condition, progress=0.5), full)
        assert not torch.equal(generator(noise, condition, progress=0.49), full)
        assert judge.coefficients(full)[0].shape == full.shape
    coarse = generator(noise, condition, progress=0.0).detach()
    small = block_means(coarse, (4, 2))
    torch.testing.assert_close(repeated(small, (4, 2)), coarse)


# ---------------------------------------------------------------- stages and words


def test_the_refinement_keeps_the_small_image() -> None:
    """What it adds is detail: with nothing added, the small image made larger."""
    torch.manual_seed(0)
    own, settings = sizes(), StackedBackbone(coarse=DCGANBackbone(generator=(8, 8), discriminator=(8, 8)), refine=8, attention=True)
    step = own.steps[0]
    small = replace(own, grid=coarser(own.grid, step), steps=own.steps[1:], maps=own.maps * math.prod(step))
    coarse = DCGenerator(small, settings.coarse)
    refiner = Refiner(own, settings, coarse)
    noise = [numbered(i, 2, *shape) for i, shape in enumerate(refiner.noise_shapes(GRID[2]))]
    condition = told(2)
    with torch.no_grad():
        made = refiner(noise, condition)
        refiner.spread.zero_()
        plain = refiner(noise, condition)
        expected = doubled(coarse(noise[:1], condition.resized(small.grid)), step)
    torch.testing.assert_close(plain, expected)
    assert (made - plain).abs().max() > 0.01
    assert not {id(p) for p in coarse.parameters()} & {id(p) for p in refiner.parameters()}  # it does not train the first stage


def test_a_caption_is_the_words_in_it() -> None:
    torch.manual_seed(0)
    words = Words(5, 8)
    with torch.no_grad():
        short, padded = words.sentence(torch.tensor([[1, 2]])), words.sentence(torch.tensor([[1, 2, 0, 0]]))
        turned, empty = words.sentence(torch.tensor([[2, 1]])), words.sentence(torch.tensor([[0, 0]]))
    torch.testing.assert_close(short, padded)
    assert not torch.allclose(short, turned) and not empty.any()


def test_places_look_only_at_words_that_are_there() -> None:
    torch.manual_seed(0)
    attention = WordAttention(6, 5, 8)
    tokens = torch.tensor([[1, 2, 0], [0, 0, 0]])
    weights = attention.weights(numbered(0, 2, 10, 6), tokens)
    torch.testing.assert_close(weights.sum(2), torch.tensor([1.0, 0.0])[:, None].expand(2, 10))
    assert not weights[0, :, 2].any() and (weights[0, :, :2] > 0).all()
    x = numbered(1, 2, 6, 4, 3, 2)
    assert attention(x, tokens).shape == x.shape and torch.isfinite(attention(x, tokens)).all()
