"""What is planted in a file, its name and its folder about a person is in no byte that is written; what was left out is listed by name."""

import bz2
import copy
import gzip
import json
import re
import stat
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
import releases
import tifffile
import yaml
from dicom_files import write_slice
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from sciimg.cli import app
from sciimg.decision import collect, decide
from sciimg.errors import InputError
from sciimg.io.pseudonyms import Veil
from sciimg.protocol import load_study
from sciimg.provenance.keys import make_key
from sciimg.provenance.release import publish
from sciimg.report.build import report_of_run, write_report
from sciimg.stages.info import rebuild, verify
from sciimg.stages.ingest import ingest_files, ingest_study
from sciimg.stages.ledger import Run, environment, folder_digest, perform
from sciimg.stages.lookup import lookup_of, read_lookup
from sciimg.stages.plan import plan
from sciimg.store import Collection
from sciimg.types import Spacing

ROOT = Path(__file__).parents[2]
SECRETS = ("Qvistgaard", "19630217", "1963-02-17", "1963:02:17", "1.2.840.99999.7", "Sankt Elsewhere", "MRN4711")
NAME = "Qvistgaard^Ada_1963-02-17"
PIXELS = np.random.default_rng(8).integers(0, 999, (12, 16), dtype=np.uint16)
PIXEL = Spacing((1.0,), "pixel")
PSEUDONYM = re.compile(r"[a-z0-9]+-[0-9a-f]{10}(-[0-9]+)?")


def readable(path):
    """The bytes of a file, and what is packed in it."""
    data = path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        return data + repr((table.to_pydict(), table.schema.metadata)).encode()
    packed = {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix)
    return data + (packed(data) if packed else b"")


def leaks(folder, *values, but=()):
    """Where a secret stands in the names or the bytes of what lies under a folder, or in values."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.name in but:
            continue
        text = str(path.relative_to(folder)).encode() + b"\0" + (readable(path) if path.is_file() else b"")
        found += [(str(path), s) for s in SECRETS if s.lower().encode() in text.lower()]
    return found + [("value", s) for v in values for s in SECRETS if s.lower() in json.dumps(v, ensure_ascii=False).lower()]


def removed(out, row=0):
    text = Collection(out).catalogue["removed"][row]
    return json.loads(text) if isinstance(text, str) else text


# ---------------------------------------------------------------- files that say who it is, wherever they can


def png(path, seed=0, size=(12, 16)):
    text = PngInfo()
    for keyword in ("Author", "Qvistgaard key"):
        text.add_text(keyword, "Qvistgaard, Sankt Elsewhere, 19630217")
    exif = Image.Exif()
    exif[315], exif[306] = "Qvistgaard", "1963:02:17 00:00:00"
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)
    Image.fromarray(pixels).save(path, pnginfo=text, exif=exif)
    return path


def dicom(path):
    nested = Dataset()
    nested.PatientID, nested.ReferencedSOPInstanceUID = "Qvistgaard", "1.2.840.99999.7"
    extra = {"PatientName": "Qvistgaard^Ada", "PatientBirthDate": "19630217", "StudyDate": "19630217", "InstitutionName": "Sankt Elsewhere"}
    extra |= {"StudyInstanceUID": "1.2.840.99999.7", "RequestAttributesSequence": [nested], "ProtocolName": "Qvistgaard special"}
    extra |= {"SequenceName": "Qvistgaard", "ReceiveCoilName": "MRN4711", "TransmitCoilName": "Qvistgaard"}
    write_slice(path, PIXELS, (0, 0, 0), series="1.2.840.99999.7", **extra)
    header = pydicom.dcmread(path)
    header.private_block(0x0033, "Qvistgaard Inc", create=True).add_new(1, "LO", "Qvistgaard")
    header.save_as(path)
    return path


def nifti(path):
    image = nibabel.Nifti1Image(PIXELS.astype(np.int16)[..., None] + np.arange(6, dtype=np.int16), np.diag([0.5, 0.5, 2, 1]))
    image.header.set_xyzt_units("mm")
    image.header["descrip"], image.header["aux_file"] = b"Qvistgaard 19630217", b"Sankt Elsewhere"
    image.header["db_name"], image.header["intent_name"] = b"Qvistgaard", b"Qvistgaard"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"Qvistgaard 1963-02-17"))
    nibabel.save(image, path)
    return path


def tiff(path):
    extra = [(315, "s", 0, "Qvistgaard", True), (316, "s", 0, "Sankt Elsewhere", True), (65000, "s", 0, "Qvistgaard", True)]
    about = {"resolution": (1e5, 1e5), "resolutionunit": 3, "metadata": None, "datetime": "1963:02:17 00:00:00"}
    tifffile.imwrite(path, PIXELS, description="Qvistgaard at Sankt Elsewhere", software="19630217", extratags=extra, **about)
    return path


def ome(path):
    meta = {"axes": "YX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "Description": "Qvistgaard at Sankt Elsewhere", "Name": "Qvistgaard"}
    meta["Channel"] = {"Name": ["Qvistgaard 19630217"]}
    tifffile.imwrite(path, PIXELS + 1, ome=True, metadata=meta, software="19630217")
    experimenter = '<Experimenter ID="Experimenter:0" LastName="Qvistgaard" UserName="Qvistgaard"/></OME>'
    tifffile.tiffcomment(path, tifffile.tiffcomment(path).replace("</OME>", experimenter).encode())
    return path


def beside(path, other):
    """Let an OME-TIFF say that its plane lies in another file."""
    place = f'<TiffData IFD="0"><UUID FileName="{other}">urn:uuid:0b1c2d3e-0000-4000-8000-000000000000</UUID></TiffData>'
    text, count = re.subn(r"<TiffData[^>]*?/>|<TiffData[^>]*>.*?</TiffData>", place, tifffile.tiffcomment(path))
    assert count == 1
    tifffile.tiffcomment(path, text.encode())


def nhdr(path):
    """A header and its data in a file of the same name."""
    header = {"content": "Qvistgaard", "Qvistgaard": "19630217", "space": "right-anterior-superior", "units": None}
    header |= {"space directions": np.diag([0.5, 0.5, 2.0]), "kinds": ["domain"] * 3, "space units": ["mm"] * 3, "encoding": "raw"}
    header.pop("units")
    volume = np.stack([PIXELS, PIXELS, PIXELS + 2]).astype(np.int16)
    nrrd.write(str(path), volume, header, detached_header=True)
    return path


FILES = {
    "dcm": (
        dicom,
        {
            "PatientName",
            "PatientID",
            "StudyInstanceUID",
            "ReferencedSOPInstanceUID",
            "ProtocolName",
            "SequenceName",
            "ReceiveCoilName",
            "private (0033,1001)",
        },
    ),
    "nii.gz": (nifti, {"NIfTI descrip", "NIfTI aux_file", "NIfTI db_name", "NIfTI intent_name", "NIfTI extension"}),
    "png": (png, {"PNG text Author", "PNG text (other keyword)", "Exif Artist", "Exif DateTime"}),
    "tif": (tiff, {"TIFF Artist", "TIFF HostComputer", "TIFF ImageDescription", "TIFF Software", "TIFF DateTime", "TIFF tag 65000"}),
    "ome.tif": (ome, {"OME Experimenter", "OME Description", "OME Image Name", "TIFF Software", "name of a channel"}),
    "nhdr": (nhdr, {"NRRD content", "NRRD key/value pair"}),
}


@pytest.fixture
def named(tmp_path):
    """A folder named after a person, with a file of each kind named after her."""
    folder = tmp_path / "patients" / NAME
    folder.mkdir(parents=True)
    return folder


# ---------------------------------------------------------------- ingest


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on a private element of unknown creator, pynrrd on a field
@pytest.mark.parametrize("ending", FILES)
def test_a_file_that_names_somebody_everywhere(named, tmp_path, ending):
    write, expected = FILES[ending]
    path = write(named / f"{NAME} left.{ending}")
    value = ingest_files([path], tmp_path / "out", spacing=PIXEL)
    assert leaks(tmp_path / "out") == []
    (image,) = value["images"]
    assert image["source"] == str(path) and PSEUDONYM.fullmatch(image["id"])  # her own terminal shows what she typed
    assert image["id"] == "image-" + image["sha256"].removeprefix("sha256:")[:10]
    assert expected <= set(removed(tmp_path / "out"))
    row = Collection(tmp_path / "out").catalogue.iloc[0]
    assert row["source"] == row["group"] == row["id"]
    if ending in ("tif", "nhdr", "nii.gz", "dcm"):  # what is needed stays
        assert json.loads(row["spacing"])[-1] in (0.1, 0.5) and row["unit"] != "pixel"


BAD = {
    "cut.png": lambda path: path.write_bytes(png(path).read_bytes()[:-200]),
    "text.png": lambda path: path.write_text("Qvistgaard, born 1963-02-17"),
    "empty.nii.gz": lambda path: path.write_bytes(b""),
    "no-data.nhdr": lambda path: path.write_text(
        f"NRRD0004\ntype: short\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: {NAME}.raw\n\n"
    ),
    "escape.nhdr": lambda path: path.write_text(
        "NRRD0004\ntype: short\ndimension: 2\nsizes: 4 4\nencoding: raw\ndata file: ../Qvistgaard.raw\n\n"
    ),
    "type.nrrd": lambda path: path.write_text("NRRD0004\ntype: Qvistgaard\ndimension: 2\nsizes: 4 4\nencoding: raw\n\n"),
    "size.nrrd": lambda path: path.write_text("NRRD0004\ntype: short\ndimension: 2\nsizes: 4 Qvistgaard\nencoding: raw\n\n"),
    "x.mha": lambda path: path.write_text("NDims = 2\nDimSize = 19630217 Qvistgaard\nElementType = Qvistgaard\nElementDataFile = LOCAL\n"),
    "x.dcm": lambda path: path.write_bytes(dicom(path).read_bytes()[:-100]),
    "x.ome.tif": lambda path: path.write_bytes(ome(path).read_bytes().replace(b'SizeX="16"', b'SizeX="99"')),
    "set.ome.tif": lambda path: beside(ome(path), "Qvistgaard other.ome.tif"),
    "x.zarr": lambda path: (path.mkdir(), (path / "zarr.json").write_text('{"multiscales": "Qvistgaard"}')),
    "x.npy": lambda path: path.write_bytes(b"\x93NUMPY\1\0\x46\0{'descr': 'Qvistgaard', 'fortran_order': False, 'shape': (3,)}" + b" " * 9),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("ending", BAD)
def test_an_input_that_cannot_be_used_is_kept_without_its_name(named, tmp_path, ending):
    png(named.parent / "good.png")
    BAD[ending](named / f"{NAME} {ending}")
    value = ingest_files([named.parent], tmp_path / "out", spacing=PIXEL)
    (shown,) = value["rejected"]
    assert shown["source"].startswith(str(named)) and shown["problems"][0]["message"]
    (kept,) = Collection(tmp_path / "out").rejected
    assert re.fullmatch(r"input-([0-9a-f]{10}|unreadable)", kept["source"])
    assert [p["kind"] for p in kept["problems"]] == [p["kind"] for p in shown["problems"]]
    assert leaks(tmp_path / "out") == []
    (row,) = [r for r in read_lookup(tmp_path / "out") if r.said]
    assert row.id == kept["source"] and row.source == shown["source"] and shown["problems"][0]["kind"] in row.said


def test_a_missing_input_equal_inputs_and_labels(named, tmp_path):
    png(named / f"images/{NAME}.png", 1)
    png(named / f"masks/{NAME}.png", 2)
    png(named / f"images/{NAME}-2.png", 1)
    png(named / f"images/{NAME}-3.png", 3)
    png(named / f"masks/{NAME}-3.png", 3, (3, 3))
    for name in ("a", "b"):
        (named / f"images/{NAME}-{name}.png").write_bytes(b"")
    ingest_files([named, named / f"{NAME}.tif"], tmp_path / "out", spacing=PIXEL)
    assert leaks(tmp_path / "out") == []
    ids = list(Collection(tmp_path / "out").catalogue["id"])
    assert len(ids) == 2 and ids[1] == ids[0] + "-2"  # equal contents are counted
    sources = [r["source"] for r in Collection(tmp_path / "out").rejected]
    assert len(sources) == 4 and {"input-missing", "input-e3b0c44298", "input-e3b0c44298-2"} < set(sources)  # two empty files
    assert json.loads(Collection(tmp_path / "out").catalogue["labels"].dropna().iloc[0]) == {"kind": "files"}


def test_dicom_slices_named_after_a_person(named, tmp_path):
    for number in range(3):
        write_slice(named / f"{NAME}_{number}", PIXELS, (0, 0, number * (5 if number == 2 else 1)), number=number)
    png(tmp_path / "good.png")
    value = ingest_files([named, tmp_path / "good.png"], tmp_path / "out", spacing=PIXEL)
    assert len(value["rejected"]) == 1 and leaks(tmp_path / "out") == []


def test_the_look_up_is_private_and_nobody_minds_it(named, tmp_path):
    first = png(named / f"{NAME}.png", 1)
    value = ingest_files([first], tmp_path / "out", spacing=PIXEL)
    path = lookup_of(tmp_path / "out")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "Never pass it on" in path.read_text().splitlines()[0]
    (row,) = read_lookup(tmp_path / "out")
    assert (row.id, row.source, row.sha256) == (value["images"][0]["id"], str(first), value["images"][0]["sha256"])
    second = png(named / f"{NAME} again.png", 2)
    both = ingest_files([second], tmp_path / "out", spacing=PIXEL)
    assert {i["source"] for i in both["images"]} == {str(first), str(second)} and len(read_lookup(tmp_path / "out")) == 2
    before = Collection(tmp_path / "out").digest
    path.unlink()
    assert verify(tmp_path / "out") == [] and Collection(tmp_path / "out").digest == before
    rebuild(tmp_path / "out")
    assert Collection(tmp_path / "out").digest == before


def test_names_are_not_written_with_less_care_when_asked_again(named, tmp_path):
    path = png(named / f"{NAME}.png", 1)
    one = ingest_files([path], tmp_path / "one", spacing=PIXEL)
    assert ingest_files([path], tmp_path / "one", spacing=PIXEL) == one
    again = ingest_files([tmp_path / "one"], tmp_path / "two")  # a collection goes in again under the pseudonyms that it has
    assert [i["id"] for i in again["images"]] == [i["id"] for i in one["images"]] and leaks(tmp_path / "two") == []
    ingest_files([path], tmp_path / "kept", spacing=PIXEL, keep_names=True)
    assert leaks(tmp_path / "kept") and not lookup_of(tmp_path / "kept").exists()
    png(tmp_path / "kept-again.png")
    ingest_files([tmp_path / "kept"], tmp_path / "three")  # names that were kept are not handed on
    assert leaks(tmp_path / "three") == []


@pytest.mark.parametrize(
    ("now", "said"),
    [({"spacing": Spacing((0.5,), "micrometer")}, "spacing"), ({"label_kind": "classes"}, "labels"), ({"axes": "tyx"}, "axes")],
)
def test_a_source_that_is_there_is_not_asked_for_otherwise_in_silence(tmp_path, now, said):
    png(tmp_path / "set/masks/a.png", 2)
    (tmp_path / "set/images").mkdir()
    tifffile.imwrite(tmp_path / "set/images/a.tif", PIXELS)
    if "axes" in now:
        tifffile.imwrite(tmp_path / "set/images/b.tif", np.stack([PIXELS, PIXELS]), metadata=None)
        (tmp_path / "set/images/a.tif").unlink()
        (tmp_path / "set/masks/a.png").unlink()
    ingest_files([tmp_path / "set"], tmp_path / "out", spacing=PIXEL)
    before = Collection(tmp_path / "out").digest
    with pytest.raises(InputError, match=said) as caught:
        ingest_files([tmp_path / "set"], tmp_path / "out", **({"spacing": PIXEL} | now))
    assert {p.kind for p in caught.value.problems} == {"already-ingested-otherwise"}
    png(tmp_path / "set/images/new.png", 9)
    value = ingest_files([tmp_path / "set"], tmp_path / "out", **({"spacing": PIXEL} | now))
    assert [p["kind"] for r in value["rejected"] for p in r["problems"]] == ["already-ingested-otherwise"]
    assert Collection(tmp_path / "out").rejected == [] and Collection(tmp_path / "out").digest != before
    ingest_files([tmp_path / "set"], tmp_path / "out")  # nothing asked for: nothing to contradict


def test_labels_that_came_later_are_not_dropped_in_silence(tmp_path):
    png(tmp_path / "set/images/a.png", 1)
    ingest_files([tmp_path / "set/images"], tmp_path / "out", spacing=PIXEL)
    png(tmp_path / "set/masks/a.png", 2)
    with pytest.raises(InputError, match="no labels"):
        ingest_files([tmp_path / "set"], tmp_path / "out", spacing=PIXEL)


def test_a_veil_leaves_words_of_our_own():
    veil = Veil((Path("/data/Doe/an.tif"), Path("/data/Doe/12.tif")))
    said = "The file /data/Doe/an.tif must have an axis for 12 'zyx' planes; DOE.tif has 'Jane', the image's own."
    assert veil.message(said, "input-1") == "The file input-1 must have an axis for 12 'zyx' planes; input-1.tif has …, the image's own."


# ---------------------------------------------------------------- the command line, and a study up to its release


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_command_line(named, tmp_path):
    for ending, (write, _) in FILES.items():
        write(named / f"{NAME} left.{ending}")
    (named / f"{NAME}.png").write_bytes(b"")
    words = ["ingest", str(named), "--out", str(tmp_path / "out"), "--unit", "pixel", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3
    value = json.loads(result.stdout)
    assert len(value["images"]) == len(FILES) and NAME in value["rejected"][0]["source"]
    assert leaks(tmp_path / "out") == []
    assert json.loads(CliRunner().invoke(app, ["info", str(tmp_path / "out"), "--verify", "--json"]).stdout)["verified"] is True
    result = CliRunner().invoke(app, [*words[:3], str(tmp_path / "kept"), *words[4:], "--keep-names"])
    assert "qvistgaard-ada_1963-02-17-left" in " ".join(i["id"] for i in json.loads(result.stdout)["images"])


@pytest.fixture
def study(named, tmp_path):
    """Nine images of subjects with masks, and a table whose cells name files; one image is empty, one row has no image."""
    lines = ["file,subject,dose,kind,scan"]
    for n in range(9):
        png(named / f"images/{NAME}_{n}.png", n, (48, 48))
        labels = np.zeros((48, 48), np.uint8)
        labels[8:20, 8:20] = 1
        (named / "masks").mkdir(exist_ok=True)
        Image.fromarray(labels).save(named / f"masks/{NAME}_{n}.png")
        subject = f"{NAME}_7" if n in (7, 8) else f"MRN4711-{n}"  # one subject is called like a file, and has two
        lines.append(f"{NAME}_{n}.png,{subject},{n / 2},x,{NAME}_{n}.png")
    lines += [f"{NAME}_ghost.png,s9,1,X,y"]
    (named / f"images/{NAME}_0.png").write_bytes(b"")
    (named / f"masks/{NAME}_1.png").unlink()
    (named / "table.csv").write_text("\n".join(lines) + "\n")
    folder = f"patients/{NAME}"
    plain = yaml.safe_load((ROOT / "protocols/nuclei.yaml").read_text())
    source = {"name": "set", "uri": f"{folder}/images", "licence": "CC0-1.0", "citation": "us", "modality": "fluorescence"}
    source |= {"spacing": [1, 1], "unit": "pixel", "labels": {"kind": "files", "uri": f"{folder}/masks", "labels": "instances"}}
    source |= {"table": {"uri": f"{folder}/table.csv", "key": "file"}}
    split = {"by": "column", "column": "subject", "unit": "subject", "calibration": 0.3, "holdout": 0.3}
    text = {**plain, "name": "small", "sources": [source], "split": split, "patches": {"shape": [16, 16]}, "gates": plain["gates"][:1]}
    text |= {"conditions": [{"kind": "mask", "name": "mask"}, {"kind": "class", "name": "dose", "column": "kind"}]}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    return tmp_path / "study.yaml"


def test_a_study_from_its_files_to_its_release(study, tmp_path):
    run = Run.begin(study, tmp_path / "runs")
    stages = plan(run.loaded.study)
    for name in ("ingest", "split"):
        perform(stages[name], run)
    place = run.folder("ingest") / "collection"
    # The study is published as it is written, so its paths are its author's own words; run.json never leaves the machine.
    own = ("study.yaml", "run.json", "collection.names.csv")
    assert leaks(run.path, but=own) == []
    table = Collection(place).catalogue
    assert len(table) == 7 and all(re.fullmatch(r"set-[0-9a-f]{10}", i) for i in table["id"])
    assert table["scan"].isna().all() and set(table["kind"]) == {"x"}
    groups = table["group"].value_counts()
    assert sorted(groups) == [1, 1, 1, 1, 1, 2] and set(groups.index) < set(table["id"])  # a subject of two images is one still
    assert list(table["group"]) == list(table["subject"])
    rejected = json.loads((run.folder("ingest") / "rejected.json").read_text())
    assert sorted(p["kind"] for r in rejected["rejected"] for p in r["problems"]) == ["empty-file", "mask-missing", "row-without-image"]
    assert [n["kind"] for n in rejected["notes"]] == ["spelling"]
    known = {row.id: row.source for row in read_lookup(place)}
    assert set(known) >= set(table["id"]) and all(NAME in known[i] for i in table["id"])

    counted = folder_digest(run.folder("ingest"))
    lookup_of(place).unlink()
    assert folder_digest(run.folder("ingest")) == counted and not perform(stages["ingest"], run)

    model = report_of_run(run.path)
    told = model.model_dump_json()
    assert [s for s in SECRETS if s in told] == [] and "PNG text Author" in told
    write_report(model, tmp_path / "report")
    assert leaks(tmp_path / "report") == []

    evidence = {"split": (run.folder("split") / "evidence.json").read_bytes()}
    loaded = load_study(study)
    publish(
        tmp_path / "release",
        make_key("Ada", tmp_path / "keys"),
        study=loaded,
        decision=decide(loaded.study, *collect({n: json.loads(v) for n, v in evidence.items()})),
        evidence=evidence,
        synthetic=None,
        stages={n: entry for n in ("ingest", "split") if (entry := run.ledger(n))},
        environment=environment(),
        rejected=rejected["rejected"],
        notes=rejected["notes"],
        removed={"PNG text Author": 7},
        packages=releases.PACKAGES,
    )
    assert leaks(tmp_path / "release", but=("study.yaml",)) == []
    assert "PNG text Author" in (tmp_path / "release/dataset/DATASHEET.md").read_text()


def test_a_subject_of_two_sources_is_one_subject(study, tmp_path):
    text = yaml.safe_load(study.read_text())
    for names in ("pseudonyms", "kept"):
        text["sources"] = [copy.deepcopy(text["sources"][0]) | {"name": name} for name in ("one", "two")]
        text["sources"][1] |= {"names": names}
        study.write_text(yaml.safe_dump(text, sort_keys=False))
        ingest_study(load_study(study), tmp_path / names)
        table = Collection(tmp_path / names / "collection").catalogue
        assert sorted(table.groupby("subject").size()) == [2, 2, 2, 2, 2, 4]
        assert bool(leaks(tmp_path / names, but=("collection.names.csv",))) == (names == "kept")


def test_a_condition_that_names_its_file_is_refused(study, tmp_path):
    text = study.read_text().replace("column: kind", "column: scan")
    study.write_text(text)
    run = Run.begin(study, tmp_path / "runs")
    with pytest.raises(InputError, match="names-file"):
        perform(plan(run.loaded.study)["ingest"], run)
