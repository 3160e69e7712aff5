"""Which names of channels stay: words of the field, markers, wavelengths; nothing that may be a person, a day or a number of a patient."""

import pytest

from sciimg.io.channel_names import is_plain, plain_channels
from sciimg.io.ome import immersion
from sciimg.types import Channel


@pytest.mark.parametrize(
    "name",
    [
        "DAPI", "Hoechst", "EGFP (561)", "Alexa Fluor 488", "AF647", "Cy3.5", "C1-mCherry", "channel-3", "Texas Red", "haematoxylin",
        "T1", "T2 FLAIR", "CD45", "Ki67", "Brightfield", "TL DIC", "Ex 488 / Em 525", "NeuN", "grey", "Iba1", "HLA-2", "",
    ],
)  # fmt: skip
def test_words_of_the_field_stay(name):
    assert is_plain(name)


@pytest.mark.parametrize(
    "name",
    [
        "Qvistgaard",
        "DAPI Qvistgaard",
        "19630217",
        "GFP 1963-02-17",
        "17.02.63 DAPI",
        "DAPI 1963 02 17",
        "GFP MRN47110",
        "Ada_GFP",
        "mrn12345",
        "Sankt Elsewhere",
        "Zoë DAPI",
        "王小明",
    ],
)
def test_what_may_be_a_person_a_day_or_a_number_does_not(name):
    assert not is_plain(name)


def test_names_that_go_are_numbered_and_counted_and_stay_apart():
    channels = (Channel("DAPI", 461.0), Channel("Qvistgaard", 520.0), Channel("channel-1"))
    out, left = plain_channels(channels)
    assert (out[0], left) == (channels[0], 1)
    assert out[1].wavelength_nm == 520.0 and len({c.name for c in out}) == 3
    assert plain_channels(channels, {"Qvistgaard"}) == (channels, 0)


def test_an_objective_is_immersed_in_something_known():
    assert [immersion(said) for said in ("Oil", " water ", "GLYC", "Qvistgaard", "", None)] == ["Oil", "Water", "Glycerol", "", "", ""]
