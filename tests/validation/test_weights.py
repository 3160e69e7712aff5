"""Networks of the user's as a feature space."""

import warnings

import numpy as np
import pytest
import torch
from patchsets import images_2d
from torch import nn

from sciimg.errors import InputError
from sciimg.validation.features.encoder import train_encoder
from sciimg.validation.features.space import fit_space
from sciimg.validation.features.weights import weights

IMAGES = np.random.default_rng(0).standard_normal((7, 2, 16, 20)).astype(np.float32)


class Maps(nn.Module):
    """Two convolutions; the mean of the maps is left to the caller."""

    def __init__(self, dims: int = 2, channels: int = 2) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.layers = nn.Sequential(conv(channels, 6, 3), nn.ReLU(), conv(6, 5, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)


def scripted(network: nn.Module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(network.eval()), str(path))
    return path


@pytest.mark.parametrize("dims", [2, 3])
def test_a_network_in_torchscript(tmp_path, dims):
    torch.manual_seed(0)
    network, shape = Maps(dims), (8, 16, 20)[-dims:]
    images = np.random.default_rng(0).standard_normal((5, 2, *shape)).astype(np.float32)
    found = weights(scripted(network, tmp_path / "n.pt"), 2, shape)(images)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).flatten(2).double().mean(2)
    assert found == pytest.approx(expected.numpy(), abs=1e-6) and found.shape == (5, 5)


def test_an_encoder_of_another_study(tmp_path):
    encoder = train_encoder(IMAGES, steps=1, key=("a",))
    encoder.save(tmp_path / "encoder.safetensors")
    embed = weights(tmp_path / "encoder.safetensors", 2, (16, 20))
    assert np.array_equal(embed(IMAGES), encoder.embed(IMAGES))
    space = fit_space("weights", embed, images_2d(IMAGES))
    assert np.isfinite(space.transform(images_2d(IMAGES))).all()


@pytest.mark.parametrize(
    ("name", "make", "kind"),
    [
        ("none.pt", lambda p: None, "not-found"),
        ("text.pt", lambda p: p.write_text("weights"), "bad-weights"),
        ("pickle.pt", lambda p: torch.save(Maps().state_dict(), p), "bad-weights"),
        ("text.safetensors", lambda p: p.write_text("weights"), "bad-weights"),
        ("channels.pt", lambda p: scripted(Maps(channels=3), p), "unfit-weights"),
        ("volumes.pt", lambda p: scripted(Maps(dims=3), p), "unfit-weights"),
        ("number.pt", lambda p: scripted(nn.Sequential(nn.Flatten(0)), p), "unfit-weights"),
        ("nan.pt", lambda p: scripted(nn.Sequential(nn.Flatten(), nn.Threshold(1e9, float("nan"))), p), "unfit-weights"),
    ],
)
def test_a_file_that_will_not_do_is_refused(tmp_path, name, make, kind):
    make(tmp_path / name)
    with pytest.raises(InputError) as error:
        weights(tmp_path / name, 2, (16, 20))
    assert [p.kind for p in error.value.problems] == [kind]
