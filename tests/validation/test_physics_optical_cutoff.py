"""The cut-off of the optics: where it lies, what is measured beyond it, and when nothing can be said."""

import math
from dataclasses import replace

import numpy as np
import pytest
import tissue

from sciimg.types import PatchSet, Spacing
from sciimg.validation.physics.optical_cutoff import OpticalCutoff, cutoffs

CHECK = OpticalCutoff()


def seen(images: np.ndarray | None = None, spacing: Spacing | None = None, **told: object) -> PatchSet:
    """The fundus as a microscope with 2.5 cycles a micrometre sees it, or other pixels (N, Y, X) of it."""
    whole = tissue.fundus("train")
    patches = whole if images is None else replace(whole.take(list(range(len(images)))), images=images[:, None])
    return replace(patches, attributes={**patches.attributes, **told}, spacing=spacing or patches.spacing)


def test_the_cut_off_is_twice_the_aperture_over_the_wavelength() -> None:
    assert cutoffs(seen()) == pytest.approx((2.5,))
    assert cutoffs(seen(numerical_aperture=1.3, wavelengths_nm={"green": 650})) == pytest.approx((4.0,))


def test_power_and_flatness_of_white_noise_and_of_passed_structure() -> None:
    """White noise is as strong beyond as within, and its periodogram is exponential: ln of arithmetic over geometric mean is Euler's."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 10, (40, 64, 64))
    patches = seen(noise)
    beyond, flatness = CHECK.measure(patches, CHECK.frame(patches)).mean(axis=0)[0, :2]
    assert beyond == pytest.approx(0, abs=0.1)
    assert flatness == pytest.approx(10 / math.log(10) * np.euler_gamma, abs=0.03)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64, 0.1), np.fft.fftfreq(64, 0.1), indexing="ij"))
    passed = np.fft.ifft2(np.fft.fft2(rng.normal(0, 100, noise.shape)) * (frequency < 2.2)).real
    patches = seen(noise + passed)
    inside = ((frequency < 2.2) & (frequency > 0)).sum() / ((frequency <= 2.5) & (frequency > 0)).sum()
    expected = 10 * np.log10(1 / (1 + 100 * inside))  # a hundred times the power in what is passed
    assert CHECK.measure(patches, CHECK.frame(patches))[:, 0, 0].mean() == pytest.approx(expected, abs=0.2)


def test_a_pattern_beyond_is_not_flat() -> None:
    noise = np.random.default_rng(1).normal(0, 10, (40, 64, 64))
    board = np.where(np.indices((64, 64)).sum(0) % 2, 10.0, -10.0)
    plain, patterned = (CHECK.measure(seen(i), CHECK.frame(seen(i))).mean(axis=0)[0] for i in (noise, noise + board))
    assert patterned[1] > plain[1] + 1


@pytest.mark.parametrize(
    ("told", "spacing", "reason"),
    [
        ({"numerical_aperture": None}, None, "do not say the numerical aperture; give `optics`"),
        ({"wavelengths_nm": {}}, None, "the wavelength of channel 'green'"),
        ({}, Spacing((1.0, 1.0), "pixel"), "distance of pixels is not known"),
        ({}, Spacing((0.5, 0.5), "micrometer"), "pass up to 2.5 cycles a micrometre and the pixels show up to 1;"),
    ],
)
def test_what_is_not_known_is_said(told: dict[str, object], spacing: Spacing | None, reason: str) -> None:
    assert reason in CHECK.obstacle(seen(None, spacing, **told))
    assert CHECK.obstacle(seen()) == ""


def test_nanometres_and_micrometres_are_the_same_optics() -> None:
    fine = seen(None, Spacing((100.0, 100.0), "nanometer"))
    assert np.array_equal(CHECK.frame(fine).beyond[0], CHECK.frame(seen()).beyond[0])
