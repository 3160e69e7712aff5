"""Files in: what ingest costs, beside its limits and, in the same run, beside other programs.

Every row runs in a process of its own, with everything on: metadata, digests of source and pixels, atomic shards, catalogue. The start of
the process and imports are not counted. CPU seconds hold on a busy machine, wall seconds only on an idle one: the load is printed.

Run ``python tests/benchmarks/bench_io.py [--out FILE.json] [--data FOLDER] [--rows zlib,raw] [--sizes 0.5,2,20] [--peers-python PATH]``.
The inputs (1.3 GB) are made in FOLDER and used again; ``--peers-python`` is the interpreter of an environment that has other programs.
"""

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

STACK = (2, 128, 1024, 1024)
SPACING = (0.3, 0.1625, 0.1625)
SMALL_FILES = 10_000
# What each row must reach: on two idle cores (wall), anywhere (CPU, memory).
LIMITS: dict[str, dict[str, float]] = {
    "zlib": {"cpu_s": 3.3, "wall_s": 1.65, "peak_mb": 450},
    "raw": {"wall_s": 1.1, "peak_mb": 450},
    "nifti": {"cpu_s": 1.0},
    "dicom": {"cpu_s": 1.3},
    "small": {"files_per_s_at_least": 500, "peak_mb": 1000},
    "memory": {"growth_mb": 50},
}
TITLES = {
    "zlib": "zlib OME-TIFF 2x128x1024x1024 uint16",
    "raw": "the same, uncompressed",
    "nifti": "NIfTI .nii.gz 256^3 float32",
    "dicom": "DICOM 200x512x512 int16",
    "small": f"{SMALL_FILES} PNG and TIFF files of 64-256 px",
    "memory": "a generated volume of N GB",
}
VERSIONS = ("sciimg", "numpy", "tifffile", "imagecodecs", "zarr", "pydicom", "nibabel", "pyarrow")


# ---------------------------------------------------------------- inputs


def cells(rng: np.random.Generator, depth: int, side: int) -> np.ndarray:
    """Photon counts of soft blobs on a dim background with camera offset and read noise, zyx uint16."""
    from scipy import ndimage

    coarse = rng.normal(size=(max(4, depth // 10), side // 24, side // 24)).astype(np.float32)
    zoom = [n / m for n, m in zip((depth, side, side), coarse.shape, strict=True)]
    out = np.empty((depth, side, side), np.uint16)
    field = ndimage.zoom(coarse, zoom, order=1)[:depth, :side, :side]
    for z in range(depth):
        photons = rng.poisson(np.clip(field[z] - 0.6, 0, None) * 150 + 2)
        out[z] = np.clip(np.rint(100 + 2.2 * photons + rng.normal(scale=3.5, size=(side, side))), 0, 65535)
    return out


def make_stack(folder: Path) -> None:
    import tifffile

    pixels = np.stack([cells(np.random.default_rng(seed), *STACK[1:3]) for seed in range(STACK[0])])
    sizes = {f"PhysicalSize{a}": v for a, v in zip("ZYX", SPACING, strict=True)} | {f"PhysicalSize{a}Unit": "µm" for a in "ZYX"}
    about = {"axes": "CZYX", "Channel": {"Name": ["DAPI", "GFP"]}, **sizes}
    plain: dict[str, Any] = {"photometric": "minisblack", "bigtiff": True, "metadata": about}
    tifffile.imwrite(folder / "raw.ome.tif", pixels, **plain)
    packed = {"compression": "zlib", "compressionargs": {"level": 6}, "predictor": True, "rowsperstrip": 64}
    tifffile.imwrite(folder / "zlib.ome.tif", pixels, **packed, **plain)


def make_nifti(folder: Path) -> None:
    import nibabel

    rng = np.random.default_rng(3)
    at = np.linspace(-1, 1, 256)
    radius = (at[:, None, None] / 0.8) ** 2 + (at[:, None] / 0.9) ** 2 + (at / 0.7) ** 2
    signal = np.where(radius < 1, 500 + 300 * np.sin(9 * radius), 0).astype(np.float32)
    noisy = np.hypot(signal + rng.normal(scale=15, size=signal.shape), rng.normal(scale=15, size=signal.shape))
    noisy[radius > 1.3] = 0
    image = nibabel.Nifti1Image(noisy.astype(np.float32), np.diag([0.9, 0.9, 0.9, 1]))
    image.header.set_xyzt_units("mm", "sec")
    (folder / "brain.nii.gz").write_bytes(gzip.compress(image.to_bytes(), 6))


def make_dicom(folder: Path) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(5)
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    at = np.linspace(-1, 1, 512)
    body = np.where((at[:, None] / 0.6) ** 2 + (at / 0.85) ** 2 < 1, 40.0, -1000.0)
    (folder / "dicom").mkdir()
    for z in range(200):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID, data.Modality = CTImageStorage, meta.MediaStorageSOPInstanceUID, "CT"
        data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = series, study, frame
        data.InstanceNumber, data.ImagePositionPatient, data.ImageOrientationPatient = z + 1, [0, 0, 1.5 * z], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [0.7, 0.7], 1.5
        data.Rows = data.Columns = 512
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = np.rint(body + rng.normal(scale=18, size=body.shape)).astype("<i2").tobytes()
        data.save_as(folder / "dicom" / f"{z:03}.dcm")


def make_small(folder: Path) -> None:
    import imagecodecs
    import tifffile

    rng = np.random.default_rng(7)
    source = rng.poisson(60, (512, 512)).astype(np.uint8)
    (folder / "small").mkdir()
    for number in range(SMALL_FILES):
        side, top, left = int(rng.integers(64, 257)), *rng.integers(0, 256, 2)
        pixels = source[top : top + side, left : left + side].copy()
        pixels[0, :2] = divmod(number, 256)
        if number % 2:
            (folder / "small" / f"{number:05}.png").write_bytes(imagecodecs.png_encode(pixels, level=1))
        else:
            tifffile.imwrite(folder / "small" / f"{number:05}.tif", pixels, compression="zlib" if number % 4 else None)


MAKERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "zlib": (make_stack, "zlib.ome.tif"),
    "raw": (make_stack, "raw.ome.tif"),
    "nifti": (make_nifti, "brain.nii.gz"),
    "dicom": (make_dicom, "dicom"),
    "small": (make_small, "small"),
}


def source_of(row: str, data: Path) -> Path:
    """Return the input of a row, made where it is missing."""
    make, name = MAKERS[row]
    if not (data / name).exists():
        with tempfile.TemporaryDirectory(dir=data) as folder:
            make(Path(folder))
            for made in Path(folder).iterdir():
                made.rename(data / made.name)
    return data / name


# ---------------------------------------------------------------- one row, in a process of its own


def peak_mb() -> int:
    """Return the largest resident size of this program; ``ru_maxrss`` would count that of the process which started it."""
    return int(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))) >> 10


def measure(work: Callable[[], object]) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_s": round(wall, 3), "cpu_s": round(cpu, 3), "peak_mb": peak_mb()}


def ingest(source: Path, out: Path) -> dict[str, float]:
    import imagecodecs  # noqa: F401  what a process needs once is not counted
    import nibabel  # noqa: F401
    import pandas  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import pydicom  # noqa: F401
    import tifffile  # noqa: F401

    from sciimg.io.labels import PIXELS
    from sciimg.stages.ingest import ingest_files

    return measure(lambda: ingest_files([source], out, spacing=PIXELS if source.name == "small" else None))


def generated(gigabytes: float, out: Path) -> dict[str, float]:
    """Write an image whose planes are one noisy plane, shifted: any size, without a file."""
    from sciimg.io.image import Image
    from sciimg.store import write_volume
    from sciimg.types import Channel, Spacing

    plane = cells(np.random.default_rng(1), 4, 1024)[0]

    class Planes:
        def __call__(self, box: tuple[slice, ...]) -> np.ndarray:
            pixels = np.empty([s.stop - s.start for s in box], np.uint16)
            self.fill(box, pixels)
            return pixels

        def fill(self, box: tuple[slice, ...], pixels: np.ndarray) -> None:
            for number, z in enumerate(range(box[0].start, box[0].stop)):
                pixels[number] = np.roll(plane, z, axis=0)[box[1:]]

    image = Image(
        load=Planes(),
        axes="zyx",
        shape=(round(gigabytes * 1e9 / plane.nbytes), *plane.shape),
        dtype=plane.dtype,
        spacing=Spacing(SPACING, "micrometer"),
        channels=(Channel("a"),),
        source="generated",
        hash=lambda: "sha256:" + "0" * 64,
    )
    return measure(lambda: write_volume(out, image, attributes={}))


# ---------------------------------------------------------------- other programs


# Each is the usual way to convert a TIFF with that program, to OME-Zarr with 4 levels and chunks of 64^3.
PEERS = {
    "acquire-zarr": """
import acquire_zarr as az
kinds = {"c": az.DimensionType.CHANNEL}
def axis(name, size):
    chunk = 1 if name == "c" else 64
    kind = kinds.get(name, az.DimensionType.SPACE)
    return az.Dimension(name=name, kind=kind, array_size_px=size, chunk_size_px=chunk, shard_size_chunks=1 if name in "cz" else 8)
def work():
    codec = az.CompressionSettings(compressor=az.Compressor.BLOSC1, codec=az.CompressionCodec.BLOSC_ZSTD, level=1, shuffle=1)
    array = az.ArraySettings(output_key="0", data_type=az.DataType.UINT16, compression=codec,
        dimensions=[axis(n, s) for n, s in zip("czyx", shape)], downsampling_method=az.DownsamplingMethod.MEAN)
    stream = az.ZarrStream(az.StreamSettings(store_path=out, version=az.ZarrVersion.V3, arrays=[array]))
    with tifffile.TiffFile(source) as tif:
        for page in tif.pages:
            stream.append(page.asarray())
    stream.close()
""",
    "ome-zarr": """
import dask.array, zarr
from ome_zarr.writer import write_image
def work():
    pixels = dask.array.from_zarr(zarr.open(tifffile.imread(source, aszarr=True), mode="r")).rechunk((1, 64, 512, 512))
    scale = [{"z": 2**i, "y": 2**i, "x": 2**i} for i in (1, 2, 3)]
    write_image(pixels, out, axes="czyx", scale_factors=scale, storage_options={"chunks": (1, 64, 64, 64)})
""",
    "ngff-zarr": """
import dask.array, zarr, ngff_zarr
def work():
    pixels = dask.array.from_zarr(zarr.open(tifffile.imread(source, aszarr=True), mode="r")).rechunk((1, 64, 512, 512))
    image = ngff_zarr.to_ngff_image(pixels, dims=list("czyx"))
    levels = ngff_zarr.to_multiscales(image, scale_factors=[2, 4, 8], method=ngff_zarr.Methods.DASK_BIN_SHRINK, chunks=64)
    ngff_zarr.to_ngff_zarr(out, levels, version="0.5")
""",
}
PEER_FRAME = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
source, out, shape = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
import tifffile
{body}
wall, cpu = time.perf_counter(), time.process_time()
work()
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
peak = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) >> 10
print(json.dumps({{"wall_s": round(wall, 3), "cpu_s": round(cpu, 3), "peak_mb": peak}}))
"""


def peer(python: Path, name: str, source: Path, out: Path) -> dict[str, Any]:
    command = [str(python), "-c", PEER_FRAME.format(body=PEERS[name]), str(source), str(out), json.dumps(STACK)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or ["no message"])[-1][:200]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


# ---------------------------------------------------------------- the table


def alone(*arguments: str) -> dict[str, Any]:
    """Run this file once more for one row; its last line is the result."""
    command = [sys.executable, __file__, "--alone", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def best(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the smallest of each number: what disturbs a measurement only ever adds to it."""
    return {key: min(run[key] for run in runs) for key in runs[0]} if all("failed" not in run for run in runs) else runs[0]


def run_row(row: str, data: Path, repeats: int) -> dict[str, Any]:
    source = source_of(row, data)
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(dir=data) as scratch:
            runs.append(alone("ingest", str(source), f"{scratch}/out"))
    found = {"row": row, "title": TITLES[row], "runs": repeats, **best(runs)}
    if row == "small":
        found["files_per_s"] = round(SMALL_FILES / found["wall_s"], 1)
    return found


def run_memory(sizes: list[float], data: Path) -> dict[str, Any]:
    curve = []
    for size in sizes:
        with tempfile.TemporaryDirectory(dir=data) as scratch:
            curve.append({"gigabytes": size, **alone("generated", str(size), f"{scratch}/out.zarr")})
            print(f"  {size:g} GB: {curve[-1]['peak_mb']} MB, {curve[-1]['wall_s']} s", flush=True)
    peaks = [c["peak_mb"] for c in curve]
    return {"row": "memory", "title": TITLES["memory"], "curve": curve, "growth_mb": max(peaks) - peaks[0]}


def show(found: dict[str, Any], limits: dict[str, float], name: str = "sciimg") -> None:
    numbers = {k: v for k, v in found.items() if k in ("wall_s", "cpu_s", "peak_mb", "files_per_s", "growth_mb", "failed", "absent")}
    cells = [f"{k} {v}" + (f" (limit {limits[k]:g})" if k in limits else "") for k, v in numbers.items()]
    if "files_per_s_at_least" in limits:
        cells.append(f"limit >= {limits['files_per_s_at_least']:g} files/s")
    print(f"{found.get('title', ''):<40} {name:<14} {'   '.join(cells)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "sciimg-bench-io")
    parser.add_argument("--rows", default=",".join(LIMITS))
    parser.add_argument("--sizes", default="0.5,2,8", help="GB, for the row `memory`")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers-python", type=Path)
    parser.add_argument("--alone", nargs=3)
    options = parser.parse_args()
    if options.alone:
        kind, what, out = options.alone
        print(json.dumps(ingest(Path(what), Path(out)) if kind == "ingest" else generated(float(what), Path(out))))
        return
    options.data.mkdir(parents=True, exist_ok=True)
    rows, peers = [], []
    for row in options.rows.split(","):
        sizes = [float(s) for s in options.sizes.split(",")]
        rows.append(run_memory(sizes, options.data) if row == "memory" else run_row(row, options.data, options.repeats))
        rows[-1] |= {"limits": LIMITS[row], "load": round(os.getloadavg()[0], 2)}
        show(rows[-1], LIMITS[row])
        for name in PEERS if row in ("zlib", "raw") else ():
            found: dict[str, Any] = {"absent": "no --peers-python was given"}
            if options.peers_python:
                with tempfile.TemporaryDirectory(dir=options.data) as scratch:
                    found = peer(options.peers_python, name, source_of(row, options.data), Path(scratch) / "out.zarr")
            if "cpu_s" in found:
                found["times_our_cpu"] = round(found["cpu_s"] / rows[-1]["cpu_s"], 2)
            peers.append({"row": row, "peer": name, **found})
            show(peers[-1], {}, name)
    if options.out:
        machine = f"{platform.machine()}, {os.cpu_count()} cores"
        about = {"date": datetime.now(UTC).date().isoformat(), "machine": machine, "versions": {n: version(n) for n in VERSIONS}}
        options.out.write_text(json.dumps({**about, "rows": rows, "peers": peers}, indent=1) + "\n")


if __name__ == "__main__":
    main()
