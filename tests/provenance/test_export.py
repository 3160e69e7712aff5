"""An export holds what was signed and says so, or is not made at all."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import exports
import pytest

from sciimg.errors import AuditError, InputError, RefusedError, SciimgError
from sciimg.provenance.audit import audit
from sciimg.provenance.export import dicom, png, tiff
from sciimg.provenance.export.content import SOURCE_TYPE, Content
from sciimg.provenance.keys import Key
from sciimg.provenance.policy import TrustPolicy
from sciimg.stages.export import FORMATS, export_command

# What each format holds exactly; everything else is refused.
HELD = {
    "png": {"planes", "colours"},
    "tiff": set(exports.KINDS),
    "nifti": set(exports.KINDS),
    "dicom": {"planes", "colours", "volumes", "stacks"},
    "bids": {"volumes", "planes", "stacks"},
    "huggingface": {"planes", "colours", "volumes", "stacks", "floats"},
}


@pytest.fixture(scope="session")
def kinds(tmp_path_factory: pytest.TempPathFactory, key: Key) -> dict[str, Path]:
    return {kind: exports.release_of(tmp_path_factory.mktemp(kind), key, kind) for kind in exports.KINDS}


@pytest.fixture
def trust(tmp_path: Path, policy: TrustPolicy) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(policy.model_dump_json())
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def kinds_of(error: SciimgError) -> set[str]:
    return {p.kind for p in error.problems}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", exports.KINDS)
def test_a_format_holds_a_release_or_says_why_not(kinds: dict[str, Path], trust: Path, tmp_path: Path, format: str, kind: str) -> None:
    out = tmp_path / "out"
    if kind not in HELD[format]:
        with pytest.raises(InputError) as caught:
            export_command(kinds[kind], out, format, trust)
        assert kinds_of(caught.value) == {"cannot-hold"}
        assert "choose" in str(caught.value)
        assert not list(tmp_path.glob("*out*"))
        return
    value = export_command(kinds[kind], out, format, trust)
    files = contents(out)
    assert value["images"] == exports.COUNT and value["files"] == len(files)
    about = json.loads(files["synthetic.json"])
    assert about["synthetic"] is True and about["digital_source_type"] == SOURCE_TYPE
    assert about["dataset"] == "small@1.2.0" and about["payload"] == value["payload"]
    listed = json.loads(files["monai.json"])
    assert listed["numTraining"] == len(listed["training"]) == exports.COUNT
    for entry in listed["training"]:
        named = entry["image"] if isinstance(entry["image"], list) else [entry["image"]]
        assert all(name in files for name in [*named, *([entry["label"]] if "label" in entry else [])])
        assert entry["dose"] == pytest.approx(0.1 + int(entry["id"][-1]))
    readme = files["README.md"].decode()
    assert value["payload"] in readme and "sciimg audit" in readme and "ynthetic" in readme.split("\n\n")[1] + readme.split("\n\n")[2]


@pytest.mark.parametrize("format", ["png", "tiff", "nifti", "dicom", "huggingface"])
def test_the_same_release_gives_the_same_bytes(kinds: dict[str, Path], trust: Path, tmp_path: Path, format: str) -> None:
    for name in ("one", "two"):
        export_command(kinds["planes"], tmp_path / name, format, trust)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def spoil(release: Path) -> None:
    next((release / "dataset/images").rglob("c/0/0/0")).write_bytes(b"other pixels")


def test_a_changed_release_is_not_exported(kinds: dict[str, Path], trust: Path, tmp_path: Path) -> None:
    release = Path(shutil.copytree(kinds["planes"], tmp_path / "release"))
    spoil(release)
    with pytest.raises(AuditError) as caught:
        export_command(release, tmp_path / "out", "tiff", trust)
    assert caught.value.exit_code == 1 and "changed" in kinds_of(caught.value)
    assert not list(tmp_path.glob("*out*"))


def test_a_release_that_changes_after_its_audit_is_not_exported(kinds: dict[str, Path], policy: TrustPolicy, tmp_path: Path) -> None:
    release = Path(shutil.copytree(kinds["planes"], tmp_path / "release"))
    content = Content.of(release, audit(release, policy))
    place = release / "dataset/images/ldm-0.zarr/0/c"
    shutil.rmtree(place)
    shutil.copytree(release / "dataset/images/ldm-1.zarr/0/c", place)
    with pytest.raises(AuditError, match="another"):
        list(content.items())


def test_a_stranger_exports_nothing(kinds: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(AuditError):
        export_command(kinds["planes"], tmp_path / "out", "png", None)  # the user's own keys: none
    assert not list(tmp_path.glob("*out*"))


def test_a_refused_study_has_nothing_to_export(refused: Path, trust: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="refused") as caught:
        export_command(refused, tmp_path / "out", "png", trust)
    assert caught.value.exit_code == 1 and kinds_of(caught.value) == {"no-images"}
    assert not list(tmp_path.glob("*out*"))


def test_bad_words_are_refused_before_anything(kinds: dict[str, Path], trust: Path, tmp_path: Path) -> None:
    release = kinds["planes"]
    (tmp_path / "there").mkdir()
    for words, kind in (
        ((release, tmp_path / "out", "jpeg"), "unknown-format"),
        ((tmp_path / "none", tmp_path / "out", "png"), "not-found"),
        ((release, tmp_path / "there", "png"), "exists"),
        ((release, release / "out", "png"), "inside-release"),
    ):
        with pytest.raises(InputError) as caught:
            export_command(*words, trust)
        assert kinds_of(caught.value) == {kind}
    assert not (tmp_path / "out").exists() and not (release / "out").exists() and not list((tmp_path / "there").iterdir())


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    whole, calls = tiff.encode, []

    def encode(picture: Any) -> bytes:
        calls.append(picture)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        return whole(picture)

    monkeypatch.setattr(tiff, "encode", encode)
    yield


def test_nothing_is_left_of_an_export_that_stops(kinds: dict[str, Path], trust: Path, tmp_path: Path, broken: None) -> None:
    with pytest.raises(OSError):
        export_command(kinds["planes"], tmp_path / "out", "tiff", trust)
    assert not list(tmp_path.glob("*out*"))


def test_uids_are_those_of_the_thing(kinds: dict[str, Path], policy: TrustPolicy) -> None:
    """Under 2.25, at most 64 characters, one a thing, and the same again for the same thing."""
    import pydicom

    content = Content.of(kinds["volumes"], audit(kinds["volumes"], policy))
    objects = [
        pydicom.dcmread(__import__("io").BytesIO(dicom.encode(picture)))
        for item in content.items()
        for picture in content.pictures(item, together=False)
    ]
    assert len({o.SOPInstanceUID for o in objects}) == len({o.SeriesInstanceUID for o in objects}) == len(objects) == 3 * exports.COUNT
    assert len({o.StudyInstanceUID for o in objects}) == len({o.FrameOfReferenceUID for o in objects}) == exports.COUNT
    assert all(o.SOPInstanceUID.startswith("2.25.") and o.SOPInstanceUID.is_valid for o in objects)


def test_a_pixel_size_that_phys_cannot_hold_is_left_to_the_mark() -> None:
    """pHYs counts whole pixels a metre: 3 mm would become 333, one part in a thousand off."""
    from sciimg.types import Spacing

    assert png._physical(Spacing((3.0, 3.0), "millimeter")) == b""
    assert png._physical(Spacing((1.0, 1.0), "pixel")) == b""
    assert (
        png._physical(Spacing((0.5, 0.25), "micrometer"))[8:17] == (4_000_000).to_bytes(4, "big") + (2_000_000).to_bytes(4, "big") + b"\1"
    )
