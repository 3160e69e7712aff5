"""OME-TIFF: sets of files, companions, sub-resolutions, units and acquisition; everything that is not there is refused."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from sciimg.errors import InputError
from sciimg.io import expand, open_image
from sciimg.io.open import digest_source
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")
STACK = np.random.default_rng(5).integers(0, 60000, (2, 3, 16, 18), dtype=np.uint16)  # c, z, y, x
SPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def problem(path, **options):
    with pytest.raises(InputError) as caught:
        open_image(path, **({"spacing": PIXEL} | options)).read()
    (one,) = caught.value.problems
    return one


def kind(path, **options):
    return problem(path, **options).kind


def xml(body: str, head: str = "", **attributes) -> str:
    own = " ".join(f'{k}="{v}"' for k, v in attributes.items())
    return f'{head}<OME xmlns="{SPACE}" {own}>{body}</OME>'


def pixels(inside: str, order="XYZCT", c=2, z=3, t=1, y=16, x=18, more="") -> str:
    sizes = f'SizeX="{x}" SizeY="{y}" SizeZ="{z}" SizeC="{c}" SizeT="{t}"'
    return f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="{order}" Type="uint16" {sizes} {more}>{inside}</Pixels></Image>'


def block(c: int, file: str, uuid: str, count: int = 3) -> str:
    return f'<TiffData FirstC="{c}" FirstZ="0" FirstT="0" IFD="0" PlaneCount="{count}"><UUID FileName="{file}">{uuid}</UUID></TiffData>'


def write(path: Path, array: np.ndarray, text: str, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tifffile.TiffWriter(path, ome=False) as writer:
        for number, plane in enumerate(array):
            description = {"description": text.encode()} if number == 0 else {}
            writer.write(plane, metadata=None, contiguous=False, **description, **options)


def write_set(folder: Path, names=("a_C0.ome.tif", "a_C1.ome.tif"), said=None, **options) -> list[Path]:
    """One file a channel; each has the whole XML and a UUID of its own."""
    blocks = "".join(block(c, (said or names)[c], f"urn:uuid:{c}") for c in range(2))
    for c in range(2):
        write(folder / names[c], STACK[c], xml(pixels(blocks), UUID=f"urn:uuid:{c}"), **options)
    return [folder / name for name in names]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "rowsperstrip": 5}, {"tile": (16, 16)}])
def test_a_set_is_one_image_whichever_file_is_opened(tmp_path, options):
    files = write_set(tmp_path, **options)
    for file in files:
        image = open_image(file, spacing=PIXEL)
        assert (image.axes, image.shape, image.dtype) == ("czyx", (2, 3, 16, 18), np.uint16)
        np.testing.assert_array_equal(image.read(), STACK)
        np.testing.assert_array_equal(image.read((slice(1, 2), slice(1, 3), slice(3, 9), slice(4, 17))), STACK[1:2, 1:3, 3:9, 4:17])
    np.testing.assert_array_equal(tifffile.imread(files[0]), STACK)  # an independent reader puts it together in the same way
    assert len({open_image(file, spacing=PIXEL).sha256 for file in files}) == 1
    assert digest_source(files[1]) == open_image(files[0], spacing=PIXEL).sha256


def test_files_that_were_renamed_are_found_by_their_uuid(tmp_path):
    files = write_set(tmp_path, names=("new_0.tif", "new_1.tif"), said=("a_C0.ome.tif", "a_C1.ome.tif"))
    for file in files:
        np.testing.assert_array_equal(open_image(file, spacing=PIXEL).read(), STACK)


def test_an_absent_file_is_refused_by_name_and_never_zeros(tmp_path):
    first, second = write_set(tmp_path)
    second.unlink()
    found = problem(first)
    assert found.kind == "file-missing" and "a_C1.ome.tif" in found.message


def test_a_file_of_another_set_is_refused(tmp_path):
    first, second = write_set(tmp_path)
    write(second, STACK[0], xml(pixels(""), UUID="urn:uuid:other"))
    assert kind(first) == "uuid-mismatch"


@pytest.mark.parametrize("name", ["../a.ome.tif", "/etc/passwd", "x/../../a.tif", "C:\\a.tif", "..\\a.tif"])
def test_paths_that_lead_elsewhere_are_refused(tmp_path, name):
    write(tmp_path.parent / "a.ome.tif", STACK[1], xml(pixels(""), UUID="urn:uuid:1"))
    path = tmp_path / "a_C0.ome.tif"
    write(path, STACK[0], xml(pixels(block(0, path.name, "urn:uuid:0") + block(1, name, "urn:uuid:1")), UUID="urn:uuid:0"))
    assert kind(path) == "path-escape"


@pytest.mark.parametrize("suffix", ["", "sub/"])
def test_a_companion_and_the_files_that_only_name_it(tmp_path, suffix):
    names = [f"{suffix}a_C{c}.ome.tif" for c in range(2)]
    text = xml(pixels("".join(block(c, names[c], f"urn:uuid:{c}") for c in range(2))), '<?xml version="1.0"?>\n', UUID="urn:uuid:m")
    (tmp_path / "a.companion.ome").write_text(text)
    for c in range(2):
        write(tmp_path / names[c], STACK[c], xml('<BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:m"/>', UUID=f"urn:uuid:{c}"))
    image = open_image(tmp_path / "a.companion.ome", spacing=PIXEL)
    assert (image.axes, image.problems) == ("czyx", ())
    np.testing.assert_array_equal(image.read(), STACK)
    if not suffix:
        np.testing.assert_array_equal(open_image(tmp_path / names[1], spacing=PIXEL).read(), STACK)
        (tmp_path / "a.companion.ome").unlink()
        found = problem(tmp_path / names[1])
        assert found.kind == "file-missing" and "a.companion.ome" in found.message


@pytest.mark.parametrize("order", ["XYZCT", "XYCZT", "XYTCZ", "XYTZC", "XYCTZ", "XYZTC"])
def test_every_order_of_planes(tmp_path, order):
    array = np.random.default_rng(1).integers(0, 99, (2, 3, 4, 5, 6), dtype=np.uint16)  # t, c, z, y, x
    stored = array.transpose(["TCZYX".index(a) for a in order[::-1]]).reshape(-1, 5, 6)
    write(tmp_path / "a.ome.tif", stored, xml(pixels("<TiffData/>", order, 3, 4, 2, 5, 6)))
    image = open_image(tmp_path / "a.ome.tif", spacing=PIXEL)
    assert image.axes == "tczyx"
    np.testing.assert_array_equal(image.read(), array)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (pixels('<TiffData IFD="0" PlaneCount="5"/>'), "plane-missing"),
        (pixels('<TiffData IFD="0" PlaneCount="9"/>'), "plane-missing"),
        (pixels('<TiffData IFD="0" PlaneCount="6"/><TiffData IFD="2" FirstZ="1"/>'), "plane-twice"),
        (pixels('<TiffData IFD="1" PlaneCount="6"/>'), "plane-missing"),
        (pixels('<TiffData IFD="0" FirstZ="7" PlaneCount="6"/>'), "plane-missing"),
        (pixels("<TiffData/>", z=4), "plane-missing"),
        (pixels("<TiffData/>", x=17), "inconsistent-pages"),
        (pixels("<TiffData/>", order="YXZCT"), "axes"),
        (pixels("<TiffData/>", z=0), "corrupt"),
        ("<Image>", "corrupt"),
        ("", "corrupt"),
    ],
)
def test_xml_that_contradicts_the_pages(tmp_path, body, expected):
    write(tmp_path / "a.ome.tif", STACK.reshape(6, 16, 18), xml(body))
    assert kind(tmp_path / "a.ome.tif") == expected


@pytest.mark.parametrize("companion", [False, True])
def test_xml_bombs_are_refused(tmp_path, companion):
    bomb = '<!DOCTYPE OME [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    text = xml(pixels("<TiffData/>", more='Name="&b;"'), '<?xml version="1.0"?>' + bomb)
    path = tmp_path / ("a.companion.ome" if companion else "a.ome.tif")
    path.write_text(text) if companion else write(path, STACK.reshape(6, 16, 18), text)
    assert kind(path) == "xml-entities"


def test_only_the_full_resolution_of_a_pyramid_is_read(tmp_path):
    path = tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        writer.write(
            STACK[0], subifds=2, metadata={"axes": "ZYX", "PhysicalSizeX": 0.2, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 1.0}, tile=(16, 16)
        )
        writer.write(STACK[0, :, ::2, ::2], subfiletype=1, tile=(16, 16))
        writer.write(STACK[0, :, ::4, ::4], subfiletype=1, tile=(16, 16))
    image = open_image(path)
    assert (image.shape, image.spacing, image.problems) == ((3, 16, 18), Spacing((1.0, 0.2, 0.2), "micrometer"), ())
    np.testing.assert_array_equal(image.read(), STACK[0])


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (65.0, "nm", (65.0, "nanometer")),
        (0.1, None, (0.1, "micrometer")),
        (2.0, "mm", (2.0, "millimeter")),
        (2.5, "Å", (0.00025, "micrometer")),
        (1e-9, "km", (1.0, "micrometer")),
        (1e-13, "Mm", (0.1, "micrometer")),
        (100.0, "pm", (0.0001, "micrometer")),
        (1.0, "thou", (25.4, "micrometer")),
        (1e-5, "in", (0.254, "micrometer")),
        (1e-4, "cm", (1.0, "micrometer")),
    ],
)
def test_a_physical_size_in_any_unit(tmp_path, value, unit, expected):
    more = f'PhysicalSizeX="{value}" PhysicalSizeY="{value}"' + (f' PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"' if unit else "")
    write(tmp_path / "a.ome.tif", STACK[0, :1], xml(pixels("<TiffData/>", c=1, z=1, more=more)))
    spacing = open_image(tmp_path / "a.ome.tif").spacing
    assert spacing.unit == expected[1] and spacing.values == pytest.approx((expected[0],) * 2, rel=1e-12)


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "ells"])
def test_what_is_no_length_is_asked_for(tmp_path, unit):
    more = f'PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="{unit}" PhysicalSizeYUnit="{unit}"'
    write(tmp_path / "a.ome.tif", STACK[0, :1], xml(pixels("<TiffData/>", c=1, z=1, more=more)))
    assert kind(tmp_path / "a.ome.tif", spacing=None) == "unknown-spacing"


def test_acquisition_is_kept_and_persons_are_not(tmp_path):
    channels = (
        '<Channel ID="c0" Name="DAPI" SamplesPerPixel="1" ExcitationWavelength="405" EmissionWavelength="0.461"'
        ' EmissionWavelengthUnit="µm">'
        '<DetectorSettings ID="d0" Gain="2.5"/></Channel><Channel ID="c1" Name="GFP" SamplesPerPixel="1" EmissionWavelength="5090"'
        ' EmissionWavelengthUnit="Å"/>'
    )
    planes = "".join(
        f'<Plane TheC="{c}" TheZ="{z}" TheT="0" ExposureTime="{20 + 5 * c}" ExposureTimeUnit="ms"/>' for c in (0, 1) for z in range(3)
    )
    body = (
        '<Experimenter ID="e0" FirstName="Ada" LastName="Lovelace"/>'
        '<Instrument ID="i0"><Objective ID="o0" LensNA="0.8"/>'
        '<Objective ID="o1" LensNA="1.4" NominalMagnification="63" Immersion="Oil"/></Instrument>'
        + pixels(channels + "<TiffData/>" + planes, more='SignificantBits="12"').replace(
            "<Pixels", '<ObjectiveSettings ID="o1" RefractiveIndex="1.518"/><Pixels'
        )
    )
    write(tmp_path / "a.ome.tif", STACK.reshape(6, 16, 18), xml(body))
    image = open_image(tmp_path / "a.ome.tif", spacing=PIXEL)
    assert image.acquisition == {
        "significant_bits": 12,
        "magnification": 63.0,
        "numerical_aperture": 1.4,
        "immersion": "Oil",
        "refractive_index": 1.518,
        "exposure_s": [pytest.approx(0.02), pytest.approx(0.025)],
        "excitation_nm": [405.0, None],
        "emission_nm": [pytest.approx(461.0), pytest.approx(509.0)],
        "gain": [2.5, None],
    }
    (note,) = image.problems
    assert note.kind == "personal-data" and "Experimenter" in note.message
    assert "Ada" not in str(image.problems) + str(image.acquisition)


def test_other_images_of_the_xml_are_noted_and_the_one_in_this_file_is_read(tmp_path):
    one = pixels(block(0, "a.ome.tif", "urn:uuid:0"), c=1)
    other = pixels(block(0, "b.ome.tif", "urn:uuid:1"), c=1).replace(":0", ":1")
    for c, name in enumerate("ab"):
        write(tmp_path / f"{name}.ome.tif", STACK[c], xml(one + other, UUID=f"urn:uuid:{c}"))
    for c, name in enumerate("ab"):
        image = open_image(tmp_path / f"{name}.ome.tif", spacing=PIXEL)
        np.testing.assert_array_equal(image.read(), STACK[c])
        assert [p.kind for p in image.problems] == ["more-images"]


def test_a_folder_or_pattern_gives_a_set_once(tmp_path):
    first, _ = write_set(tmp_path)
    tifffile.imwrite(tmp_path / "b.ome.tif", STACK[0])
    assert [p.name for p in expand(tmp_path)] == [p.name for p in expand("*.tif", tmp_path)] == [first.name, "b.ome.tif"]
    blocks = "".join(block(c, f"a_C{c}.ome.tif", f"urn:uuid:{c}") for c in range(2))
    (tmp_path / "a.companion.ome").write_text(xml(pixels(blocks)))
    assert [p.name for p in expand(tmp_path)] == ["a.companion.ome", "b.ome.tif"]


def test_images_of_one_xml_in_files_of_their_own_stay(tmp_path):
    both = pixels(block(0, "a.ome.tif", "urn:uuid:0"), c=1) + pixels(block(0, "b.ome.tif", "urn:uuid:1"), c=1)
    for c, name in enumerate("ab"):
        write(tmp_path / f"{name}.ome.tif", STACK[c], xml(both, UUID=f"urn:uuid:{c}"))
    assert len(expand(tmp_path)) == 2
