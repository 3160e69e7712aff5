"""LPIPS from weights of the user's: the formula by hand, what is read, and what is refused."""

import io
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from skimage.data import camera
from typer.testing import CliRunner

from sciimg.cli import app
from sciimg.errors import InputError
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.perceptual import _NETWORKS, load, lpips


def state(name: str, seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Random weights with the names of torchvision and of the reference implementation."""
    rng = torch.Generator().manual_seed(seed)
    network, before = {}, 3
    for layer in _NETWORKS[name]:
        shape = (layer.channels, before, layer.kernel, layer.kernel)
        network[f"features.{layer.number}.weight"] = torch.randn(shape, generator=rng) * (2 / (before * layer.kernel**2)) ** 0.5
        network[f"features.{layer.number}.bias"] = torch.zeros(layer.channels)
        before = layer.channels
    seen = [layer.channels for layer in _NETWORKS[name] if layer.seen]
    return network, {f"lin{k}.model.1.weight": torch.rand(1, n, 1, 1, generator=rng) for k, n in enumerate(seen)}


def written(folder: Path, name: str = "alexnet", short: str = "alex") -> Path:
    folder.mkdir(exist_ok=True)
    network, linear = state(name)
    torch.save({**network, "classifier.6.weight": torch.zeros(2)}, folder / f"{name}-0123abcd.pth")
    torch.save(linear, folder / f"{short}.pth")
    return folder


IMAGE = camera()[100:196, 200:296]


def test_first_layer_by_hand(tmp_path: Path) -> None:
    """All weights but those of the first layer's channels 0: one convolution, one difference of unit vectors, one mean."""
    network, linear = state("alexnet")
    linear = {name: torch.zeros_like(value) for name, value in linear.items()}
    linear["lin0.model.1.weight"][0, 0] = 2.0
    save_file(network, tmp_path / "alexnet.safetensors")
    save_file(linear, tmp_path / "alex.safetensors")
    other = 255 - IMAGE
    units = []
    for image in (IMAGE, other):
        grey = np.repeat((image / 127.5 - 1)[None], 3, 0)
        grey = (grey - np.array([-0.030, -0.088, -0.188])[:, None, None]) / np.array([0.458, 0.448, 0.450])[:, None, None]
        padded = np.pad(grey, ((0, 0), (2, 2), (2, 2)))
        size = (padded.shape[1] - 11) // 4 + 1
        maps = np.empty((64, size, size))
        kernels = network["features.0.weight"].double().numpy()
        for y, x in np.ndindex(size, size):
            maps[:, y, x] = np.tensordot(kernels, padded[:, 4 * y : 4 * y + 11, 4 * x : 4 * x + 11], 3)
        maps = np.maximum(maps, 0)
        units.append(maps / np.linalg.norm(maps, axis=0))
    expected = 2 * np.mean((units[0][0] - units[1][0]) ** 2)
    assert load(tmp_path).distance(IMAGE, other, low=0, width=255) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("name", "short"), [("alexnet", "alex"), ("vgg16", "vgg")])
def test_a_distance_grows_with_noise_and_is_none_to_itself(tmp_path: Path, name: str, short: str) -> None:
    network = load(written(tmp_path / "w", name, short))
    rng = np.random.default_rng(0)
    image = IMAGE[:48, :48]
    noisy = [np.clip(image + rng.normal(0, s, image.shape), 0, 255) for s in (5, 20, 80)]
    values = [network.distance(image, other, low=0, width=255) for other in (image, *noisy)]
    assert values[0] == 0 and values == sorted(values) and values[1] > 0
    assert network.distance(noisy[1], image, low=0, width=255) == pytest.approx(values[2], rel=1e-5)
    volume = np.stack([image, image]), np.stack([image, noisy[1]])
    assert network.distance(*volume, low=0, width=255) == pytest.approx(values[2] / 2, rel=1e-5)
    with pytest.raises(UndefinedError, match="32 pixels a side"):
        network.distance(image[:31], image[:31], low=0, width=255)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("code ran",))


def test_what_is_no_such_weights_is_refused_and_never_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def kinds(folder: Path) -> str:
        with pytest.raises(InputError) as error:
            lpips(folder)
        return f"{error.value.problems[0].kind}: {error.value}"

    assert kinds(tmp_path / "none").startswith("not-found")
    assert "there are: none" in kinds(tmp_path)
    folder = written(tmp_path / "w")
    (folder / "alex.pth").unlink()
    assert "alex.pth says how much" in kinds(folder)
    (folder / "alex.pth").write_bytes(pickle.dumps({"lin0.model.1.weight": Evil()}))
    assert kinds(folder).startswith("bad-weights")
    torch.save({"lin0.model.1.weight": torch.zeros(1, 3, 1, 1)}, folder / "alex.pth")
    assert "shape (1, 64, 1, 1); there is (1, 3, 1, 1)" in kinds(folder)
    torch.save(state("vgg16")[0], folder / "vgg16.pth")
    assert "alexnet-0123abcd.pth, vgg16.pth" in kinds(folder)
    assert "code ran" not in capfd.readouterr().out


def test_the_command_line_compares_with_weights_and_asks_for_them(tmp_path: Path) -> None:
    from PIL import Image

    for name, image in (("a.png", IMAGE), ("b.png", IMAGE[::-1])):
        data = io.BytesIO()
        Image.fromarray(image).save(data, "png")
        (tmp_path / name).write_bytes(data.getvalue())
    files = [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    weights = written(tmp_path / "w")
    told = CliRunner().invoke(app, ["metrics", "pair", *files, "--metric", "psnr", "--lpips-weights", str(weights), "--json"])
    found = json.loads(told.stdout)["metrics"]
    assert [m["name"] for m in found] == ["psnr", "lpips"] and found[1]["status"] == "ok" and found[1]["higher_is_better"] is False
    expected = load(weights).distance(IMAGE, IMAGE[::-1], low=0, width=255)
    assert found[1]["value"] == pytest.approx(expected, rel=1e-6) and found[1]["data_range"] == 255
    refused = CliRunner().invoke(app, ["metrics", "pair", *files, "--metric", "LPIPS"])
    assert refused.exit_code == 2 and "--lpips-weights FOLDER" in refused.output
