"""Magnetic-resonance checks on real images: halves are accepted, and each fault is flagged by the check that should see it."""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from systems.datasets import template

from sciimg.types import PatchSet, Spacing
from sciimg.validation.physics import CHECKS, RealImages, calibrate, effect
from sciimg.validation.physics.controls import biased, blurred, gaussian_air, ghosted, noisier, truncated
from sciimg.validation.physics.effect import Calibration

pytestmark = pytest.mark.slow

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SIDE = 24
CLASSES = {"csf": 1, "grey-matter": 2, "white-matter": 3}


@cache
def blocks() -> PatchSet:
    """Blocks of the ICBM 152 template with its tissues; columns of blocks along x are the groups."""
    t1, grey, white = (template(kind) for kind in ("t1", "gm", "wm"))
    if t1 is None or grey is None or white is None:
        pytest.skip("nilearn, which ships the brain template, is not installed (extra `demo`)")
    tissue = np.where(t1 > 0.2 * t1.max(), 1, 0).astype(np.int32)
    tissue[(grey > 0.3 * grey.max()) & (grey >= white)] = 2
    tissue[(white > 0.3 * white.max()) & (white > grey)] = 3
    corners = [(z, y, x) for z in range(20, 150, SIDE) for y in range(20, 200, SIDE) for x in range(20, 170, SIDE)]
    boxes = [tuple(slice(a, a + SIDE) for a in corner) for corner in corners]
    full = [b for b in boxes if tissue[b].shape == (SIDE,) * 3 and all(np.sum(tissue[b] == k) > 50 for k in CLASSES.values())]
    images = np.stack([t1[b] for b in full])[:, None] / t1.max() * 1000
    groups = np.array([f"{b[0].start}-{b[1].start}" for b in full])
    table = pd.DataFrame({"image": "icbm", "origin": [f"[{b[0].start}, {b[1].start}, {b[2].start}]" for b in full]})
    spacing = Spacing((1.0,) * 3, "millimeter")
    return PatchSet(
        images.astype(np.float32), np.stack([tissue[b] for b in full]), groups, table, spacing, ("t1",), "classes", {"classes": CLASSES}
    )


@cache
def epi() -> PatchSet:
    """Echo-planar images of a head: 15 planes at ten times, whole fields of view with air."""
    pydicom = pytest.importorskip("pydicom")
    files = sorted((SHARED / "dicom_mr" / "nih_epi" / "20180918GE_mr_0004").glob("*.dcm"))
    if not files:
        pytest.skip("the echo-planar series is not here")
    read = [pydicom.dcmread(file) for file in files]
    groups = np.array([f"{float(one.SliceLocation):+08.2f}" for one in read])
    table = pd.DataFrame({"image": [file.stem for file in files], "origin": "[0, 0]"})
    images = np.stack([one.pixel_array for one in read])[:, None]
    return PatchSet(images, None, groups, table, Spacing((3.75, 3.75), "millimeter"), ("epi",), None, {})


IMAGES = {"blocks": blocks, "epi": epi}
NOT_HERE = {  # what the images cannot tell, and why
    ("blocks", "air-quality"): "no background",
    ("blocks", "rician-noise"): "no background",
    ("blocks", "ghosting"): "parts of images",
    ("blocks", "symmetry"): "from left to right",
    ("epi", "image-quality"): "class labels",
    ("epi", "symmetry"): "from left to right",
}
FAULTS = [
    ("blocks", "image-quality", noisier(1.0)),
    ("blocks", "bias-field", biased(1.5)),
    ("blocks", "k-space-slope", noisier(1.0)),
    ("blocks", "k-space-slope", blurred(1.0)),
    ("blocks", "ringing", truncated(0.6)),
    ("epi", "air-quality", noisier(1.0)),
    ("epi", "rician-noise", gaussian_air),
    ("epi", "ghosting", ghosted(0.05, -1)),
    ("epi", "ghosting", ghosted(0.05, -2)),
    ("epi", "k-space-slope", truncated(0.6)),
    ("epi", "ringing", truncated(0.6)),
]


@cache
def halves(which: str) -> tuple[PatchSet, PatchSet, PatchSet]:
    patches = IMAGES[which]()
    order = np.random.default_rng(0).permutation(np.unique(patches.groups))
    first, second = int(0.4 * len(order)), int(0.6 * len(order))
    return tuple(patches.take(np.flatnonzero(np.isin(patches.groups, part))) for part in np.split(order, [first, second]))  # type: ignore[return-value]


@cache
def ready(which: str, check: str) -> Calibration:
    holdout, calibration, _ = halves(which)
    made = calibrate(CHECKS[check], RealImages(holdout, calibration), rounds=200, bootstrap=60, key=("real",))
    assert isinstance(made, Calibration), made
    return made


@pytest.mark.parametrize(("which", "check"), sorted({(which, check) for which, check, _ in FAULTS}))
def test_the_other_half_of_the_real_images_is_accepted(which: str, check: str) -> None:
    metric = effect(ready(which, check), halves(which)[2], name="x")
    assert metric.value is not None, metric.reason
    assert metric.ci95 is not None and metric.ci95[0] < 1 and metric.value < 1.5


@pytest.mark.parametrize(("which", "check", "fault"), FAULTS)
def test_a_planted_fault_is_flagged_with_certainty(which: str, check: str, fault: object) -> None:
    assert callable(fault)
    metric = effect(ready(which, check), fault(halves(which)[2], np.random.default_rng(0)), name="x")
    assert metric.value is not None and metric.ci95 is not None and metric.ci95[0] > 1


@pytest.mark.parametrize(("which", "check"), sorted(NOT_HERE))
def test_what_these_images_cannot_tell_is_undefined(which: str, check: str) -> None:
    assert NOT_HERE[which, check] in str(calibrate(CHECKS[check], RealImages(IMAGES[which]()), key=("real",)))
