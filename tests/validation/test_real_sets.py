"""Metrics of sets on real heads (2D) and hippocampi (3D): two samples are alike, and every planted fault is told by its metric."""

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from patchsets import images_2d
from skimage.io import imread

from sciimg.types import PatchSet, Spacing
from sciimg.validation.distribution import set_metrics
from sciimg.validation.features.encoder import train_encoder
from sciimg.validation.features.named import FIXED
from sciimg.validation.features.space import FeatureSpace, Scale, fit_space
from sciimg.validation.physics.controls import blurred, noisier

# grey levels are of an image's own range, and how dark a hippocampus is says how its scanner was set: the darkest quarter looks like all
BLIND = {("cooccurrence", "hippocampi"): "mode-dropped"}
SHARED = Path(__file__).parents[3] / "shared/data"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data, which users do not have")]


def heads() -> PatchSet:
    files = sorted((SHARED / "mednist64/HeadCT").iterdir())
    return images_2d(np.stack([imread(f)[None] for f in files]))


def hippocampi() -> PatchSet:
    """The middle 16 x 24 x 16 voxels of every subject whose intensities are of the commonest kind."""
    volumes = [np.asanyarray(nibabel.load(f).dataobj) for f in sorted((SHARED / "hippocampus_mri/images").glob("*.nii*"))]
    crops = []
    for volume in volumes:
        first = [(n - k) // 2 for n, k in zip(volume.shape, (16, 24, 16), strict=True)]
        crops.append(volume[tuple(slice(f, f + k) for f, k in zip(first, (16, 24, 16), strict=True))])
    kinds = [c.dtype for c in crops]
    common = max(set(kinds), key=kinds.count)
    images = np.stack([c[None] for c in crops if c.dtype == common and c.max() > c.min()])
    return replace(images_2d(images), spacing=Spacing((1.0,) * 3, "millimeter"))


def renamed(patches: PatchSet) -> PatchSet:
    return replace(patches, groups=np.array([f"s{i}" for i in range(len(patches))]))


def judged(real: PatchSet, synthetic: PatchSet, space: FeatureSpace, train: PatchSet) -> dict:
    found = set_metrics(real, renamed(synthetic), [space], train=train, rounds=60)
    return {m.name.removesuffix(f"_{space.name}"): m for m in found}


@pytest.mark.parametrize("images", [heads, hippocampi])
@pytest.mark.parametrize("name", [*FIXED, "encoder"])
def test_faults_are_told_from_real_images(images, name) -> None:
    everything = images()
    order = np.random.default_rng(0).permutation(len(everything))
    train, real, other = (everything.take(part) for part in np.array_split(order, 3))
    if name == "encoder":
        scale = Scale.of(train)
        embed = train_encoder(scale.apply(train.images), steps=120, key=("real",)).embed
        space = fit_space(name, embed, train, scale)
    else:
        space = fit_space(name, FIXED[name], train)
    alike = judged(real, other, space, train)
    if blind := BLIND.get((name, images.__name__)):  # such a space judges nothing, and says what it does not see
        assert alike["kid"].status == "undefined" and alike["kid"].reason.endswith(f"from real ones: {blind}")
        return
    assert alike["kid"].status == "ok", alike["kid"].reason
    assert alike["kid_effect"].ci95[0] < 1 and alike["mmd_effect"].ci95[0] < 1
    assert alike["authenticity_ratio"].ci95[1] > 0.8
    rng = np.random.default_rng(1)
    for plant in (blurred(1.0), noisier(1.0)):
        worse = judged(real, plant(other, rng), space, train)
        assert worse["kid_effect"].value > max(1, alike["kid_effect"].value)
    few = judged(real, other.take(np.resize(np.arange(4), len(other))), space, train)
    assert few["vendi_ratio"].ci95[1] < 1 and few["recall_ratio"].value < alike["recall_ratio"].value
    copied = judged(real, train.take(np.resize(np.arange(len(train)), len(other))), space, train)
    assert copied["authenticity"].value < 0.1 and copied["ct"].ci95[1] < copied["ct"].null.ci95[0]
