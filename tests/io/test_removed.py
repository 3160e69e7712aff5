"""What a header says beside its image is listed by name and count, format by format, and never by value or by a name of the user's own."""

from pathlib import Path

import h5py
import mrcfile
import nibabel
import nrrd
import numpy as np
import PIL.Image
import pytest
import SimpleITK
import tifffile
from PIL.PngImagePlugin import PngInfo

from sciimg.io.removed import removed_from

PLANE = np.random.default_rng(3).integers(0, 255, (9, 11), dtype=np.uint8)
VOLUME = np.random.default_rng(3).integers(0, 255, (4, 9, 11)).astype(np.int16)


def test_tiff_tags_of_storage_are_no_news(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", PLANE, metadata=None, resolution=(1e5, 1e5), resolutionunit=3, software=False)
    assert removed_from(tmp_path / "a.tif") == {}


def test_tiff_tags(tmp_path):
    extra = [(315, "s", 0, "Doe", True), (316, "s", 0, "doe-pc", True), (65000, "s", 0, "Doe", True)]
    tifffile.imwrite(
        tmp_path / "a.tif", PLANE, description="Doe", datetime="1970:01:01 00:00:00", software="s", extratags=extra, metadata=None
    )
    expected = ("Artist", "DateTime", "HostComputer", "ImageDescription", "Software")
    assert removed_from(tmp_path / "a.tif") == {f"TIFF {name}": 1 for name in expected} | {"TIFF tag 65000": 1}


def test_ome_xml(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, PLANE, ome=True, metadata={"axes": "YX", "Name": "Doe", "Description": "Doe"}, software=False)
    more = '<Experimenter ID="Experimenter:0" LastName="Doe"/><Experimenter ID="Experimenter:1" LastName="Roe"/></OME>'
    tifffile.tiffcomment(path, tifffile.tiffcomment(path).replace("</OME>", more).encode())
    expected = {"OME Description": 1, "OME Experimenter": 2, "OME Image Name": 1, "TIFF ImageDescription": 1}
    assert removed_from(path) == expected


def test_png_text_of_a_keyword_that_is_a_name_is_another(tmp_path):
    text = PngInfo()
    for keyword in ("Author", "Doe Jane", "Comment"):
        text.add_text(keyword, "Doe")
    text.add_itxt("XML:com.adobe.xmp", "<x>Doe</x>", zip=True)
    exif = PIL.Image.Exif()
    exif[315], exif[256] = "Doe", 11
    PIL.Image.fromarray(PLANE).save(tmp_path / "a.png", pnginfo=text, exif=exif)
    names = ("Exif Artist", "PNG text (other keyword)", "PNG text Author", "PNG text Comment", "PNG text XML:com.adobe.xmp")
    assert removed_from(tmp_path / "a.png") == dict.fromkeys(names, 1)


def test_jpeg(tmp_path):
    exif = PIL.Image.Exif()
    exif[315] = "Doe"
    exif.get_ifd(34665)[36867] = "1970:01:01 00:00:00"
    exif.get_ifd(34853)[2] = (1.0, 2.0, 3.0)
    PIL.Image.fromarray(PLANE).save(tmp_path / "a.jpg", exif=exif, comment="Doe")
    assert set(removed_from(tmp_path / "a.jpg")) == {"Exif Artist", "Exif DateTimeOriginal", "Exif GPSLatitude", "JPEG comment"}


def test_nrrd(tmp_path):
    header = {"content": "Doe", "Doe Jane": "1970", "DWMRI_b-value": "1000"}
    nrrd.write(str(tmp_path / "a.nrrd"), VOLUME, header)
    found = removed_from(tmp_path / "a.nrrd")
    assert {k: v for k, v in found.items() if k != "NRRD comment"} == {"NRRD content": 1, "NRRD key/value pair": 1}


def test_metaimage(tmp_path):
    image = SimpleITK.GetImageFromArray(VOLUME)
    image.SetMetaData("Comment", "Doe")
    image.SetMetaData("DoeJane", "1970")
    SimpleITK.WriteImage(image, str(tmp_path / "a.mha"))
    assert removed_from(tmp_path / "a.mha") == {"MetaImage comment": 1, "MetaImage other key": 1}


@pytest.mark.parametrize("ending", ["mrc", "mrc.gz", "mrc.bz2"])
def test_mrc(tmp_path, ending):
    kind = {"mrc": None, "mrc.gz": "gzip", "mrc.bz2": "bzip2"}[ending]
    with mrcfile.new(tmp_path / f"a.{ending}", VOLUME, compression=kind) as file:
        file.add_label("Doe")
    assert removed_from(tmp_path / f"a.{ending}") == {"MRC label": 2}  # mrcfile's own, and this


def test_minc_2(tmp_path):
    with h5py.File(tmp_path / "a.mnc", "w") as file:
        group = file.create_group("minc-2.0")
        group.attrs["history"] = "Doe"
        about = group.create_group("info/patient")
        about.attrs["full_name"], about.attrs["Doe_Jane"] = "Doe", "Doe"
        group.create_group("info/acquisition").attrs["repetition_time"] = 2.0
    from sciimg.io.removed import _minc

    assert sorted(_minc(tmp_path / "a.mnc")) == ["MINC :history", "MINC patient:full_name", "MINC patient:other"]


def test_par_rec_of_a_scanner():
    (path, *_) = sorted(Path(nibabel.__file__).parent.glob("tests/data/*phantom*.PAR")) or [None]
    if path is None:
        pytest.skip("this nibabel ships no PAR files")
    assert {"PAR Patient name", "PAR Examination date/time", "PAR Protocol name"} <= set(removed_from(path))


def test_a_header_that_cannot_be_listed_is_said_and_is_no_reason_to_fail(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0\1\0")
    assert removed_from(tmp_path / "a.tif") == {"TIFF header (not listed)": 1}
