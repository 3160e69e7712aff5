"""What is particular to MetaImage: data beside the header, directions by axis, and headers that lie."""

import zlib
from types import SimpleNamespace

import numpy as np
import pytest

from sciimg.errors import InputError
from sciimg.io import open_image
from sciimg.io.open import digest_source
from sciimg.stages.source_files import source_digests
from sciimg.types import Spacing

HEADER = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False", "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0", "ElementSpacing": "1 2 3", "DimSize": "4 3 2", "ElementType": "MET_SHORT",
}  # fmt: skip
ARRAY = np.arange(24, dtype="<i2").reshape(2, 3, 4)
BYTES = ARRAY.tobytes()


def write(folder, name="a.mhd", data="a.raw", content=BYTES, **changes):
    fields = {k: v for k, v in (HEADER | changes).items() if v is not None}
    text = "".join(f"{k} = {v}\n" for k, v in fields.items()) + f"ElementDataFile = {data}\n"
    (folder / name).write_bytes(text.encode() + (content if data == "LOCAL" else b""))
    if data != "LOCAL" and content is not None:
        (folder / "a.raw").write_bytes(content)
    return folder / name


def kinds(path):
    with pytest.raises(InputError) as caught:
        open_image(path).read()
    return [p.kind for p in caught.value.problems]


@pytest.mark.parametrize("name", ["../a.raw", "/etc/passwd", "sub/../../a.raw", "..\\a.raw", "C:\\a.raw", "C:a.raw"])
def test_a_header_may_not_lead_out_of_its_folder(tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "a.raw").write_bytes(ARRAY.tobytes())
    assert kinds(write(folder, data=name, content=None)) == ["path-escape"]


def test_data_in_a_folder_below(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.raw").write_bytes(ARRAY.tobytes())
    np.testing.assert_array_equal(open_image(write(tmp_path, data="sub/b.raw", content=None)).read(), ARRAY)


@pytest.mark.parametrize(
    ("expected", "changes"),
    [
        ("data-file-missing", {"content": None}),
        ("several-data-files", {"data": "LIST"}),
        ("several-data-files", {"data": "slice%03d.raw 1 2 1"}),
        ("absurd-size", {"DimSize": "400000 300000 200000"}),
        ("truncated", {"DimSize": "4 3 3"}),
        ("truncated", {"content": ARRAY.tobytes()[:-1]}),
        ("singular-affine", {"TransformMatrix": "1 0 0 1 0 0 0 0 1"}),
        ("singular-affine", {"TransformMatrix": "1 0 0 0 nan 0 0 0 1"}),
        ("corrupt", {"TransformMatrix": "1 0 0 0 1 0"}),
        ("corrupt", {"DimSize": "4 3"}),
        ("dtype", {"ElementType": "MET_STRING"}),
        ("axes", {"NDims": "5", "DimSize": "4 3 2 1 1"}),
        ("empty-image", {"DimSize": "4 0 2"}),
        ("unknown-spacing", {"ElementSpacing": None}),
        ("unknown-spacing", {"TransformMatrix": None, "Offset": None}),
    ],
)
def test_refusals(tmp_path, expected, changes):
    assert kinds(write(tmp_path, **changes)) == [expected]


def test_directions_are_listed_axis_by_axis(tmp_path):
    """x of the voxels runs along world y (LPS), so along -y of RAS."""
    image = open_image(write(tmp_path, TransformMatrix="0 1 0 1 0 0 0 0 1", Offset="10 20 30"))
    np.testing.assert_allclose(image.affine, [[0, -2, 0, -10], [-1, 0, 0, -20], [0, 0, 3, 30], [0, 0, 0, 1]])
    assert image.spacing == Spacing((3.0, 2.0, 1.0), "millimeter")


def test_axes_that_are_not_at_right_angles_are_noted(tmp_path):
    image = open_image(write(tmp_path, TransformMatrix="1 0 0 0.6 0.8 0 0 0 1"))
    assert "not-orthogonal" in [p.kind for p in image.problems]


def test_a_stated_unit_is_believed(tmp_path):
    image = open_image(write(tmp_path, DistanceUnits="um"))
    assert image.spacing == Spacing((3.0, 2.0, 1.0), "micrometer")
    assert image.problems == ()


@pytest.mark.parametrize("place", [-1, -3])
def test_a_flipped_bit_in_packed_data_is_noticed(tmp_path, place):
    packed = bytearray(zlib.compress(ARRAY.tobytes()))
    packed[place] ^= 1  # in the checksum: the numbers would decode
    assert kinds(write(tmp_path, content=bytes(packed), CompressedData="True")) == ["corrupt"]


def test_packed_data_that_hold_more_than_declared(tmp_path):
    content = zlib.compress(ARRAY.tobytes() + bytes(10_000_000))
    assert kinds(write(tmp_path, content=content, CompressedData="True")) == ["size-mismatch"]
    cut = zlib.compress(ARRAY.tobytes())[:-4]  # every number is there, the checksum is not
    assert kinds(write(tmp_path, content=cut, CompressedData="True")) == ["truncated"]


def test_raw_data_that_hold_more_than_declared_are_noted(tmp_path):
    image = open_image(write(tmp_path, content=ARRAY.tobytes() + bytes(7)))
    assert "size-mismatch" in [p.kind for p in image.problems]
    np.testing.assert_array_equal(image.read(), ARRAY)


def test_header_size_skips_what_comes_before(tmp_path):
    for size in ("5", "-1"):
        np.testing.assert_array_equal(open_image(write(tmp_path, content=b"12345" + ARRAY.tobytes(), HeaderSize=size)).read(), ARRAY)


def test_big_endian_and_text(tmp_path):
    big = write(tmp_path, content=ARRAY.astype(">i2").tobytes(), BinaryDataByteOrderMSB="True")
    np.testing.assert_array_equal(open_image(big).read(), ARRAY)
    text = write(tmp_path, data="LOCAL", content=" ".join(map(str, ARRAY.ravel())).encode(), BinaryData="False")
    np.testing.assert_array_equal(open_image(text).read(), ARRAY)
    short = write(tmp_path, data="LOCAL", content=" ".join(map(str, 1000 + ARRAY.ravel()[:-1])).encode(), BinaryData="False")
    assert kinds(short) == ["corrupt"]


def test_the_digest_covers_the_data(tmp_path):
    path = write(tmp_path)
    before = digest_source(path)
    assert before == open_image(path).sha256
    write(tmp_path, content=(ARRAY + 1).tobytes())
    assert digest_source(path) != before
    (tmp_path / "a.raw").unlink()
    assert digest_source(path).startswith("sha256:")  # opening says what is wrong


def test_a_source_is_its_headers_and_their_data(tmp_path):
    path = write(tmp_path)
    source = SimpleNamespace(name="s", uri=path.name, table=None, labels=None)
    loaded = SimpleNamespace(folder=tmp_path, study=SimpleNamespace(sources=[source]))
    before = source_digests(loaded)
    (tmp_path / "unrelated.raw").write_bytes(b"1")
    assert source_digests(loaded) == before
    write(tmp_path, content=(ARRAY + 1).tobytes())
    assert source_digests(loaded) != before
