"""Flow, diffusion, EDM and score matching: one process on a Gaussian path, whose network predicts a mixture of data and noise."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

import torch
from torch import Tensor

from sciimg.augmenters.draws import normal, stratified
from sciimg.augmenters.processes.classifier import Classifier, ClassifierPhase
from sciimg.augmenters.processes.holes import known, random_parts
from sciimg.augmenters.processes.parameterisations import Epsilon, Parameterisation, Preconditioned, V, Velocity
from sciimg.augmenters.processes.paths import CosinePath, LinearPath, NoiseLevelPath, Path, VarianceExplodingPath, VariancePreservingPath
from sciimg.augmenters.processes.reflow import DistilPhase, ReflowPhase
from sciimg.augmenters.processes.settings import DiffusionProcess, EDMProcess, FlowProcess, GaussianSettings, ScoreProcess
from sciimg.augmenters.samplers.likelihood import log_likelihood
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.samplers.solvers import SAMPLERS, Normal, Predict, ddim_inversion, solver_of
from sciimg.augmenters.samplers.times import HIGHEST, times_of
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Batch, Condition, FieldNetwork, Noise, Phase, Player, Process, Space, Stage, autocast

_EPSILON_START = 0.995  # alpha(1) = 0: the noise alone says nothing about x_0 there
_FIRST_TIME = 1e-5  # of score matching (Song 2021, appendix C): the noise level is 0 at 0
_TAIL = 1e-6  # probabilities beyond which no training time is drawn


class GaussianProcess(Process):
    """x_t = alpha x_0 + sigma epsilon; the network learns the target at every t.

    Parameters
    ----------
    settings : FlowProcess, DiffusionProcess, EDMProcess or ScoreProcess
    space : Space
        Where the data live; the process trains on ``space.encode`` of images.
    network : FieldNetwork
        ``network(x, t, condition)`` with maps on the grid of the space.
    schedule : Schedule
    drop : float
        Probability of withholding the condition while training.
    classifier : Classifier, optional
        Guides by its gradient; the network is then told nothing (Dhariwal & Nichol 2021, arXiv:2105.05233, algorithm 1).
    """

    bounds: Tensor

    def __init__(
        self,
        settings: GaussianSettings,
        space: Space,
        network: FieldNetwork,
        schedule: Schedule,
        drop: float,
        classifier: Classifier | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.network, self.schedule, self.drop = settings, network, schedule, drop
        self.classifier = classifier
        self._space = (space,)  # in a tuple: the space's weights are not this module's
        self.path, self.target = _path_of(settings)
        self.clips = isinstance(self.target, Epsilon)
        self.start = _EPSILON_START if self.clips and isinstance(self.path, CosinePath) else self.path.end
        if self.clips:  # of training points; none before training
            self.register_buffer("bounds", torch.tensor([-math.inf, math.inf]))
        flow = settings if isinstance(settings, FlowProcess) else None
        self.teacher = copy.deepcopy(network) if flow and flow.reflow else None  # the flow before it was made straight
        self.student = copy.deepcopy(network) if flow and flow.distil else None  # goes the whole way at once
        self.samplers = (*SAMPLERS, "one-step") if self.student is not None else tuple(SAMPLERS)

    def phases(self) -> tuple[Phase, ...]:
        space = self._space[0]
        phases: list[Phase] = [_Matching(self, space, stage) for stage in self.network.stages()]
        if isinstance(self.settings, FlowProcess) and self.settings.reflow is not None and self.teacher is not None:
            phases.append(ReflowPhase(self, space, self.teacher, self.settings.reflow))
        if isinstance(self.settings, FlowProcess) and self.settings.distil is not None and self.student is not None:
            phases.append(DistilPhase(self, space, self.student, self.settings.distil))
        if self.classifier is not None and self.settings.classifier is not None:
            phases.append(ClassifierPhase(self, space, self.classifier, self.settings.classifier.training))
        return tuple(phases)

    def told(self, data: Tensor, condition: Condition, generator: torch.Generator) -> Condition:
        """Return what the network is told while it learns from points ``data``; the condition is on their grid."""
        return self.knowing(condition, data, random_parts(data, generator)) if self.settings.holes else condition

    def knowing(self, condition: Condition, points: Tensor, keep: Tensor) -> Condition:
        """Return a condition that also says what is known: ``points`` where ``keep`` (N, 1, [Z,] Y, X)."""
        return replace(condition, known=known(points.float(), keep)) if self.settings.holes else condition

    # ---------------------------------------------------------------- training

    def times(self, n: int, generator: torch.Generator) -> Tensor:
        """Draw training times, float64, one in each of n equally likely parts: a loss averaged over them has little noise.

        Logit-normal for flow (Esser 2024, arXiv:2403.03206, eq. 19), log-normal noise levels for EDM (Karras 2022, table 1), else uniform.
        """
        shares = stratified(n, generator).clamp(_TAIL, 1 - _TAIL)
        match self.settings:
            case FlowProcess():
                return torch.sigmoid(self.settings.time_mean + self.settings.time_std * torch.special.ndtri(shares))
            case EDMProcess():
                return torch.exp(self.settings.level_mean + self.settings.level_std * torch.special.ndtri(shares))
            case DiffusionProcess():
                return shares * self.start
            case ScoreProcess():
                return _FIRST_TIME + shares * (self.path.end - _FIRST_TIME)
            case _:
                assert_never(self.settings)

    def loss(self, data: Tensor, condition: Condition, generator: torch.Generator) -> Tensor:
        """Mean squared error of the target; ``condition`` has its maps on the grid of the space already."""
        times = self.times(len(data), generator)
        noise = normal(data.shape, generator)
        return self.error(self.network, self.noised(data, noise, times), self.wanted(data, noise, times), times, condition)

    def error(self, network: FieldNetwork, x: Tensor, wanted: Tensor, times: Tensor, condition: Condition) -> Tensor:
        """Return the mean squared error of what a network predicts of x_t, one time a sample."""
        output: Tensor = network(x * self.columns(times, self._scale, x), self.network_times(times), self._heard(condition, x))
        return (output - wanted).square().mean()

    def noised(self, data: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return x_t, one time a sample."""
        return self.columns(times, self.path.alpha, data) * data + self.columns(times, self.path.sigma, data) * noise

    def wanted(self, data: Tensor, noise: Tensor, times: Tensor) -> Tensor:
        """Return what the network should predict."""
        p = self.columns(times, lambda t: self.target.target(self.path, t)[0], data)
        q = self.columns(times, lambda t: self.target.target(self.path, t)[1], data)
        return p * data + q * noise

    def network_times(self, times: Tensor) -> Tensor:
        """Return the numbers that stand for the times, float64; an embedding may cast them, nothing before it does."""
        return torch.tensor([self.target.time(self.path, t) for t in times.tolist()], dtype=torch.float64, device=times.device)

    @staticmethod
    def columns(times: Tensor, of: Callable[[float], float], like: Tensor) -> Tensor:
        """Return a function of each sample's time, computed in float64, in the shape and type that multiplies ``like``."""
        values = torch.tensor([of(t) for t in times.tolist()], dtype=torch.float64, device="cpu")
        return values.to(like).view(-1, *([1] * (like.ndim - 1)))

    # ---------------------------------------------------------------- sampling

    def predict(
        self, x: Tensor, time: float, condition: Condition, guidance: float, network: FieldNetwork | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the expected (x_0, epsilon), float64; guidance extrapolates from the unconditional output (Ho & Salimans 2022, eq. 6)."""
        network = self.network if network is None else network
        times = torch.full((len(x),), self.target.time(self.path, time), dtype=torch.float64, device=x.device)
        given = (x * self._scale(time)).float()
        heard = self._heard(condition, given)
        output: Tensor = network(given, times, heard)
        if self.classifier is None and guidance != 1.0:
            free: Tensor = network(given, times, heard.withheld())
            output = free + guidance * (output - free)
        data, noise = self.target.split(self.path, time, x, output.double())
        if self.classifier is None or guidance == 0.0 or self.path.level(time) > HIGHEST:  # above, x_t says nothing of the condition
            return data, noise
        slope = guidance * self.path.sigma(time) * self._classified(x, time, condition)
        return data + self.path.level(time) * slope, noise - slope  # Dhariwal & Nichol 2021, algorithm 2

    def field(self, condition: Condition, settings: SamplerSettings, clipped: bool = True) -> Predict:
        """Return the predictor that solvers ask; ``condition`` has its maps on the grid of the space already.

        Where noise is predicted, the expected data are kept within the values of training points (Ho 2020, section 4): at the start of the
        way an error of the noise is one of the data over a hundred times as large. ``clipped`` False leaves the field as it was learned.
        """
        low, high = settings.guidance_interval or (0.0, math.inf)
        plain = 0.0 if self.classifier is not None else 1.0

        def predict(x: Tensor, time: float) -> tuple[Tensor, Tensor]:
            inside = low <= self.path.level(time) <= high
            data, noise = self.predict(x, time, condition, settings.guidance if inside else plain)
            if not (clipped and self.clips):
                return data, noise
            within, sigma = data.clamp(*self.bounds.double()), self.path.sigma(time)
            return within, noise + (data - within) * (self.path.alpha(time) / sigma) if sigma else noise

        return predict

    def grid(self, settings: SamplerSettings) -> list[float]:
        """Return the times at which a sampler looks."""
        return times_of(settings.grid, self.path, settings.steps, self.start)

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        x = noise.normal(shape).double()
        return self.decode(x, condition, settings, noise.normal)

    def decode(self, code: Tensor, condition: Condition, settings: SamplerSettings, normal: Normal) -> Tensor:
        """Carry standard normal noise (N, C, [Z,] Y, X) to points of the space; ``normal`` serves solvers that draw more of it."""
        told = condition.resized(code.shape[2:])
        with autocast(self.schedule.precision, code.device.type):
            if settings.name == "one-step" and self.student is not None:
                return self.predict(code, self.path.end, told, 1.0, self.student)[0].float()
            times = self.grid(settings)
            x = code * self.path.spread(times[0])
            return solver_of(settings)(self.field(told, settings), self.path, x, times, normal).float()

    def encode(self, points: Tensor, condition: Condition, settings: SamplerSettings, rounds: int = 3) -> Tensor:
        """Carry points of the space to the noise from which ddim makes them (:func:`ddim_inversion`); undone by :meth:`decode`."""
        told = condition.resized(points.shape[2:])
        times = self.grid(settings)
        with torch.no_grad(), autocast(self.schedule.precision, points.device.type):
            x = ddim_inversion(self.field(told, settings), self.path, points.double(), times[::-1], rounds)
        return x / self.path.spread(times[0])

    def log_likelihood(self, points: Tensor, condition: Condition, steps: int, probes: Tensor | None = None) -> Tensor:
        """Return log p(points | condition) in nats, shape (N,), along the probability-flow ODE (:func:`log_likelihood`)."""
        told = condition.resized(points.shape[2:])
        times = times_of("karras", self.path, steps, self.start)[-2::-1]
        return log_likelihood(self.field(told, SamplerSettings(), clipped=False), self.path, points.double(), times, probes)

    def _classified(self, x: Tensor, time: float, condition: Condition) -> Tensor:
        """Return the gradient of log p(condition | x_t), float64."""
        assert self.classifier is not None
        times = torch.full((len(x),), self.target.time(self.path, time), dtype=torch.float64, device=x.device)
        with torch.enable_grad():
            point = x.detach().requires_grad_()
            log_p = self.classifier.log_likelihood((point * self._scale(time)).float(), times, condition)
            (slope,) = torch.autograd.grad(log_p.sum(), point)
        return slope.double()

    def _scale(self, time: float) -> float:
        return self.target.scale(self.path, time)

    def _heard(self, condition: Condition, x: Tensor) -> Condition:
        """Return what the network hears beside x_t: nothing where a classifier guides; that nothing is known where nothing was said."""
        if self.settings.holes and condition.known is None:
            condition = replace(condition, known=x.new_zeros(len(x), x.shape[1] + 1, *x.shape[2:]))
        return condition if self.classifier is None else condition.withheld()


class _Matching(Phase):
    """Regress the target on encoded images, with one part of the network."""

    def __init__(self, process: GaussianProcess, space: Space, stage: Stage) -> None:
        self.process, self.space, self.schedule, self.stage, self.name = process, space, process.schedule, stage, stage.name

    def players(self) -> tuple[Player, ...]:
        return (Player("network", self.stage.modules, self.schedule),)

    def prepare(self, batch: Batch) -> None:
        if self.stage.begin is not None:
            self.stage.begin()
        if self.process.clips:
            told = batch.condition.split(16)
            points = [self.space.encode(images, own) for images, own in zip(batch.images.split(16), told, strict=True)]
            self.process.bounds.copy_(torch.stack(torch.aminmax(torch.cat(points))))

    def loss(self, player: str, batch: Batch) -> dict[str, Tensor]:
        data, condition = self._encoded(batch)
        return {"loss": self.process.loss(data, condition.dropped(self.process.drop, batch.generator), batch.generator)}

    def held_out(self, batch: Batch) -> Tensor:
        return self.process.loss(*self._encoded(batch), batch.generator)

    def _encoded(self, batch: Batch) -> tuple[Tensor, Condition]:
        with torch.no_grad():
            data = self.space.encode(batch.images, batch.condition)
        condition = self.stage.told(batch.condition, batch.generator).resized(data.shape[2:])
        return data, self.process.told(data, condition, batch.generator)


def _path_of(settings: GaussianSettings) -> tuple[Path, Parameterisation]:
    match settings:
        case FlowProcess():
            return LinearPath(), Velocity()
        case DiffusionProcess():
            return CosinePath(), Epsilon() if settings.predict == "epsilon" else V()
        case EDMProcess():
            return NoiseLevelPath(settings.sigma_max), Preconditioned(settings.sigma_data)
        case ScoreProcess(sde="vp"):
            return VariancePreservingPath(), Epsilon()
        case ScoreProcess():
            return VarianceExplodingPath(), Epsilon()
        case _:
            assert_never(settings)
