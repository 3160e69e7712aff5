"""From coarse to fine, and volumes from planes."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures
from torch import Tensor

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.backbones.planes import Planes, from_planes, to_planes
from sciimg.augmenters.backbones.pyramid import block_means, repeated
from sciimg.augmenters.backbones.settings import PlanesBackbone, UNetBackbone
from sciimg.augmenters.build import build
from sciimg.augmenters.conditioning.schema import learn_schema
from sciimg.augmenters.processes.cascade import CascadeProcess, CoarseMeans
from sciimg.augmenters.processes.settings import CascadeProcess as Choices
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes, Noise
from sciimg.augmenters.training import fit
from sciimg.errors import InputError
from sciimg.protocol.data import ImageCondition

ITSELF = ImageCondition(kind="image", channels=("a", "b"), made=True)
FACTORS = {2: (2, 4), 3: (1, 2, 2)}
SHAPES = {2: (2, 8, 8), 3: (1, 3, 4, 4)}
FP32 = Schedule(steps=1, precision="fp32")


def plain(n: int, shape: tuple[int, ...], **parts: Tensor) -> Condition:
    return Condition(torch.zeros(n, 0, *shape[1:]), torch.zeros(n, 0), torch.ones(n, 1), **parts)


class Towards(FieldNetwork):
    """The exact velocity for data that are one image; remembers what it was told."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = image
        self.levels: list[float] = []
        self.told = torch.zeros(())

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        if condition.image is not None:
            self.levels.append(float(condition.vector[0, -1]))
            self.told = condition.image
        return (x - self.image) / time.view(-1, *([1] * (x.ndim - 1)))  # on a straight line, x = (1 - t) image + t noise


@pytest.mark.parametrize("sampler", ["euler", "heun", "ddim", "ancestral"])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_sample_has_the_means_of_the_coarse_one(dims: int, sampler: str) -> None:
    shape, factor = SHAPES[dims], FACTORS[dims]
    coarse = block_means(torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)), factor)
    stubborn = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))  # what the second network makes, whatever it is told
    high = Towards(stubborn)
    process = CascadeProcess(Choices(halvings=1, level=0.0), Pixels(), Towards(coarse), high, factor, FP32, 0.0)
    made = process.sample(plain(3, shape), Noise(("k",), range(3)), shape, SamplerSettings(name=sampler, steps=4))
    assert torch.allclose(block_means(made, factor), coarse, atol=1e-4) and set(high.levels) == {0.0}
    detail = stubborn - repeated(block_means(stubborn, factor), factor)
    assert torch.allclose(made - repeated(coarse, factor), detail, atol=1e-4)


def test_a_made_coarse_image_is_noised_as_much_as_it_is_said_to_be() -> None:
    shape, coarse = (1, 64, 64), torch.zeros(4, 1, 32, 32)
    high = Towards(torch.zeros(4, *shape))
    process = CascadeProcess(Choices(halvings=1, level=0.2), Pixels(), Towards(coarse), high, (2, 2), FP32, 0.0)
    made = process.sample(plain(4, shape), Noise(("k",), range(4)), shape, SamplerSettings(steps=1))
    assert high.levels == [pytest.approx(0.2)]
    assert float(high.told.std()) == pytest.approx(math.sin(0.1 * math.pi), rel=0.05)
    assert torch.allclose(made, torch.zeros(()), atol=1e-6)  # not held to means that are noise


@pytest.mark.parametrize("dims", [2, 3])
def test_coarse_means_are_a_space(dims: int) -> None:
    shape, factor = SHAPES[dims], FACTORS[dims]
    space = CoarseMeans(Pixels(), factor)
    points = space.encode(torch.randn(2, *shape))
    assert points.shape[1:] == space.shape(shape)
    assert space.decode(points).shape[1:] == shape
    flat = torch.full((1, *shape), 0.7)
    assert torch.allclose(space.decode(space.encode(flat)), flat)


def test_both_members_learn_one_after_the_other(tmp_path: Path) -> None:
    seen: list[str] = []
    recipe = shrunk(get_recipe("imagen"))
    fit(
        recipe,
        Textures(),
        Textures(part="calibration"),
        CONDITIONS,
        key=("k",),
        out=tmp_path / "m",
        provenance={},
        progress=lambda phase, *_: seen.append(phase),
    )
    assert seen == ["low.process"] * 2 + ["high.process"] * 2


def test_super_resolution_reads_the_coarse_part_alone(tmp_path: Path) -> None:
    source = Textures()
    recipe = shrunk(get_recipe("super-resolution"))
    fit(recipe, source, Textures(part="calibration"), (*CONDITIONS, ITSELF), key=("k",), out=tmp_path / "m", provenance={})
    model = Augmenter.load(tmp_path / "m")
    told = source.draw(("told",), range(3))

    def made(images: np.ndarray) -> np.ndarray:
        return model.sample(None, told.table, images, key=("k",), indices=range(3))

    flat = np.full_like(told.images, 1000)
    checked = flat.copy()
    checked[..., ::2, ::2] += 100
    checked[..., 1::2, 1::2] += 100
    checked[..., ::2, 1::2] -= 100
    checked[..., 1::2, ::2] -= 100  # the same means over blocks, other detail
    assert np.array_equal(made(flat), made(checked))
    assert not np.array_equal(made(flat), made(flat + 200))
    with pytest.raises(InputError, match="--source"):
        model.sample(None, told.table, None, key=("k",), indices=range(3))


def test_super_resolution_needs_an_image() -> None:
    schema = learn_schema(Textures().draw(("s",), range(8)), CONDITIONS, 0, 0)
    with pytest.raises(InputError, match="made: true"):
        build(get_recipe("super-resolution"), schema, (2, 16, 16))


# ---------------------------------------------------------------- planes

PLANE = UNetBackbone(widths=(8, 16), blocks=(1, 1), features=16)


def planes(tell_axis: bool, steps: tuple[int, ...] = (2, 2, 2)) -> Planes:
    torch.manual_seed(0)
    network = Planes(FieldSizes(1, (8, 8, 8), (steps,), maps=2, vector=1), PlanesBackbone(plane=PLANE, tell_axis=tell_axis))
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape))
    return network.eval()


def volume() -> tuple[Tensor, Tensor, Condition]:
    g = torch.Generator().manual_seed(3)
    condition = Condition(torch.randn(2, 2, 8, 8, 8, generator=g), torch.randn(2, 1, generator=g), torch.ones(2, 1))
    return torch.randn(2, 1, 8, 8, 8, generator=g), torch.rand(2, generator=g), condition


@pytest.mark.parametrize("axis", range(3))
def test_planes_are_slices_and_go_back(axis: int) -> None:
    x = torch.randn(2, 1, 3, 4, 5)
    cut = to_planes(x, axis)
    plane = x[1, 0].select(axis, 2)
    assert torch.equal(cut[x.shape[2 + axis] + 2, 0], plane.T if axis == 1 else plane)
    assert torch.equal(from_planes(cut, axis, x.shape[2 + axis]), x)


def cycled(x: Tensor) -> Tensor:
    return x.permute(0, 1, 3, 4, 2)


def test_a_cyclic_exchange_of_axes_commutes_with_shared_planes() -> None:
    x, time, condition = volume()
    turned = Condition(cycled(condition.maps), condition.vector, condition.keep)
    for tell_axis, commutes in ((False, True), (True, False)):
        network = planes(tell_axis)
        assert len(network.networks) == 1
        same = torch.allclose(network(cycled(x), time, turned), cycled(network(x, time, condition)), atol=1e-5)
        assert same is commutes


def test_the_field_is_the_mean_of_three_orientations_and_of_one_while_learning() -> None:
    x, time, condition = volume()
    network = planes(True)
    parts = [network.field(axis, x, time, condition) for axis in range(3)]
    assert torch.allclose(network(x, time, condition), sum(parts) / 3, atol=1e-6)
    network.train()
    drawn = [network(x, time, condition) for _ in range(12)]
    which = [[axis for axis in range(3) if torch.allclose(one, parts[axis], atol=1e-6)] for one in drawn]
    assert all(len(found) == 1 for found in which) and {found[0] for found in which} == {0, 1, 2}


def test_one_orientation_never_looks_across_its_planes() -> None:
    x, time, condition = volume()
    network = planes(True)
    other = x.clone()
    other[:, :, 5] += 1.0
    change = (network.field(0, other, time, condition) - network.field(0, x, time, condition)).abs().amax((0, 1, 3, 4))
    assert torch.nonzero(change > 1e-6).flatten().tolist() == [5]
    change = (network(other, time, condition) - network(x, time, condition)).abs().amax((0, 1, 3, 4))
    assert (change > 1e-6).sum() > 1


def test_planes_of_other_voxels_have_networks_of_their_own() -> None:
    assert len(planes(False, (1, 2, 2)).networks) == 3
    x, time, condition = volume()
    assert planes(False, (1, 2, 2))(x, time, condition).shape == x.shape


def test_planes_are_for_volumes() -> None:
    schema = learn_schema(Textures().draw(("s",), range(8)), CONDITIONS, 0, 0)
    with pytest.raises(InputError, match="makes volumes"):
        build(get_recipe("pixel-flow", {"backbone": {"kind": "planes"}}), schema, (2, 16, 16))
