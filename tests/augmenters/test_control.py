"""Masks and reference images in a UNet: what each way promises before and after training."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures

from sciimg.augmenters.backbones.layers import Block, SpatialModulation
from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.build import build
from sciimg.augmenters.checkpoint import under
from sciimg.augmenters.conditioning.controlnet import ControlNet
from sciimg.augmenters.conditioning.ip_adapter import IPAdapter, moved_reference
from sciimg.augmenters.conditioning.schema import learn_schema
from sciimg.augmenters.conditioning.t2i_adapter import T2IAdapter
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes
from sciimg.augmenters.training import fit
from sciimg.errors import InputError
from sciimg.protocol.data import ImageCondition

GRIDS = {2: (12, 8), 3: (4, 12, 8)}
STEPS = {2: ((2, 2),), 3: ((1, 2, 2),)}  # the volume's planes are halved, its few slices are not
SMALL = UNetBackbone(widths=(8, 16), blocks=(1, 1), features=16)
SIDES = (ControlNet, T2IAdapter, IPAdapter)


def sizes(dims: int) -> FieldSizes:
    return FieldSizes(2, GRIDS[dims], STEPS[dims], maps=5, vector=3, image=2)


def question(dims: int, n: int = 2) -> tuple[torch.Tensor, torch.Tensor, Condition]:
    g = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g)

    condition = Condition(draw(n, 3, *GRIDS[dims]), draw(n, 3), torch.ones(n, 1), draw(n, 2, *GRIDS[dims]))
    return draw(n, 2, *GRIDS[dims]), torch.rand(n, generator=g), condition


def shaken(module: torch.nn.Module, by: float = 0.1) -> None:
    """Move every weight: nothing is zero by its start any more."""
    g = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(by * torch.randn(p.shape, generator=g))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", SIDES)
def test_a_side_network_starts_as_its_base_exactly(kind: type[FieldNetwork], dims: int) -> None:
    network = kind(sizes(dims), SMALL)
    x, time, condition = question(dims)
    hidden = "image" if kind is IPAdapter else "maps"
    shaken(network.base)
    for stage in network.stages():
        if stage.begin is not None:
            stage.begin()
    alone = network(x, time, condition.without(hidden))
    assert alone.abs().max() > 0.1
    assert torch.equal(network(x, time, condition), alone)
    shaken(network)
    assert not torch.allclose(network(x, time, condition), network(x, time, condition.without(hidden)), atol=1e-3)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", SIDES)
def test_a_base_hears_nothing_of_what_its_side_network_will_be_told(kind: type[FieldNetwork], dims: int) -> None:
    network = kind(sizes(dims), SMALL)
    base, side = network.stages()
    _, _, condition = question(dims)
    heard = base.told(condition, torch.Generator().manual_seed(0))
    assert heard.image is None if kind is IPAdapter else heard.maps.shape[1] == 0
    assert not {id(p) for m in base.modules for p in m.parameters()} & {id(p) for m in side.modules for p in m.parameters()}
    trained = sum(p.numel() for stage in (base, side) for m in stage.modules for p in m.parameters())
    assert trained == sum(p.numel() for p in network.parameters())


def test_a_control_network_copies_the_way_down() -> None:
    network = ControlNet(sizes(2), SMALL)
    shaken(network.base)
    network.stages()[1].begin()
    own = network.base.descent.state_dict()
    assert all(torch.equal(value, own[name]) for name, value in network.copy.state_dict().items())


@pytest.mark.parametrize("name", ["controlnet", "t2i-adapter", "ip-adapter"])
def test_the_base_stays_bit_for_bit_while_its_side_network_learns(name: str, tmp_path: Path) -> None:
    source, before = Textures(), {}
    conditions = (*CONDITIONS, ImageCondition(kind="image", channels=source.channels, made=True))

    def remember(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if phase != "process" and not before:  # the checkpoint is still the one that ended the first phase
            before.update(under("system", load_file(tmp_path / ".m.partial" / "checkpoint.safetensors")))

    recipe = shrunk(get_recipe(name), steps=3)
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"checkpoint_every": 99})})
    held_out = Textures(part="calibration")
    fit(recipe, source, held_out, conditions, key=("k",), out=tmp_path / "m", provenance={}, progress=remember)
    after = load_file(tmp_path / "m" / "model.safetensors")
    base = [key for key in after if ".base." in key]
    assert base and all(torch.equal(after[key], before[key]) for key in base)
    assert any(not torch.equal(after[key], before[key]) for key in set(after) - set(base))


def test_what_is_not_told_needs_no_side_network(tmp_path: Path) -> None:
    recipe, held_out = shrunk(get_recipe("controlnet")), Textures(part="calibration")
    fit(recipe, Textures(), held_out, CONDITIONS[1:], key=("k",), out=tmp_path / "m", provenance={})
    assert not any("copy" in name for name in load_file(tmp_path / "m" / "model.safetensors"))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_constant_mask_modulates_like_a_vector(dims: int) -> None:
    modulation = SpatialModulation(dims, 3, 8)
    shares = torch.tensor([0.2, 0.5, 0.3]).view(1, 3, *([1] * dims))
    scale, shift = modulation(shares.expand(1, 3, *([9] * dims)))
    inside = (slice(None), slice(None), *([slice(2, -2)] * dims))  # further in than its two convolutions see the border
    for made in (scale[inside], shift[inside]):
        assert torch.allclose(made, made[(..., *([slice(0, 1)] * dims))].expand_as(made), atol=1e-6) and made.std() > 0
    block = Block(dims, 8, 8, embedding=4, maps=3)
    shaken(block)
    x, vector = torch.randn(1, 8, *([9] * dims)), torch.randn(1, 4)
    own = block.spade(shares.expand(1, 3, *([9] * dims)))
    plain = Block(dims, 8, 8, embedding=4)
    plain.load_state_dict({k: v for k, v in block.state_dict().items() if "spade" not in k})
    with torch.no_grad():  # FiLM of h is (1 + a) h + b; then (1 + s) and t: one vector that does both
        a, b = block.film(vector).chunk(2, dim=1)
        s, t = (part[(..., *([4] * dims))] for part in own)
        plain.film.weight.zero_()
        plain.film.bias.copy_(torch.cat([(1 + a) * (1 + s) - 1, b * (1 + s) + t], dim=1)[0])
    centre = (..., *([4] * dims))
    assert torch.allclose(block(x, vector, shares.expand(1, 3, *([9] * dims)))[centre], plain(x, vector)[centre], atol=1e-5)


@pytest.mark.parametrize("dims", [2, 3])
def test_modulation_reaches_every_level(dims: int) -> None:
    network = UNet(sizes(dims), SMALL, "spade")
    shaken(network)
    x, time, condition = question(dims)
    told, other = network.tell(time, condition), network.tell(time, replace(condition, maps=condition.maps.flip(-1)))
    assert [maps.shape[2:] for maps in told.maps] == [GRIDS[dims], tuple(n // f for n, f in zip(GRIDS[dims], STEPS[dims][0], strict=True))]
    for level, (a, b) in enumerate(zip(network.descend(x, condition, told), network.descend(x, condition, other), strict=True)):
        assert not torch.allclose(a, b, atol=1e-3), level
    assert torch.equal(network.beside(x, condition), torch.cat([x, condition.image], dim=1))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_reference_is_moved_and_keeps_its_looks(dims: int) -> None:
    _, _, condition = question(dims, n=6)
    moved = moved_reference(condition, torch.Generator().manual_seed(0)).image
    assert torch.equal(moved.flatten(2).sort().values, condition.image.flatten(2).sort().values)
    assert sum(not torch.equal(a, b) for a, b in zip(moved, condition.image, strict=True)) >= 5
    again = moved_reference(condition, torch.Generator().manual_seed(0)).image
    assert torch.equal(moved, again)


def test_masks_cannot_steer_by_a_side_network_beside_a_reference() -> None:
    source = Textures()
    conditions = (*CONDITIONS, ImageCondition(kind="image", channels=source.channels, made=True))
    schema = learn_schema(source.draw(("s",), range(16)), conditions, 0, 0)
    recipe = get_recipe("ip-adapter", {"conditioning.uses": ["mask", "image"], "conditioning.mask": "controlnet"})
    with pytest.raises(InputError, match="masks enter by concat"):
        build(recipe, schema, (2, 16, 16))
