"""Encoders of others, with small weights made here; libraries that are not installed are played by stand-ins with the same names."""

import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures
from torch import nn

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.conditioning.pretrained import PretrainedImages, PretrainedText, library, load_weights
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.training import fit
from sciimg.errors import InputError


class TinyClip(nn.Module):
    """Answers as a model of open_clip does."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(256, 6)

    def encode_text(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens).mean(1)


class TinyNet(nn.Module):
    """Answers as a classifier of torchvision does; its head is for another task."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 5, 3), nn.Linear(5, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(x).mean((2, 3)))


def bytes_of(captions: list[str]) -> torch.Tensor:
    return torch.tensor([[*f"<{captions[0]}>".encode()]])


@pytest.fixture
def asked(monkeypatch) -> list[str | None]:
    """Install stand-ins; return what their hubs were asked for."""
    wanted: list[str | None] = []

    def create_model(name: str, pretrained: str | None) -> TinyClip:
        wanted.append(pretrained)
        return TinyClip()

    clip = SimpleNamespace(create_model=create_model, get_tokenizer=lambda name: bytes_of)
    models = SimpleNamespace(get_model=lambda name, weights: TinyNet())
    monkeypatch.setitem(sys.modules, "open_clip", clip)
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(models=models))
    return wanted


def saved(model: nn.Module, path: Path) -> Path:
    save_file(model.state_dict(), path)
    return path


def test_a_text_encoder_is_read_from_a_file_and_asks_no_hub(asked: list[str | None], tmp_path: Path) -> None:
    torch.manual_seed(0)
    own = TinyClip()
    made = PretrainedText(f"open_clip:tiny:{saved(own, tmp_path / 'clip.safetensors')}", ("dab", "low"), 8)
    assert asked == [None]
    torch.testing.assert_close(made._of("low dab"), nn.functional.normalize(own.encode_text(bytes_of(["low dab"]))[0], dim=0))
    features, told = made(torch.tensor([[2, 1, 0], [1, 0, 0], [0, 0, 0]]))
    assert features.shape == (3, 1, 8) and told.all() and not torch.allclose(features[0], features[1])
    assert all("table" not in name for name in made.state_dict())  # frozen weights stay where they are


def test_only_a_name_that_is_no_file_is_asked_of_the_hub(asked: list[str | None]) -> None:
    PretrainedText("open_clip:tiny:laion", (), 8)
    assert asked == ["laion"]


@pytest.mark.parametrize("source", ["radimagenet:{}", "torchvision:tiny:{}"])
def test_an_image_encoder_loses_its_head(asked: list[str | None], tmp_path: Path, source: str) -> None:
    torch.manual_seed(0)
    own = TinyNet()
    made = PretrainedImages(source.format(saved(own, tmp_path / "net.safetensors")))
    images = torch.randn(4, 2, 16, 16)
    want = torch.stack([own.conv(images[:, [c] * 3]).mean((2, 3)) for c in (0, 1)]).mean(0)
    assert made.features == 5
    torch.testing.assert_close(made(images)[:, 0], want)


def test_recipes_train_on_them(asked: list[str | None], tmp_path: Path) -> None:
    text, net = saved(TinyClip(), tmp_path / "clip.safetensors"), saved(TinyNet(), tmp_path / "net.safetensors")
    options = {"conditioning.text_encoder": f"open_clip:tiny:{text}"}
    source = Textures()
    for name, more in (("clip", {"process.image_encoder": f"radimagenet:{net}"}), ("glide", {})):
        out = tmp_path / name
        fit(shrunk(get_recipe(name, options | more)), source, Textures(part="calibration"), CONDITIONS, key=("k",), out=out, provenance={})
        told = source.draw(("t",), range(2))
        model = Augmenter.load(out)
        got = model.features(told.images) if name == "clip" else model.sample(None, told.table, key=("k",), indices=[0, 1], steps=1)
        assert len(got) == 2


def test_refusals_say_what_to_do(asked: list[str | None], tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x02")
    wrong = saved(nn.Linear(2, 2), tmp_path / "other.safetensors")
    for path, kind, said in (
        ("none", "no-file", "Download it"),
        ("pickle.pt", "damaged", "save_file"),
        (wrong.name, "other-model", "Name"),
    ):
        with pytest.raises(InputError, match=kind) as caught:
            load_weights(TinyNet(), tmp_path / path)
        assert said in caught.value.problems[0].message
    for make in (lambda: PretrainedText("clip", (), 8), lambda: PretrainedImages("resnet50")):
        with pytest.raises(InputError, match="bad-source"):
            make()
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(InputError, match=r"pip install 'sciimg\[clip\]'"):
        library("open_clip")


@pytest.mark.skipif(find_spec("torchvision") is None, reason="torchvision, an extra, is not installed")
def test_a_real_resnet_is_read(tmp_path: Path) -> None:
    weights = saved(library("torchvision").models.get_model("resnet50", weights=None), tmp_path / "resnet50.safetensors")
    assert PretrainedImages(f"radimagenet:{weights}").features == 2048
