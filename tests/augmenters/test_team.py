"""Several processes train one model: it is that of one process, whatever their number; failures are said once and clearly."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures

from sciimg.augmenters import loop, training
from sciimg.augmenters.checkpoint import NAME
from sciimg.augmenters.device import VARIABLE, described, place_of, team_of, usable
from sciimg.augmenters.draws import shared, whole
from sciimg.augmenters.ranks import Rank
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import RECIPES, get_recipe
from sciimg.augmenters.team import Team, together
from sciimg.augmenters.training import fit
from sciimg.errors import CheckpointedError, InputError, TrainingFailedError
from tests.conformance.test_recipes import given

CPU = torch.device("cpu")
TWO = (CPU,) * 2
FILES = ("model.safetensors", "model.json", "curves.json")


# ---------------------------------------------------------------- gradients


def numbers(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(size, 3, generator=rng), torch.randn(size, 1, generator=rng)


def contrast(seen: torch.Tensor, sharpness: torch.Tensor) -> torch.Tensor:
    """A loss in which every sample meets every other one."""
    return (sharpness * seen @ seen.T).log_softmax(1).diagonal().mean()


def slopes(folder: Path, team: Team) -> None:
    """The gradient of a regression on a share; one parameter is met by the second process alone, one by nobody; two in a contrast."""
    x, y = numbers(7)
    weight, met, unmet, seeing = (torch.ones(3, 1, requires_grad=True) for _ in range(4))
    sharpness = torch.ones((), requires_grad=True)
    mine = team.share(7)
    own = slice(mine.start, mine.stop)
    loss = (x[own] @ weight - y[own]).square().mean()
    loss = loss if team.first else loss + met.sum()
    apart = contrast(whole(x[own] @ seeing, shared(CPU, team, 7)), sharpness)
    (loss + apart).backward()
    team.average_gradients([weight, met, unmet, seeing, sharpness], len(mine) / 7)
    values = team.average({"loss": float(loss.detach()), "apart": float(apart.detach())}, len(mine) / 7)
    held, turned = torch.full((2 + team.rank,), float(team.rank)), torch.full((2, 3), float(team.rank)).T
    team.align([held, turned])
    assert not turned.any()
    assert team.told(b"abc" if team.first else None) == b"abc" and team.told(None) is None
    assert team.anybody(not team.first) and not team.anybody(False)
    assert team.waited_s[0] > 0
    told = {"weight": weight.grad, "met": met.grad, "unmet": unmet.grad, "seeing": seeing.grad, "sharpness": sharpness.grad}
    found = {name: None if grad is None else grad.flatten().tolist() for name, grad in told.items()}
    (folder / f"{team.rank}.json").write_text(json.dumps(found | values | {"held": held.tolist(), "said": team.said(team.rank + 5.0)}))


@pytest.fixture(autouse=True)
def surveys_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `train` makes smaller in every process is put back in this one."""
    monkeypatch.setattr(training, "_SURVEY", training._SURVEY)
    monkeypatch.setattr(loop, "_MEASURED", loop._MEASURED)


def both(folder: Path, team: Team) -> None:
    slopes(folder, team)
    train(folder / "model", ldm(), None, team)


def test_two_processes_have_the_gradients_of_one_and_train_its_model(tmp_path: Path) -> None:
    together(partial(both, tmp_path), TWO)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    x, y = numbers(7)
    weight, seeing, sharpness = (
        torch.ones(3, 1, requires_grad=True),
        torch.ones(3, 1, requires_grad=True),
        torch.ones((), requires_grad=True),
    )
    loss, apart = (x @ weight - y).square().mean(), contrast(x @ seeing, sharpness)
    (loss + apart).backward()
    for name, parameter in (("weight", weight), ("seeing", seeing), ("sharpness", sharpness)):
        assert parameter.grad is not None
        assert first[name] == pytest.approx(parameter.grad.flatten().tolist(), rel=1e-5)
    assert first["met"] == pytest.approx([4 / 7] * 3) and first["unmet"] is None
    assert first["loss"] == pytest.approx(float(loss.detach()) + 3 * 4 / 7, rel=1e-6)
    assert first["apart"] == pytest.approx(float(apart.detach()), rel=1e-6)
    assert first["held"] == [0.0, 0.0] and first["said"] == 5.0
    train(tmp_path / "one", ldm(), None, Team(0, (CPU,)))
    agree(tmp_path / "one", tmp_path / "model")
    assert json.loads((tmp_path / "model" / "model.json").read_text())["device"] == "2 x cpu"


# ---------------------------------------------------------------- whole trainings


def in_fp32(data: Any) -> Any:
    return {k: "fp32" if k == "precision" else in_fp32(v) for k, v in data.items()} if isinstance(data, dict) else data


def tiny(name: str, batch: int = 4, steps: int = 4, dims: int = 2) -> Recipe:
    """A recipe of a few steps in float32: processes differ by the order of sums alone."""
    recipe = Recipe.model_validate(in_fp32(shrunk(get_recipe(name, {}, dims), steps).model_dump()))

    def larger(data: Any) -> Any:
        return {k: batch if k == "batch" else larger(v) for k, v in data.items()} if isinstance(data, dict) else data

    return Recipe.model_validate(larger(recipe.model_dump()))


def ldm() -> Recipe:
    """With an odd batch and dropout."""
    data = tiny("ldm", 5).model_dump()
    data["backbone"]["dropout"] = 0.2
    return Recipe.model_validate(data)


def train(out: Path, recipe: Recipe, stop: int | None, team: Team, lost: bool = False) -> None:
    """Train on a small survey; told to stop after the step ``stop`` of the last phase, or there the second process vanishes."""
    training._SURVEY, loop._MEASURED = 32, 16
    last: list[int] = [0]

    def progress(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        last[0] = step if phase not in ("autoencoder", "tokeniser") else 0
        if lost and last[0] == stop and not team.first:
            os._exit(1)

    source = Textures((16, 16))
    stopped: Callable[[], bool] = lambda: not lost and stop is not None and last[0] == stop and team.rank == len(team.places) - 1  # noqa: E731
    fit(recipe, source, source, CONDITIONS, key=("study",), out=out, provenance={}, progress=progress, team=team, stop=stopped)


def agree(one: Path, other: Path, tolerance: float = 1e-4) -> None:
    """Assert that two trainings differ by no more than sums in another order do.

    Curves agree to the tolerance, relative to their size, and 99 of 100 weights to a tenth of it: AdamW moves a weight whose gradient is
    nothing but rounding as far as any other one.
    """
    curves, again = (json.loads((folder / "curves.json").read_text()) for folder in (one, other))
    assert {k: list(v) for k, v in curves.items()} == {k: list(v) for k, v in again.items()}
    for phase, quantities in curves.items():
        for name, values in quantities.items():
            assert np.allclose(values, again[phase][name], rtol=tolerance, atol=tolerance * max(1e-3, np.abs(values).max(initial=0))), (
                phase,
                name,
            )
    weights, others = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert weights.keys() == others.keys()
    apart = np.concatenate([(weights[name].float() - others[name].float()).abs().nan_to_num().flatten().numpy() for name in weights])
    assert np.quantile(apart, 0.99) < tolerance / 10


def every(folder: Path, team: Team) -> None:
    """Train each recipe for two steps."""
    training._SURVEY, loop._MEASURED = 32, 16
    for name, made in RECIPES.items():
        recipe = tiny(name, steps=2, dims=made.dims[0])
        *parts, conditions = given(recipe, made.dims[0], ((16, 16), (8, 8, 8)))
        fit(recipe, *parts, conditions, key=("shared", name), out=folder / name, provenance={}, team=team)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_recipe_is_trained_by_two_processes_as_by_one(tmp_path: Path) -> None:
    together(partial(every, tmp_path / "two"), TWO)
    every(tmp_path / "one", Team(0, (CPU,)))
    for name in RECIPES:
        agree(tmp_path / "one" / name, tmp_path / "two" / name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_training_goes_on_with_two_processes_then_one_then_three(tmp_path: Path) -> None:
    recipe = ldm()
    train(tmp_path / "one", recipe, None, Team(0, (CPU,)))
    with pytest.raises(CheckpointedError, match="after step 1 of 4"):
        together(partial(train, tmp_path / "model", recipe, 1), TWO)
    with pytest.raises(CheckpointedError, match="after step 2 of 4"):
        train(tmp_path / "model", recipe, 2, Team(0, (CPU,)))
    together(partial(train, tmp_path / "model", recipe, None), (CPU,) * 3)
    agree(tmp_path / "one", tmp_path / "model")
    assert json.loads((tmp_path / "model" / "model.json").read_text())["device"] == "2 x cpu, then cpu, then 3 x cpu"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_team_repeats_and_resumes(tmp_path: Path) -> None:
    """A stop that only the second process is told, and a lost process: the same bytes as undisturbed."""
    recipe, bytes_of = ldm(), {}
    together(partial(train, tmp_path / "whole", recipe, None), TWO)
    with pytest.raises(CheckpointedError):
        together(partial(train, tmp_path / "cut", recipe, 2), TWO)
    assert (tmp_path / ".cut.partial" / NAME).exists()
    with pytest.raises(TrainingFailedError, match="goes on from the last checkpoint"):
        together(partial(train, tmp_path / "cut", recipe, 3, lost=True), TWO)
    together(partial(train, tmp_path / "cut", recipe, None), TWO)
    for name in ("whole", "cut"):
        bytes_of[name] = [(tmp_path / name / file).read_bytes() for file in FILES]
    assert bytes_of["whole"] == bytes_of["cut"]


@pytest.mark.slow
def test_a_batch_smaller_than_the_team_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="A batch of 1 cannot be shared by 2 devices"):
        together(partial(train, tmp_path / "m", tiny("ldm", 1), None), TWO)
    assert not (tmp_path / "m").exists()


# ---------------------------------------------------------------- devices


def test_several_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert team_of("cpu,cpu") == TWO and described(*TWO) == "2 x cpu"
    monkeypatch.setenv(VARIABLE, "cpu,cpu")
    assert usable() == torch.device("cpu") and len(team_of()) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda:all", "cuda:0,cuda:1", "cpu,gpu"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(InputError, match="no-device"):
        team_of(name)


def test_a_rank_has_the_cpu_unless_a_gpu_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rank = Rank(3, 4, 1, "n1", 2345)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert place_of(rank) == CPU == place_of(rank, "cpu,cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert place_of(rank, "cuda") == torch.device("cuda:1") == place_of(rank, "cuda:0,cuda:1")
    with pytest.raises(InputError, match="numbered from 0"):
        place_of(Rank(3, 4, 2, "n1", 2345), "cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # Slurm shows each task its own
    assert place_of(rank, "cuda") == torch.device("cuda:0")
