"""Processes on a Gaussian path: times, guidance in closed form, inversion, likelihood, and the phases that follow the first."""

import math
from pathlib import Path

import pytest
import torch
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures
from torch import Tensor

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.processes.classifier import Classifier
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.reflow import scale_error
from sciimg.augmenters.processes.settings import DiffusionProcess, EDMProcess, FlowProcess, GaussianSettings, ScoreProcess
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes, Noise
from sciimg.augmenters.training import fit
from sciimg.errors import InputError
from tests.augmenters.test_training import contents

KINDS: list[GaussianSettings] = [
    FlowProcess(),
    DiffusionProcess(predict="v"),
    DiffusionProcess(predict="epsilon"),
    EDMProcess(),
    ScoreProcess(sde="vp"),
    ScoreProcess(sde="ve"),
]


def named(settings: GaussianSettings) -> str:
    return "-".join(str(v) for k, v in settings.model_dump().items() if k in ("kind", "predict", "sde"))


class Ideal(FieldNetwork):
    """What a perfectly trained network says of standard normal data; told ones have their mean at ``shift``."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.process: tuple[GaussianProcess, ...] = ()
        self.shift, self.seen = shift, []

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        assert time.dtype == torch.float64
        self.seen.append(time)
        (process,) = self.process
        rows = []
        for row, own, keep in zip(x.double(), time.tolist(), condition.keep, strict=True):
            t = math.exp(4 * own) if isinstance(process.settings, EDMProcess) else own
            path, centre = process.path, self.shift * float(keep)
            a, s = path.alpha(t), path.sigma(t)
            point = row / process.target.scale(path, t)
            data = centre + a / (a * a + s * s) * (point - a * centre)
            noise = s / (a * a + s * s) * (point - a * centre)
            p, q = process.target.target(path, t)
            rows.append(p * data + q * noise)
        return torch.stack(rows).float()


def ideal(settings: GaussianSettings, shift: float = 0.0, classifier: Classifier | None = None) -> GaussianProcess:
    network = Ideal(shift)
    process = GaussianProcess(settings, Pixels(), network, Schedule(steps=1, precision="fp32"), 0.0, classifier)
    network.process = (process,)
    return process


def told(n: int, grid: tuple[int, ...] = (4, 4), vector: int = 1) -> Condition:
    return Condition(torch.zeros(n, 0, *grid), torch.ones(n, vector), torch.ones(n, 1))


# ---------------------------------------------------------------- times


@pytest.mark.parametrize("settings", KINDS, ids=named)
def test_one_time_falls_in_each_part_of_the_distribution(settings: GaussianSettings) -> None:
    process = ideal(settings)
    many = process.times(4096, torch.Generator().manual_seed(0)).sort().values
    few = process.times(16, torch.Generator().manual_seed(1)).sort().values
    assert (few.dtype == torch.float64 and bool((few > 0).all()) and float(many[-1]) <= process.path.end * 1.01) or many[-1] < 1e3
    places = torch.searchsorted(many, few).double() / 4096 * 16
    assert places.floor().clamp(max=15).unique().numel() == 16


def test_a_loss_over_spread_times_has_little_noise() -> None:
    class Silent(FieldNetwork):
        def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
            return torch.zeros_like(x)

    process = GaussianProcess(DiffusionProcess(), Pixels(), Silent(), Schedule(steps=1), 0.0)
    data = torch.full((16, 1, 32, 32), 0.1)  # the loss at a time is about alpha²: it varies from 0 to 1
    losses = torch.stack([process.loss(data, told(16, (32, 32)), torch.Generator().manual_seed(i)) for i in range(40)])
    independent = math.sqrt(1 / 8) / math.sqrt(16)  # spread of cos² over a uniform time, for 16 times that know nothing of one another
    assert float(losses.std()) < 0.2 * independent


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize("settings", KINDS, ids=named)
@pytest.mark.parametrize("name", ["heun", "dpm-solver++", "unipc-3"])
def test_an_ideal_network_turns_noise_into_the_same_noise(settings: GaussianSettings, name: str) -> None:
    """Standard normal data under a flow that keeps order: x_0 is the noise it began with."""
    process = ideal(settings)
    code = Noise(("k",), range(3)).normal((1, 4, 4))
    how = SamplerSettings(name=name, steps=60, grid="karras")
    made = process.sample(told(3), Noise(("k",), range(3)), (1, 4, 4), how)
    assert torch.allclose(made, code, atol=0.05)


@pytest.mark.parametrize("settings", KINDS, ids=named)
def test_encoding_is_undone(settings: GaussianSettings) -> None:
    process, how = ideal(settings), SamplerSettings(name="ddim", steps=30, grid="karras")
    points = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))

    def never(shape: object) -> Tensor:
        raise AssertionError("the way back is deterministic")

    code = process.encode(points, told(2), how, rounds=12)
    assert torch.allclose(process.decode(code, told(2), how, never), points, atol=1e-3)


@pytest.mark.parametrize("settings", KINDS, ids=named)
def test_likelihood_of_points(settings: GaussianSettings) -> None:
    class Smooth(Ideal):
        """Ideal in closed form for one time a batch, so that it can be differentiated quickly."""

        def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
            (process,) = self.process
            own = float(time[0])
            t = math.exp(4 * own) if isinstance(process.settings, EDMProcess) else own
            a, s = process.path.alpha(t), process.path.sigma(t)
            p, q = process.target.target(process.path, t)
            return (p * a + q * s) / (a * a + s * s) * x / process.target.scale(process.path, t)

    process = ideal(settings)
    process.network = network = Smooth()
    network.process = (process,)
    points = torch.randn(4, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    truth = -0.5 * points.flatten(1).square().sum(1) - 2 * math.log(2 * math.pi)
    got = process.log_likelihood(points, told(4, (2, 2)), 60)
    assert float(got.mean()) == pytest.approx(float(truth.mean()), rel=0.01)


class Wrong(Ideal):
    """Ideal, but for an error of a tenth of the noise: at the start of the way one of ten times the data."""

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        return super().forward(x, time, condition) + 0.1


@pytest.mark.parametrize(("settings", "name"), [(KINDS[2], "ancestral"), (KINDS[4], "predictor-corrector"), (KINDS[5], "heun")])
def test_an_error_of_the_noise_does_not_leave_the_values_of_the_training_data(settings: GaussianSettings, name: str) -> None:
    process, how = ideal(settings), SamplerSettings(name=name, steps=30)
    process.network = network = Wrong()
    network.process = (process,)
    time = process.start
    x = process.path.spread(time) * torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    assert float(process.field(told(4), how)(x, time)[0].abs().max()) > 4
    process.bounds.copy_(torch.tensor([-3.0, 2.0]))
    data, noise = process.field(told(4), how)(x, time)
    assert float(data.min()) >= -3 and float(data.max()) <= 2
    assert torch.allclose(process.path.alpha(time) * data + process.path.sigma(time) * noise, x)
    made = process.sample(told(4), Noise(("k",), range(4)), (1, 4, 4), how)
    assert float(made.min()) >= -3.02 and float(made.max()) <= 2.02  # a step of heun ends a little outside


def test_training_learns_the_bounds_of_its_points(tmp_path: Path) -> None:
    source = Textures((18, 13), ("a", "b"))
    fit(
        shrunk(get_recipe("pixel-ddpm")),
        source,
        Textures((18, 13), ("a", "b"), "calibration"),
        CONDITIONS,
        key=("b",),
        out=tmp_path / "m",
        provenance={},
    )
    model = Augmenter.load(tmp_path / "m")
    low, high = model.system.process.bounds.tolist()
    points = model.card.intensity.forward(source.draw(("some",), range(64)).images)
    assert low < 0 < high and math.isfinite(low) and math.isfinite(high)
    assert low <= float(torch.from_numpy(points).quantile(0.001)) and high >= float(torch.from_numpy(points).quantile(0.999))


def test_guidance_acts_inside_its_interval_only() -> None:
    process = ideal(FlowProcess(), shift=2.0)
    x = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    guided = process.field(told(1), SamplerSettings(guidance=3.0, guidance_interval=(0.5, 2.0)))
    plain = process.field(told(1), SamplerSettings())
    free = process.field(told(1), SamplerSettings(guidance=0.0))
    for t, inside in ((0.2, False), (0.5, True), (0.8, False)):
        assert torch.equal(guided(x, t)[0], plain(x, t)[0]) != inside
    # p(x) p(c | x)^3 of two normals of the same spread is one whose mean is three times as far
    assert float((guided(x, 0.5)[0] - free(x, 0.5)[0]).mean()) == pytest.approx(3 * float((plain(x, 0.5)[0] - free(x, 0.5)[0]).mean()))


class _Reads(Classifier):
    """p(y | x_t) for y = the mean of standard normal x_0, measured with a spread of ``tau``; in closed form."""

    tau = 0.3

    def __init__(self) -> None:
        super().__init__(FieldSizes(1, (1, 1), ()), 1, (), 8)

    def log_likelihood(self, x: Tensor, times: Tensor, condition: Condition) -> Tensor:
        a, s = torch.cos(0.5 * math.pi * times), torch.sin(0.5 * math.pi * times)
        error = condition.vector[:, 0] - a * x.flatten(1).mean(1)
        return -0.5 * error**2 / (s**2 + self.tau**2)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_a_classifier_makes_the_posterior_of_bayes(t: float) -> None:
    process = ideal(DiffusionProcess(), classifier=_Reads())
    x, y = torch.tensor([[[[0.4]]]], dtype=torch.float64), 1.0
    a, s = process.path.alpha(t), process.path.sigma(t)
    before = a * 0.4
    after = before + s**2 / (s**2 + _Reads.tau**2) * (y - before)  # a normal prior of variance s² meets a measurement of variance tau²
    data, noise = process.predict(x, t, told(1, (1, 1)), 1.0)
    assert float(data) == pytest.approx(after, rel=1e-5)
    assert a * float(data) + s * float(noise) == pytest.approx(0.4, abs=1e-6)
    assert float(process.predict(x, t, told(1, (1, 1)), 0.0)[0]) == pytest.approx(before, rel=1e-6)


def test_classifier_likelihood_by_hand() -> None:
    own = Classifier(FieldSizes(1, (4, 4), ()), 1, (3,), 8)
    torch.nn.init.zeros_(own.leave.weight)
    with torch.no_grad():
        own.leave.bias.copy_(torch.tensor([0.5, 0.0, 1.0, 2.0, 3.0]))
    condition = Condition(torch.zeros(1, 0, 4, 4), torch.tensor([[2.0, 0.0, 1.0, 0.0]]), torch.ones(1, 1))
    with torch.no_grad():
        got = own.log_likelihood(torch.zeros(1, 1, 4, 4), torch.tensor([0.5], dtype=torch.float64), condition)
    log_variance = -4 + math.log1p(math.exp(4.0))
    normal = -0.5 * (1.5**2 / math.exp(log_variance) + log_variance + math.log(2 * math.pi))
    soft = 2 - math.log(math.exp(1) + math.exp(2) + math.exp(3))
    assert float(got) == pytest.approx(normal + soft, rel=1e-5)


# ---------------------------------------------------------------- further phases


def made(recipe_name: str, out: Path, options: dict[str, object] | None = None, **about: object) -> Augmenter:
    recipe = shrunk(get_recipe(recipe_name, options or {}, 2), 4)
    fit(recipe, Textures(), Textures(part="calibration"), CONDITIONS, key=("s",), out=out, provenance={}, **about)  # type: ignore[arg-type]
    return Augmenter.load(out)


@pytest.mark.parametrize(
    ("name", "options", "phase"),
    [
        ("instaflow", {"process.reflow": {"steps": 2}, "process.distil.steps": 2}, "reflow"),
        ("instaflow", {"process.reflow": {"steps": 2}, "process.distil.steps": 2}, "distil"),
        ("classifier-guidance", {}, "classifier"),
    ],
)
def test_a_kill_in_a_later_phase_changes_nothing(name: str, options: dict[str, object], phase: str, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill(at: str, step: int, steps: int, values: dict[str, float]) -> None:
        if (at, step) == (phase, 2):
            raise Killed

    made(name, tmp_path / "whole", options)
    with pytest.raises(Killed):
        made(name, tmp_path / "model", options, progress=kill)
    made(name, tmp_path / "model", options)
    assert contents(tmp_path / "model") == contents(tmp_path / "whole")


def test_a_student_learns_what_its_teacher_makes_and_the_teacher_stays(tmp_path: Path) -> None:
    model = made("instaflow", tmp_path / "model")
    process = model.system.process
    assert isinstance(process, GaussianProcess) and process.student is not None
    moved = [bool((a != b).any()) for a, b in zip(process.student.parameters(), process.network.parameters(), strict=True)]
    assert any(moved)
    flow = made("rectified-flow", tmp_path / "flow")
    teacher = flow.system.process
    assert isinstance(teacher, GaussianProcess)
    assert all(torch.equal(a, b) for a, b in zip(teacher.network.parameters(), process.network.parameters(), strict=True))


def test_the_error_of_scales_sees_texture_that_plain_squares_do_not() -> None:
    generator = torch.Generator().manual_seed(0)
    large = torch.randn(4, 1, 2, 2, generator=generator).repeat_interleave(8, 2).repeat_interleave(8, 3)
    data = large + 0.05 * torch.randn(4, 1, 16, 16, generator=generator)
    assert float(scale_error(data, data)) == 0
    assert float((large - data).square().mean() / data.var()) < 0.01 and float(scale_error(large, data)) > 0.4
    odd = torch.randn(2, 1, 5, 3, 7, generator=generator)
    assert float(scale_error(odd + 2, odd)) == pytest.approx(4, rel=1e-5)


def test_reflow_trains_the_flow_and_keeps_the_one_before(tmp_path: Path) -> None:
    process = made("rectified-flow", tmp_path / "model").system.process
    assert isinstance(process, GaussianProcess) and process.teacher is not None
    assert any(bool((a != b).any()) for a, b in zip(process.teacher.parameters(), process.network.parameters(), strict=True))


def test_a_classifier_needs_something_to_read(tmp_path: Path) -> None:
    recipe = shrunk(get_recipe("classifier-guidance", {}, 2))
    with pytest.raises(InputError, match="reads scalars and classes"):
        fit(recipe, Textures(), Textures(part="calibration"), CONDITIONS[:1], key=("s",), out=tmp_path / "m", provenance={})


def test_a_sampler_that_the_process_does_not_have_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"got 'one-step'.*bad-option"):
        made("pixel-flow", tmp_path / "m", {"sampler.name": "one-step"})
