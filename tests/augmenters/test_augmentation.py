"""Both sides of the comparison, and the maps of the condition, see the same transformation; it is drawn from the generator alone."""

import pytest
import torch

from sciimg.augmenters.augmentation import augment
from sciimg.augmenters.system import Condition


def drawn(n: int = 6, dims: int = 2, channels: int = 2) -> tuple[torch.Tensor, Condition]:
    points = torch.randn(n, channels, *([8] * dims), generator=torch.Generator().manual_seed(1))
    return points, Condition(points[:, :1].clone(), torch.zeros(n, 0), torch.ones(n, 1))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("strength", [{}, {"colour": 0.2}, {"colour": 0.2, "cut": 1.0}])
def test_real_and_made_are_treated_alike(dims: int, strength: dict[str, float]) -> None:
    points, condition = drawn(dims=dims)
    (first, second), _ = augment((points, points), condition, torch.Generator().manual_seed(2), 0.25, **strength)
    assert torch.equal(first, second) and not torch.equal(first, points)
    (again,), _ = augment((points,), condition, torch.Generator().manual_seed(2), 0.25, **strength)
    assert torch.equal(again, first)
    (other,), _ = augment((points,), condition, torch.Generator().manual_seed(3), 0.25, **strength)
    assert not torch.equal(other, first)


@pytest.mark.parametrize("dims", [2, 3])
def test_maps_move_with_the_points(dims: int) -> None:
    points, condition = drawn(dims=dims)
    (moved,), told = augment((points,), condition, torch.Generator().manual_seed(2), 0.25, cut=1.0)
    assert torch.equal(moved[:, :1], told.maps)


def test_shifts_alone_keep_every_value() -> None:
    points, condition = drawn()
    (moved,), _ = augment((points,), condition, torch.Generator().manual_seed(2), 0.5, cut=0.0)
    torch.testing.assert_close(moved.flatten(1).sort().values, points.flatten(1).sort().values)


def test_colours_change_channels_affinely_and_leave_maps_alone() -> None:
    points, condition = drawn(n=64)
    (moved,), told = augment((points,), condition, torch.Generator().manual_seed(2), 0.0, colour=0.2, cut=0.0)
    assert torch.equal(told.maps, condition.maps)
    gains = moved.std((2, 3)) / points.std((2, 3))
    offsets = moved.mean((2, 3)) - gains * points.mean((2, 3))
    assert gains.log().std() == pytest.approx(0.2, rel=0.25) and offsets.std() == pytest.approx(0.3, rel=0.25)
    torch.testing.assert_close(moved, points * gains[..., None, None] + offsets[..., None, None], atol=1e-4, rtol=1e-4)


def test_gradients_pass_and_stop_inside_boxes() -> None:
    points, condition = drawn()
    points.requires_grad_()
    (moved,), _ = augment((points,), condition, torch.Generator().manual_seed(2), 0.25, cut=1.0)
    moved.sum().backward()
    assert points.grad is not None
    kept = points.grad.mean((1, 2, 3))
    assert ((kept > 0.4) & (kept < 1)).all()  # at most a box of half of each axis is lost


def test_conditions_without_maps() -> None:
    points, _ = drawn()
    none = Condition(torch.zeros(6, 0, 8, 8), torch.zeros(6, 0), torch.ones(6, 1))
    _, told = augment((points,), none, torch.Generator().manual_seed(2), 0.25)
    assert told.maps.shape == (6, 0, 8, 8)
