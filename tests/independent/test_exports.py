"""Exports read back by programs that did not write them: every voxel, spacing, place in space, and the synthetic mark."""

import gc
import gzip
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import exports
import numpy as np
import pandas as pd
import pytest
import tifffile
from numpy.typing import NDArray
from releases import trusted

from sciimg.provenance.export.content import SOURCE_TYPE, slug
from sciimg.provenance.keys import Key, make_key
from sciimg.provenance.policy import TrustPolicy
from sciimg.stages.export import export_command

pytestmark = pytest.mark.slow

Array = NDArray[Any]
MM = {"nanometer": 1e-6, "micrometer": 1e-3, "millimeter": 1.0}
Exporter = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """Export a kind of release in a format, once each."""
    folder = tmp_path_factory.mktemp("exports")
    key: Key = make_key("Ada Example", folder / "keys")
    trust = folder / "policy.json"
    trust.write_text(TrustPolicy(keys=(trusted(key),)).model_dump_json())

    def made(kind: str, format: str) -> Path:
        release, out = folder / kind / "release", folder / f"{kind}-{format}"
        if not release.exists():
            exports.release_of(folder / kind, key, kind)
        if not out.exists():
            export_command(release, out, format, trust)
        return out

    return made


def parts(kind: str) -> list[tuple[str, str, Array, str]]:
    """Return id, name of the file, values and axes of everything that is one file where channels are files of their own."""
    made, out = exports.KINDS[kind], []
    for i, (pixels, labels) in enumerate(exports.images_of(kind)):
        axes = made.axes[1:]
        for channel, plane in zip(made.channels, pixels, strict=True):
            out.append((f"ldm-{i}", f"images/ldm-{i}" + (f"_{slug(channel)}" if len(pixels) > 1 else ""), plane, axes))
        if labels is not None:
            out.append((f"ldm-{i}", f"masks/ldm-{i}", labels, axes))
    return out


def mark_in(packet: str | bytes, id: str) -> None:
    """Check an XMP packet: the term of IPTC, and the whole mark."""
    root = ElementTree.fromstring(packet)
    told = {e.tag: (e.text or "") for e in root.iter()}
    assert told["{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"] == SOURCE_TYPE
    checked(json.loads(told["{urn:x-sciimg:mark:v1:}mark"]), id)


def checked(about: dict[str, Any], id: str) -> None:
    assert about["synthetic"] is True and about["digital_source_type"] == SOURCE_TYPE
    assert (about["dataset"], about["image"]) == ("small@1.2.0", id)
    assert re.fullmatch("sha256:[0-9a-f]{64}", about["payload"]) and "sciimg audit" in about["verify"]


def itk(path: Path) -> Any:
    sitk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed here")
    return sitk.ReadImage(str(path))


def values(image: Any) -> Array:
    import SimpleITK as sitk

    array: Array = sitk.GetArrayFromImage(image)
    return array


def equal(got: Array, expected: Array) -> None:
    assert np.array_equal(got.reshape(expected.shape), expected)


# ---------------------------------------------------------------- PNG: Pillow, ITK


@pytest.mark.parametrize("kind", ["planes", "colours"])
def test_png(export: Exporter, kind: str) -> None:
    from PIL import Image

    folder, made = export(kind, "png"), exports.KINDS[kind]
    files = parts(kind)
    if kind == "colours":
        files = [p for p in files if p[1].startswith("masks")]
        files += [(f"ldm-{i}", f"images/ldm-{i}", np.moveaxis(p, 0, -1), "yxc") for i, (p, _) in enumerate(exports.images_of(kind))]
    assert {p.relative_to(folder).with_suffix("").as_posix() for p in folder.rglob("*.png")} == {f[1] for f in files}
    for id, name, pixels, _ in files:
        with Image.open(folder / f"{name}.png") as image:
            equal(np.asarray(image), pixels)
            assert name.startswith("masks") or np.asarray(image).dtype == pixels.dtype
            mark_in(image.info["xmp"], id)
            if kind == "planes":  # stated in pixels a metre, which Pillow tells as dots an inch, x first
                metres = [0.0254 / dots for dots in image.info["dpi"]]
                assert metres == pytest.approx([v * 1e-6 for v in reversed(made.spacing.values)], rel=1e-6)
        equal(values(itk(folder / f"{name}.png")), pixels)


# ---------------------------------------------------------------- TIFF: Pillow and ITK (libtiff), an XML parser


@pytest.mark.parametrize("kind", exports.KINDS)
def test_tiff(export: Exporter, kind: str) -> None:
    folder, made = export(kind, "tiff"), exports.KINDS[kind]
    ome = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
    for i, (pixels, labels) in enumerate(exports.images_of(kind)):
        for name, array in (("images", pixels), ("masks", labels)):
            if array is None:
                continue
            path = folder / name / f"ldm-{i}.ome.tiff"
            from PIL import Image, ImageSequence

            with Image.open(path) as image:
                tags: Any = image.tag_v2  # type: ignore[attr-defined]
                mark_in(tags[700], f"ldm-{i}")
                described = ElementTree.fromstring(tags[270].encode("latin-1"))  # UTF-8, which Pillow takes for Latin-1
                if array.dtype != np.uint32:
                    planes = np.stack([np.asarray(frame).copy() for frame in ImageSequence.Iterator(image)])
                    equal(planes.astype(np.int64) if array.dtype.kind != "f" else planes, array)
            equal(values(itk(path)), array)
            one = described.find(f"{ome}Image/{ome}Pixels")
            assert one is not None
            axes = made.axes[1:].upper()
            for axis, value in zip(axes, made.spacing.values, strict=True):
                unit = {"nanometer": "nm", "micrometer": "µm", "millimeter": "mm"}.get(made.spacing.unit)
                assert one.get(f"PhysicalSize{axis}") == (None if unit is None else str(value))
                assert one.get(f"PhysicalSize{axis}Unit") == unit
                assert int(one.get(f"Size{axis}", "0")) == array.shape[-len(axes) + axes.index(axis)]
            assert [c.get("Name") for c in one.findall(f"{ome}Channel")] == (list(made.channels) if name == "images" else [None])


# ---------------------------------------------------------------- NIfTI: ITK, and the header by hand


@pytest.mark.parametrize("kind", exports.KINDS)
def test_nifti(export: Exporter, kind: str) -> None:
    folder = export(kind, "nifti")
    for id, name, pixels, axes in parts(kind):
        path = folder / f"{name}.nii.gz"
        nifti(path, id, pixels, axes, exports.KINDS[kind])
        checked(json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text()), id)


def nifti(path: Path, id: str, pixels: Array, axes: str, made: exports.Kind) -> None:
    image = itk(path)
    equal(values(image), pixels)
    head = gzip.decompress(path.read_bytes())
    assert struct.unpack_from("<2f", head, 112) in ((1.0, 0.0), (0.0, 0.0)) or np.isnan(struct.unpack_from("<f", head, 112)[0])  # no slope
    assert head[148:228].startswith(b"SYNTHETIC (trainedAlgorithmicMedia) small@1.2.0 sha256:")
    offset, (size, code) = int(struct.unpack_from("<f", head, 108)[0]), struct.unpack_from("<2i", head, 352)
    assert head[348] == 1 and code == 6 and 352 + size <= offset
    checked(json.loads(head[360 : 352 + size].rstrip(b"\0 ")), id)
    unit = head[123] & 7
    assert unit == {"millimeter": 2, "micrometer": 3, "nanometer": 3, "pixel": 0}[made.spacing.unit]
    scale = 1e-3 if made.spacing.unit == "nanometer" else 1.0
    sizes = struct.unpack_from("<3f", head, 80)[: len(axes)]
    assert sizes == pytest.approx([v * scale for v in reversed(made.spacing.values)], rel=1e-6)
    qform, sform = struct.unpack_from("<2h", head, 252)
    assert (qform, sform > 0) == (0, made.affine is not None)
    if made.affine is not None:  # ITK's axes are left-posterior-superior
        direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
        assert np.allclose(np.diag([-1, -1, 1]) @ direction, made.affine[:3, :3], atol=1e-5)
        assert np.allclose(np.diag([-1, -1, 1]) @ image.GetOrigin(), made.affine[:3, 3], atol=1e-5)


# ---------------------------------------------------------------- DICOM: GDCM in ITK, dciodvfy


@pytest.mark.parametrize("kind", ["planes", "colours", "volumes", "stacks"])
def test_dicom(export: Exporter, kind: str) -> None:
    folder, made = export(kind, "dicom"), exports.KINDS[kind]
    for id, name, pixels, axes in parts(kind):
        image = itk(folder / f"{name}.dcm")
        equal(values(image).astype(np.int64), pixels.astype(np.int64))
        assert image.GetMetaData("0008|001c").strip() == "YES"
        assert image.GetMetaData("0008|0064").strip() == "SYN"
        checked(json.loads(image.GetMetaData("0020|4000")), id)
        if made.spacing.unit != "pixel" and made.affine is None:  # GDCM reads these, and does not use them for this kind of object
            told = [float(v) for v in image.GetMetaData("0028|0030").split("\\")]
            told = [float(image.GetMetaData("0018|0088")), *told] if len(axes) == 3 else told
            assert told == pytest.approx([v * MM[made.spacing.unit] for v in made.spacing.values], rel=1e-12)
        if made.affine is not None:
            assert image.GetSpacing() == pytest.approx(list(reversed(made.spacing.values)), rel=1e-6)
            direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
            assert np.allclose(np.diag([-1, -1, 1]) @ direction, made.affine[:3, :3], atol=1e-5)
            assert np.allclose(np.diag([-1, -1, 1]) @ image.GetOrigin(), made.affine[:3, 3], atol=1e-5)


@pytest.mark.parametrize("kind", ["planes", "colours", "volumes", "stacks"])
def test_dciodvfy_finds_no_error(export: Exporter, kind: str) -> None:
    tool = shutil.which("dciodvfy")
    if tool is None:
        pytest.skip("dciodvfy is not installed here (Debian package dicom3tools)")
    for path in sorted(export(kind, "dicom").rglob("*.dcm")):
        said = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False).stderr
        young = "(0x0008,0x001c)"  # Synthetic Data came into the standard in 2023, after the version that Debian has
        errors = [line for line in said.splitlines() if line.startswith("Error") and young not in line]
        assert not errors and "SC" in said, f"{path.name}\n{said}"


# ---------------------------------------------------------------- BIDS: the validator of the standard, ITK


@pytest.mark.parametrize("kind", ["volumes"])
def test_bids(export: Exporter, kind: str) -> None:
    folder, made = export(kind, "bids"), exports.KINDS[kind]
    for id, name, pixels, axes in parts(kind):
        channel = made.channels[0] if name.endswith(id) else name.rpartition("_")[2]
        suffix = "dseg" if name.startswith("masks") else {"t1": "T1w", "t2w": "T2w"}[channel.lower()]
        path = folder / f"sub-{id.replace('-', '')}/anat/sub-{id.replace('-', '')}_desc-synthetic_{suffix}.nii.gz"
        nifti(path, id, pixels, axes, made)
        checked(json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())["Synthetic"], id)


@pytest.mark.parametrize("kind", ["planes", "stacks"])
def test_bids_of_microscopy(export: Exporter, kind: str) -> None:
    folder, made = export(kind, "bids"), exports.KINDS[kind]
    for number, (pixels, labels) in enumerate(exports.images_of(kind)):
        subject = sorted(p.name for p in folder.glob("sub-*"))[number]
        for part, expected in {"FLUO": pixels if len(pixels) > 1 else pixels[0], "mask": labels}.items():
            path = folder / f"{subject}/micr/{subject}_sample-synthetic_{part}.ome.tif"
            np.testing.assert_array_equal(tifffile.imread(path), expected)
            with tifffile.TiffFile(path) as file:  # the mark is in the file itself, too
                mark_in(
                    file.pages[0].tags["XMP"].value,
                    json.loads(path.with_name(path.name.replace(".ome.tif", ".json")).read_text())["Synthetic"]["image"],
                )
            told = json.loads(path.with_name(path.name.replace(".ome.tif", ".json")).read_text())
            assert told["PixelSize"] == list(made.spacing.values[::-1]) and told["PixelSizeUnits"] in ("um", "nm")
            checked(told["Synthetic"], told["Synthetic"]["image"])


@pytest.mark.parametrize("kind", ["volumes", "planes", "stacks"])
def test_the_bids_validator_finds_no_error(export: Exporter, kind: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    tool = shutil.which("bids-validator-deno", path=path)
    if tool is None:
        pytest.skip("the BIDS validator is not installed here (PyPI package bids-validator-deno)")
    words = [tool, str(export(kind, "bids")), "--json"]
    result = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    report = json.loads(result.stdout)
    errors = [i for i in report["issues"]["issues"] if i["severity"] == "error"]
    assert result.returncode == 0 and not errors, json.dumps(errors, indent=1)
    assert report["summary"]["subjects"], "it saw the subjects"


# ---------------------------------------------------------------- Hugging Face: datasets


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["planes", "colours", "volumes", "stacks", "floats"])
def test_hugging_face(export: Exporter, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub = pytest.importorskip("datasets", reason="Hugging Face's datasets is not installed here")
    folder, made = export(kind, "huggingface"), exports.KINDS[kind]
    data = hub.load_dataset(str(folder), split="train", cache_dir=str(tmp_path))
    assert len(data) == exports.COUNT and all(data["synthetic"])
    pictures = [p for p in folder.rglob("*") if p.suffix in (".png", ".tif", ".tiff")]
    assert all(SOURCE_TYPE.encode() in p.read_bytes() for p in pictures) and (pictures or made.axes != "cyx")  # each file says so itself
    for row, (pixels, labels) in zip(data, exports.images_of(kind), strict=True):
        if kind == "colours":
            shown = {"image": np.moveaxis(pixels, 0, -1)}
        elif len(pixels) == 1:
            shown = {"image" if made.axes == "cyx" else "nifti": pixels[0]}
        else:
            shown = {slug(c): plane for c, plane in zip(made.channels, pixels, strict=True)}
        shown |= {} if labels is None else {"mask": labels}
        assert set(shown) <= set(row)
        for name, expected in shown.items():
            equal(np.asarray(row[name]) if made.axes == "cyx" else np.asarray(row[name].dataobj).T, expected)
    del data, row
    gc.collect()  # it leaves a file open, which would be laid to the next test


# ---------------------------------------------------------------- what the page of an export tells people to run


@pytest.mark.filterwarnings("ignore:NvImgCodecPydicomReader")  # MONAI tries every reader that it knows
@pytest.mark.parametrize(
    ("kind", "format"),
    [
        ("planes", "png"),
        ("colours", "png"),
        ("planes", "tiff"),
        ("volumes", "tiff"),
        ("volumes", "nifti"),
        ("stacks", "dicom"),
    ],
)
def test_the_page_runs(export: Exporter, kind: str, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = export(kind, format)
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    monkeypatch.chdir(folder)
    release = folder.parent / kind / "release"
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block.replace("RELEASE", str(release)), names)
    assert len(names["files"]) == exports.COUNT
    for i, (pixels, labels) in enumerate(exports.images_of(kind)):
        image, mask = names["Images"]()[i]
        equal(image.numpy(), pixels.astype(np.float32))
        equal(mask.numpy(), labels)  # type: ignore[arg-type]
        turned = tuple(range(pixels.ndim - 1, 0, -1)) if format == "nifti" else tuple(range(1, pixels.ndim))
        equal(np.asarray(names["data"][i]["image"]).transpose(0, *turned), pixels)
        assert np.asarray(names["data"][i]["label"]).shape == (1, *(pixels.shape[a] for a in turned))
    table = pd.read_csv(folder / "images.csv")
    first = table["sha256"].iloc[0]
    changed = (
        blocks[0].replace("RELEASE", str(release)).replace("signed = pd", "table.loc[0, table.columns[2]] = table.iloc[1, 2]\nsigned = pd")
    )
    with pytest.raises(AssertionError):
        exec(changed, {})
    assert re.fullmatch("sha256:[0-9a-f]{64}", first)
