"""A dose or an SNR is asked for within what the images of the model can hold."""

import numpy as np
import pytest
from numpy.typing import NDArray

from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.formation.formation import learn_formation
from sciimg.augmenters.formation.settings import Camera, FormationSettings, Scanner
from sciimg.augmenters.intensity import learn_scale
from sciimg.augmenters.model_file import ModelCard
from sciimg.augmenters.recipes import get_recipe
from sciimg.errors import InputError
from sciimg.generation.request import requested


def card_of(recipe: str, settings: FormationSettings, dtype: str) -> ModelCard:
    rng = np.random.default_rng(0)
    images: NDArray[np.generic] = (rng.poisson(50.0, (8, 1, 32, 32)) * 2.0 + 100).astype(dtype)
    return ModelCard(
        recipe=get_recipe(recipe),
        shape=(1, 32, 32),
        conditions=ConditionSchema(),
        intensity=learn_scale(images, ("a",)),
        formation=learn_formation(settings, images, ("a",), (1.0, 1.0), "pixel"),
        spacing=(1.0, 1.0),
        unit="pixel",
        label_kind=None,
        attributes={},
        provenance={},
        versions={},
    )


CAMERA = Camera(
    gain=2.0, offset=100.0, read_noise=1.0
)  # 50 photons a pixel: 65535 is 654 times their mean above the dark, 255 is 1.55 times


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("uint16", ("0.01", "1", "600"), ("1e9", "1000", "1e-5", "0", "nan", "inf")),
        ("uint8", ("1.5",), ("1.6",)),
        ("float32", ("1e9",), ("1e11", "1e-5")),
    ],
)
def test_doses_that_leave_no_picture_are_refused(dtype: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    card = card_of("flow-camera", CAMERA, dtype)
    for dose in good:
        assert requested(card, 1, [f"dose={dose}"], None, 0).table["dose"][0] == float(dose)
    for dose in bad:
        with pytest.raises(InputError, match=r"this model's images can have .* to .*; got"):
            requested(card, 1, [f"dose={dose}"], None, 0)
    assert card.formation is not None
    low, high = card.formation.usable
    form, rng = card.formation.form, np.random.default_rng(0)
    structure = np.full((1, 64, 64), 200.0)
    limit = min(np.iinfo(dtype).max if dtype.startswith("u") else np.inf, 1e30)
    assert form(structure, {"dose": 0.9 * high}, rng).astype(float).mean() < limit  # and nothing breaks at either end
    assert form(structure, {"dose": 1.1 * low}, rng).astype(float).mean() == pytest.approx(100, abs=1)


@pytest.mark.parametrize(("dtype", "bad"), [("uint16", ("1e9", "1e-3")), ("float32", ("1e9", "1e-3"))])
def test_signal_to_noise_that_no_image_has_is_refused(dtype: str, bad: tuple[str, ...]) -> None:
    card = card_of("flow-scanner", Scanner(), dtype)
    assert requested(card, 1, ["snr=20"], None, 0).table["snr"][0] == 20.0
    for snr in bad:
        with pytest.raises(InputError, match=r"this model's images can have .* to .*; got"):
            requested(card, 1, [f"snr={snr}"], None, 0)
