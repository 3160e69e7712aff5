"""The losses of adversarial games, each as what the discriminator and what the generator minimise, and their penalties."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, assert_never

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from sciimg.augmenters.draws import uniform
from sciimg.augmenters.system import Condition

Loss = Literal["relativistic", "non-saturating", "hinge", "wasserstein"]
Judging = Callable[[list[Tensor], Condition], list[Tensor]]
_SMOOTH = 0.3  # standard deviations; below this a distance counts as squared


def told_apart(loss: Loss, real: Tensor, made: Tensor) -> Tensor:
    """Return what the discriminator minimises, for logits of real and of made points.

    References
    ----------
    relativistic: Jolicoeur-Martineau 2018, arXiv:1807.00734; non-saturating: Goodfellow 2014, arXiv:1406.2661, eq. 1; hinge: Lim & Ye 2017,
    arXiv:1705.02894; wasserstein: Arjovsky 2017, arXiv:1701.07875.
    """
    match loss:
        case "relativistic":
            return relativistic(real, made)
        case "non-saturating":
            return softplus(-real).mean() + softplus(made).mean()
        case "hinge":
            return (1 - real).relu().mean() + (1 + made).relu().mean()
        case "wasserstein":
            return made.mean() - real.mean()
        case _:
            assert_never(loss)


def fooled(loss: Loss, real: Tensor, made: Tensor) -> Tensor:
    """Return what the generator minimises; only the relativistic game looks at real points here."""
    match loss:
        case "relativistic":
            return relativistic(made, real)
        case "non-saturating":
            return softplus(-made).mean()
        case "hinge" | "wasserstein":
            return -made.mean()
        case _:
            assert_never(loss)


def relativistic(preferred: Tensor, other: Tensor) -> Tensor:
    """Return E softplus(other - preferred): log 2 when the discriminator cannot tell (Jolicoeur-Martineau 2018, arXiv:1807.00734)."""
    return softplus(other - preferred).mean()


# ---------------------------------------------------------------- penalties


def slopes(discriminator: Judging, coefficients: list[Tensor], condition: Condition) -> Tensor:
    """Return the squared norm of the gradient of each sample's logits with respect to its coefficients, shape (N,).

    Each scale's logits are averaged over places and weighted by the root of their number, so that one weight suits every size.
    """
    points = [own.detach().requires_grad_() for own in coefficients]
    logits = discriminator(points, condition)
    total = sum((own.sum() / math.sqrt(own.shape[1] * len(logits)) for own in logits), start=torch.zeros((), device=points[0].device))
    found = torch.autograd.grad(total, points, create_graph=True)
    return torch.stack([slope.float().square().flatten(1).sum(1) for slope in found]).sum(0)


def gradient_penalty(discriminator: Judging, coefficients: list[Tensor], condition: Condition) -> Tensor:
    """Return the mean squared norm of the slopes (zero-centred: R1 at real points, R2 at made ones; Mescheder 2018, eq. 9)."""
    return slopes(discriminator, coefficients, condition).mean()


def lipschitz_penalty(
    discriminator: Judging, real: list[Tensor], made: list[Tensor], condition: Condition, generator: torch.Generator
) -> Tensor:
    """Return the mean squared distance of the slopes from 1 between real and made points (Gulrajani 2017, arXiv:1704.00028, eq. 3)."""
    share = uniform((len(condition),), generator).to(real[0].device)
    between = [torch.lerp(a, b, share.view(-1, *([1] * (a.ndim - 1)))) for a, b in zip(real, made, strict=True)]
    return ((slopes(discriminator, between, condition) + 1e-12).sqrt() - 1).square().mean()


def orthogonal_penalty(module: nn.Module) -> Tensor:
    """Return the squared sum of the scalar products of different filters, over all layers (Brock 2019, arXiv:1809.11096, eq. 3).

    More filters than they have inputs cannot be orthogonal; of those the scalar products of the inputs' weights count, which can.
    """
    filters = [p.float().flatten(1) for name, p in module.named_parameters() if p.ndim > 1 and name.endswith("weight")]
    grams = [own @ own.T if len(own) <= own.shape[1] else own.T @ own for own in filters]
    return torch.stack([(gram - gram.diag().diag()).square().sum() for gram in grams]).sum()


# ---------------------------------------------------------------- the score beside the game


def energy_score(real: Sequence[Tensor], first: Sequence[Tensor], second: Sequence[Tensor]) -> Tensor:
    """Return the sum over views of E|x - y| - E|y - y'| / 2, with |.| a norm over channels at each place.

    Parameters
    ----------
    real, first, second : sequence of Tensor, each of shape (N, C, ...)
        Views (scales, windows) of a real point and of two made ones under the same condition.
    """
    zero = torch.zeros((), device=real[0].device)
    near = sum((0.5 * (_distance(x, a) + _distance(x, b)) for x, a, b in zip(real, first, second, strict=True)), start=zero)
    apart = sum((_distance(a, b) for a, b in zip(first, second, strict=True)), start=zero)
    return near - 0.5 * apart


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean multiquadric distance: conditionally negative definite, so the score stays proper, and smooth at zero."""
    return ((a - b).square().mean(1) + _SMOOTH**2).sqrt().mean()
