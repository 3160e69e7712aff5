"""What is particular to Imaris: a fixed layout of groups, padded arrays, attributes in characters."""

import numpy as np
import pytest

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Channel

h5py = pytest.importorskip("h5py")
VOLUME = np.random.default_rng(5).integers(1, 255, (2, 2, 3, 10, 12), dtype=np.uint8)  # t, c, z, y, x


def say(group, **texts):
    for key, value in texts.items():
        group.attrs[key] = np.frombuffer(str(value).encode(), "S1")


def place(t, c):
    return f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}"


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "a.ims", "w") as file:
        image = file.create_group("DataSetInfo/Image")
        say(image, X=12, Y=10, Z=3, Unit="um", ExtMin0=0, ExtMin1=0, ExtMin2=0, ExtMax0=1.2, ExtMax1=1, ExtMax2=0.9)
        for c in range(2):
            dye = file.create_group(f"DataSetInfo/Channel {c}")
            say(dye, Name=("DAPI", "GFP")[c], LSMEmissionWavelength=(461, 509)[c], LSMExcitationWavelength=(405, 488)[c])
        say(file.create_group("DataSetInfo/TimeInfo"), DatasetTimePoints=2, TimePoint1="2020-02-03 10:00:00.000",
            TimePoint2="2020-02-03 10:00:02.500")  # fmt: skip
        for t, c in np.ndindex(2, 2):
            whole = np.zeros((4, 16, 16), np.uint8)
            whole[:3, :10, :12] = VOLUME[t, c]
            file.create_dataset(f"{place(t, c)}/Data", data=whole, chunks=(2, 8, 8), compression="gzip")
    return tmp_path / "a.ims"


def refused(path, change):
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(InputError) as caught:
        open_image(path).read()
    (problem,) = caught.value.problems
    return problem.kind


def test_size_channels_and_how_it_was_taken(path):
    with h5py.File(path, "r+") as file:
        say(
            file["DataSetInfo/Image"],
            LensPower="63x",
            NumericalAperture="1.4",
            Name="Jane Roe 7",
            Description="(description not specified)",
        )
    image = open_image(path)
    np.testing.assert_array_equal(image.read(), VOLUME)
    assert image.spacing.values == pytest.approx((0.3, 0.1, 0.1)) and image.spacing.unit == "micrometer"
    assert image.channels == (Channel("DAPI", 461.0), Channel("GFP", 509.0))
    assert image.acquisition == {
        "magnification": 63.0, "numerical_aperture": 1.4, "excitation_nm": [405.0, 488.0], "emission_nm": [461.0, 509.0],
        "time_step_s": 2.5,
    }  # fmt: skip
    assert [p.kind for p in image.problems] == ["personal-data"]
    assert "Roe" not in f"{image.problems}{image.acquisition}" and "Description" not in image.problems[0].message


@pytest.mark.parametrize(
    ("away", "kind"),
    [
        (place(0, 0), "missing-channel"),
        (place(1, 1), "missing-channel"),
        ("DataSet/ResolutionLevel 0/TimePoint 0", "missing-time-point"),
        ("DataSet/ResolutionLevel 0/TimePoint 1", "missing-time-point"),  # the last: only TimeInfo knows of it
        ("DataSet/ResolutionLevel 0", "corrupt"),
        ("DataSetInfo/Image", "corrupt"),
    ],
)
def test_what_is_not_there(path, away, kind):
    def remove(file):
        del file[away]

    assert refused(path, remove) == kind


def test_voxels_that_were_never_written(path):
    def empty(file):
        del file[place(1, 0)]["Data"]
        file[place(1, 0)].create_dataset("Data", (4, 16, 16), "u1", chunks=(2, 8, 8))[:2] = 1

    assert refused(path, empty) == "missing-chunks"


def test_links_are_not_followed(path):
    def link(file):
        del file[place(1, 0)]["Data"]
        file[place(1, 0)]["Data"] = h5py.ExternalLink("other.ims", "Data")

    assert refused(path, link) == "external-link"


@pytest.mark.parametrize("texts", [{"X": 17}, {"Z": 0}, {"Y": "ten"}])
def test_a_size_that_does_not_fit(path, texts):
    assert refused(path, lambda file: say(file["DataSetInfo/Image"], **texts)) == "corrupt"


def test_time_points_of_two_kinds(path):
    def change(file):
        del file[place(1, 0)]["Data"]
        file[place(1, 0)]["Data"] = np.ones((4, 16, 16), np.uint16)

    assert refused(path, change) == "corrupt"


def test_extents_that_say_nothing(path):
    assert refused(path, lambda file: say(file["DataSetInfo/Image"], ExtMax0=0)) == "unknown-spacing"


def test_a_calibration_that_may_be_none_is_noted(path):
    with h5py.File(path, "r+") as file:
        say(file["DataSetInfo/Image"], ExtMax0=12, ExtMax1=10, ExtMax2=3)
    assert [p.kind for p in open_image(path).problems] == ["default-spacing"]
