"""An independent segmenter: small, seeded, trained on real images only, in 2D or 3D.

It reads the condition back from a synthetic image (mask fidelity), finds the objects of the morphology check, and is the student of the
downstream comparison. One thread and float32, so that a repeated training gives the same bits.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sciimg.errors import InputError, Problem
from sciimg.files import write_bytes
from sciimg.randomness import generator, seed_of
from sciimg.records import pretty_json
from sciimg.types import LabelKind, PatchSet
from sciimg.validation.augment import Augmentation, augmented
from sciimg.validation.targets import class_count, to_classes, to_labels
from sciimg.validation.unet import MULTIPLE, UNet, new_unet

_PIXELS = 2**15  # of a batch, before the limits below
_BATCH = (2, 8)
_LIMIT = 5.0  # normalised intensities are clipped here


@dataclass(frozen=True)
class Training:
    """How a segmenter is trained; steps, never seconds."""

    steps: int = 200
    width: int = 8
    learning_rate: float = 1e-2
    augmentation: Augmentation = "symmetries"


@dataclass(frozen=True)
class Segmenter:
    """A trained network with what it needs to read images: normalisation per channel, kind and number of classes."""

    network: UNet
    kind: LabelKind
    classes: int
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    width: int

    def probabilities(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return class probabilities (N, K, [Z,] Y, X) of images (N, C, [Z,] Y, X) in the units of the training images."""
        shape = images.shape[2:]
        out = np.empty((len(images), self.classes, *shape), np.float32)
        self.network.eval()
        with one_thread(), torch.inference_mode():
            for i, image in enumerate(images):  # one by one: a sample's result does not depend on its neighbours
                logits = self.network(_padded(_normalised(image[None], self.mean, self.scale)))
                cut = (slice(None), slice(None), *(slice(n) for n in shape))
                out[i] = logits[cut].softmax(dim=1)[0].numpy()
        return out

    def segment(self, patches: PatchSet) -> PatchSet:
        """Return the patches with the segmenter's labels in place of their own."""
        return replace(patches, labels=to_labels(self.probabilities(patches.images), self.kind), label_kind=self.kind)

    def save(self, path: Path) -> None:
        """Write weights and description as one safetensors file."""
        from safetensors.torch import save

        about = {"kind": self.kind, "classes": self.classes, "width": self.width, "dims": self.network.head.weight.ndim - 2}
        tensors = dict(self.network.state_dict()) | {"mean": torch.from_numpy(self.mean), "scale": torch.from_numpy(self.scale)}
        write_bytes(path, save(tensors, {"sciimg": pretty_json(about)}))

    @classmethod
    def load(cls, path: Path) -> "Segmenter":
        """Read what :meth:`save` wrote."""
        from safetensors import safe_open

        with safe_open(path, "pt") as stream:
            about = json.loads(stream.metadata()["sciimg"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a mapping)
        mean, scale = tensors.pop("mean").numpy(), tensors.pop("scale").numpy()
        network = new_unet(about["dims"], len(mean), about["classes"], about["width"], 0)
        network.load_state_dict(tensors)
        return cls(network, about["kind"], about["classes"], mean, scale, about["width"])


@contextmanager
def one_thread() -> Iterator[None]:
    """Run a block with one intra-op thread: the order of summation, and so every bit, does not depend on the machine's load."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train_segmenter(
    real: PatchSet, plan: Training, *, key: tuple[str | int, ...], added: PatchSet | None = None, share: float = 0.0
) -> Segmenter:
    """Train a segmenter.

    Parameters
    ----------
    real : PatchSet
        Labelled images; normalisation comes from these.
    key : tuple
        Seeds weights, batches and augmentation.
    added : PatchSet, optional
        Further labelled images (synthetic ones); every batch holds ``share`` of them.
    share : float
        Fraction of each batch taken from ``added``.

    Raises
    ------
    InputError
        If there are no labelled, finite images to learn from.
    """
    _require(real, "training")
    pools = [_Pool.of(real, real.label_kind)]
    if added is not None and share > 0:
        _require(added, "added")
        pools.append(_Pool.of(added, real.label_kind))
    kind = real.label_kind
    assert kind is not None and real.labels is not None
    mean, scale = _statistics(real.images)
    classes = max(class_count(pool.labels, kind) for pool in pools)
    network = new_unet(real.dims, real.images.shape[1], classes, plan.width, seed_of(*key, "weights"))
    rng = generator(*key, "batches")
    batch = int(np.clip(_PIXELS // np.prod(real.images.shape[2:]), *_BATCH))
    optimiser = torch.optim.AdamW(network.parameters(), plan.learning_rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _pace(step, plan.steps))
    layout = torch.channels_last if real.dims == 2 else torch.channels_last_3d
    network.to(memory_format=layout).train()  # type: ignore[call-overload]
    with one_thread():
        for _ in range(plan.steps):
            images, labels = _batch(pools, batch, share, (mean, scale), rng)
            images, labels = augmented(images, labels, plan.augmentation, rng, oriented=kind == "classes")
            loss = _loss(network(_padded(images.contiguous(memory_format=layout))), _padded(labels))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    return Segmenter(network, kind, classes, mean, scale, plan.width)


@dataclass(frozen=True)
class _Pool:
    images: NDArray[Any]
    labels: NDArray[np.int32]  # as classes

    @classmethod
    def of(cls, patches: PatchSet, kind: LabelKind | None) -> "_Pool":
        assert patches.labels is not None and kind is not None
        return cls(patches.images, to_classes(patches.labels, kind))


def _require(patches: PatchSet, what: str) -> None:
    problems = []
    if len(patches) == 0:
        problems.append(Problem(what, "empty", "A segmenter needs images to learn from; there are none."))
    elif patches.labels is None or patches.label_kind is None:
        problems.append(Problem(what, "unlabelled", "A segmenter needs labelled images; give the source labels in the study."))
    elif not np.all(np.isfinite(patches.images)):
        problems.append(Problem(what, "not-finite", "Images hold NaN or infinity; a segmenter cannot learn from them."))
    if problems:
        raise InputError(problems)


def _statistics(images: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    axes = (0, *range(2, images.ndim))
    mean = images.mean(axis=axes, dtype=np.float64)
    scale = images.std(axis=axes, dtype=np.float64)
    return mean.astype(np.float32), np.where(scale > 0, scale, 1.0).astype(np.float32)


def _normalised(images: NDArray[Any], mean: NDArray[np.float32], scale: NDArray[np.float32]) -> Tensor:
    column = (1, -1, *(1,) * (images.ndim - 2))
    values = (images.astype(np.float32) - mean.reshape(column)) / scale.reshape(column)
    return torch.from_numpy(np.clip(values, -_LIMIT, _LIMIT))


def _padded(x: Tensor) -> Tensor:
    """Pad spatial sides at their end to the multiple that the network needs; labels are padded with the ignored class -1."""
    spatial = x.shape[2:] if x.is_floating_point() else x.shape[1:]
    missing = [(-n) % MULTIPLE for n in spatial]
    if not any(missing):
        return x
    widths = [width for n in reversed(missing) for width in (0, n)]
    return F.pad(x, widths, mode="replicate") if x.is_floating_point() else F.pad(x, widths, value=-1)


def _batch(
    pools: Sequence[_Pool], size: int, share: float, statistics: tuple[NDArray[np.float32], NDArray[np.float32]], rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    other = rng.random(size) < share if len(pools) > 1 else np.zeros(size, dtype=bool)
    images, labels = [], []
    for from_added in other:
        pool = pools[1] if from_added else pools[0]
        row = int(rng.integers(len(pool.images)))
        images.append(pool.images[row])
        labels.append(pool.labels[row])
    return _normalised(np.stack(images), *statistics), torch.from_numpy(np.stack(labels).astype(np.int64))


def _pace(step: int, steps: int) -> float:
    """Linear start over a tenth of the training, then a half cosine to zero."""
    return min(1.0, (step + 1) / max(1, steps // 10)) * (0.5 + 0.5 * float(np.cos(np.pi * step / steps)))


def _loss(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy plus soft Dice over the classes other than background (Milletari et al. 2016, doi:10.1109/3DV.2016.79)."""
    known = target >= 0
    entropy = F.cross_entropy(logits, target, ignore_index=-1)
    one_hot = F.one_hot(target.clamp(min=0), logits.shape[1]).movedim(-1, 1)[:, 1:] * known[:, None]
    probability = logits.softmax(dim=1)[:, 1:] * known[:, None]
    axes = (0, *range(2, logits.ndim))
    overlap = (probability * one_hot).sum(axes)
    dice = (2 * overlap + 1) / (probability.sum(axes) + one_hot.sum(axes) + 1)
    return entropy + 1 - dice.mean()
