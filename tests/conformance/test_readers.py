"""Every reader against the same contract. A new format adds rows to ``ROWS``: a file made by an independent writer from a known array."""

import gzip
import hashlib
import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
from czi_files import JPEG_XR, ZSTD, ZSTD_HEADED, Tile, described, planes, write_czi
from dicom_files import write_series, write_slice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lif_files import element, write_lif
from nd2_files import write_nd2

from sciimg.errors import InputError
from sciimg.io import Image, open_image
from sciimg.io.open import digest_source
from sciimg.records import digest_of
from sciimg.types import Spacing

RNG = np.random.default_rng(7)
PIXEL = Spacing((1.0,), "pixel")
U8 = RNG.integers(0, 256, (4, 3, 24, 32), dtype=np.uint8)  # enough for z or t, c, y, x
U16 = RNG.integers(0, 65536, (2, 4, 3, 24, 32), dtype=np.uint16)
F32 = RNG.normal(100, 20, (5, 24, 32)).astype(np.float32)
I16 = RNG.integers(-3000, 3000, (5, 24, 32), dtype=np.int16)
LAS = np.array([[-0.5, 0, 0, 90], [0, 0.7, 0, -126], [0, 0, 2.0, -72], [0, 0, 0, 1.0]])
TURNED = np.array([[0.48, -0.196, 0, 1], [0.14, 0.672, 0, 2], [0, 0, 2.0, 3], [0, 0, 0, 1.0]])  # 16.26 degrees about z


@dataclass(frozen=True)
class Row:
    """One file of one format and what must come out of it."""

    name: str
    file: str
    write: Callable[[Path], None]
    expected: np.ndarray
    axes: str
    spacing: Spacing = PIXEL  # "pixel" where the file says nothing
    channels: tuple[str, ...] = ("intensity",)
    affine: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    exact: bool = True


def tif(array: np.ndarray, **options) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, array, **options)


def ome(array: np.ndarray, axes: str, **metadata) -> Callable[[Path], None]:
    return tif(array, ome=True, photometric="minisblack", metadata={"axes": axes, **metadata})


def pil(array: np.ndarray, **options) -> Callable[[Path], None]:
    return lambda path: PIL.Image.fromarray(array).save(path, **options)


def png16(array: np.ndarray) -> Callable[[Path], None]:
    """A 16-bit RGB PNG put together by hand (Pillow has none): one IHDR, one IDAT without filters, one IEND."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + body) and None


def jpeg(array: np.ndarray) -> np.ndarray:
    """What Pillow's decoder makes of a JPEG, which is lossy."""
    from io import BytesIO

    stream = BytesIO()
    PIL.Image.fromarray(array).save(stream, "JPEG", quality=95)
    return np.asarray(PIL.Image.open(stream))


def nii(array: np.ndarray, affine=LAS, kind=nibabel.Nifti1Image, unit: str | None = "mm", **header) -> Callable[[Path], None]:
    """``array`` is in NIfTI order x, y, z, t."""

    def write(path: Path) -> None:
        image = kind(array, affine)
        if unit:
            image.header.set_xyzt_units(unit, "sec")
        for key, value in header.items():
            image.header[key] = value
        nibabel.save(image, path)

    return write


def big_endian_nii(path: Path) -> None:
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    header.set_xyzt_units("mm")
    nibabel.save(nibabel.Nifti1Image(I16.T, LAS, header), path)


def colour_nii(path: Path) -> None:
    colours = np.ascontiguousarray(U8[0, :, :, :, None].transpose(2, 1, 3, 0))  # x, y, z, rgb
    voxels = colours.view([("R", "u1"), ("G", "u1"), ("B", "u1")])[..., 0]
    nii(voxels)(path)


def scaled_nii(path: Path) -> None:
    image = nibabel.Nifti1Image(I16.T, LAS)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(0.25, 10.0)
    image.to_filename(path)
    # nibabel scales what it is given; write the raw integers in their place
    raw = bytearray(path.read_bytes())
    raw[352:] = I16.astype("<i2").tobytes()
    struct.pack_into("<ff", raw, 112, 0.25, 10.0)
    path.write_bytes(raw)


def dicom(volume: np.ndarray, **elements) -> Callable[[Path], None]:
    return lambda path: write_series(path, volume, **elements) and None


def fmri(path: Path) -> None:
    """Three time points at every place, one series, time running through the instance numbers."""
    path.mkdir()
    for t in range(3):
        for z in range(4):
            n = 4 * t + z
            write_slice(path / f"{n:03d}.dcm", U16[0, z, t], (0, 0, 5.0 * z), number=n + 1)


def itk(array: np.ndarray, affine: np.ndarray, vector: bool = False, compress: bool = False) -> Callable[[Path], None]:
    """``array`` is zyx (and channels); ``affine`` is RAS, which ITK turns to LPS."""

    def write(path: Path) -> None:
        sitk = pytest.importorskip("SimpleITK")
        image = sitk.GetImageFromArray(array, isVector=vector)
        steps = np.linalg.norm(affine[:3, :3], axis=0)
        image.SetSpacing(steps.tolist())
        image.SetDirection((np.diag([-1, -1, 1]) @ affine[:3, :3] / steps).reshape(-1).tolist())
        image.SetOrigin((np.diag([-1, -1, 1]) @ affine[:3, 3]).tolist())
        sitk.WriteImage(image, str(path), compress)

    return write


def nrrd(array: np.ndarray, detached: bool = False, **header) -> Callable[[Path], None]:
    """``array`` is in NRRD order, fastest first."""

    def write(path: Path) -> None:
        writer = pytest.importorskip("nrrd")
        writer.write(str(path), array, header, detached_header=detached, index_order="F")

    return write


def mrc(array: np.ndarray, voxel: tuple[float, float, float] = (5.0, 7.0, 20.0), stack: bool = False, big: bool = False,
        volumes: bool = False, **options) -> Callable[[Path], None]:  # fmt: skip
    """``voxel`` is in ångström, x, y, z."""

    def write(path: Path) -> None:
        writer = pytest.importorskip("mrcfile")
        with writer.new(path, **options) as file:
            file.set_data(array)
            if stack:
                file.set_image_stack()
            if volumes:
                file.set_volume()
            if any(voxel):
                file.voxel_size = voxel
        if big:  # every number turned round by hand: mrcfile writes only the machine's own order
            with writer.open(path) as file:
                header, data = file.header.copy(), file.data
                header = header.astype(header.dtype.newbyteorder(">"))
                header.machst = [0x11, 0x11, 0, 0]
                turned = header.tobytes() + data.astype(data.dtype.newbyteorder(">")).tobytes()
            path.write_bytes(turned)

    return write


def minc2(array: np.ndarray, affine: np.ndarray, scaled: bool = False) -> Callable[[Path], None]:
    """A MINC 2 file as libminc lays it out; ``scaled`` gives every slice a range of its own."""

    def write(path: Path) -> None:
        h5py = pytest.importorskip("h5py")
        info = np.iinfo(array.dtype)
        turn = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        with h5py.File(path, "w") as file:
            group = file.create_group("minc-2.0")
            for i, name in enumerate(("xspace", "yspace", "zspace")):
                dimension = group.require_group("dimensions").create_dataset(name, data=0)
                dimension.attrs["step"] = np.linalg.norm(affine[:3, i])
                dimension.attrs["start"] = np.linalg.solve(turn, affine[:3, 3])[i]
                dimension.attrs["direction_cosines"] = turn[:, i]
                dimension.attrs["units"] = np.bytes_("mm")
                dimension.attrs["spacing"] = np.bytes_("regular__")
            image = group.create_group("image/0")
            voxels = image.create_dataset("image", data=array, chunks=(1, *array.shape[1:]), compression="gzip")
            voxels.attrs["dimorder"] = np.bytes_("zspace,yspace,xspace")
            voxels.attrs["valid_range"] = np.array([info.min, info.max], np.float64)
            low, high = minc_range(array, scaled)
            for name, values in (("image-min", low), ("image-max", high)):
                image.create_dataset(name, data=values).attrs["dimorder"] = np.bytes_("zspace")

    return write


def minc1(array: np.ndarray, affine: np.ndarray) -> Callable[[Path], None]:
    """A MINC 1 file by scipy's netCDF writer, every slice with a range of its own."""

    def write(path: Path) -> None:
        from scipy.io import netcdf_file

        turn = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
        names = ("zspace", "yspace", "xspace")
        with netcdf_file(path, "w") as file:
            for name, length in zip(names, array.shape, strict=True):
                file.createDimension(name, length)
                variable = file.createVariable(name, "i", ())
                i = "xyz".index(name[0])
                variable.spacing, variable.units = b"regular__", b"mm"
                variable.step, variable.start = np.linalg.norm(affine[:3, i]), np.linalg.solve(turn, affine[:3, 3])[i]
                variable.direction_cosines = turn[:, i]
            low, high = minc_range(array, scaled=True)
            for name, values in (("image-min", low), ("image-max", high)):
                file.createVariable(name, "d", ("zspace",))[:] = values
            image = file.createVariable("image", "h", names)
            image.signtype = b"signed__"
            image.valid_range = np.array([-32768.0, 32767.0])
            image[:] = array

    return write


def minc_range(array: np.ndarray, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
    info, n = np.iinfo(array.dtype), len(array)
    if not scaled:
        return np.full(n, float(info.min)), np.full(n, float(info.max))
    return np.arange(n) * 0.5 - 4.0, np.arange(n) * 3.0 + 10.0


def minc_values(array: np.ndarray) -> np.ndarray:
    """Real values (MINC programmer's guide): min + (voxel - valid min) / (valid max - valid min) * (max - min)."""
    info = np.iinfo(array.dtype)
    low, high = (v[:, None, None] for v in minc_range(array, scaled=True))
    return (low + (array - float(info.min)) / (float(info.max) - info.min) * (high - low)).astype(np.float32)


def hdf5(array: np.ndarray, name: str = "raw", attributes: dict | None = None, block: int = 0, **options) -> Callable[[Path], None]:
    """One image with a table and labels beside it, which are not the image."""

    def write(path: Path) -> None:
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w", userblock_size=block) as file:
            image = file.create_dataset(name, data=array, **options)
            image.attrs.update(attributes or {})
            file["label"] = np.zeros(array.shape, np.uint8)
            file["table"] = np.arange(12.0).reshape(6, 2)

    return write


def imaris(array: np.ndarray, names: tuple[str, ...], extent: tuple[float, float, float]) -> Callable[[Path], None]:
    """``array`` is tczyx, ``extent`` in µm along x, y, z. As Imaris has it: arrays padded to whole chunks, attributes in characters."""

    def write(path: Path) -> None:
        h5py = pytest.importorskip("h5py")

        def say(group, **texts):
            for key, value in texts.items():
                group.attrs[key] = np.frombuffer(str(value).encode(), "S1")

        chunk = (4, 16, 16)
        padded = tuple(-(-n // c) * c for n, c in zip(array.shape[2:], chunk, strict=True))
        with h5py.File(path, "w") as file:
            say(file, ImarisDataSet="ImarisDataSet", ImarisVersion="5.5.0", DataSetDirectoryName="DataSet")
            info = file.create_group("DataSetInfo")
            z, y, x = array.shape[2:]
            say(
                info.create_group("Image"),
                X=x,
                Y=y,
                Z=z,
                Unit="um",
                Name="(name not specified)",
                **{f"ExtMin{i}": -3.5 for i in range(3)},
                **{f"ExtMax{i}": extent[i] - 3.5 for i in range(3)},
            )
            say(info.create_group("TimeInfo"), DatasetTimePoints=len(array), FileTimePoints=len(array))
            for i, name in enumerate(names):
                say(info.create_group(f"Channel {i}"), Name=name, Color="1.000 0.000 0.000")
            for t, c in np.ndindex(array.shape[:2]):
                whole = np.full(padded, 7, array.dtype)
                whole[:z, :y, :x] = array[t, c]
                for level in range(2):
                    place = f"DataSet/ResolutionLevel {level}/TimePoint {t}/Channel {c}/Data"
                    file.create_dataset(place, data=whole[:, :: level + 1, :: level + 1], chunks=chunk, compression="gzip", shuffle=True)

    return write


PAR_SLOPE = np.array([[0.5, 0.5, 2.0, 2.0], [1.5, 0.25, 0.75, 1.0]])  # t, z: the rescale differs from slice to slice


def parrec(path: Path) -> None:
    """A version 4.2 header written by hand and its pixels: slices outermost, as some scanners export them."""
    general = [
        ("Patient name", "Nobody"), ("Examination date/time", "2000.01.01 / 00:00:00"), ("Max. number of cardiac phases", "1"),
        ("Max. number of echoes", "1"), ("Max. number of slices/locations", "4"), ("Max. number of dynamics", "2"),
        ("Max. number of mixes", "1"), ("Patient position", "Head First Supine"), ("Preparation direction", "Anterior-Posterior"),
        ("Technique", "FEEPI"), ("Scan resolution  (x, y)", "32  24"), ("Scan mode", "MS"), ("Repetition time [ms]", "2000.000"),
        ("FOV (ap,fh,rl) [mm]", "16.800  8.000  16.000"), ("Water Fat shift [pixels]", "0.0"),
        ("Angulation midslice(ap,fh,rl)[degr]", "0.000  0.000  0.000"), ("Off Centre midslice(ap,fh,rl) [mm]", "0.000  0.000  0.000"),
        ("Flow compensation <0=no 1=yes> ?", "0"), ("Presaturation     <0=no 1=yes> ?", "0"),
        ("Phase encoding velocity [cm/sec]", "0.000000  0.000000  0.000000"), ("MTC               <0=no 1=yes> ?", "0"),
        ("SPIR              <0=no 1=yes> ?", "0"), ("EPI factor        <0,1=no EPI>", "1"), ("Dynamic scan      <0=no 1=yes> ?", "1"),
        ("Diffusion         <0=no 1=yes> ?", "0"), ("Diffusion echo time [ms]", "0.0000"),
        ("Max. number of diffusion values", "1"), ("Max. number of gradient orients", "1"), ("Number of label types   <0=no ASL>", "0"),
    ]  # fmt: skip
    lines = ["# === DATA DESCRIPTION FILE ===", "# CLINICAL TRYOUT             Research image export tool     V4.2"]
    lines += [f".    {key:<35}:   {value}" for key, value in general] + ["# === IMAGE INFORMATION ==="]
    for z in range(4):
        for t in range(2):
            slope = PAR_SLOPE[t, z]
            lines.append(
                f"{z + 1} 1 {t + 1} 1 0 2 {2 * z + t} 16 100 32 24 {10.0 * z:.4f} {slope:.5f} 1.00000e+00 1000 2000 0.00 0.00 0.00 "
                f"0.00 {2.0 * z - 3:.3f} 0.00 2.000 0.000 0 1 0 2 0.500 0.700 30.00 0.00 0.00 0.00 1 90.00 0 0 0 1 1 0 0 0 0 0 0 1 1"
            )
    path.write_text("\n".join([*lines, "", "# === END OF DATA DESCRIPTION FILE ==="]) + "\n")
    path.with_suffix(".REC").write_bytes(U16[:, :, 0].swapaxes(0, 1).astype("<u2").tobytes())


def parrec_values() -> np.ndarray:
    return (U16[:, :, 0] * PAR_SLOPE[:, :, None, None] + 10.0 * np.arange(4)[None, :, None, None]).astype(np.float32)


def czi(array: np.ndarray, axes: str, compression: int = 0, **metres: float) -> Callable[[Path], None]:
    """One tile a plane; ``array`` is in the order of ``axes``, rgb last."""
    return lambda path: write_czi(path, planes(array, axes, compression), described(metres, DYES))


def mosaic(path: Path) -> None:
    """Four tiles a plane that overlap by 2 rows and 4 columns, of which later ones lie on top, and the coarser level of all."""
    tiles = [
        Tile(plane, {"C": c, "M": m, "Y": 100 + y, "X": -50 + x})
        for c in range(3)
        for m, (y, x) in enumerate([(0, 0), (0, 14), (11, 0), (11, 14)])
        for plane in [np.full((13, 18), 9, np.uint16) if m == 0 else U16[0, 0, c, y : y + 13, x : x + 18].copy()]
    ]
    for tile in tiles[::4]:  # what only the first tile covers
        c = tile.at["C"]
        tile.pixels[:11, :14] = U16[0, 0, c, :11, :14]
    coarse = Tile(U16[0, 0, 0, ::2, ::2], {"C": 0, "Y": 100, "X": -50}, stored=(24, 32))
    write_czi(path, [coarse, *tiles[::-1]], described({"y": 2e-7, "x": 1e-7}, DYES))


def lif(array: np.ndarray, axes: str, metres: dict[str, float] | None = None, version: int = 2, **options) -> Callable[[Path], None]:
    """``metres`` has seconds for t."""
    return lambda path: write_lif(path, element(array, axes, metres, **options), blocks={"MemBlock_1": array.tobytes()}, version=version)


def nikon(array: np.ndarray, **options) -> Callable[[Path], None]:
    """``array`` is tczyx; frames hold their channels pixel by pixel."""
    times, channels, depths, height, width = array.shape
    frames = array.transpose(0, 2, 3, 4, 1).reshape(times * depths, height, width, channels)
    loops = [(a, n) for a, n in (("t", times), ("z", depths)) if n > 1]

    def write(path: Path) -> None:
        pytest.importorskip("nd2")  # which reads the metadata
        write_nd2(path, frames, loops, **options)

    return write


MM = Spacing((2.0, 0.7, 0.5), "millimeter")
# ap grows with y, fh with z, rl with x (L+ in the file, R+ in RAS); the middle of the volume is at 0
PAR_AFFINE = np.array([[-0.5, 0, 0, 7.75], [0, -0.7, 0, 8.05], [0, 0, 2.0, -3.0], [0, 0, 0, 1.0]])  # centres: half of n - 1 steps
NANOMETRES = Spacing((2.0, 0.7, 0.5), "nanometer")
SPACE = {
    "space": "left-posterior-superior", "kinds": ["domain"] * 3, "space origin": [-1.0, -2.0, 3.0],
    "space directions": (np.diag([-1, -1, 1]) @ TURNED[:3, :3]).T, "space units": ["mm"] * 3,
}  # fmt: skip
SERIES_AFFINE = np.array([[-0.5, 0, 0, 10], [0, -0.7, 0, 20], [0, 0, 2.0, 5], [0, 0, 0, 1.0]])
VIGRA = '{"axes": [{"key": "y", "typeFlags": 2, "resolution": 0}, {"key": "z"}, {"key": "x"}, {"key": "c"}]}'
RGB = ("red", "green", "blue")
DYES = ("DAPI", "GFP", "RFP")
NAMED = {"Channel": {"Name": ["DAPI", "GFP", "RFP"]}, "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 500.0}
NANO = {"PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm", "PhysicalSizeZUnit": "nm"}
IMAGEJ = {"imagej": True, "resolution": (10.0, 5.0), "metadata": {"axes": "TZCYX", "spacing": 0.5, "unit": "um", "finterval": 2.0}}
MICRO = Spacing((0.5, 0.2, 0.1), "micrometer")

ROWS = [
    Row("tiff: plain", "a.tif", tif(U8[0, 0]), U8[0, 0], "yx"),
    Row("tiff: Pillow", "a.tif", pil(U8[0, 0]), U8[0, 0], "yx"),
    Row("tiff: big-endian", "a.tif", tif(U16[0, 0, 0], byteorder=">"), U16[0, 0, 0], "yx"),
    Row("tiff: big-endian, deflate, predictor", "a.tif", tif(U16[0, 0, 0], byteorder=">", compression="zlib", predictor=2), U16[0, 0, 0],
        "yx"),
    Row("tiff: BigTIFF", "a.btf", tif(F32, bigtiff=True), F32, "zyx", notes=("axis-not-named",)),
    Row("tiff: zstd tiles", "a.tif", tif(F32, tile=(16, 16), compression="zstd"), F32, "zyx", notes=("axis-not-named",)),
    Row("tiff: stack of strips", "a.tif", tif(F32, rowsperstrip=5, compression="lzw"), F32, "zyx", notes=("axis-not-named",)),
    Row("tiff: RGB", "a.tif", tif(U8[0].transpose(1, 2, 0), photometric="rgb"), U8[0], "cyx", channels=RGB),
    Row("tiff: RGB planes", "a.tif", tif(U8[0], photometric="rgb", planarconfig="separate", compression="zlib"), U8[0], "cyx",
        channels=RGB),
    Row("tiff: 0.2 x 0.1 µm by tags", "a.tif", tif(U8[0, 0], resolution=(1e5, 5e4), resolutionunit=3), U8[0, 0], "yx",
        Spacing((0.2, 0.1), "micrometer")),
    Row("tiff: 300 dpi is no calibration", "a.tif", tif(U8[0, 0], resolution=(300, 300), resolutionunit=2), U8[0, 0], "yx"),
    Row("tiff: OME, tczyx", "a.ome.tif", ome(U16.swapaxes(1, 2), "TCZYX", **NAMED, **NANO), U16.swapaxes(1, 2), "tczyx", MICRO, DYES),
    Row("tiff: OME, tzcyx", "a.ome.tif", ome(U16, "TZCYX", **NAMED, **NANO), U16.swapaxes(1, 2), "tczyx", MICRO, DYES),
    Row("tiff: OME, compressed", "a.ome.tif", tif(U16[0], ome=True, compression="zlib", photometric="minisblack",
        metadata={"axes": "ZCYX", **NAMED, **NANO}), U16[0].swapaxes(0, 1), "czyx", MICRO, DYES),
    Row("tiff: OME RGB", "a.ome.tif", tif(U8.transpose(0, 2, 3, 1), ome=True, photometric="rgb", metadata={"axes": "ZYXS", **NANO,
        "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.2, "PhysicalSizeZ": 500.0}), U8.swapaxes(0, 1), "czyx", MICRO, RGB),
    Row("tiff: ImageJ hyperstack", "a.tif", tif(U16, **IMAGEJ), U16.swapaxes(1, 2), "tczyx", MICRO,
        ("channel-0", "channel-1", "channel-2")),
    Row("tiff: bool", "a.tif", tif(U8[0, 0] > 99), (U8[0, 0] > 99).astype(np.uint8), "yx"),
    Row("tiff: float16", "a.tif", tif(F32[0].astype(np.float16)), F32[0].astype(np.float16).astype(np.float32), "yx"),
    Row("tiff: BigTIFF, big-endian", "a.tif", tif(U16[0, 0], bigtiff=True, byteorder=">", photometric="minisblack",
        metadata={"axes": "CYX"}),
        U16[0, 0], "cyx", channels=("channel-0", "channel-1", "channel-2")),
    Row("tiff: planes of colour apart", "a.tif", tif(U8[0], planarconfig="separate", photometric="rgb", compression="zlib"), U8[0], "cyx",
        channels=RGB),
    Row("tiff: Aperio slide", "a.svs", tif(U8[0].transpose(1, 2, 0), photometric="rgb", tile=(16, 16), metadata=None, compression="zlib",
        description="Aperio Image Library v1|AppMag = 20|MPP = 0.5"), U8[0], "cyx", Spacing((0.5, 0.5), "micrometer"), RGB),
    Row("png: grey", "a.png", pil(U8[0, 0]), U8[0, 0], "yx"),
    Row("png: 16-bit grey", "a.png", pil(U16[0, 0, 0]), U16[0, 0, 0], "yx"),
    Row("png: RGB", "a.png", pil(U8[0].transpose(1, 2, 0)), U8[0], "cyx", channels=RGB),
    Row("png: RGBA", "a.png", pil(U8[:, 0].transpose(1, 2, 0)), U8[:, 0], "cyx", channels=(*RGB, "alpha")),
    Row("png: 16-bit RGB", "a.png", png16(U16[0, 0].transpose(1, 2, 0)), U16[0, 0], "cyx", channels=RGB),
    Row("jpeg: grey", "a.jpg", pil(U8[0, 0], quality=95), jpeg(U8[0, 0]), "yx", exact=False),
    Row("jpeg: RGB", "a.jpeg", pil(U8[0].transpose(1, 2, 0), quality=95), jpeg(U8[0].transpose(1, 2, 0)).transpose(2, 0, 1), "cyx",
        channels=RGB, exact=False),
    Row("jpeg: progressive", "a.jpg", pil(U8[0, 0], quality=95, progressive=True), jpeg(U8[0, 0]), "yx", exact=False),
    Row("bmp: RGB", "a.bmp", pil(U8[0].transpose(1, 2, 0)), U8[0], "cyx", channels=RGB),
    Row("bmp: grey palette", "a.bmp", pil(U8[0, 0]), U8[0, 0], "yx"),
    Row("nifti: LAS", "a.nii", nii(F32.T), F32, "zyx", MM, affine=LAS),
    Row("nifti: gzipped, oblique", "a.nii.gz", nii(I16.T, TURNED), I16, "zyx", MM, affine=TURNED),
    Row("nifti: version 2", "a.nii.gz", nii(I16.T, LAS, nibabel.Nifti2Image), I16, "zyx", MM, affine=LAS),
    Row("nifti: big-endian", "a.nii", big_endian_nii, I16, "zyx", MM, affine=LAS),
    Row("nifti: time series", "a.nii.gz", nii(U16[:, :, 0].T), U16[:, :, 0], "tzyx", MM, affine=LAS),
    Row("nifti: vectors", "a.nii", nii(U16[:, :, 0].T[:, :, :, None]), U16[:, :, 0], "czyx", MM, ("channel-0", "channel-1"), LAS),
    Row("nifti: RGB voxels", "a.nii.gz", colour_nii, U8[0][:, None], "czyx", MM, RGB, LAS),
    Row("nifti: scaled", "a.nii", scaled_nii, (I16 * 0.25 + 10).astype(np.float32), "zyx", MM, affine=LAS),
    Row("nifti: unit not stated", "a.nii", nii(I16.T, unit=None), I16, "zyx", MM, affine=LAS, notes=("unit-not-stated",)),
    Row("nifti: no orientation", "a.nii", nii(I16.T, None), I16, "zyx", Spacing((1.0, 1.0, 1.0), "millimeter"),
        notes=("no-orientation",)),
    Row("dicom: series", "series", dicom(I16), I16, "zyx", MM, affine=SERIES_AFFINE),
    Row("dicom: fMRI", "fmri", fmri, U16[0].swapaxes(0, 1), "tzyx", Spacing((5.0, 0.7, 0.5), "millimeter"),
        affine=np.array([[-0.5, 0, 0, 0], [0, -0.7, 0, 0], [0, 0, 5.0, 0], [0, 0, 0, 1]])),
    Row("dicom: CT intercept", "ct", dicom(I16, RescaleSlope=1, RescaleIntercept=-1024, BitsStored=13, HighBit=12), I16 - 1024, "zyx", MM,
        affine=SERIES_AFFINE),
    Row("dicom: slope", "pet", dicom(I16, RescaleSlope=0.5, RescaleIntercept=1), (I16 * 0.5 + 1).astype(np.float32), "zyx", MM,
        affine=SERIES_AFFINE),
    Row("dicom: one file", "a.dcm", lambda p: write_slice(p, I16[0], (0, 0, 0)), I16[0], "yx", Spacing((0.7, 0.5), "millimeter"),
        affine=np.diag([-0.5, -0.7, 2, 1])),
    Row("dicom: colour", "a.dcm", lambda p: write_slice(p, U8[0].transpose(1, 2, 0), (0, 0, 0)), U8[0], "cyx",
        Spacing((0.7, 0.5), "millimeter"), RGB, np.diag([-0.5, -0.7, 2, 1])),
    Row("npy: C order", "a.npy", lambda p: np.save(p, F32), F32, "zyx", notes=("axis-not-named",)),
    Row("npy: Fortran order", "a.npy", lambda p: np.save(p, np.asfortranarray(U8)), U8, "czyx",
        channels=tuple(f"channel-{i}" for i in range(4)), notes=("axis-not-named",)),
    Row("metaimage: ITK, oblique", "a.mha", itk(I16, TURNED), I16, "zyx", MM, affine=TURNED, notes=("unit-not-stated",)),
    Row("metaimage: compressed", "a.mha", itk(F32, LAS, compress=True), F32, "zyx", MM, affine=LAS, notes=("unit-not-stated",)),
    Row("metaimage: data beside it", "a.mhd", itk(I16, TURNED), I16, "zyx", MM, affine=TURNED, notes=("unit-not-stated",)),
    Row("metaimage: compressed, beside it", "a.mhd", itk(I16, LAS, compress=True), I16, "zyx", MM, affine=LAS,
        notes=("unit-not-stated",)),
    Row("metaimage: vectors", "a.mha", itk(U16[0].transpose(0, 2, 3, 1), LAS, vector=True), U16[0].swapaxes(0, 1), "czyx", MM,
        ("channel-0", "channel-1", "channel-2"), LAS, ("unit-not-stated",)),
    Row("nrrd: ITK", "a.nrrd", itk(I16, TURNED, compress=True), I16, "zyx", MM, affine=TURNED, notes=("unit-not-stated",)),
    Row("nrrd: ITK, data beside it", "a.nhdr", itk(I16, LAS), I16, "zyx", MM, affine=LAS, notes=("unit-not-stated",)),
    Row("nrrd: raw", "a.nrrd", nrrd(F32.T, encoding="raw", **SPACE), F32, "zyx", MM, affine=TURNED),
    Row("nrrd: bzip2, big-endian", "a.nrrd", nrrd(I16.T.astype(">i2"), encoding="bzip2", endian="big", **SPACE), I16, "zyx", MM,
        affine=TURNED),
    Row("nrrd: gzip, data beside it", "a.nhdr", nrrd(I16.T, detached=True, encoding="gzip", **SPACE), I16, "zyx", MM, affine=TURNED),
    Row("nrrd: text", "a.nrrd", nrrd(U8[0].T, encoding="ascii", **SPACE), U8[0], "zyx", MM, affine=TURNED),
    Row("nrrd: RGB", "a.nrrd", nrrd(U8[0].transpose(0, 2, 1), encoding="gzip", kinds=["RGB-color", "domain", "domain"],
        spacings=[np.nan, 0.1, 0.2], units=["", "um", "um"]), U8[0], "cyx", Spacing((0.2, 0.1), "micrometer"), RGB),
    Row("nrrd: time", "a.nrrd", nrrd(U16[0].T, encoding="raw", kinds=["space", "space", "time", "space"],
        spacings=[0.5, 0.7, 3.0, 2.0], units=["mm", "mm", "s", "mm"]), U16[0].swapaxes(0, 1), "tzyx", MM),
    Row("nrrd: no unit", "a.nrrd", nrrd(I16.T, encoding="raw", spacings=[0.5, 0.7, 2.0]), I16, "zyx"),
    Row("mrc: float", "a.mrc", mrc(F32), F32, "zyx", NANOMETRES),
    Row("mrc: int8", "a.map", mrc(F32.astype(np.int8)), F32.astype(np.int8), "zyx", NANOMETRES),
    Row("mrc: int16, gzipped", "a.mrc.gz", mrc(I16, compression="gzip"), I16, "zyx", NANOMETRES),
    Row("mrc: uint16, bzip2ed", "a.mrc.bz2", mrc(U16[0, :, 0], compression="bzip2"), U16[0, :, 0], "zyx", NANOMETRES),
    Row("mrc: float16", "a.mrc", mrc(F32.astype(np.float16)), F32.astype(np.float16).astype(np.float32), "zyx", NANOMETRES),
    Row("mrc: big-endian", "a.mrc", mrc(I16, big=True), I16, "zyx", NANOMETRES),
    Row("mrc: stack of pictures", "a.mrcs", mrc(I16, stack=True), I16, "tyx", Spacing((0.7, 0.5), "nanometer"),
        notes=("axis-not-named",)),
    Row("mrc: stack of volumes", "a.map", mrc(U16[:, :, 0]), U16[:, :, 0], "tzyx", NANOMETRES),
    Row("mrc: no size", "a.mrc", mrc(I16, (0, 0, 0)), I16, "zyx"),
    Row("minc: 2, whole numbers", "a.mnc", minc2(I16, TURNED), I16, "zyx", MM, affine=TURNED),
    Row("minc: 2, rescaled slices", "a.mnc", minc2(I16, TURNED, scaled=True), minc_values(I16), "zyx", MM, affine=TURNED, exact=False),
    Row("minc: 1, rescaled slices", "a.mnc", minc1(I16, TURNED), minc_values(I16), "zyx", MM, affine=TURNED, exact=False),
    Row("par/rec: rescaled slices", "a.PAR", parrec, parrec_values(), "tzyx", MM, affine=PAR_AFFINE, exact=False),
    Row("hdf5: chunks, gzip, size", "a.h5", hdf5(I16, attributes={"element_size_um": [0.5, 0.2, 0.1]}, chunks=(2, 16, 16),
        compression="gzip"), I16, "zyx", MICRO),
    Row("hdf5: big-endian, user block", "a.hdf5", hdf5(F32.astype(">f8"), "x/image", block=8192), F32.astype(np.float64), "zyx",
        notes=("axis-not-named",)),
    Row("hdf5: axistags, channels last", "a.h5", hdf5(U8.transpose(2, 0, 3, 1), "exported_data", {"axistags": VIGRA}, fletcher32=True,
        chunks=True), U8.transpose(1, 0, 2, 3), "czyx", channels=("channel-0", "channel-1", "channel-2")),
    Row("hdf5: dimension labels, unit", "a.h5", hdf5(U16[:, :, 0], "s", {"DIMENSION_LABELS": list("tzyx"),
        "resolution": [500.0, 200.0, 100.0], "unit": "nm"}), U16[:, :, 0], "tzyx", Spacing((500.0, 200.0, 100.0), "nanometer")),
    Row("hdf5: bool", "a.h5", hdf5(U8[0, 0] > 99), (U8[0, 0] > 99).astype(np.uint8), "yx"),
    Row("hdf5: float16", "a.h5", hdf5(F32.astype(np.float16), compression="lzf"), F32.astype(np.float16).astype(np.float32), "zyx",
        notes=("axis-not-named",)),
    Row("imaris: times and channels", "a.ims", imaris(U16.transpose(0, 2, 1, 3, 4), DYES, (3.2, 4.8, 2.0)), U16.transpose(0, 2, 1, 3, 4),
        "tczyx", MICRO, channels=DYES),
    Row("imaris: one volume, float32", "a.ims", imaris(F32[None, None], ("DAPI",), (3.2, 4.8, 2.5)), F32, "zyx", MICRO, channels=("DAPI",)),
    Row("czi: planes", "a.czi", czi(U16, "tzcyx", z=5e-7, y=2e-7, x=1e-7), U16.swapaxes(1, 2), "tczyx", MICRO, DYES),
    Row("czi: Zstandard", "a.czi", czi(U8, "zcyx", ZSTD, z=5e-7, y=2e-7, x=1e-7), U8.swapaxes(0, 1), "czyx", MICRO, DYES),
    Row("czi: Zstandard, bytes apart", "a.czi", czi(U16[0], "zcyx", ZSTD_HEADED, z=5e-7, y=2e-7, x=1e-7), U16[0].swapaxes(0, 1), "czyx",
        MICRO, DYES),
    Row("czi: JPEG XR", "a.czi", czi(U16[0, 0], "cyx", JPEG_XR, y=2e-7, x=1e-7), U16[0, 0], "cyx", Spacing((0.2, 0.1), "micrometer"),
        DYES),
    Row("czi: float, no size", "a.czi", lambda p: write_czi(p, [Tile(F32[0])]), F32[0], "yx"),
    Row("czi: RGB", "a.czi", czi(U8[0].transpose(1, 2, 0), "yx"), U8[0], "cyx", channels=RGB),
    Row("czi: RGB, JPEG XR", "a.czi", czi(U8[0].transpose(1, 2, 0), "yx", JPEG_XR), U8[0], "cyx", channels=RGB),
    Row("czi: 16-bit RGB, Zstandard", "a.czi", czi(U16[0, 0].transpose(1, 2, 0), "yx", ZSTD), U16[0, 0], "cyx", channels=RGB),
    Row("czi: mosaic with a pyramid", "a.czi", mosaic, U16[0, 0], "cyx", Spacing((0.2, 0.1), "micrometer"), DYES, notes=("mosaic",)),
    Row("lif: planes", "a.lif", lif(U16, "tzcyx", {"t": 2.0, "z": 5e-7, "y": 2e-7, "x": 1e-7}, names=DYES), U16.swapaxes(1, 2), "tczyx",
        MICRO, DYES),
    Row("lif: version 1, float", "a.lif", lif(F32, "zyx", {"z": 5e-7, "y": 2e-7, "x": 1e-7}, version=1), F32, "zyx", MICRO),
    Row("lif: colours pixel by pixel, blue first", "a.lif", lif(np.ascontiguousarray(U8[0].transpose(1, 2, 0)), "yxc", tags=(3, 2, 1)),
        U8[0][::-1], "cyx", channels=RGB),
    Row("lif: section x-z", "a.lif", lif(U8[0, 0], "zx", {"z": 2e-7, "x": 1e-7}), U8[0, 0], "yx", Spacing((0.2, 0.1), "micrometer"),
        notes=("section",)),
    Row("nd2: frames", "a.nd2", nikon(U16.swapaxes(1, 2), calibration=0.1, z_step=0.5, period_ms=2000.0, names=DYES), U16.swapaxes(1, 2),
        "tczyx", Spacing((0.5, 0.1, 0.1), "micrometer"), DYES),
    Row("nd2: lossless", "a.nd2", nikon(U8[None], calibration=0.1, z_step=0.5, compress=True), U8, "czyx",
        Spacing((0.5, 0.1, 0.1), "micrometer"), tuple(f"channel-{i}" for i in range(4))),
    Row("nd2: padded rows, no size", "a.nd2", nikon(F32[None, None, :1], pad=8), F32[0], "yx"),
    Row("npy: big-endian", "a.npy", lambda p: np.save(p, U16[0, 0, 0].astype(">u2")), U16[0, 0, 0], "yx"),
]  # fmt: skip


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.name)
def case(request, tmp_path_factory) -> tuple[Row, Path]:
    path = tmp_path_factory.mktemp("readers") / request.param.file
    request.param.write(path)
    return request.param, path


def opened(row: Row, path: Path) -> Image:
    return open_image(path, spacing=PIXEL)


def whole_spacing(row: Row) -> Spacing:
    spatial = sum(a in "zyx" for a in row.axes)
    return row.spacing if row.spacing != PIXEL else Spacing((1.0,) * spatial, "pixel")


def test_pixels_dtype_and_axes(case):
    row, path = case
    image = opened(row, path)
    pixels = image.read()
    assert image.axes == row.axes
    assert image.shape == pixels.shape == row.expected.shape
    assert image.dtype == pixels.dtype == row.expected.dtype
    assert pixels.dtype.isnative
    if row.exact:
        np.testing.assert_array_equal(pixels, row.expected)
    elif pixels.dtype.kind == "f":  # two ways to compute one formula
        np.testing.assert_allclose(pixels, row.expected, rtol=1e-6, atol=1e-5)
    else:  # two JPEG decoders may round differently
        assert np.abs(pixels.astype(int) - row.expected.astype(int)).max() <= 2


def test_spacing_channels_and_orientation(case):
    row, path = case
    image = opened(row, path)
    assert image.spacing is not None
    assert image.spacing.unit == whole_spacing(row).unit
    assert image.spacing.values == pytest.approx(whole_spacing(row).values, rel=1e-6)
    assert image.channel_names == row.channels
    assert (image.affine is None) == (row.affine is None)
    if row.affine is not None:
        np.testing.assert_allclose(image.affine, row.affine, atol=1e-5)
    assert tuple(p.kind for p in image.problems) == row.notes


def test_a_box_is_that_part_of_the_whole(case):
    row, path = case
    image = opened(row, path)
    whole = image.read()
    rng = np.random.default_rng(11)
    for _ in range(6):
        starts = [int(rng.integers(0, n)) for n in image.shape]
        box = tuple(slice(s, int(rng.integers(s + 1, n + 1))) for s, n in zip(starts, image.shape, strict=True))
        part = image.read(box)
        assert part.flags.c_contiguous
        np.testing.assert_array_equal(part, whole[box])


def test_the_digest_is_that_of_the_bytes(case):
    row, path = case
    image = opened(row, path)
    if files_of(path) == [path]:
        assert image.sha256 == "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()
    elif path.is_file():
        parts = {file.name: "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest() for file in files_of(path)}
        assert image.sha256 == digest_source(path) == digest_of(parts)
    else:
        assert image.sha256 == opened(row, path).sha256


def test_unknown_spacing_is_asked_for(case):
    row, path = case
    if row.spacing != PIXEL:
        assert open_image(path).spacing is not None
        return
    with pytest.raises(InputError) as caught:
        open_image(path)
    assert [p.kind for p in caught.value.problems] == ["unknown-spacing"]
    assert "--spacing Z,Y,X --unit UNIT" in str(caught.value)
    assert "sources[i].spacing" in str(caught.value)


def test_a_spacing_that_contradicts_the_file_needs_insistence(case):
    row, path = case
    wrong = Spacing((9.0,), "micrometer")
    if row.spacing == PIXEL:
        assert open_image(path, spacing=wrong).spacing.unit == "micrometer"
        return
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=wrong)
    assert [p.kind for p in caught.value.problems] == ["spacing-contradiction"]
    insisted = open_image(path, spacing=wrong, override=True)
    assert set(insisted.spacing.values) == {9.0}
    assert "spacing-overridden" in [p.kind for p in insisted.problems]


def files_of(path: Path) -> list[Path]:
    """The files of an image: each image has a folder to itself, so that the data of a header are what lies beside it."""
    return sorted(path.parent.iterdir()) if path.is_file() else sorted(path.iterdir())


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.3, 0.6, 0.95, 0.999])
def test_a_truncated_file_is_refused_or_has_lost_nothing(case, tmp_path, keep):
    row, path = case
    place = tmp_path / path.name
    if path.is_dir():
        place.mkdir()
    for file in files_of(path):
        data = file.read_bytes()
        (place / file.name if path.is_dir() else tmp_path / file.name).write_bytes(data[: int(len(data) * keep)])
    try:
        pixels = opened(row, place).read()
    except InputError as error:
        assert len(error.problems) == 1
        assert all(p.where and p.kind and len(p.message) > 20 for p in error.problems)
    else:  # the file may end in what is not needed
        assert keep >= 0.95
        np.testing.assert_array_equal(pixels, opened(row, path).read())


def test_a_wrong_name_does_not_matter_and_is_noted(case, tmp_path):
    row, path = case
    if path.is_dir():
        return
    place = tmp_path / "renamed.xyz"
    for file in files_of(path):  # data keep their name, or the stem of their header
        shutil.copy(file, tmp_path / file.name)
        shutil.copy(file, tmp_path / f"renamed{'.xyz' if file == path else file.suffix}")
    image = opened(row, place)
    assert "wrong-extension" in [p.kind for p in image.problems]
    np.testing.assert_array_equal(image.read(), opened(row, path).read())


def test_a_small_memory_limit_is_kept(case):
    _, path = case
    with pytest.raises(InputError) as caught:
        open_image(path, spacing=PIXEL, memory_limit=100).read()
    assert [p.kind for p in caught.value.problems] == ["too-large"]


@pytest.mark.parametrize("row", [r for r in ROWS if "." in r.file], ids=lambda row: row.name)
def test_damaged_bytes_give_an_image_or_a_problem(row, tmp_path_factory):
    """Whatever is in a file: pixels as declared, or InputError; never another exception, never a huge allocation."""
    folder = tmp_path_factory.mktemp("damaged")
    path = folder / row.file
    row.write(path)
    sound = path.read_bytes()

    @given(st.lists(st.tuples(st.integers(0, min(len(sound), 600) - 1), st.integers(0, 255)), min_size=1, max_size=4))
    @settings(max_examples=12, derandomize=True, suppress_health_check=list(HealthCheck))
    def damage(changes):
        data = bytearray(sound)
        for place, value in changes:
            data[place] = value
        path.write_bytes(data)
        try:
            image = open_image(path, spacing=PIXEL, memory_limit=2**26)
            assert image.read().shape == image.shape
        except InputError as error:
            assert error.problems

    damage()


def test_flipped_bits_in_a_gzip_stream_are_noticed(tmp_path):
    path = tmp_path / "a.nii.gz"
    nii(F32.T)(path)
    data = bytearray(path.read_bytes())
    data[-6] ^= 1  # in the CRC itself: the pixels would decode
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        open_image(path).read((slice(0, 1), slice(0, 1), slice(0, 1)))
    assert caught.value.problems[0].kind == "corrupt"


def test_gzip_members_in_a_row_are_one_stream(tmp_path):
    """Block-wise gzip (bgzip, pigz) is several members."""
    plain = tmp_path / "a.nii"
    nii(F32.T)(plain)
    data = plain.read_bytes()
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(data[:1000]) + gzip.compress(data[1000:]))
    np.testing.assert_array_equal(open_image(tmp_path / "b.nii.gz").read(), F32)


@given(
    st.permutations("tczyx").map("".join),
    st.sampled_from(["u1", "i2", ">u2", "f4", "f8", ">f4", "?", "u8", "i8"]),
)
@settings(max_examples=40)
def test_arrays_from_python_keep_their_values(order, dtype):
    array = np.random.default_rng(3).integers(0, 2, (2, 3, 4, 5, 6)).astype(dtype)
    image = Image.from_array(array, order, None)
    assert image.axes == "tczyx"
    np.testing.assert_array_equal(image.read(), array.transpose([order.index(a) for a in "tczyx"]))
    assert image.dtype.isnative
