"""The wavelet space: exact both ways, every band at unit variance, measured without an optimiser."""

from pathlib import Path

import pytest
import torch
from textures import CONDITIONS, Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.model_file import read_card
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.spaces.wavelet import Wavelets
from sciimg.augmenters.training import fit

STEPS = {2: ((2, 2), (2, 2)), 3: ((1, 2, 2), (2, 2, 2))}
SHAPES = {2: (2, 8, 16), 3: (1, 6, 8, 8)}


def images(dims: int, n: int = 16) -> torch.Tensor:
    x = torch.randn(n, *SHAPES[dims], generator=torch.Generator().manual_seed(dims))
    return 3.0 + 2.0 * x.cumsum(-1)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("levels", [1, 2])
def test_round_trip_with_statistics(dims: int, levels: int) -> None:
    x = images(dims)
    space = Wavelets(x.shape[1], dims, STEPS[dims][:levels])
    space.measure(x)
    points = space.encode(x)
    assert tuple(points.shape[1:]) == space.shape(tuple(x.shape[1:]))
    assert points[0].numel() == x[0].numel()  # as many numbers as the image has
    torch.testing.assert_close(space.decode(points), x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dims", [2, 3])
def test_every_band_is_standardised(dims: int) -> None:
    x = images(dims)
    space = Wavelets(x.shape[1], dims, STEPS[dims])
    space.measure(x)
    axes = (0, *range(2, x.ndim))
    for band in space.bands(x):
        torch.testing.assert_close(band.mean(axes), torch.zeros(band.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(band.std(axes), torch.ones(band.shape[1]), atol=1e-4, rtol=0)


def test_a_constant_image_is_one_coefficient() -> None:
    """Orthonormal: a level of 2 x 2 multiplies a mean by 2, and details are 0."""
    points = Wavelets(1, 2, ((2, 2), (2, 2))).encode(torch.full((1, 1, 8, 8), 3.0))[0]
    coarse = points.abs().amax((1, 2)).nonzero()
    assert len(coarse) == 1
    torch.testing.assert_close(points[coarse[0, 0]], torch.full((2, 2), 12.0))


def test_training_measures_the_bands_once_and_keeps_them(tmp_path: Path) -> None:
    """The phase has no player: no step is taken, and the statistics travel with the weights."""
    options = {"training.steps": 1, "training.batch": 2, "backbone.widths": [8], "backbone.blocks": [1], "training.held_out_patches": 2}
    source = Textures((9, 14), ("a", "b"))
    fit(
        get_recipe("wavelet-flow", options),
        source,
        Textures((9, 14), ("a", "b"), "calibration"),
        CONDITIONS,
        key=("k",),
        out=tmp_path / "m",
        provenance={},
    )
    model = Augmenter.load(tmp_path / "m")
    assert read_card(tmp_path / "m").steps == {"bands": 0, "process": 1}
    space = model.system.space
    drawn = source.draw(("other",), range(64)).images
    bands = space.bands(model.system.pad(torch.from_numpy(model.card.intensity.forward(drawn))))
    for band in bands:
        torch.testing.assert_close(band.std((0, 2, 3)), torch.ones(band.shape[1]), atol=0.25, rtol=0)
    assert model.reconstruct(drawn) is None  # nothing is lost, so there is nothing to judge
