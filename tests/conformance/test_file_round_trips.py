"""Any array of any type and size that a format can hold: written by a library that had no part in reading it, read back bit for bit."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
import zarr
from dicom_files import write_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sciimg.io import open_image
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")
INTEGERS = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")
FLOATS = ("f4", "f8")
Draw = st.DrawFn
Write = Callable[[Draw, Path, Any, str], None]  # how to write an array with these axes; may draw what a format leaves open


@dataclass(frozen=True)
class Row:
    """A format: which arrays it holds, and who writes them. ``least`` is the shortest that an axis may be and still be told as one."""

    name: str
    file: str
    write: Write
    axes: tuple[str, ...]
    dtypes: tuple[str, ...] = (*INTEGERS, *FLOATS)
    least: int = 1
    told: bool = False  # the axes have to be told: the file names none
    longest: int = 70
    always_5d: bool = False  # axes of one sample are those that an image does not have


def plain_tiff(draw: Draw, path: Path, array: Any, axes: str) -> None:
    options: dict[str, Any] = {"byteorder": draw(st.sampled_from("<>")), "bigtiff": draw(st.booleans())}
    options["compression"] = draw(st.sampled_from([None, "zlib", "lzw", "zstd"]))
    options["tile"] = draw(st.sampled_from([None, (16, 16), (32, 48)]))
    tifffile.imwrite(path, array, photometric="minisblack", metadata=None, **options)


def ome_tiff(draw: Draw, path: Path, array: Any, axes: str) -> None:
    """Pages in any order of planes, as microscopes write them."""
    order = "".join(draw(st.permutations(axes[:-2]))) + "yx"
    compression = draw(st.sampled_from([None, "zlib"]))
    pages = array.transpose([axes.index(a) for a in order])
    tifffile.imwrite(path, pages, ome=True, photometric="minisblack", metadata={"axes": order.upper()}, compression=compression)


def imagej(draw: Draw, path: Path, array: Any, axes: str) -> None:
    shape = dict(zip(axes, array.shape, strict=True))
    pages = array.transpose([axes.index(a) for a in "tzcyx" if a in axes])
    tifffile.imwrite(path, pages, imagej=True, metadata={"axes": "".join(a for a in "tzcyx" if a in shape).upper()})


def nifti(draw: Draw, path: Path, array: Any, axes: str) -> None:
    kind = draw(st.sampled_from([nibabel.Nifti1Image, nibabel.Nifti2Image]))
    header = kind.header_class(endianness=draw(st.sampled_from("<>")))
    header.set_data_dtype(array.dtype)
    header.set_xyzt_units("mm", "sec")
    nibabel.save(kind(array.T, np.eye(4), header, dtype=array.dtype), path)


def itk(draw: Draw, path: Path, array: Any, axes: str) -> None:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed here")
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path), draw(st.booleans()))


def nrrd(draw: Draw, path: Path, array: Any, axes: str) -> None:
    library = pytest.importorskip("nrrd", reason="pynrrd is not installed here")
    header = {"encoding": draw(st.sampled_from(["raw", "gzip", "bzip2"])), "spacings": [1.0] * array.ndim}
    header["endian"] = order = draw(st.sampled_from(["little", "big"]))
    array = array.astype(array.dtype.newbyteorder(">" if order == "big" else "<"))
    library.write(str(path), array.T, header, detached_header=path.suffix == ".nhdr", index_order="F")


def mrc(draw: Draw, path: Path, array: Any, axes: str) -> None:
    library = pytest.importorskip("mrcfile", reason="mrcfile is not installed here")
    with library.new(path, overwrite=True) as file, np.errstate(over="ignore", invalid="ignore"):  # of its statistics
        file.set_data(array)
        if array.ndim == 3:
            file.set_volume()


def npy(draw: Draw, path: Path, array: Any, axes: str) -> None:
    order = draw(st.sampled_from([np.ascontiguousarray, np.asfortranarray]))
    np.save(path, order(array.astype(array.dtype.newbyteorder(draw(st.sampled_from("<>"))))))


def pillow(draw: Draw, path: Path, array: Any, axes: str) -> None:
    PIL.Image.fromarray(np.moveaxis(array, 0, -1) if "c" in axes else array).save(path)


def dicom(draw: Draw, path: Path, array: Any, axes: str) -> None:
    for file in path.glob("*"):
        file.unlink()
    write_series(path, array)


def ome_zarr(draw: Draw, path: Path, array: Any, axes: str) -> None:
    """By zarr-python, in either version of OME-Zarr, its axes in any order that the format allows, its chunks of any size."""
    version = draw(st.sampled_from(["0.4", "0.5"]))
    order = axes if version == "0.5" else "".join(a for a in "tczyx" if a in axes)
    group = zarr.create_group(path, overwrite=True, zarr_format=2 if version == "0.4" else 3)
    chunks = tuple(draw(st.integers(max(1, n // 4), n)) for n in array.shape)
    group.create_array(
        "0", data=array, chunks=chunks, **({"chunk_key_encoding": {"name": "v2", "separator": "/"}} if version == "0.4" else {})
    )
    kinds = {"t": "time", "c": "channel"}
    about = {"axes": [{"name": a, "type": kinds.get(a, "space")} for a in order]}
    about["datasets"] = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0] * array.ndim}]}]
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": "0.4", **about}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [about]}


MANY = ("yx", "zyx", "cyx", "tyx", "czyx", "tcyx", "tzyx", "tczyx")
ROWS = [
    Row("TIFF", "a.tif", plain_tiff, ("yx",)),
    Row("TIFF, stack", "a.tif", plain_tiff, ("zyx", "tyx"), least=2, told=True),
    Row("OME-TIFF", "a.ome.tif", ome_tiff, MANY, (*INTEGERS[:6], *FLOATS), always_5d=True),
    Row("ImageJ", "a.tif", imagej, MANY, ("u1", "u2", "f4"), least=2),
    Row("NIfTI", "a.nii", nifti, ("zyx", "tzyx"), least=2),
    Row("NIfTI, gzipped", "a.nii.gz", nifti, ("zyx", "tzyx"), least=2),
    Row("MetaImage", "a.mha", itk, ("yx", "zyx")),
    Row("MetaImage, data beside it", "a.mhd", itk, ("yx", "zyx")),
    Row("NRRD", "a.nrrd", nrrd, ("yx", "zyx")),
    Row("NRRD, data beside it", "a.nhdr", nrrd, ("yx", "zyx")),
    Row("NRRD of ITK", "a.nrrd", itk, ("yx", "zyx")),
    Row("MRC", "a.mrc", mrc, ("zyx",), ("i1", "i2", "u2", "f4"), least=2),
    Row("NPY", "a.npy", npy, MANY, told=True),
    Row("PNG", "a.png", pillow, ("yx",), ("u1", "u2")),
    Row("PNG, colours", "a.png", pillow, ("cyx",), ("u1",)),
    Row("BMP", "a.bmp", pillow, ("yx",), ("u1",)),
    Row("DICOM", "series", dicom, ("zyx",), ("u1", "i1", "u2", "i2", "u4", "i4"), least=2, longest=9),
    Row("OME-Zarr", "a.zarr", ome_zarr, MANY),
]  # fmt: skip


@st.composite
def arrays(draw: Draw, row: Row) -> tuple[str, Any]:
    axes, dtype = draw(st.sampled_from(row.axes)), np.dtype(draw(st.sampled_from(row.dtypes)))
    shape, room = [], 5000
    for axis in reversed(axes):
        few = {"t": 4, "c": 4, "z": 12}.get(axis, row.longest)
        shape.append(
            draw(st.sampled_from([3, 4]))
            if (row.name, axis) == ("PNG, colours", "c")
            else draw(st.integers(row.least, max(row.least, min(room, few))))
        )
        room //= shape[-1]
    shape.reverse()
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind != "f":
        info = np.iinfo(dtype)
        array = rng.integers(info.min, info.max, shape, dtype=dtype, endpoint=True)
        array.flat[:2] = (info.min, info.max)[: array.size]
        return axes, array
    real = np.finfo(dtype)
    array = np.frombuffer(rng.bytes(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
    edge = np.array([-0.0, 0.0, real.max, real.min, real.smallest_subnormal, real.tiny], dtype)
    return axes, np.where(np.isfinite(array) & (rng.random(shape) < 0.8), array, rng.choice(edge, shape))


def without_ones(array: Any) -> Any:
    return array.reshape([n for n in array.shape[:-2] if n > 1] + list(array.shape[-2:]))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_others_write_is_read_bit_for_bit(row: Row, tmp_path: Path) -> None:
    path = tmp_path / row.file

    @given(st.data())
    @settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
    def whole_way(data: st.DataObject) -> None:
        axes, array = data.draw(arrays(row))
        row.write(data.draw, path, array, axes)
        if row.always_5d:
            axes, array = "".join(a for a, n in zip(axes, array.shape, strict=True) if n > 1 or a in "yx"), without_ones(array)
        image = open_image(path, spacing=PIXEL, axes=axes if row.told else None)
        assert (image.axes, image.shape, image.dtype) == (axes, array.shape, array.dtype)
        assert image.read().tobytes() == array.tobytes()  # bit for bit: -0.0 is not 0.0
        box = tuple(slice(*sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))) for n in array.shape)
        assert image.read(box).tobytes() == array[box].tobytes()

    whole_way()
