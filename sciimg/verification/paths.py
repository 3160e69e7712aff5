"""Paths between data and noise, and the losses of the processes that live on them."""

import math
from collections.abc import Iterator
from itertools import pairwise, product

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.parameterisations import Epsilon, Parameterisation, Preconditioned, V, Velocity
from sciimg.augmenters.processes.paths import CosinePath, LinearPath, NoiseLevelPath, Path, VarianceExplodingPath, VariancePreservingPath
from sciimg.augmenters.processes.settings import DiffusionProcess, EDMProcess, FlowProcess, GaussianSettings, ScoreProcess
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.system import Condition, FieldSizes
from sciimg.records import Check
from sciimg.verification.checks import check
from sciimg.verification.gaussian import GaussianData

_TIMES = tuple((i + 0.5) / 16 for i in range(16))
_FLOW, _COSINE = "Liu et al. 2022, arXiv:2209.03003, eq. 1", "Nichol & Dhariwal 2021, arXiv:2102.09672, eq. 17"
_VP, _VE = "Song et al. 2021, arXiv:2011.13456, eq. 33", "Song et al. 2021, arXiv:2011.13456, eq. 31"
_EDM = "Karras et al. 2022, arXiv:2206.00364, table 1"
_PATHS: tuple[tuple[str, Path], ...] = (
    ("linear", LinearPath()),
    ("cosine", CosinePath()),
    ("vp", VariancePreservingPath()),
    ("ve", VarianceExplodingPath()),
    ("edm", NoiseLevelPath(1.0)),
)
_TARGETS: tuple[tuple[str, Parameterisation], ...] = (
    ("velocity", Velocity()),
    ("epsilon", Epsilon()),
    ("v", V()),
    ("preconditioned", Preconditioned(0.5)),
)


def checks() -> Iterator[Check]:
    """Marginals, slopes, the identities between x_0, noise and every target, what the end forgets, EDM's coefficients,
    and the losses of a silent network.
    """
    yield from _schedules()
    yield from _identities()
    yield from _priors()
    yield from _losses()


def _schedules() -> Iterator[Check]:
    flow, cosine, vp, ve = LinearPath(), CosinePath(), VariancePreservingPath(), VarianceExplodingPath()
    yield check("path-linear-sum", 0, max(abs(flow.alpha(t) + flow.sigma(t) - 1) for t in _TIMES), 1e-15, _FLOW)
    yield check("path-cosine-variance", 0, max(abs(cosine.alpha(t) ** 2 + cosine.sigma(t) ** 2 - 1) for t in _TIMES), 1e-15, _COSINE)
    yield check("path-vp-variance", 0, max(abs(vp.alpha(t) ** 2 + vp.sigma(t) ** 2 - 1) for t in _TIMES), 1e-15, _VP)
    yield check("path-vp-drift", 0, max(abs(vp.slopes(t)[0] / vp.alpha(t) + 0.5 * (0.1 + 19.9 * t)) for t in _TIMES), 1e-12, _VP)
    added = [2 * ve.sigma(t) * ve.slopes(t)[1] / (2 * math.log(5000)) - (0.01 * 5000**t) ** 2 for t in _TIMES]  # d sigma² / dt = g²
    yield check("path-ve-diffusion", 0, max(abs(a) for a in added), 1e-9, _VE)
    for name, between, source in (("linear", flow, _FLOW), ("cosine", cosine, _COSINE)):
        ends = abs(between.alpha(0) - 1) + abs(between.sigma(0)) + abs(between.alpha(1)) + abs(between.sigma(1) - 1)
        yield check(f"path-{name}-ends", 0, ends, 1e-15, source)
    for name, path in _PATHS:
        yield check(f"path-{name}-slopes", 0, max(_slope_error(path, t) for t in _TIMES), 1e-7, "central difference of alpha and sigma")
        inverse = max(abs(path.time_of(path.level(t)) - t) for t in _TIMES)
        yield check(f"path-{name}-time-of-level", 0, inverse, 1e-12, "time_of undoes sigma / alpha")
        falling = all(path.level(a) < path.level(b) for a, b in pairwise(_TIMES))
        yield check(f"path-{name}-noise-grows", 1, float(falling), 0, "signal-to-noise falls with t (Kingma 2021, arXiv:2107.00630)")


def _identities() -> Iterator[Check]:
    source = "two equations for two unknowns; Salimans & Ho 2022, arXiv:2202.00512, app. D"
    for (name, path), (kind, target) in product(_PATHS, _TARGETS):
        if kind != "v" or name not in ("ve", "edm"):  # v is for paths that keep the variance, or the sum
            yield check(f"path-{name}-{kind}-identity", 0, _identity_error(path, target), 1e-11, source)
    yield check("edm-preconditioning", 0, max(_edm_error(sigma, 0.5) for sigma in (0.01, 0.3, 1.0, 20.0)), 1e-12, _EDM)


def _priors() -> Iterator[Check]:
    """At its end a path has forgotten the data: the divergence of x_T from the noise that sampling begins with, for unit data."""
    source = "KL(q(x_T) | p(x_T)), the L_T of Ho et al. 2020, arXiv:2006.11239, eq. 5; theirs is 4e-5 bits a value"
    data = GaussianData(mean=0.6, std=0.8)  # second moment 1
    for name, path in (*_PATHS[:4], ("edm", NoiseLevelPath())):
        own = Normal(path.alpha(path.end) * data.mean, data.spread(path, path.end))
        yield check(f"prior-kl-{name}", 0, float(kl_divergence(own, Normal(0.0, path.spread(path.end)))), 1e-4, source)


def _edm_error(sigma: float, data: float) -> float:
    """Compare with D = c_skip x + c_out F, as printed."""
    skip, out = data**2 / (sigma**2 + data**2), sigma * data / math.sqrt(sigma**2 + data**2)
    own, x = Preconditioned(data), torch.tensor([0.3, -1.2], dtype=torch.float64)
    output = torch.tensor([-0.8, 0.5], dtype=torch.float64)
    denoised = own.split(NoiseLevelPath(), sigma, x, output)[0]
    scale = abs(own.scale(NoiseLevelPath(), sigma) - 1 / math.sqrt(sigma**2 + data**2))
    return max(
        float((denoised - (skip * x + out * output)).abs().max()), scale, abs(own.time(NoiseLevelPath(), sigma) - math.log(sigma) / 4)
    )


def _slope_error(path: Path, t: float, h: float = 1e-6) -> float:
    da, ds = path.slopes(t)
    numeric = ((path.alpha(t + h) - path.alpha(t - h)) / (2 * h), (path.sigma(t + h) - path.sigma(t - h)) / (2 * h))
    return max(abs(da - numeric[0]) / (1 + abs(da)), abs(ds - numeric[1]) / (1 + abs(ds)))


def _identity_error(path: Path, target: Parameterisation) -> float:
    data, noise = torch.tensor([0.3, -1.2], dtype=torch.float64), torch.tensor([-0.8, 0.5], dtype=torch.float64)
    worst = 0.0
    for t in _TIMES:
        x = path.alpha(t) * data + path.sigma(t) * noise
        p, q = target.target(path, t)
        back = target.split(path, t, x, p * data + q * noise)
        worst = max(worst, float((back[0] - data).abs().max()) / max(1.0, path.level(t)), float((back[1] - noise).abs().max()))
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
    cases: tuple[tuple[str, GaussianSettings, float, str], ...] = (
        ("flow-velocity", FlowProcess(), 2.0, "E|e - x|² = 2 for unit data; Lipman et al. 2022, arXiv:2210.02747"),
        ("ddpm-noise", DiffusionProcess(predict="epsilon"), 1.0, "E|e|² = 1; Ho et al. 2020, arXiv:2006.11239, eq. 14"),
        ("ddpm-v", DiffusionProcess(predict="v"), 1.0, "E|a e - s x|² = a² + s² = 1; Salimans & Ho 2022, arXiv:2202.00512"),
        ("edm", EDMProcess(), 1.0, "the target has unit variance at every level; Karras et al. 2022, arXiv:2206.00364, eq. 8"),
        ("score-vp", ScoreProcess(sde="vp"), 1.0, "E|e|² = 1; Song et al. 2021, arXiv:2011.13456, eq. 7 with lambda = sigma²"),
        ("score-ve", ScoreProcess(sde="ve"), 1.0, "E|e|² = 1; Song et al. 2021, arXiv:2011.13456, eq. 7 with lambda = sigma²"),
    )
    for name, settings, expected, source in cases:
        process = GaussianProcess(settings, Pixels(), _Silent(), Schedule(steps=1), drop=0.0)
        loss = float(process.loss(data, condition, torch.Generator().manual_seed(2)))
        yield check(f"loss-of-silence-{name}", expected, loss, 0.03, source)
