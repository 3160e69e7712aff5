"""Where networks run: asked for by name, refused when it is not there, recorded in the model."""

import json

import pytest
import torch
from typer.testing import CliRunner

from sciimg.augmenters.device import VARIABLE, described, usable
from sciimg.cli import app
from sciimg.errors import InputError
from sciimg.generation.edited import generate_edited
from sciimg.generation.volume import generate_volumes


def test_the_cpu_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert usable() == torch.device("cpu") and described(usable()) == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:nought", "mps"])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no-device"):
        usable(name)


def test_what_draws_on_the_cpu_alone_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv(VARIABLE, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match="--shape draws on the CPU, whose bits repeat; 'cuda' was asked for"):
        generate_volumes(tmp_path / "model", tmp_path / "out", [], (8, 8), seed=0, study=None)
    with pytest.raises(InputError, match="--source, to edit real images, draws on the CPU"):
        generate_edited(tmp_path / "model", tmp_path / "out", tmp_path / "real", 1, seed=0, study=None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_where_one_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(InputError, match="run on the CPU, or install torch for your GPU"):
        usable()
    done = CliRunner().invoke(app, ["generate", str(tmp_path), "--out", str(tmp_path / "o"), "--count", "1", "--device", "cuda", "--json"])
    assert done.exit_code == 2 and json.loads(done.stdout)["problems"][0]["kind"] == "no-device"
    assert not (tmp_path / "o").exists()
