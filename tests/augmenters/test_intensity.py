import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sciimg.augmenters.intensity import learn_scale
from sciimg.errors import InputError


@settings(max_examples=20)
@given(dtype=st.sampled_from(["uint8", "uint16", "int16", "float32"]), seed=st.integers(0, 100))
def test_round_trip(dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = (rng.gamma(2.0, 20.0, (8, 2, 6, 6)) * (rng.random((8, 2, 6, 6)) > 0.1)).clip(0, 255).astype(dtype)
    scale = learn_scale(images, ("a", "b"))
    forward = scale.forward(images)
    assert abs(float(forward.mean())) < 0.5 and 0.5 < float(forward.std()) < 2
    back = scale.inverse(forward)
    assert back.dtype == images.dtype
    if images.dtype.kind in "iu":
        assert np.array_equal(back, images)
    else:
        assert np.allclose(back, images, rtol=1e-4, atol=1e-3)


def test_hot_pixels_do_not_rule_the_scale() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(1000, 100, (16, 1, 32, 32))
    images[0, 0, 0, 0] = 60000
    scale = learn_scale(images.astype(np.uint16), ("a",)).channels[0]
    assert scale.scale == pytest.approx(100, rel=0.05) and scale.high == 60000


def test_output_stays_inside_what_was_seen() -> None:
    images = np.arange(4096, dtype=np.uint16).reshape(4, 1, 32, 32)
    scale = learn_scale(images, ("a",))
    made = scale.inverse(np.array([[[[-50.0, 50.0]]]], np.float32))
    assert made.min() == 0 and made.max() == 4095


def test_every_unusable_channel_is_named() -> None:
    images = np.ones((4, 3, 8, 8), np.float32)
    images[:, 1, 0, 0] = np.nan
    images[:, 2] = np.random.default_rng(0).random((4, 8, 8))
    with pytest.raises(InputError) as caught:
        learn_scale(images, ("flat", "holey", "fine"))
    assert {(p.where, p.kind) for p in caught.value.problems} == {("flat", "constant-channel"), ("holey", "not-finite")}
