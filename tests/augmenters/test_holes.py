"""Fields known in part: what networks learn from, what they are told, and that a field of which nothing is known is one of them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from systems.shrunk import shrunk

from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.holes import known, random_parts
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Condition
from sciimg.errors import InputError


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=3), st.integers(0, 2**32 - 1))
def test_a_part_is_nothing_a_box_or_the_rest(shape: list[int], seed: int) -> None:
    points = torch.zeros(4, 1, *shape)
    keep = random_parts(points, seeded(seed))
    assert keep.shape == (4, 1, *shape) and keep.dtype == torch.bool
    assert torch.equal(keep, random_parts(points, seeded(seed)))
    for own in keep[:, 0]:
        assert not own.any() or any(_is_box(some) for some in (own, ~own))


def _is_box(inside: torch.Tensor) -> bool:
    """Whether the true places are exactly those between their least and largest coordinates."""
    places = inside.nonzero()
    if not len(places):
        return True  # the rest of a box that is everything
    sides = places.max(0).values - places.min(0).values + 1
    return int(sides.prod()) == len(places)


def test_each_kind_comes_as_often_as_it_should() -> None:
    keep = random_parts(torch.zeros(6000, 1, 32, 32), seeded())[:, 0]
    corner = keep[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    nothing = ~keep.flatten(1).any(1)
    assert float(nothing.float().mean()) == pytest.approx(1 / 3, abs=0.03)  # 5 standard errors; the rest of a whole box is rare
    outside = (corner.sum(1) >= 3) & ~keep.flatten(1).all(1)
    assert float(outside.float().mean()) == pytest.approx(1 / 3, abs=0.04)


def test_what_is_known_is_told_and_nothing_else() -> None:
    points, keep = torch.randn(2, 3, 5, 4, generator=seeded()), torch.rand(2, 1, 5, 4, generator=seeded(1)) < 0.5
    told = known(points, keep)
    assert told.shape == (2, 4, 5, 4)
    assert torch.equal(told[:, :3] * keep, torch.where(keep, points, 0.0)) and torch.equal(told[:, 3:] == 1, keep)
    other = torch.where(keep, points, torch.randn(2, 3, 5, 4, generator=seeded(2)))
    assert torch.equal(known(other, keep), told)
    assert torch.equal(known(points[1:], keep[1:]), told[1:])  # whatever the others of a batch are


@pytest.mark.parametrize("shape", [(31, 47), (16, 16), (20, 25, 28), (1, 1)])
def test_what_is_around_a_hole_goes_on_in_it(shape: tuple[int, ...]) -> None:
    ramp = torch.stack(torch.meshgrid(*(torch.linspace(-1, 1, n) for n in shape), indexing="ij")).sum(0)[None, None]
    keep = torch.ones(1, 1, *shape, dtype=torch.bool)
    keep[(0, 0, *(slice(n // 4, n - n // 4) for n in shape))] = False
    flat = known(torch.full_like(ramp, 3.5), keep)[:, :1]
    assert not keep.any() or float((flat - 3.5).abs().max()) < 1e-5
    if keep.any():
        error = (known(ramp, keep)[:, :1] - ramp).abs()[~keep]
        assert float(error.mean()) < 0.6 * float(ramp[~keep].abs().mean())  # zero, which says nothing, would be all of it
    assert not known(ramp, torch.zeros_like(keep)).any()
    assert torch.equal(known(ramp, torch.ones_like(keep))[:, :1], ramp)


@pytest.mark.parametrize("shape", [(31, 47), (20, 25, 28)])
def test_a_point_beside_a_known_one_hardly_differs_from_it(shape: tuple[int, ...]) -> None:
    """Weights by hand, and on a smooth field a border that is no steeper than the field itself."""
    line = torch.zeros(1, 1, 1, 4)
    line[..., 0], line[..., 3] = 1.0, 3.0
    told = known(line, torch.tensor([True, False, False, True]).view(1, 1, 1, 4))
    near, far = 1.0, 2.0**-4  # distances 1 and 2, to the power of -(2 + 2)
    expected = torch.tensor([1.0, (near * 1 + far * 3) / (near + far), (far * 1 + near * 3) / (near + far), 3.0])
    assert torch.allclose(told[0, 0, 0], expected)
    assert torch.allclose(told[0, 1, 0, 1], torch.tensor(1 / (1 + (near + far) ** -0.25)))
    field = torch.stack(torch.meshgrid(*(torch.sin(torch.arange(n) / 3) for n in shape), indexing="ij")).sum(0)[None, None]
    keep = torch.ones(1, 1, *shape, dtype=torch.bool)
    keep[(0, 0, *(slice(n // 4, n - n // 4) for n in shape))] = False
    filled = known(field, keep)[:, :1]
    across = [abs(filled.diff(dim=d))[keep.int().diff(dim=d) != 0].mean() for d in range(2, field.ndim)]
    steps = [field.diff(dim=d).abs().mean() for d in range(2, field.ndim)]
    assert max(float(a / b) for a, b in zip(across, steps, strict=True)) < 1.5


@pytest.mark.parametrize("dims", [2, 3])
def test_nothing_said_is_nothing_known(dims: int) -> None:
    """A condition without known parts means the same as one in which no point is known; guidance does not withhold them."""
    process = build(shrunk(get_recipe("inpainting", {}, dims)), ConditionSchema(), (1, *(8,) * dims)).process
    assert isinstance(process, GaussianProcess)
    for p in process.parameters():
        torch.nn.init.normal_(p, 0.0, 0.1, generator=seeded())
    x = torch.randn(2, 1, *(8,) * dims, generator=seeded()).double()
    plain = Condition(x[:, :0].float(), torch.zeros(2, 0), torch.ones(2, 1))
    none, all_known = (process.knowing(plain, x, torch.full((2, 1, *(8,) * dims), value)) for value in (False, True))
    with torch.no_grad():
        first, second, third = (process.predict(x, 0.5, condition, 1.0)[0] for condition in (plain, none, all_known))
    assert torch.equal(first, second) and not torch.equal(first, third)
    assert all_known.withheld().known is all_known.known


def test_processes_of_several_have_no_holes() -> None:
    for name, key in (("imagen", "process.high.holes"), ("imagen", "process.low.holes"), ("dall-e-2", "process.path.holes")):
        with pytest.raises(InputError, match="leave holes out"):
            get_recipe(name, {key: True})
