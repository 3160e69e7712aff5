"""The adversarial loss at the point where nothing can be told apart, and the transformations of what the discriminator sees."""

import math
from collections.abc import Iterator

import torch

from sciimg.augmenters.augmentation import augment
from sciimg.augmenters.processes.games import gradient_penalty, relativistic, told_apart
from sciimg.augmenters.system import Condition
from sciimg.records import Check
from sciimg.verification.checks import check


def checks() -> Iterator[Check]:
    """Every game at its optimum, the penalty of a linear critic; both sides of the comparison see the same transformation."""
    logits = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    loss = relativistic(logits, logits.detach())
    (slope,) = torch.autograd.grad(loss, logits)
    source = "softplus(0) = log 2 and softplus'(0) = 1/2; Jolicoeur-Martineau 2018, arXiv:1807.00734"
    yield check("relativistic-loss-at-optimum", math.log(2), float(loss.detach()), 1e-12, source)
    yield check("relativistic-slope-at-optimum", -0.5, float(slope.sum()), 1e-12, source)
    yield from _games()
    points = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    condition = Condition(points[:, :1], torch.zeros(6, 0), torch.ones(6, 1))
    (first, second), told = augment((points, points), condition, torch.Generator().manual_seed(6), 0.25)
    source = "the same transformation on both sides does not leak; Zhao et al. 2020, arXiv:2006.10738"
    apart = float((first - second).abs().max() + (first[:, :1] - told.maps).abs().max())
    yield check("augmentation-treats-all-alike", 0, apart, 0, source)


def _games() -> Iterator[Check]:
    """What each game is worth where nothing can be told apart, and to the best judge of two laws on three points."""
    zero = torch.zeros(5, dtype=torch.float64)
    for name, value, source in (
        ("non-saturating", 2 * math.log(2), "-2 E log(1/2); Goodfellow et al. 2014, arXiv:1406.2661, theorem 1"),
        ("hinge", 2.0, "E max(0, 1 - 0) twice; Lim & Ye 2017, arXiv:1705.02894"),
        ("wasserstein", 0.0, "no distance from itself; Arjovsky et al. 2017, arXiv:1701.07875"),
    ):
        yield check(f"{name}-loss-at-optimum", value, float(told_apart(name, zero, zero)), 1e-12, source)  # type: ignore[arg-type]
    p, q = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) / 6, torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64) / 6
    real, made = torch.tensor([0, 1, 1, 2, 2, 2]), torch.tensor([0, 0, 0, 1, 1, 2])  # six points each, in those shares
    judge = (p / q).log().requires_grad_()
    loss = told_apart("non-saturating", judge[real], judge[made])
    (slope,) = torch.autograd.grad(loss, judge)
    between = (p + q) / 2
    divergence = float(0.5 * (p * (p / between).log() + q * (q / between).log()).sum())
    source = "the best judge is log p/q and is worth 2 log 2 - 2 JSD; Goodfellow et al. 2014, arXiv:1406.2661, proposition 1 and theorem 1"
    yield check("non-saturating-best-judge", 2 * math.log(2) - 2 * divergence, float(loss.detach()), 1e-12, source)
    yield check("non-saturating-best-judge-slope", 0, float(slope.abs().max()), 1e-12, source)
    places = torch.arange(3, dtype=torch.float64)
    distance = float((p - q).cumsum(0).abs().sum())
    got = -float(told_apart("wasserstein", places[real], places[made]))
    yield check("wasserstein-of-two-laws", distance, got, 1e-12, "the area between the distribution functions; the best critic is x")
    weights = torch.tensor([0.5, -2.0, 1.0, 0.25])
    condition = Condition(torch.zeros(3, 0, 2, 2), torch.zeros(3, 0), torch.ones(3, 1))
    penalty = gradient_penalty(lambda points, _: [points[0].flatten(1) @ weights[:, None]], [torch.ones(3, 1, 2, 2)], condition)
    source = "a linear critic slopes by its weights; Mescheder et al. 2018, arXiv:1801.04406, eq. 9"
    yield check("gradient-penalty-of-a-linear-critic", float(weights.square().sum()), float(penalty.detach()), 1e-6, source)
