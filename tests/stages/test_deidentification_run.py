"""A whole run on images of invented people: none of their names is in any byte that it writes, packed or not.

The search is tested first, for a search that finds nothing proves nothing.
"""

import base64
import gzip
import json
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tifffile
import yaml
from dicom_files import write_slice
from hidden_text import found
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from reading import client_of

from sciimg.review.book import read_book

ROOT = Path(__file__).parents[2]
SECRETS = ("Qvistgaard", "Ødegård", "Zbigniew", "19630217", "1963-02-17", "1963:02:17", "1.2.840.99999.7", "Sankt Elsewhere", "MRN4711")
PERSON = "Qvistgaard^Ada_1963-02-17"
SIDE = 96


# ---------------------------------------------------------------- the search finds what is planted


def packed(name: str, write: Callable[[Path, bytes], object]) -> Any:
    return pytest.param(name, write, id=name)


def in_zip(path: Path, secret: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner.txt", b"x" * 100 + secret)


def in_png(path: Path, secret: bytes) -> None:
    text = PngInfo()
    text.add_text("Author", "x" * 100 + secret.decode(), zip=True)
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(path, pnginfo=text)


def in_page(path: Path, secret: bytes) -> None:
    in_png(path.with_suffix(".png"), secret)
    data = base64.b64encode(path.with_suffix(".png").read_bytes()).decode()
    path.with_suffix(".png").unlink()
    path.write_text(f'<img src="data:image/png;base64,{data}">')


def in_pdf(path: Path, secret: bytes) -> None:
    stream = zlib.compress(b"BT (" + secret + b") Tj ET")
    path.write_bytes(b"%PDF-1.7\n1 0 obj <</Filter/FlateDecode>> stream\n" + stream + b"\nendstream\n%%EOF")


def in_pixels(path: Path, secret: bytes) -> None:
    import zarr

    array = zarr.create_array(path.parent, shape=(len(secret),), dtype="uint8", chunks=(64,))
    array[:] = np.frombuffer(secret, np.uint8)


PACKED = [
    packed("a.txt", lambda p, s: p.write_bytes(b"x" + s)),
    packed("a.utf16", lambda p, s: p.write_bytes(s.decode().encode("utf-16"))),
    packed("a.gz", lambda p, s: p.write_bytes(gzip.compress(s * 9))),
    packed("a.npz", in_zip),
    packed("a.png", in_png),
    packed("a.html", in_page),
    packed("a.bin", in_pdf),
    packed("a.json", lambda p, s: p.write_text(json.dumps({"payload": base64.b64encode(b"y" * 50 + s).decode()}))),
    packed("a.parquet", lambda p, s: pq.write_table(pa.table({"x": [s.decode()] * 3}), p, compression="zstd")),
    packed("zarr.json", in_pixels),
]


@pytest.mark.parametrize(("name", "write"), PACKED)
def test_the_search_finds_what_is_packed(tmp_path: Path, name: str, write: Callable[[Path, bytes], object]) -> None:
    write(tmp_path / name, b"Sankt Elsewhere")
    places = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {secret for _, secret in found(places, SECRETS)} == {"Sankt Elsewhere"}
    assert found(places, ["Sankt Nowhere"]) == []


def test_the_search_finds_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "ødegård.bin").write_bytes(b"")
    assert found(tmp_path.iterdir(), ["ødegård"])


# ---------------------------------------------------------------- images of people who do not exist


def picture(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return blobs on a noisy background, and their labels, (96, 96) each."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    labels = np.zeros((SIDE, SIDE), np.uint8)
    image = rng.normal(200, 20, (SIDE, SIDE))
    for n, (cy, cx) in enumerate(rng.uniform(10, SIDE - 10, (9, 2)), 1):
        inside = (y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(4, 8) ** 2
        labels[inside] = n
        image[inside] += 400
    return np.clip(image, 0, 65535).astype(np.uint16), labels


def tiff(path: Path, pixels: np.ndarray) -> None:
    extra = [(315, "s", 0, "Qvistgaard", True), (316, "s", 0, "Sankt Elsewhere", True), (65000, "s", 0, "MRN4711", True)]
    tifffile.imwrite(path, pixels, description="Qvistgaard 19630217", metadata=None, datetime="1963:02:17 00:00:00", extratags=extra)


def dicom(path: Path, pixels: np.ndarray) -> None:
    about = {"PatientName": "Qvistgaard^Ada", "PatientID": "MRN4711", "PatientBirthDate": "19630217", "InstitutionName": "Sankt Elsewhere"}
    about |= {
        "ReferringPhysicianName": "Ødegård^Zbigniew",
        "StudyDate": "19630217",
        "PixelSpacing": [1, 1],
        "SpecificCharacterSet": "ISO_IR 192",
    }
    write_slice(path, pixels, (0, 0, 0), series=f"1.2.840.99999.7.{path.stem[-1]}", **about)


def nifti(path: Path, pixels: np.ndarray) -> None:
    image = nibabel.Nifti1Image(pixels.T, np.diag([1, 1, 1, 1]), dtype=np.uint16)
    image.header.set_xyzt_units("mm")
    image.header["descrip"], image.header["db_name"] = b"Qvistgaard 1963-02-17", b"MRN4711"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Zbigniew at Sankt Elsewhere"))
    nibabel.save(image, path)


KINDS = (("tif", tiff), ("dcm", dicom), ("nii", nifti))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study inside the folder of a person, with images, masks and a table that are named after people."""
    home = tmp_path / "patients" / PERSON
    for part in ("images", "masks"):
        (home / part).mkdir(parents=True)
    lines = ["file,subject,kind,note"]
    for n in range(12):
        ending, write = KINDS[n % 3]
        image, labels = picture(n)
        name = f"Ødegård Zbigniew MRN4711 {n}"
        write(home / f"images/{name}.{ending}", image)
        Image.fromarray(labels).save(home / f"masks/{name}.png")
        lines.append(f"{name}.{ending},{PERSON}-{n},{'ab'[n % 2]},{name}.{ending}")
    (home / "images/Qvistgaard broken.tif").write_bytes(b"II*\0Qvistgaard")
    (home / "table.csv").write_text("\n".join(lines) + "\n")
    text = yaml.safe_load((ROOT / "protocols/smoke.yaml").read_text())
    source = {"name": "set", "uri": "images", "licence": "CC0-1.0", "citation": "us", "modality": "mri", "spacing": [1, 1]}
    source |= {"unit": "millimeter", "labels": {"kind": "files", "uri": "masks", "labels": "instances"}}
    source |= {"table": {"uri": "table.csv", "key": "file"}}
    few = {"training.steps": 3, "training.warmup": 2, "space.training.steps": 3, "space.training.warmup": 2}
    text |= {
        "name": "people",
        "sources": [source],
        "split": {"by": "column", "column": "subject", "unit": "subject", "calibration": 0.25, "holdout": 0.35},
        "patches": {"shape": [32, 32]},
        "conditions": [{"kind": "mask", "name": "mask"}, {"kind": "class", "name": "kind", "column": "kind"}],
        "recipes": [{"name": "ldm", "recipe": "ldm", "options": few}],
        "generate": {"count": 16, "steps": 2},
        "review": {"readers": 1, "items": 8, "catch_pairs": 1},
        "gates": [
            {"name": "leave", "metric": "verification-failures", "at_most": 1e9, "judged_on": "value", "why": "Images are to leave."}
        ],
    }
    text["validation"] |= {"samples": 16, "physics": ["intensity-law"], "segmenter_steps": 5, "encoder_steps": 3}
    text["validation"].pop("downstream")
    (home / "study.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    return home / "study.yaml"


def served(command: list[str], answers: int | None = None, **settings: Any) -> int:
    """Serve a reader study by the command line, answer so many items as a page does, kill the server; return how many answers it kept."""
    server = subprocess.Popen([*command, "--port", "0", "--json"], stdout=subprocess.PIPE, text=True, **settings)
    assert server.stdout is not None
    told = ""
    try:
        while not told.endswith("}\n") or told.count("{") != told.count("}"):
            line = server.stdout.readline()
            assert line, "the server ended before it said where it is"
            told += line
        session = json.loads(told)
        scrambled = {line.item for line in read_book(Path(settings["cwd"]) / session["session"]).key.items if line.role == "catch"}
        choose = lambda item: {"answer": "synthetic" if item in scrambled else "real"}  # noqa: E731
        return sum(len(client_of(link["url"], answers, choose)) for link in session["links"])
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_from_files_to_a_reviewed_signed_and_exported_release_that_names_nobody(study: Path, tmp_path: Path) -> None:
    """The whole way of a laboratory, by commands alone: run, read, score, decide, sign, audit, export; then every byte is searched."""
    home = tmp_path / "home"
    home.mkdir()
    settings = os.environ | {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "OMP_NUM_THREADS": "1"}
    settings["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "300"  # of a machine that has other work
    said = []

    def sciimg(*words: object, code: int = 0) -> Any:
        command = [sys.executable, "-m", "sciimg.cli", *map(str, words), "--json"]
        done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == code, done.stdout + done.stderr
        said.append(done.stderr)
        return json.loads(done.stdout)

    outcome = sciimg("run", study, "--workdir", "runs")
    assert outcome["decision"] == "inconclusive" and any("planned readers" in reason for reason in outcome["reasons"])
    run, release = tmp_path / outcome["run"], tmp_path / outcome["release"]
    assert not (release / "dataset/images").exists()

    serve = [sys.executable, "-m", "sciimg.cli", "review", "serve", str(run)]
    assert served(serve, 4, env=settings, cwd=tmp_path) == 4
    session = run / "review/session.sqlite"
    assert "unanswered" in {p["kind"] for p in sciimg("review", "score", session, "--run", run, code=2)["problems"]}
    assert served(serve, env=settings, cwd=tmp_path) == 8 + 1 + 1 - 4  # items, a catch and a repeat; what was answered stays answered
    assert sciimg("review", "score", session, "--run", run)["readers"] == 1

    outcome = sciimg("run", study, "--workdir", "runs")
    assert outcome["decision"] == "accepted" and list((release / "dataset/images").iterdir())
    assert "1 blinded reader said whether an image is real or synthetic" in (release / "report.html").read_text()
    sciimg("keygen", "--name", "Bob Second", "--out", "second", "--no-passphrase")
    sciimg("sign", release, "--role", "review", "--meaning", "I have seen the answers.", "--key", "second")
    for folder in (home / "config/sciimg/keys", tmp_path / "second"):
        person = json.loads((folder / "signing-key.json").read_text())["signer"]
        sciimg("trust", "add", "lab.policy.json", folder / "signing-key.pub", "--person", person)
    audit = sciimg("audit", release, "--trust", "lab.policy.json")
    assert audit["verified"] and [(s["person"], s["role"]) for s in audit["signers"]][-1] == ("Bob Second", "review")
    sciimg("export", release, "--out", "handed-on", "--format", "png", "--trust", "lab.policy.json")

    assert list((tmp_path / "runs").rglob("model.safetensors")) and list((tmp_path / "handed-on").rglob("*.png"))
    places = (tmp_path / "runs", home, tmp_path / "handed-on", tmp_path / "second")
    files = [*(p for folder in places for p in folder.rglob("*") if p.is_file()), tmp_path / "lab.policy.json"]
    own_alone = {"run.json", "collection.names.csv"}  # where the study lies, and which file is which: for the person at this machine alone
    assert [p.name for p in files if p.name in own_alone]
    scheduler = [p for p in files if ".prefect" in p.parts]  # its view of the runs, on this machine: it knows the path that was typed
    assert {secret for _, secret in found(scheduler, SECRETS)} <= {s for s in SECRETS if s in str(study)}
    assert found([p for p in files if p.name not in own_alone and p not in scheduler], SECRETS) == []
    assert [s for s in SECRETS if s.lower() in "".join(said).replace(str(study), "").lower()] == []
    assert found([p for p in files if p.name == "collection.names.csv"], SECRETS), "the search reads what it is given"


def test_the_invented_people_are_in_the_files(study: Path) -> None:
    """What is looked for is there to be found."""
    assert {secret for _, secret in found((p for p in study.parent.rglob("*") if p.is_file()), SECRETS)} == set(SECRETS)
