"""Image quality: MRIQC's measures of every sample that need tissues, or no more than the image."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.types import PatchSet
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.physics.air import air_and_signal, brightness_cut
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.controls import noisier
from sciimg.validation.physics.per_sample import PerSample
from sciimg.validation.physics.quality import Summary, cjv, cnr, efc, snr, summary, wm2max
from sciimg.validation.physics.tissues import class_numbers, tissue_of

Array = NDArray[np.float64]

_LEAST = 50  # voxels of a class, or of air, in a sample


@dataclass(frozen=True)
class _Basis:
    classes: dict[str, int]
    cuts: tuple[float, ...]  # between air and subject, per channel


class ImageQuality(PerSample):
    """Distance between distributions over samples of MRIQC's measures of tissue and of focus."""

    name = "image-quality"
    estimator = (
        "per channel and sample, by MRIQC's definitions: snr of each class (median over standard deviation), cjv, cnr and wm2max of the "
        "classes named white and grey matter (cnr where there is air), efc of the whole sample; classes need 50 voxels"
    )
    unit = "natural logarithm of each measure; efc: its own unit, 1 for a constant image"
    source = "MRIQC: Esteban et al. 2017, doi:10.1371/journal.pone.0184661"
    labels = "condition"
    controls = (Control("noise-1-sigma", noisier(1.0)),)

    def undefined(self, real: PatchSet) -> str:
        return "" if class_numbers(real) else "tissues need class labels; the real images have none"

    def basis(self, real: PatchSet) -> _Basis:
        channels = range(len(real.channels))
        return _Basis(class_numbers(real), tuple(brightness_cut(real.images[:, j].astype(np.float64)) for j in channels))

    def values(self, patches: PatchSet, basis: _Basis) -> dict[str, Array]:
        assert patches.labels is not None
        out: dict[str, Array] = {}
        for j, channel in enumerate(patches.channels):
            images = np.maximum(patches.images[:, j].astype(np.float64), 0)  # as MRIQC does
            air = air_and_signal(images, patches.labels, basis.cuts[j])[0]
            rows = [_measures(*one, basis.classes) for one in zip(images, patches.labels, air, strict=True)]
            out |= {f"{channel}:{name}": np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}
        return out

    def smallest(self, name: str) -> float:
        return 0.005 if name.endswith(":efc") else 0.02


def _measures(image: Array, label: NDArray[np.int32], air: NDArray[np.bool_], classes: dict[str, int]) -> dict[str, float]:
    tissues = {name: label == number for name, number in classes.items()}
    found = {name: summary(image[where]) for name, where in tissues.items() if where.sum() >= _LEAST}
    white, grey = (_named_after(found, tissue) for tissue in ("white", "grey"))
    around = summary(image[air]) if air.sum() >= _LEAST else None
    out = {f"snr-{name}": _log(lambda name=name: snr(_there(found.get(name)))) for name in classes}  # type: ignore[misc]
    out["cjv"] = _log(lambda: cjv(_there(white), _there(grey)))
    out["cnr"] = _log(lambda: cnr(_there(white), _there(grey), _there(around)))
    out["wm2max"] = _log(lambda: wm2max(image, _there(white)))
    out["efc"] = _number(lambda: efc(image))
    return out


def _named_after(found: dict[str, Summary], tissue: str) -> Summary | None:
    return next((s for name, s in found.items() if tissue_of(name) == tissue), None)


def _there(part: Summary | None) -> Summary:
    if part is None:
        raise UndefinedError("too few voxels")
    return part


def _number(compute: Callable[[], float]) -> float:
    try:
        return compute()
    except UndefinedError:
        return np.nan


def _log(compute: Callable[[], float]) -> float:
    number = _number(compute)
    return float(np.log(number)) if number > 0 else np.nan
