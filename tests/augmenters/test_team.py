"""Several processes train one model: their mean gradient is that of the whole batch, runs repeat, failures are said once and clearly."""

import json
import os
from functools import partial
from pathlib import Path

import pytest
import torch
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures

from sciimg.augmenters.checkpoint import NAME
from sciimg.augmenters.device import VARIABLE, described, team_of, usable
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.team import Team, together
from sciimg.augmenters.training import fit
from sciimg.errors import InputError, TrainingFailedError

TWO = (torch.device("cpu"),) * 2


def numbers(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(0)
    return torch.randn(size, 3, generator=rng), torch.randn(size, 1, generator=rng)


def slopes(folder: Path, team: Team) -> None:
    """The gradient of a regression on a share; one parameter is met by the second process alone, one by nobody."""
    x, y = numbers(7)
    weight, met, unmet = (torch.ones(3, 1, requires_grad=True) for _ in range(3))
    mine = team.share(7)
    loss = (x[mine.start : mine.stop] @ weight - y[mine.start : mine.stop]).square().mean()
    loss = loss if team.first else loss + met.sum()
    loss.backward()
    team.average_gradients([weight, met, unmet], len(mine) / 7)
    values = team.average({"loss": float(loss.detach())}, len(mine) / 7)
    own, turned = torch.full((2 + team.rank,), float(team.rank)), torch.full((2, 3), float(team.rank)).T
    team.align([own, turned])
    assert not turned.any()
    told = {"weight": weight.grad, "met": met.grad, "unmet": unmet.grad}
    found = {name: None if grad is None else grad.flatten().tolist() for name, grad in told.items()}
    (folder / f"{team.rank}.json").write_text(json.dumps(found | values | {"own": own.tolist(), "said": team.said(team.rank + 5.0)}))


def test_gradients_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    together(partial(slopes, tmp_path), TWO)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    x, y = numbers(7)
    weight = torch.ones(3, 1, requires_grad=True)
    loss = (x @ weight - y).square().mean()
    loss.backward()
    assert weight.grad is not None
    assert first["weight"] == pytest.approx(weight.grad.flatten().tolist(), rel=1e-6)
    assert first["met"] == pytest.approx([4 / 7] * 3) and first["unmet"] is None
    assert first["loss"] == pytest.approx(float(loss.detach()) + 3 * 4 / 7, rel=1e-6)
    assert first["own"] == [0.0, 0.0] and first["said"] == 5.0


def train(out: Path, batch: int, stop: int | None, lost: bool, team: Team) -> None:
    """Four steps of a tiny recipe; the first process is interrupted before ``stop``, or the second one vanishes there."""

    def progress(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if phase == "process" and step == stop:
            if not lost:
                raise KeyboardInterrupt
            if not team.first:
                os._exit(1)

    recipe = shrunk(get_recipe("ldm"))
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"steps": 4, "batch": batch})})
    source = Textures((16, 16))
    fit(recipe, source, source, CONDITIONS, key=("study",), out=out, provenance={}, progress=progress, team=team)


@pytest.mark.slow
def test_a_team_repeats_and_resumes(tmp_path: Path) -> None:
    """An odd batch, an interruption, and a lost process: the same bytes as undisturbed; the card says that two trained it."""
    bytes_of = {}
    together(partial(train, tmp_path / "whole", 3, None, False), TWO)
    with pytest.raises(KeyboardInterrupt):
        together(partial(train, tmp_path / "cut", 3, 2, False), TWO)
    assert (tmp_path / ".cut.partial" / NAME).exists()
    with pytest.raises(TrainingFailedError, match="goes on from the last checkpoint"):
        together(partial(train, tmp_path / "cut", 3, 4, True), TWO)
    together(partial(train, tmp_path / "cut", 3, None, False), TWO)
    for name in ("whole", "cut"):
        bytes_of[name] = [(tmp_path / name / file).read_bytes() for file in ("model.safetensors", "model.json", "curves.json")]
    assert bytes_of["whole"] == bytes_of["cut"]
    assert json.loads(bytes_of["whole"][1])["device"] == "2 x cpu"


def test_a_batch_smaller_than_the_team_is_said_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="A batch of 1 cannot be shared by 2 devices"):
        together(partial(train, tmp_path / "m", 1, None, False), TWO)
    assert not (tmp_path / "m").exists()


def test_several_devices_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert team_of("cpu,cpu") == TWO and described(*TWO) == "2 x cpu"
    monkeypatch.setenv(VARIABLE, "cpu,cpu")
    assert usable() == torch.device("cpu") and len(team_of()) == 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["cuda:all", "cuda:0,cuda:1", "cpu,gpu"])
def test_devices_that_are_not_there(name: str) -> None:
    with pytest.raises(InputError, match="no-device"):
        team_of(name)
