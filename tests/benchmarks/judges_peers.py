"""Metrics beside other libraries and closed forms: values side by side, processor seconds and memory in turns of one run.

Peers that are not installed are named as such: ``pip install --group peers`` brings torchmetrics, torch-fidelity and prdc, which nothing
else needs. Alone: ``python tests/benchmarks/judges_peers.py [--small]``.
"""

import argparse
import ctypes
import importlib
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float64]
Compute = Callable[[], float]

TURNS = 3


@dataclass(frozen=True)
class Row:
    """One metric of one input, by several programs.

    Parameters
    ----------
    programs : dict
        What computes the value; ``sciimg`` first. A program that is not installed raises ImportError.
    equal : float
        Largest difference from sciimg that is allowed, absolute.
    notes : dict
        What a program does otherwise; its difference is shown and not held against anyone.
    exact : float, optional
        What a closed form gives.
    """

    what: str
    case: str
    programs: dict[str, Compute]
    equal: float = 1e-9
    notes: dict[str, str] = field(default_factory=dict)
    exact: float | None = None


def peers(small: bool) -> list[dict[str, Any]]:
    """Return every row with values, seconds, memory and ratios; AssertionError where values differ."""
    ready_torchvision()
    rows = []
    for make in (images, masks, vectors):
        for row in make(small):
            found = measured(row, 1 if small else TURNS)
            print(json.dumps(found))
            rows.append(found)
    return rows


def measured(row: Row, turns: int) -> dict[str, Any]:
    """Return what the programs of a row give and take."""
    values: dict[str, float] = {}
    missing: dict[str, str] = {}
    for name, compute in row.programs.items():
        try:
            values[name] = float(compute())  # the first call pays for imports
        except ImportError as error:
            missing[name] = f"not installed: {error.name or error}"
    seconds: dict[str, list[float]] = {name: [] for name in values}
    for _ in range(turns):
        for name in values:
            start = time.process_time()
            row.programs[name]()
            seconds[name].append(time.process_time() - start)
    mine = values["sciimg"]
    found: dict[str, Any] = {"what": row.what, "case": row.case}
    if row.exact is not None:
        found["closed_form"] = row.exact
        assert abs(mine - row.exact) <= row.equal, (row.what, row.case, mine, row.exact)
    found["programs"] = {
        name: {"value": value, "difference": abs(value - mine), "seconds": short(statistics.median(seconds[name]))}
        | {"peak_mb": peak_mb(row.programs[name])}
        | ({"note": row.notes[name]} if name in row.notes else {})
        for name, value in values.items()
    }
    found["times_faster_than"] = {
        name: {"median": short(statistics.median(ratios)), "worst": short(min(ratios))}
        for name in values
        if name != "sciimg" and (ratios := [a / max(b, 1e-9) for a, b in zip(seconds[name], seconds["sciimg"], strict=True)])
    }
    if missing:
        found["not_run"] = missing
    unequal = {n: v for n, v in values.items() if n not in row.notes and not abs(v - mine) <= row.equal}
    assert not unequal, (row.what, row.case, mine, unequal)
    return found


def short(value: float) -> float:
    return float(f"{value:.3g}")


def peak_mb(compute: Compute) -> float | None:
    """Return by how much the memory of the process rises during one call, in MB; None where the kernel does not say.

    The kernel's high-water mark sees every allocator, those of torch and of C code too.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed must not serve this one unseen
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except (OSError, AttributeError):
        return None
    before = _kilobytes("VmRSS")
    compute()
    return round(max(_kilobytes("VmHWM") - before, 0) / 1024, 1)


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


# ---------------------------------------------------------------- images


def _pair(shape: tuple[int, ...]) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    image = 2000 + 300 * ndimage.gaussian_filter(rng.normal(size=shape), 1.5)
    return image, image + rng.normal(0, 15, shape)


def _torch(*arrays: NDArray[Any]) -> list[Any]:
    import torch

    return [torch.from_numpy(np.ascontiguousarray(a))[None, None] for a in arrays]


def images(small: bool) -> list[Row]:
    """Similarity of pairs."""
    from skimage import metrics as sk

    from sciimg.validation.pair import mutual_information, ncc, nrmse, psnr
    from sciimg.validation.similarity import ms_ssim, ssim

    scale = 1000.0
    rows = []
    for shape in ((64, 64), (14, 16, 18)) if small else ((512, 512), (16, 24, 24), (32, 64, 64)):
        a, b = _pair(shape)
        case = f"{' x '.join(map(str, shape))}, float64"
        # torchmetrics takes half a gigabyte for 16 x 24 x 24 voxels, and memory in proportion to their number
        third: dict[str, Compute] = {} if a.size == 32 * 64**2 else {"torchmetrics": lambda a=a, b=b: _torchmetrics_ssim(a, b, scale)}  # type: ignore[misc]
        rows.append(
            Row(
                "SSIM",
                case,
                {
                    "sciimg": lambda a=a, b=b: ssim(a, b, data_range=scale),  # type: ignore[misc]
                    "scikit-image": lambda a=a, b=b: sk.structural_similarity(  # type: ignore[misc]
                        a, b, data_range=scale, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
                    ),
                    **third,
                    "monai": lambda a=a, b=b: _monai_ssim(a, b, scale),  # type: ignore[misc]
                },
                1e-6,
                {"monai": "takes its moments in float32"},  # torchmetrics mirrors the border and counts it: compared without
            )
        )
    side = 176 if small else 256
    a, b = _pair((side, side))
    case = f"{side} x {side}, float64"
    rows += [
        Row(
            "MS-SSIM",
            case,
            {
                "sciimg": lambda: ms_ssim(a, b, data_range=scale),
                "torchmetrics": lambda: _torchmetrics("multiscale_structural_similarity_index_measure", a, b, scale, sigma=1.5),
            },
            notes={"torchmetrics": "mirrors the border and counts it"},
        ),
        Row(
            "PSNR",
            case,
            {
                "sciimg": lambda: psnr(a, b, data_range=scale),
                "scikit-image": lambda: sk.peak_signal_noise_ratio(a, b, data_range=scale),
                "torchmetrics": lambda: _torchmetrics("peak_signal_noise_ratio", a, b, scale),
                "monai": lambda: _monai_psnr(a, b, scale),
            },
            1e-9,
            {"torchmetrics": "a torch scalar of float32 in the logarithm", "monai": "a torch scalar of float32 in the logarithm"},
        ),
        Row("NRMSE", case, {"sciimg": lambda: nrmse(a, b), "scikit-image": lambda: sk.normalized_root_mse(a, b)}),
        Row("NCC", case, {"sciimg": lambda: ncc(a, b), "numpy": lambda: np.corrcoef(a.ravel(), b.ravel())[0, 1]}),
        Row("mutual information", case, {"sciimg": lambda: mutual_information(a, b), "scikit-learn": lambda: _sklearn_information(a, b)}),
    ]
    return rows


def _torchmetrics(name: str, a: Array, b: Array, scale: float, **options: Any) -> float:
    from torchmetrics.functional import image as theirs

    first, second = _torch(a, b)
    return float(getattr(theirs, name)(second, first, data_range=scale, **options))


def _torchmetrics_ssim(a: Array, b: Array, scale: float) -> float:
    from torchmetrics.functional import image as theirs

    first, second = _torch(a, b)
    whole = theirs.structural_similarity_index_measure(second, first, data_range=scale, sigma=1.5, return_full_image=True)[1]
    return float(whole[(..., *(slice(5, -5),) * a.ndim)].mean())


def _monai_ssim(a: Array, b: Array, scale: float) -> float:
    import torch
    from monai.metrics import SSIMMetric

    return float(SSIMMetric(a.ndim, data_range=torch.tensor(scale), kernel_sigma=1.5)(*_torch(a, b)))


def _monai_psnr(a: Array, b: Array, scale: float) -> float:
    from monai.metrics import PSNRMetric

    return float(PSNRMetric(max_val=scale)(*_torch(a, b)))


def _sklearn_information(a: Array, b: Array) -> float:
    from sklearn.metrics import mutual_info_score

    return float(mutual_info_score(None, None, contingency=np.histogram2d(a.ravel(), b.ravel(), bins=64)[0]))


# ---------------------------------------------------------------- masks


def masks(small: bool) -> list[Row]:
    """Overlap and distance of masks."""
    from sciimg.validation.masks import dice, hausdorff

    shape = (16, 32, 32) if small else (32, 128, 128)
    rng = np.random.default_rng(1)
    relief = ndimage.gaussian_filter(rng.normal(size=shape), 4)
    a, b = relief > 0, ndimage.gaussian_filter(relief + 0.02 * rng.normal(size=shape), 1) > 0
    case, spacing = " x ".join(map(str, shape)), (2.0, 0.5, 0.5)
    return [
        Row(
            "Dice",
            case,
            {"sciimg": lambda: dice(a, b), "monai": lambda: _monai_dice(a, b), "torchmetrics": lambda: _torchmetrics_dice(a, b)},
            1e-6,
        ),
        Row(
            "Hausdorff distance, 95 %",
            f"{case}, spacing 2 x 0.5 x 0.5",
            {
                "sciimg": lambda: hausdorff(a, b, spacing=spacing, percentile=95),
                "monai": lambda: _monai_hausdorff(a, b, spacing),
            },
            1e-5,
        ),
    ]


def _monai_dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    from monai.metrics import DiceMetric

    first, second = _torch(a.astype(np.float32), b.astype(np.float32))
    return float(DiceMetric(include_background=True)(second, first))


def _torchmetrics_dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    from torchmetrics.functional.classification import binary_f1_score

    first, second = _torch(a.astype(np.int64), b.astype(np.int64))
    return float(binary_f1_score(second, first))


def _monai_hausdorff(a: NDArray[np.bool_], b: NDArray[np.bool_], spacing: tuple[float, ...]) -> float:
    from monai.metrics import compute_hausdorff_distance

    first, second = _torch(a.astype(np.float32), b.astype(np.float32))
    return float(compute_hausdorff_distance(second, first, include_background=True, percentile=95, spacing=list(spacing)))


# ---------------------------------------------------------------- sets of vectors


def vectors(small: bool) -> list[Row]:
    """Distances between sets in a feature space."""
    from sciimg.validation import distance as ours

    n, d = (120, 8) if small else (1000, 64)
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(n, d)), 0.2 + 1.1 * rng.normal(size=(n, d))
    case = f"{n} + {n} vectors of {d}"
    width = ours.median_distance(x)
    along = ours.directions(np.random.default_rng(3), d, 128)
    shift = np.linspace(-0.5, 0.5, d)
    kinds = np.eye(8)[np.arange(n - n % 8) % 8]

    def neighbours(part: str) -> dict[str, Compute]:
        return {
            "sciimg": lambda: getattr(ours.prdc(x, y), part),
            "prdc": lambda: _prdc(x, y)[part],
            **({"torch-fidelity": lambda: _fidelity_prc(x, y)[part]} if part in ("precision", "recall") else {}),
        }

    return [
        Row(
            "KID, all vectors",
            case,
            {
                "sciimg": lambda: ours.kid(x, y),
                "torch-fidelity": lambda: _fidelity_kid(x, y),
                "torchmetrics": lambda: _torchmetrics_kid(x, y),
            },
            1e-9,
        ),
        Row(
            "Fréchet distance",
            case,
            {
                "sciimg": lambda: ours.frechet(x, y),
                "torch-fidelity": lambda: _fidelity_fd(x, y),
                "torchmetrics": lambda: _torchmetrics_fd(x, y),
                "monai": lambda: _monai_fd(x, y),
            },
            1e-6,
        ),
        Row("MMD, Gaussian kernel", case, {"sciimg": lambda: ours.mmd(x, y, width), "scikit-learn": lambda: _sklearn_mmd(x, y, width)}),
        *(Row(part, f"{case}, k = 5", neighbours(part), 1e-6) for part in ("precision", "recall", "density", "coverage")),
        Row(
            "Fréchet distance",
            f"{case}, moved: |shift|²",
            {"sciimg": lambda: ours.frechet(x, x + shift)},
            1e-6,
            exact=float(shift @ shift),
        ),
        Row(
            "sliced Wasserstein",
            f"{case}, moved: root mean square of the shift along each direction",
            {"sciimg": lambda: ours.sliced_wasserstein(x, x + shift, along)},
            1e-9,
            exact=math.sqrt(float(np.mean((shift @ along) ** 2))),
        ),
        Row("Vendi score", f"{len(kinds)} vectors of 8 orthogonal kinds", {"sciimg": lambda: ours.vendi(kinds)}, 1e-9, exact=8.0),
    ]


def _moments(x: Array) -> tuple[Array, Array]:
    return x.mean(axis=0), np.cov(x.T)


def ready_torchvision() -> None:
    """Import torchvision, which torchmetrics and torch-fidelity import, where it is installed.

    Its compiled operators may be built for another torch than the one that is here. No metric needs them, but two of them must have a name.
    """
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return
    except RuntimeError:
        import torch

        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        for operator in ("nms", "qnms"):
            torch.library.define(f"torchvision::{operator}", "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        importlib.import_module("torchvision")


def fidelity(module: str) -> Any:
    """Return a module of torch-fidelity."""
    return importlib.import_module(f"torch_fidelity.{module}")


def _fidelity_kid(x: Array, y: Array) -> float:
    kid = fidelity("metric_kid")
    kernels = [
        kid.kernel_poly(*p, kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1) for p in ((x, x), (x, y), (y, y))
    ]
    return float(kid.mmd2(*kernels))


def _fidelity_fd(x: Array, y: Array) -> float:
    statistics_of = [{"mu": m, "sigma": s} for m, s in (_moments(x), _moments(y))]
    return float(next(iter(fidelity("metric_fid").fid_statistics_to_metric(*statistics_of, False).values())))


def _fidelity_prc(x: Array, y: Array) -> dict[str, float]:
    import torch

    made, real = torch.from_numpy(y), torch.from_numpy(x)
    found = fidelity("metric_prc").calculate_precision_recall_full(made, real, 5)
    return dict(zip(("precision", "recall"), found, strict=True))


def _torchmetrics_kid(x: Array, y: Array) -> float:
    import torch
    from torchmetrics.image.kid import poly_mmd

    return float(poly_mmd(torch.from_numpy(x), torch.from_numpy(y)))


def _torchmetrics_fd(x: Array, y: Array) -> float:
    import torch
    from torchmetrics.image.fid import _compute_fid

    return float(_compute_fid(*(torch.from_numpy(np.asarray(part)) for pair in (_moments(x), _moments(y)) for part in pair)))


def _monai_fd(x: Array, y: Array) -> float:
    import torch
    from monai.metrics import FIDMetric

    return float(FIDMetric()(torch.from_numpy(y), torch.from_numpy(x)))


def _prdc(x: Array, y: Array) -> dict[str, float]:
    import contextlib
    import io

    from prdc import compute_prdc

    with contextlib.redirect_stdout(io.StringIO()):
        return dict(compute_prdc(x, y, nearest_k=5))


def _sklearn_mmd(x: Array, y: Array, width: float) -> float:
    from sklearn.metrics.pairwise import rbf_kernel

    gamma, n = 1 / (2 * width**2), len(x)
    within = [(rbf_kernel(v, v, gamma).sum() - n) / (n * (n - 1)) for v in (x, y)]
    return float(sum(within) - 2 * rbf_kernel(x, y, gamma).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description="Metrics beside other libraries.")
    parser.add_argument("--small", action="store_true")
    peers(parser.parse_args().small)


if __name__ == "__main__":
    main()
