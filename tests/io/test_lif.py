"""What is particular to LIF: projects of several images, and distances in bytes that a header may get wrong."""

import numpy as np
import pytest
from lif_files import element, write_lif

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")
VOLUME = np.random.default_rng(5).integers(0, 4000, (2, 3, 4, 20, 30), dtype=np.uint16)  # t, c, z, y, x
SIZES = {"t": 3.0, "z": 5e-7, "y": 2e-7, "x": 1e-7}


def kinds(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=PIXEL, **options).read()
    return [p.kind for p in caught.value.problems]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.lif"


def write(path, described, data=None, **options):
    write_lif(path, described, blocks={"MemBlock_1": VOLUME.tobytes() if data is None else data}, **options)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("array", "axes"), [(VOLUME, "tczyx"), (VOLUME[0, 0], "zyx"), (VOLUME[0, :, 0].transpose(1, 2, 0).copy(), "yxc")])
def test_the_files_written_here_are_such_files_to_another_program(path, version, array, axes):
    liffile = pytest.importorskip("liffile")
    write(path, element(array, axes, SIZES), array.tobytes(), version=version)
    with liffile.LifFile(path) as theirs:
        np.testing.assert_array_equal(theirs.images[0].asarray(), array)
        coordinates = theirs.images[0].coords
    image = open_image(path)
    expected = [1e6 * (coordinates[a][1] - coordinates[a][0]) for a in image.spatial.upper()]
    assert image.spacing.values == pytest.approx(expected)


def test_several_images_are_listed(path):
    described = [element(VOLUME, "tczyx", name=f"Series{i:03}", label=f"MemBlock_{i}") for i in range(3)]
    write_lif(path, *described, blocks={f"MemBlock_{i}": VOLUME.tobytes() for i in range(3)})
    with pytest.raises(InputError, match=r"holds 3: project/Series000 \(x=30 y=20 z=4 t=2 c=3\); project/Series001") as caught:
        open_image(path)
    assert caught.value.problems[0].kind == "several-images"
    write_lif(path, described[0], described[1].replace('DataType="0"', 'DataType="7"'), blocks={"MemBlock_0": VOLUME.tobytes()})
    with pytest.raises(InputError, match=r"project/Series001 \(not readable\)"):
        open_image(path)
    write_lif(path)
    assert kinds(path) == ["no-image"]


def test_blocks_that_are_not_there_or_too_short(path):
    write_lif(path, element(VOLUME, "tczyx"))
    assert kinds(path) == ["truncated"]
    write(path, element(VOLUME, "tczyx"), VOLUME.tobytes()[:-2])
    assert kinds(path) == ["truncated"]
    write(path, element(VOLUME, "tczyx"))
    data = path.read_bytes()
    for cut in (1, 5000, VOLUME.nbytes + 3):  # the last one within the head of the block
        path.write_bytes(data[:-cut])
        assert kinds(path) == ["truncated"]
    path.write_bytes(data[: -VOLUME.nbytes - 25] + b"\1" + data[-VOLUME.nbytes - 24 :])
    assert kinds(path)[0] in ("corrupt", "truncated")


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('NumberOfElements="30"', 'NumberOfElements="3000000000"', "absurd-size"),
        ('NumberOfElements="30"', 'NumberOfElements="31"', "truncated"),
        ('NumberOfElements="30"', 'NumberOfElements="0"', "corrupt"),
        ('NumberOfElements="30"', 'NumberOfElements="many"', "corrupt"),
        ('BytesInc="60"', 'BytesInc="-60"', "corrupt"),
        ('BytesInc="60"', 'BytesInc="90"', "truncated"),
        ('DimID="3"', 'DimID="10"', "axes"),
        ('DimID="3"', 'DimID="6"', "axes"),
        ('DimID="3"', 'DimID="77"', "axes"),
        ('DimID="3"', 'DimID="4"', "axes"),
        ('DimID="1"', 'DimID="3"', "axes"),
        ('Resolution="16"', 'Resolution="8"', "dtype"),
        ('DataType="0"', 'DataType="7"', "corrupt"),
        ("<Element", "<!DOCTYPE a []><Element", "xml-entities"),
        ('Version="2"', 'Version="9"', "corrupt"),
    ],
)
def test_a_header_that_is_wrong(path, old, new, kind):
    described = element(VOLUME, "tczyx")
    assert old in described or old in ('Version="2"', "<Element")
    if old == 'Version="2"':
        write(path, described)
        path.write_bytes(path.read_bytes().replace(old.encode("utf-16-le"), new.encode("utf-16-le")))
    else:
        write(path, described.replace(old, new, 1))
    assert kinds(path) == [kind]


def test_channels_of_different_kinds(path):
    write(path, element(VOLUME, "tczyx").replace('DataType="0"', 'DataType="1"', 2))
    assert kinds(path) == ["dtype"]


def test_settings_and_people(path):
    settings = (
        '<Attachment Name="HardwareSetting"><ATLConfocalSettingDefinition Magnification="63" NumericalAperture="1.4" Immersion="OIL" '
        'RefractionIndex="1.518" UserName="Erika Muster"><Spectro><MultiBand Channel="1" TargetWaveLengthBegin="500" '
        'TargetWaveLengthEnd="550"/><MultiBand Channel="3" TargetWaveLengthBegin="0" TargetWaveLengthEnd="0"/></Spectro>'
        '<AotfList><Aotf><LaserLineSetting LaserLine="488" IntensityDev="2"/><LaserLineSetting LaserLine="633" IntensityDev="0"/></Aotf>'
        '</AotfList><DetectorList><Detector Channel="1" IsActive="1" Gain="100.5"/><Detector Channel="2" IsActive="0" Gain="3"/>'
        '<Detector Channel="3" IsActive="1" Gain="0"/></DetectorList></ATLConfocalSettingDefinition></Attachment>'
    )
    array = VOLUME[:, :2].copy()
    write(path, element(array, "tczyx", SIZES, bits=12, more=settings, names=("DAPI", "GFP")), array.tobytes())
    image = open_image(path)
    assert image.acquisition == {
        "time_step_s": 3.0, "significant_bits": 12, "magnification": 63.0, "numerical_aperture": 1.4, "refractive_index": 1.518,
        "immersion": "Oil", "gain": [100.5, None], "emission_band_nm": [[500.0, 550.0], None], "laser_lines_nm": [488.0],
    }  # fmt: skip
    assert image.channel_names == ("DAPI", "GFP")
    assert [p.kind for p in image.problems] == ["personal-data"]
    assert "UserName" in image.problems[0].message and "Erika" not in str(image)
