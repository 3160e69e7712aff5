"""Co-occurrence statistics beside mirp's, which follow the same standard."""

import logging

import numpy as np
import pytest

from sciimg.validation.features.cooccurrence import TEXTURES, grey_levels, matrices, textures

mirp = pytest.importorskip("mirp")

NAMES = {
    "joint-maximum": "joint_max", "joint-average": "joint_avg", "joint-variance": "joint_var", "joint-entropy": "joint_entr",
    "difference-average": "diff_avg", "difference-entropy": "diff_entr", "sum-entropy": "sum_entr", "angular-second-moment": "energy",
    "contrast": "contrast", "inverse-difference-moment": "inv_diff_mom", "correlation": "corr", "cluster-shade": "clust_shade",
    "cluster-prominence": "clust_prom",
}  # fmt: skip


@pytest.mark.parametrize(("shape", "method"), [((1, 20, 24), "2d_slice_merge"), ((12, 20, 24), "3d_volume_merge")])
@pytest.mark.filterwarnings("ignore")
def test_co_occurrence_equals_mirp(shape, method):
    logging.disable(logging.WARNING)
    image = np.clip(np.random.default_rng(0).normal(size=shape), -2.99, 4.99).astype(np.float32)
    theirs = mirp.extract_features(
        image=image,
        mask=np.ones(shape, bool),
        base_feature_families=["cooccurrence_matrix"],
        base_discretisation_method="fixed_bin_size",
        base_discretisation_bin_width=0.25,
        resegmentation_intensity_range=[-3.0, 5.0],
        glcm_spatial_method=[method],
        by_slice=shape[0] == 1,
    )[0].iloc[0]
    ours = textures(matrices(grey_levels(image[None, 0] if shape[0] == 1 else image[None])))[0]
    for name, value in zip(TEXTURES, ours, strict=True):
        (key,) = [k for k in theirs.index if k.startswith(f"cm_{NAMES[name]}_d1")]
        assert value == pytest.approx(theirs[key], rel=1e-9), name
