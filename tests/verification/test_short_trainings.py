"""Short trainings against bands: a sound installation is inside, broken ones are outside, and the bands say where they come from."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from sciimg.augmenters.samplers import solvers
from sciimg.cli import app
from sciimg.protocol.validation import VerificationPlan
from sciimg.verification import benchmarks, suite
from sciimg.verification.bands import BANDS, COST, LEVEL, Band, held, recorded, slow
from sciimg.verification.benchmarks import BENCHMARKS, Real, run

FAMILIES = tuple(BENCHMARKS)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Real:
    return Real.made_in(tmp_path_factory.mktemp("tissue"))


def outside(family: str, scores: dict[str, float]) -> set[str]:
    """Names of the scores outside their bands; the cost is as recorded."""
    bands = recorded()
    cost = float(np.mean(bands["families"][family]["cost"]))
    found = {c.name.removeprefix(f"benchmark-{family}-"): c.passed for c in held(family, "x", scores, cost, bands)}
    assert found.pop("cost")
    return {name for name, passed in found.items() if not passed}


def test_a_band_is_the_prediction_interval_of_one_more_run() -> None:
    """Of many drawn bands of Gaussian runs, one in a thousand misses the next run (here at a level of one in twenty)."""
    rng = np.random.default_rng(0)
    band = Band(tuple(rng.normal(5, 2, 6)))
    k = stats.t.ppf(1 - LEVEL / 2, 5) * math.sqrt(7 / 6)
    assert band.half_width == pytest.approx(k * np.std(band.values, ddof=1)) and band.middle == pytest.approx(np.mean(band.values))
    runs = rng.normal(size=(20_000, 7))
    wide = stats.t.ppf(0.975, 5) * math.sqrt(7 / 6) * runs[:, :6].std(axis=1, ddof=1)
    assert np.mean(np.abs(runs[:, 6] - runs[:, :6].mean(axis=1)) > wide) == pytest.approx(0.05, abs=0.006)


def test_the_bands_say_how_they_were_measured_and_hold_none_that_learned_nothing() -> None:
    bands = json.loads(BANDS.read_text())
    assert set(bands["families"]) == set(FAMILIES)
    about = bands["measured"]
    assert {"date", "seeds", "processor", "cores", "versions", "command"} <= set(about) and "torch" in about["versions"]
    for family, entry in bands["families"].items():
        assert entry["recipe"] == BENCHMARKS[family].recipe and len(entry["cost"]) == about["seeds"] >= 4
        for name, values in entry["scores"].items():
            assert len(values) == about["seeds"]
            band, nothing = Band(tuple(values)), entry["untrained"][name]
            assert nothing is None or abs(nothing - band.middle) > band.half_width, (family, name)


def test_scores_costs_and_slowness_that_are_off_fail() -> None:
    bands = recorded()
    entry = bands["families"]["flow"]
    sound, cost = {name: values[0] for name, values in entry["scores"].items()}, float(np.mean(entry["cost"]))
    assert all(c.passed and len(c.source) > 10 for c in held("flow", "x", sound, cost, bands))
    assert [c.passed for c in held("flow", "x", sound, 1.1 * COST * cost, bands)] == [True] * len(sound) + [False]
    assert [c.passed for c in held("flow", "x", sound, cost / COST / 1.1, bands)][-1] is False
    assert outside("flow", {}) == set(sound) == outside("flow", dict.fromkeys(sound, math.nan))
    assert slow(bands["fixed_work_s"] / 100, bands).passed and not slow(bands["fixed_work_s"] * 6, bands).passed


def test_a_network_whose_training_was_left_out_is_noticed(real: Real) -> None:
    options = {"training.steps": 1, "training.warmup": 0, "training.learning_rate": 1e-12}
    broken = BENCHMARKS["encoder"]
    scores, cost, unit = run("encoder", real, benchmark=benchmarks.replace(broken, options={**broken.options, **options}))
    assert outside("encoder", scores) == set(recorded()["families"]["encoder"]["scores"]) and cost > 0 and unit > 0


def test_a_training_that_diverges_has_no_score(real: Real) -> None:
    wild = {"training.learning_rate": 1e30, "training.clip": 1e30, "training.steps": 20}
    entry = BENCHMARKS["encoder"]
    assert run("encoder", real, benchmark=benchmarks.replace(entry, options={**entry.options, **wild}))[0] == {}


def test_the_command_and_a_study_ask_for_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(suite, "THEMES", ())
    monkeypatch.setattr(benchmarks, "run", lambda family, real, seed=0: ({}, 1.0, 1.0))
    monkeypatch.setattr(Real, "made_in", classmethod(lambda cls, folder: None))
    told = CliRunner().invoke(app, ["verify", "--benchmarks", "--json"])
    value = json.loads(told.stdout)
    names = {c["name"] for c in value["checks"]}
    assert told.exit_code == 1 and not value["passed"] and "benchmark-flow-kid" in names and "benchmark-machine-slowness" in names
    assert {"name", "expected", "got", "tolerance", "passed", "source"} == set(value["checks"][0])
    assert "benchmark-tokens: training" in told.stderr
    assert VerificationPlan(benchmarks=True).benchmarks


# ---------------------------------------------------------------- trained, and broken on the way


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_another_seed_is_inside(real: Real, family: str) -> None:
    assert outside(family, run(family, real, seed=100)[0]) == set()


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_that_are_never_updated_are_noticed(real: Real, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, closure=None: None)
    assert outside(family, run(family, real)[0])


@pytest.mark.slow
def test_a_sampler_that_runs_backwards_is_noticed(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = solvers.heun
    back = lambda predict, path, x, times, normal, **own: sound(predict, path, x, times[::-1], normal, **own)  # noqa: E731
    monkeypatch.setattr(solvers, "heun", back)
    assert outside("flow", run("flow", real)[0])


@pytest.mark.slow
def test_masks_that_do_not_arrive_are_noticed(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    told = real.told.labels
    assert told is not None
    deaf = benchmarks.replace(real, told=benchmarks.replace(real.told, labels=np.roll(told, 1, axis=0)))
    sound = benchmarks._drawn
    monkeypatch.setattr(benchmarks, "_drawn", lambda model, given: sound(model, deaf))
    assert "mask-correlation" in outside("flow", run("flow", real)[0])
