"""The transformer: blocks start as the identity, the output at zero; any patch; places are told apart; samples do not mix."""

import pytest
import torch
from pydantic import ValidationError

from sciimg.augmenters.backbones.dit import DiT, TransformerBlock, positions
from sciimg.augmenters.backbones.settings import DiTBackbone
from sciimg.augmenters.system import Condition, FieldSizes

CPU = torch.device("cpu")
SMALL = DiTBackbone(width=24, depth=3, heads=2, features=16)


def told(n: int, grid: tuple[int, ...], maps: int = 3, vector: int = 4) -> Condition:
    g = torch.Generator().manual_seed(1)
    return Condition(torch.rand(n, maps, *grid, generator=g), torch.randn(n, vector, generator=g), torch.ones(n, 1))


def random_weights(net: torch.nn.Module) -> None:
    torch.manual_seed(0)
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.2)


def test_a_block_starts_as_the_identity() -> None:
    """adaLN-zero: every gate is 0, whatever the vector."""
    block, x = TransformerBlock(16, 2, 8), torch.randn(2, 5, 16)
    assert torch.equal(block(x, torch.randn(2, 8)), x)


def test_one_token_attends_to_itself_alone() -> None:
    """The softmax over one token is 1: attention is the projection of its value."""
    block = TransformerBlock(16, 2, 8)
    random_weights(block)
    x = torch.randn(3, 1, 16)
    with torch.no_grad():
        value = block.attend(x).chunk(3, dim=-1)[2]
        torch.testing.assert_close(block._attention(x), block.join(value))


def test_attention_does_not_know_the_order() -> None:
    block = TransformerBlock(16, 2, 8)
    random_weights(block)
    x, vector, order = torch.randn(2, 6, 16), torch.randn(2, 8), torch.randperm(6)
    with torch.no_grad():
        torch.testing.assert_close(block(x, vector)[:, order], block(x[:, order], vector), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(("grid", "steps"), [((8, 12), ((2, 2),)), ((6, 8, 8), ((1, 2, 2), (2, 2, 2))), ((4, 4), ())])
def test_the_grid_stays_whatever_the_patch_and_the_field_starts_at_zero(grid: tuple[int, ...], steps: tuple[tuple[int, ...], ...]) -> None:
    net = DiT(FieldSizes(2, grid, steps, 3, 4), SMALL)
    x, time = torch.randn(2, 2, *grid), torch.tensor([0.2, 0.9])
    with torch.no_grad():
        out = net(x, time, told(2, grid))
        assert out.shape == x.shape and out.dtype == torch.float32
        assert float(out.abs().max()) == 0.0
        random_weights(net)
        one = net(x, time, told(2, grid))
        for change in (net(x + 1, time, told(2, grid)), net(x, 1 - time, told(2, grid)), net(x, time, told(2, grid).withheld())):
            assert not torch.allclose(one, change)


def test_samples_of_a_batch_do_not_mix() -> None:
    net = DiT(FieldSizes(1, (8, 8), ((2, 2),), 3, 4), SMALL)
    random_weights(net)
    x, condition = torch.randn(3, 1, 8, 8), told(3, (8, 8))
    with torch.no_grad():
        before = net(x, torch.full((3,), 0.5), condition)[0]
        x[1:] = 100.0
        torch.testing.assert_close(net(x, torch.full((3,), 0.5), condition)[0], before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("grid", [(5, 7), (3, 4, 5)])
def test_every_place_has_its_own_position(grid: tuple[int, ...]) -> None:
    table = positions(grid, 26, CPU)
    assert table.shape == (torch.Size(grid).numel(), 26)
    distances = torch.cdist(table, table) + 10 * torch.eye(len(table))
    assert float(distances.min()) > 0.1
    count = 26 // (2 * len(grid))
    torch.testing.assert_close(table.square().sum(1), torch.full((len(table),), float(count * len(grid))))  # cos^2 + sin^2


def test_width_and_heads_must_agree() -> None:
    with pytest.raises(ValidationError, match="multiple of heads"):
        DiTBackbone(width=22, heads=4)
