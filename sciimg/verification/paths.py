"""Paths between data and noise, and the losses of the processes that live on them."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.paths import CosinePath, LinearPath
from sciimg.augmenters.processes.settings import DiffusionProcess, FlowProcess
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.system import Condition, FieldSizes
from sciimg.records import Check
from sciimg.verification.checks import check

_TIMES = tuple((i + 0.5) / 16 for i in range(16))
_FLOW, _COSINE = "Liu et al. 2022, arXiv:2209.03003, eq. 1", "Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17"


def checks() -> Iterator[Check]:
    """Marginals at the ends and between, slopes, the identities between x_0, noise and velocity, and the losses of a silent network."""
    flow, cosine = LinearPath(), CosinePath()
    yield check("path-linear-sum", 0, max(abs(flow.alpha(t) + flow.sigma(t) - 1) for t in _TIMES), 1e-15, _FLOW)
    yield check("path-cosine-variance", 0, max(abs(cosine.alpha(t) ** 2 + cosine.sigma(t) ** 2 - 1) for t in _TIMES), 1e-15, _COSINE)
    for name, path, source in (("linear", flow, _FLOW), ("cosine", cosine, _COSINE)):
        ends = abs(path.alpha(0) - 1) + abs(path.sigma(0)) + abs(path.alpha(1)) + abs(path.sigma(1) - 1)
        yield check(f"path-{name}-ends", 0, ends, 1e-15, source)
        yield check(f"path-{name}-slopes", 0, max(_slope_error(path, t) for t in _TIMES), 1e-9, "central difference of alpha and sigma")
        for target in ("velocity", "epsilon"):
            yield check(
                f"path-{name}-{target}-identity", 0, _identity_error(path, target), 1e-12, "Salimans & Ho 2022, arXiv:2202.00512, app. D"
            )
        falling = all(_ratio(path, a) > _ratio(path, b) for a, b in pairwise(_TIMES))
        yield check(f"path-{name}-noise-grows", 1, float(falling), 0, "signal-to-noise falls with t (Kingma 2021, arXiv:2107.00630)")
    yield from _losses()


def _ratio(path: LinearPath | CosinePath, t: float) -> float:
    return path.alpha(t) / path.sigma(t)


def _slope_error(path: LinearPath | CosinePath, t: float, h: float = 1e-5) -> float:
    da, ds = path.slopes(t)
    numeric = ((path.alpha(t + h) - path.alpha(t - h)) / (2 * h), (path.sigma(t + h) - path.sigma(t - h)) / (2 * h))
    return max(abs(da - numeric[0]), abs(ds - numeric[1]))


def _identity_error(path: LinearPath | CosinePath, target: str) -> float:
    data, noise = torch.tensor([0.3, -1.2], dtype=torch.float64), torch.tensor([-0.8, 0.5], dtype=torch.float64)
    worst = 0.0
    for t in _TIMES:
        x = path.alpha(t) * data + path.sigma(t) * noise
        output = path.velocity(t, data, noise) if target == "velocity" else noise
        back = path.split(t, x, output, target)  # type: ignore[arg-type]
        worst = max(worst, float((back[0] - data).abs().max()), float((back[1] - noise).abs().max()))
    return worst


class _Silent(UNet):
    """A network that predicts nothing; its loss is the second moment of the target."""

    def __init__(self) -> None:
        super().__init__(FieldSizes(1, (2, 2), ()), UNetBackbone(widths=(8,), blocks=(1,), features=8))

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return torch.zeros_like(x)


def _losses() -> Iterator[Check]:
    n = 40_000
    generator = torch.Generator().manual_seed(1)
    data = torch.randn(n, 1, 2, 2, generator=generator)
    condition = Condition(torch.zeros(n, 0, 2, 2), torch.zeros(n, 0), torch.ones(n, 1))
    cases = (
        ("flow-velocity", FlowProcess(), 2.0, "E|e - x|² = 2 for unit data; Lipman et al. 2022, arXiv:2210.02747"),
        ("ddpm-noise", DiffusionProcess(predict="epsilon"), 1.0, "E|e|² = 1; Ho et al. 2020, arXiv:2006.11239, eq. 14"),
        ("ddpm-v", DiffusionProcess(predict="v"), 1.0, "E|a e - s x|² = a² + s² = 1; Salimans & Ho 2022, arXiv:2202.00512"),
    )
    for name, settings, expected, source in cases:
        process = GaussianProcess(settings, Pixels(), _Silent(), Schedule(steps=1), drop=0.0)
        loss = float(process.loss(data, condition, torch.Generator().manual_seed(2)))
        yield check(f"loss-of-silence-{name}", expected, loss, 0.03, source)
