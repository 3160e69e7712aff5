"""Where networks run: asked for by name, refused when it is not there, recorded in the model."""

import json

import pytest
import torch
from typer.testing import CliRunner

from sciimg.augmenters.device import VARIABLE, described, usable
from sciimg.cli import app
from sciimg.errors import InputError


def test_the_cpu_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert usable() == torch.device("cpu") and described(usable()) == "cpu"


@pytest.mark.parametrize("name", ["gpu", "cuda:nought", "mps"])
def test_what_is_no_device_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no-device"):
        usable(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_where_one_was_asked(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv(VARIABLE, "cuda")
    with pytest.raises(InputError, match="run on the CPU, or install torch for your GPU"):
        usable()
    done = CliRunner().invoke(app, ["generate", str(tmp_path), "--out", str(tmp_path / "o"), "--count", "1", "--device", "cuda", "--json"])
    assert done.exit_code == 2 and json.loads(done.stdout)["problems"][0]["kind"] == "no-device"
    assert not (tmp_path / "o").exists()
