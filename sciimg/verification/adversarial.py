"""The adversarial loss at the point where nothing can be told apart, and the transformations of what the discriminator sees."""

import math
from collections.abc import Iterator

import torch

from sciimg.augmenters.augmentation import augment
from sciimg.augmenters.processes.games import relativistic
from sciimg.augmenters.system import Condition
from sciimg.records import Check
from sciimg.verification.checks import check


def checks() -> Iterator[Check]:
    """Value and slope of the relativistic loss at its saddle point; both sides of the comparison see the same transformation."""
    logits = torch.linspace(-3, 3, 7, dtype=torch.float64, requires_grad=True)
    loss = relativistic(logits, logits.detach())
    (slope,) = torch.autograd.grad(loss, logits)
    source = "softplus(0) = log 2 and softplus'(0) = 1/2; Jolicoeur-Martineau 2018, arXiv:1807.00734"
    yield check("relativistic-loss-at-optimum", math.log(2), float(loss.detach()), 1e-12, source)
    yield check("relativistic-slope-at-optimum", -0.5, float(slope.sum()), 1e-12, source)
    points = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    condition = Condition(points[:, :1], torch.zeros(6, 0), torch.ones(6, 1))
    (first, second), told = augment((points, points), condition, torch.Generator().manual_seed(6), 0.25)
    source = "the same transformation on both sides does not leak; Zhao et al. 2020, arXiv:2006.10738"
    apart = float((first - second).abs().max() + (first[:, :1] - told.maps).abs().max())
    yield check("augmentation-treats-all-alike", 0, apart, 0, source)
