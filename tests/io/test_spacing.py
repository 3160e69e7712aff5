"""Spacing is asked for, never assumed; what file and user say is joined without surprises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciimg.errors import InputError
from sciimg.io.spacing import Stated, Wishes, calibrated, convert, in_known_unit, settle
from sciimg.types import Spacing

UM = Stated({"z": 0.5, "y": 0.2, "x": 0.1}, "micrometer")
FLAT = Stated({"y": 0.2, "x": 0.1}, "micrometer")
positive = st.floats(1e-3, 1e3)


def settled(axes, stated, spacing=None, override=False):
    return settle(axes, stated, Wishes(spacing, override), "file.tif")


def kinds(caught):
    return [p.kind for p in caught.value.problems]


def test_the_file_alone():
    assert settled("czyx", UM)[0] == Spacing((0.5, 0.2, 0.1), "micrometer")
    assert settled("tcyx", UM)[0] == Spacing((0.2, 0.1), "micrometer")


def test_nobody_says():
    with pytest.raises(InputError) as caught:
        settled("zyx", FLAT)
    assert kinds(caught) == ["unknown-spacing"]
    assert "for z" in str(caught.value) and "y=0.2, x=0.1 micrometer" in str(caught.value)


@pytest.mark.parametrize("values", [(2.0,), (2.0, 2.0, 2.0)])
def test_the_user_alone(values):
    assert settled("zyx", Stated(), Spacing(values, "millimeter"))[0] == Spacing((2.0, 2.0, 2.0), "millimeter")


def test_the_user_fills_what_the_file_leaves_out_in_the_units_of_the_file():
    assert settled("zyx", FLAT, Spacing((700.0, 200.0, 100.0), "nanometer"))[0] == Spacing((0.7, 0.2, 0.1), "micrometer")


def test_z_y_x_given_for_a_plane_means_y_x():
    assert settled("yx", Stated(), Spacing((3.0, 2.0, 1.0), "micrometer"))[0].values == (2.0, 1.0)


def test_agreement_within_one_percent_leaves_the_file_its_digits():
    assert settled("yx", FLAT, Spacing((201.0, 99.5), "nanometer"))[0] == Spacing((0.2, 0.1), "micrometer")


OTHER = [Spacing((0.3, 0.2, 0.1), "micrometer"), Spacing((0.5, 0.2, 0.1), "nanometer"), Spacing((2.0,), "pixel")]


@pytest.mark.parametrize("given_", OTHER)
def test_contradiction_needs_insistence(given_):
    with pytest.raises(InputError) as caught:
        settled("zyx", UM, given_)
    assert kinds(caught) == ["spacing-contradiction"]
    spacing, notes = settled("zyx", UM, given_, override=True)
    assert spacing.unit == given_.unit and spacing.values[0] == given_.values[0]
    assert [n.kind for n in notes] == ["spacing-overridden"]


def test_no_physical_size_is_no_claim_against_a_file_that_knows_one():
    pixel = Spacing((1.0,), "pixel")
    assert settled("zyx", UM, pixel)[0].unit == "micrometer"
    assert settled("zyx", Stated(), pixel)[0] == Spacing((1.0, 1.0, 1.0), "pixel")
    assert settled("zyx", FLAT, pixel)[0] == Spacing((1.0, 1.0, 1.0), "pixel")
    assert settled("zyx", UM, pixel, override=True)[0].unit == "pixel"


@given(positive, st.sampled_from(["nm", "µm", "μm", "um", "micron", "mm", "cm", "m", "inch", "Å"]))
def test_units_convert_to_the_same_length(value, unit):
    metres = {"nm": 1e-9, "mm": 1e-3, "cm": 1e-2, "m": 1.0, "inch": 0.0254, "Å": 1e-10}.get(unit, 1e-6)
    ours, name = in_known_unit(value, unit)
    assert convert(ours, name, "millimeter") / 1000 == pytest.approx(value * metres, rel=1e-12)


@pytest.mark.parametrize("unit", ["", None, "pixel", "furlong", "reference frame"])
def test_other_units_are_silence(unit):
    assert in_known_unit(1.0, unit) is None
    assert Stated.of({"x": (1.0, unit)}) == Stated()


@pytest.mark.parametrize(("dpi", "known"), [(72, False), (300, False), (1200, False), (2400, True), (25400, True)])
def test_only_a_resolution_finer_than_print_is_a_calibration(dpi, known):
    assert calibrated(25400 / dpi) is known
