"""LPIPS: how differently a network for photographs sees two images. It brings no network: the user gives the weights.

A folder holds two files. The network, a state dict with torchvision's names (``features.0.weight`` ...): ``alexnet*`` or ``vgg16*``. How
much each of its channels counts, a state dict with the names of the reference implementation (``lin0.model.1.weight`` ..., version 0.1):
``alex.*`` or ``vgg.*``. Either is ``.safetensors``, or ``.pth`` or ``.pt`` as torch.save writes it, of which tensors alone are read:
a pickle that asks for code is refused. Nothing is downloaded.

The networks see colour photographs of 8 bits. A channel of a scientific image is shown as grey, its intensity scale from black to white;
a volume plane by plane. What such a network makes of it was never calibrated on microscopes: read it beside other metrics.

References
----------
Zhang R, Isola P, Efros AA, Shechtman E, Wang O (2018) The unreasonable effectiveness of deep features as a perceptual metric. CVPR,
arXiv:1801.03924
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sciimg.errors import InputError, Problem
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.pair import Known, PairMetric
from sciimg.validation.segmentation import one_thread

_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of red, green and blue between -1 and 1, as the weights were made for
_EPSILON = 1e-10
_SMALLEST = 32  # pixels a side: fewer do not reach the last layer
_PLANES = 16  # at once
_ENDINGS = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True, slots=True)
class _Layer:
    """A convolution with its rectifier: number among torchvision's ``features``, channels, kernel, stride, padding.

    ``pooled`` is the kernel of the maximum before it (stride 2); ``seen`` says that LPIPS looks at what comes out.
    """

    number: int
    channels: int
    kernel: int = 3
    stride: int = 1
    padding: int = 1
    pooled: int = 0
    seen: bool = False


_NETWORKS: dict[str, tuple[_Layer, ...]] = {
    # Krizhevsky 2014, arXiv:1404.5997
    "alexnet": (
        _Layer(0, 64, 11, 4, 2, seen=True),
        _Layer(3, 192, 5, 1, 2, pooled=3, seen=True),
        _Layer(6, 384, pooled=3, seen=True),
        _Layer(8, 256, seen=True),
        _Layer(10, 256, seen=True),
    ),
    # Simonyan & Zisserman 2015, arXiv:1409.1556, configuration D
    "vgg16": tuple(
        _Layer(first + 2 * k, channels, pooled=2 if first and not k else 0, seen=k == layers - 1)
        for first, channels, layers in ((0, 64, 2), (5, 128, 2), (10, 256, 3), (17, 512, 3), (24, 512, 3))
        for k in range(layers)
    ),
}
_LINEAR = {"alexnet": "alex", "vgg16": "vgg"}


@dataclass(frozen=True)
class Perceptual:
    """A network with the weights of its channels."""

    name: str
    convolutions: tuple[tuple[Tensor, Tensor], ...]
    channels: tuple[Tensor, ...]

    def distance(self, first: NDArray[Any], second: NDArray[Any], *, low: float, width: float) -> float:
        """Return the distance of two images ([Z,] Y, X) of one channel whose scale begins at ``low``: Zhang 2018, eq. 1.

        Raises
        ------
        UndefinedError
            If a plane is smaller than the network can see.
        """
        if min(first.shape[-2:]) < _SMALLEST:
            raise UndefinedError(f"{self.name} sees planes of {_SMALLEST} pixels a side or more; got {first.shape[-2:]}")
        planes = [image.reshape(-1, *image.shape[-2:]) for image in (first, second)]
        total = 0.0
        with one_thread(), torch.inference_mode():
            for start in range(0, len(planes[0]), _PLANES):
                shown = [_shown(p[start : start + _PLANES], low, width) for p in planes]
                total += float(self._of_planes(*shown).double().sum())
        return total / len(planes[0])

    def _of_planes(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the distance of each plane, (N,)."""
        n, k = len(first), 0
        maps, total = torch.cat([first, second]), torch.zeros(len(first))
        for layer, (weight, bias) in zip(_NETWORKS[self.name], self.convolutions, strict=True):
            if layer.pooled:
                maps = F.max_pool2d(maps, layer.pooled, 2)
            maps = F.relu(F.conv2d(maps, weight, bias, layer.stride, layer.padding))
            if layer.seen:
                unit = maps / (maps.square().sum(1, keepdim=True).sqrt() + _EPSILON)
                gap = (unit[:n] - unit[n:]).square()
                total = total + F.conv2d(gap, self.channels[k]).mean((1, 2, 3))
                k += 1
        return total


def lpips(folder: Path) -> PairMetric:
    """Return the metric of a user's folder.

    Raises
    ------
    InputError
        Kinds ``not-found`` (no folder, or a file is missing or there twice) and ``bad-weights`` (not such weights).
    """
    network = load(folder)

    def compute(first: NDArray[Any], second: NDArray[Any], known: Known) -> float:
        lowest = min(float(first.min()), float(second.min()))
        highest = max(float(first.max()), float(second.max()))
        low = 0.0 if lowest >= 0 and highest <= known.data_range else lowest
        return network.distance(first, second, low=low, width=known.data_range)

    source = f"Zhang et al. 2018, arXiv:1801.03924, version 0.1 with {network.name}; the user's weights; grey, planes of volumes averaged"
    return PairMetric(compute, False, source)


def load(folder: Path) -> Perceptual:
    """Read network and channel weights."""
    if not folder.is_dir():
        raise InputError(Problem(str(folder), "not-found", "LPIPS reads a folder with two files of weights; there is no folder here."))
    networks = {name: _files(folder, name) for name in _NETWORKS}
    found = [(name, files) for name, files in networks.items() if files]
    if len(found) != 1 or len(found[0][1]) != 1:
        names = ", ".join(f.name for _, files in found for f in files) or "none"
        message = f"One network is expected, alexnet*.pth or vgg16*.pth (or .safetensors); there are: {names}."
        raise InputError(Problem(str(folder), "not-found", message))
    name, (file,) = found[0]
    linear = [f for f in _files(folder, _LINEAR[name]) if f.stem == _LINEAR[name]]
    if len(linear) != 1:
        message = f"Beside {file.name}, {_LINEAR[name]}.pth says how much each channel counts (version 0.1); there are {len(linear)} of it."
        raise InputError(Problem(str(folder), "not-found", message))
    return Perceptual(name, _convolutions(name, file), _channels(name, linear[0]))


def _files(folder: Path, start: str) -> list[Path]:
    return sorted(f for f in folder.iterdir() if f.name.startswith(start) and f.suffix in _ENDINGS)


def _convolutions(name: str, file: Path) -> tuple[tuple[Tensor, Tensor], ...]:
    state, before, out = _tensors(file), 3, []
    for layer in _NETWORKS[name]:
        shape = (layer.channels, before, layer.kernel, layer.kernel)
        stem = f"features.{layer.number}"
        out.append((_tensor(state, f"{stem}.weight", shape, file), _tensor(state, f"{stem}.bias", shape[:1], file)))
        before = layer.channels
    return tuple(out)


def _channels(name: str, file: Path) -> tuple[Tensor, ...]:
    state = _tensors(file)
    seen = [layer.channels for layer in _NETWORKS[name] if layer.seen]
    return tuple(_tensor(state, f"lin{k}.model.1.weight", (1, n, 1, 1), file) for k, n in enumerate(seen))


def _tensors(file: Path) -> Mapping[str, Any]:
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(file)
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a file from anywhere
        message = "A state dict of tensors is expected, as safetensors or torch.save writes it; pickles that hold more are never opened."
        raise InputError(Problem(str(file), "bad-weights", message)) from error
    return state if isinstance(state, Mapping) else {}


def _tensor(state: Mapping[str, Any], name: str, shape: tuple[int, ...], file: Path) -> Tensor:
    value = state.get(name)
    came = tuple(value.shape) if isinstance(value, Tensor) else "nothing"
    if not isinstance(value, Tensor) or came != shape or not bool(value.isfinite().all()):
        message = f"{name} must hold finite numbers of shape {shape}; there is {came}. Are its names torchvision's (lpips')?"
        raise InputError(Problem(str(file), "bad-weights", message))
    return value.float()


def _shown(planes: NDArray[Any], low: float, width: float) -> Tensor:
    """Return planes (N, Y, X) as grey photographs (N, 3, Y, X), standardised as the networks are used to."""
    grey = torch.from_numpy(np.asarray((planes.astype(np.float64) - low) / width * 2 - 1, np.float32))[:, None]
    shift, scale = (torch.tensor(values)[:, None, None] for values in (_SHIFT, _SCALE))
    return (grey - shift) / scale
