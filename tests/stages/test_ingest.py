"""Ingest: good inputs go in, bad ones are left out with reasons, nothing is half-written, and doing it again gives the same bytes."""

import copy
import json
import shutil
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile
import yaml

from sciimg.errors import InputError
from sciimg.protocol import load_study
from sciimg.stages import ingest
from sciimg.stages.ingest import ingest_study, parse_spacing
from sciimg.store import Collection
from sciimg.types import Spacing

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared/data"
PIXEL = Spacing((1.0,), "pixel")
RNG = np.random.default_rng(4)
ingest_files = partial(ingest.ingest_files, keep_names=True)  # names to speak of; test_deidentification.py has the default


def grey(path, seed=0, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 255, size, dtype=np.uint8)).save(path)


def kinds(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    return [p.kind for p in caught.value.problems]


def reasons(value):
    return {Path(r["source"]).name: [p["kind"] for p in r["problems"]] for r in value["rejected"]}


# ---------------------------------------------------------------- files


def test_the_json_of_design(tmp_path):
    grey(tmp_path / "in/Cell 1.png")
    value = ingest_files([tmp_path / "in"], tmp_path / "out", spacing=Spacing((0.5,), "micrometer"))
    assert json.loads(json.dumps(value)) == value
    (image,) = value["images"]
    assert set(image) >= {"id", "source", "axes", "shape", "dtype", "spacing", "unit", "channels", "sha256"}
    assert (image["id"], image["axes"], image["shape"], image["dtype"]) == ("cell-1", "yx", [32, 32], "uint8")
    assert (image["spacing"], image["unit"], image["channels"]) == ([0.5, 0.5], "micrometer", ["intensity"])
    assert value["rejected"] == []


def test_bad_inputs_are_left_out_and_the_others_go_on(tmp_path):
    grey(tmp_path / "in/good.png")
    (tmp_path / "in/empty.png").write_bytes(b"")
    data = (tmp_path / "in/good.png").read_bytes()
    (tmp_path / "in/cut.png").write_bytes(data[: len(data) // 2])
    np.save(tmp_path / "in/nan.npy", np.full((4, 4), np.nan))
    value = ingest_files([tmp_path / "in", tmp_path / "nowhere.tif"], tmp_path / "out", spacing=PIXEL)
    assert [i["id"] for i in value["images"]] == ["good"]
    expected = {"empty.png": ["empty-file"], "cut.png": ["truncated"], "nan.npy": ["not-finite"], "nowhere.tif": ["missing"]}
    assert reasons(value) == expected
    collection = Collection(tmp_path / "out")
    assert len(collection) == 1 and collection.rejected == value["rejected"] and collection.verify() == []
    assert sorted(p.name for p in (tmp_path / "out/images").iterdir()) == ["good.zarr"]


@pytest.mark.parametrize("on_error", ["quarantine", "stop"])
def test_with_nothing_to_keep_nothing_is_written(tmp_path, on_error):
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(b"")
    found = kinds(ingest_files, [tmp_path / "in"], tmp_path / "out", spacing=PIXEL, on_error=on_error)
    assert found == ["empty-file"] * (2 if on_error == "quarantine" else 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_stop_writes_nothing_although_some_are_good(tmp_path):
    grey(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").write_bytes(b"")
    assert kinds(ingest_files, [tmp_path / "in"], tmp_path / "out", spacing=PIXEL, on_error="stop") == ["empty-file"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_every_problem_of_a_file_is_said_at_once(tmp_path):
    np.save(tmp_path / "nan.npy", np.full((4, 4), np.nan))
    assert kinds(ingest_files, [tmp_path / "nan.npy"], tmp_path / "out") == ["unknown-spacing", "not-finite"]


def test_an_existing_place_is_left_alone(tmp_path):
    grey(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    assert kinds(ingest_files, [tmp_path / "a.png"], tmp_path / "out", spacing=PIXEL) == ["exists"]


def test_the_same_file_twice_is_one_image_and_equal_stems_are_two(tmp_path):
    grey(tmp_path / "x/a.png", 1)
    grey(tmp_path / "y/a.png", 2)
    value = ingest_files([tmp_path / "x/a.png", tmp_path / "x", tmp_path / "y"], tmp_path / "out", spacing=PIXEL)
    ids = [i["id"] for i in value["images"]]
    assert len(ids) == 2 and all(i.startswith("a-") for i in ids)


def test_a_folder_of_images_and_labels_is_pairs(tmp_path):
    truth = RNG.integers(0, 3, (32, 32)).astype(np.uint8)
    for name in ("a", "b", "c"):
        grey(tmp_path / f"set/images/{name}.png")
    (tmp_path / "set/masks").mkdir()
    tifffile.imwrite(tmp_path / "set/masks/a.tif", truth)
    tifffile.imwrite(tmp_path / "set/masks/b.tif", truth[:-1])
    value = ingest_files([tmp_path / "set"], tmp_path / "out", spacing=PIXEL)
    assert [i["id"] for i in value["images"]] == ["a", "c"]
    assert reasons(value) == {"b.png": ["mask-shape"]}
    collection = Collection(tmp_path / "out")
    np.testing.assert_array_equal(collection.volume("a").read_labels(), truth)
    assert collection.volume("a").label_kind == "instances" and collection.volume("c").read_labels() is None
    assert [p["kind"] for p in value["images"][0]["problems"]] == ["label-kind-not-stated"]
    told = ingest_files([tmp_path / "set"], tmp_path / "told", spacing=PIXEL, label_kind="classes")
    assert told["images"][0]["problems"] == [] and Collection(tmp_path / "told").volume("a").label_kind == "classes"


def test_collections_and_volumes_go_in_again_unchanged(tmp_path):
    grey(tmp_path / "set/images/a.png", 1)
    grey(tmp_path / "set/labels/a.png", 2)
    ingest_files([tmp_path / "set"], tmp_path / "one", spacing=PIXEL)
    value = ingest_files([tmp_path / "one", tmp_path / "one/images/a.zarr"], tmp_path / "two")
    assert len(value["images"]) == 2
    first, second = Collection(tmp_path / "one").volume("a"), Collection(tmp_path / "two").volume("a")
    np.testing.assert_array_equal(first.read(), second.read())
    np.testing.assert_array_equal(first.read_labels(), second.read_labels())


def test_the_same_inputs_give_the_same_bytes(tmp_path):
    for n in range(3):
        grey(tmp_path / f"in/{n}.png", n)
    for out in ("one", "two"):
        ingest_files([tmp_path / "in"], tmp_path / out, spacing=PIXEL)
    files = [sorted(p.relative_to(tmp_path / out) for p in (tmp_path / out).rglob("*") if p.is_file()) for out in ("one", "two")]
    assert files[0] == files[1]
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files[0])


def test_notes_travel_with_the_image(tmp_path):
    tifffile.imwrite(tmp_path / "stack.png", RNG.integers(0, 9, (5, 16, 16), dtype=np.uint8))
    (image,) = ingest_files([tmp_path / "stack.png"], tmp_path / "out", spacing=PIXEL)["images"]
    assert [p["kind"] for p in image["problems"]] == ["axis-not-named", "wrong-extension"]
    assert image["axes"] == "zyx"
    (image,) = ingest_files([tmp_path / "stack.png"], tmp_path / "out2", spacing=PIXEL, axes="tyx")["images"]
    assert image["axes"] == "tyx"


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        (None, None, None),
        (None, "pixel", PIXEL),
        ("0.5", "um", Spacing((0.5,), "micrometer")),
        ("2, 1,1", "mm", Spacing((2.0, 1.0, 1.0), "millimeter")),
        ("1,1", "cm", Spacing((10.0, 10.0), "millimeter")),
        ("3", "pixel", Spacing((3.0,), "pixel")),
    ],
)
def test_spacing_on_the_command_line(text, unit, expected):
    assert parse_spacing(text, unit) == expected


@pytest.mark.parametrize(
    ("text", "unit"), [("1", None), (None, "mm"), ("1;2", "mm"), ("0", "mm"), ("-1", "mm"), ("1,1,1,1", "mm"), ("nan", "mm"), ("1", "acre")]
)
def test_spacing_that_means_nothing(text, unit):
    assert kinds(parse_spacing, text, unit) == ["bad-spacing"]


@pytest.mark.parametrize("options", [{"on_error": "ignore"}, {"label_kind": "objects"}])
def test_options_that_mean_nothing(tmp_path, options):
    assert kinds(ingest_files, [tmp_path], tmp_path / "out", **options) == ["bad-value"]


def test_the_bad_examples_behave_as_their_readme_says(tmp_path):
    if not (SHARED / "bad").exists():
        pytest.skip("no shared data beside the repository")
    value = ingest_files([SHARED / "bad"], tmp_path / "out", spacing=PIXEL)
    assert reasons(value) == {
        "cut.png": ["truncated"],
        "nan_rows.tif": ["not-finite"],
        "declares_300000x300000.tif": ["absurd-size"],
        "zero_sform.nii": ["singular-affine"],
        "corrupt.nii.gz": ["corrupt"],
        "s1.nii.gz": ["mask-shape"],
        "dicom_gap": ["slice-gap"],
    }
    (image,) = value["images"]
    assert Path(image["source"]).name == "file with space é.tif"
    pixels = Collection(tmp_path / "out").volume(image["id"]).read()
    np.testing.assert_array_equal(pixels, tifffile.imread(SHARED / "bad/file with space é.tif"))


# ---------------------------------------------------------------- studies


@pytest.fixture
def study(tmp_path):
    """Six images of three subjects with masks and a table, and a function that makes a study of them with changes."""
    lines = ["name,subject,dose,kind"]
    for n in range(6):
        grey(tmp_path / f"data/images/i{n}.png", n)
        grey(tmp_path / f"data/masks/i{n}.png", 100 + n)
        lines.append(f"i{n},s{n // 2},{n / 2},x")
    (tmp_path / "data/table.csv").write_text("\n".join(lines) + "\n")
    plain = yaml.safe_load((ROOT / "protocols/nuclei.yaml").read_text())

    def make(source=None, **changes):
        text = {**plain, "name": "small", "conditions": [{"kind": "mask", "name": "mask"}], "gates": plain["gates"][:1], **changes}
        split = {"by": "column", "column": "subject", "unit": "subject", "calibration": 0.3, "holdout": 0.3}
        text["split"] = split | changes.get("split", {})
        base = {
            "name": "set",
            "uri": "data/images",
            "licence": "CC0-1.0",
            "citation": "us",
            "modality": "fluorescence",
            "spacing": [1, 1],
            "unit": "pixel",
            "names": "kept",
            "labels": {"kind": "files", "uri": "data/masks", "labels": "instances"},
            "table": {"uri": "data/table.csv", "key": "name"},
        }
        text["sources"] = [{k: v for k, v in {**base, **(source or {})}.items() if v is not None}]
        text["patches"] = changes.get("patches", {"shape": [16, 16]})
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(text, sort_keys=False, default_flow_style=False))
        return load_study(tmp_path / "study.yaml")

    return make


def test_a_study_with_labels_and_a_table(study, tmp_path):
    loaded = study()
    value = ingest_study(loaded, tmp_path / "stage")
    assert [i["id"] for i in value["images"]] == [f"i{n}" for n in range(6)] and value["rejected"] == []
    assert json.loads((tmp_path / "stage/rejected.json").read_text()) == {"rejected": [], "notes": []}
    collection = Collection(tmp_path / "stage/collection")
    table = collection.catalogue.set_index("id")
    assert table["group"].tolist() == ["s0", "s0", "s1", "s1", "s2", "s2"]
    assert table["dose"].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert table["source"].tolist() == [f"data/images/i{n}.png" for n in range(6)]
    assert collection.study == loaded.study.digest and not collection.synthetic
    mask = np.asarray(PIL.Image.open(tmp_path / "data/masks/i3.png"))
    np.testing.assert_array_equal(collection.volume("i3").read_labels(), mask)


@pytest.mark.parametrize("names", [("kept", "kept"), ("pseudonyms", "kept"), ("pseudonyms", "pseudonyms")])
def test_a_file_of_two_sources_is_two_images(study, tmp_path, names):
    study({"table": None}, split={"column": "id"})
    text = yaml.safe_load((tmp_path / "study.yaml").read_text())
    (source,) = text["sources"]
    text["sources"] = [copy.deepcopy(source) | {"name": f"set{n}", "names": kept} for n, kept in enumerate(names)]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    loaded = load_study(tmp_path / "study.yaml")
    value = ingest_study(loaded, tmp_path / "stage")
    assert len({i["id"] for i in value["images"]}) == 12 and value["rejected"] == []
    assert sum(i["source"].startswith("data/") for i in value["images"]) == 6 * names.count("kept")


def test_two_images_of_one_stem_do_not_share_a_mask(study, tmp_path):
    grey(tmp_path / "data/images/more/i0.png", 7)
    value = ingest_study(study({"table": None}, split={"column": "id"}), tmp_path / "stage")
    assert [i["id"] for i in value["images"]] == [f"i{n}" for n in range(1, 6)]
    assert [p["kind"] for r in value["rejected"] for p in r["problems"]] == ["duplicate-stem"] * 2


def test_doubtful_cells_of_a_table_are_said_and_leave_nobody_out(study, tmp_path):
    path = tmp_path / "data/table.csv"
    loaded = study()
    path.write_text(path.read_text().replace("i5,s2,2.5,x", "i5,s2,2.5,X"))
    value = ingest_study(loaded, tmp_path / "stage")
    assert len(value["images"]) == 6 and value["rejected"] == []
    assert [p["kind"] for p in value["notes"]] == ["spelling"] and "'X' (line 7)" in value["notes"][0]["message"]
    assert json.loads((tmp_path / "stage/rejected.json").read_text())["notes"] == value["notes"]


def test_no_machine_path_reaches_the_collection(study, tmp_path):
    (tmp_path / "data/images/i0.png").write_bytes(b"")
    (tmp_path / "data/masks/i1.png").unlink()
    ingest_study(study(), tmp_path / "stage")
    for path in (tmp_path / "stage").rglob("*"):
        if path.is_file():
            assert str(tmp_path).encode() not in path.read_bytes(), path


def test_where_leaves_rows_out_without_a_word(study, tmp_path):
    source = {"table": {"uri": "data/table.csv", "key": "name", "where": {"subject": ["s0", "s2"]}}}
    value = ingest_study(study(source), tmp_path / "stage")
    assert [i["id"] for i in value["images"]] == ["i0", "i1", "i4", "i5"] and value["rejected"] == []


def test_each_contradiction_costs_its_own_image(study, tmp_path):
    table = tmp_path / "data/table.csv"
    table.write_text(table.read_text().replace("i5,s2,2.5,x", "i5,,2.5,x") + "i0,s9,0,x\nghost,s1,0,x\n")
    grey(tmp_path / "data/images/unlisted.png")
    (tmp_path / "data/masks/i2.png").unlink()
    grey(tmp_path / "data/masks/i3.png", size=(32, 31))
    value = ingest_study(study(), tmp_path / "stage")
    assert [i["id"] for i in value["images"]] == ["i1", "i4"]
    assert reasons(value) == {
        "i0.png": ["rows-contradict"],
        "i2.png": ["mask-missing"],
        "i3.png": ["mask-shape"],
        "i5.png": ["no-group"],
        "table.csv": ["row-without-image"],
        "unlisted.png": ["no-row"],
    }


def test_images_that_are_not_like_the_others(study, tmp_path):
    tifffile.imwrite(tmp_path / "data/images/i1.png", RNG.integers(0, 9, (5, 32, 32), dtype=np.uint8))
    PIL.Image.fromarray(RNG.integers(0, 9, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "data/images/i2.png")
    tifffile.imwrite(tmp_path / "data/images/i3.png", RNG.integers(0, 9, (32, 32), dtype=np.uint16))
    tifffile.imwrite(tmp_path / "data/images/i4.png", RNG.integers(0, 9, (32, 32), dtype=np.uint8), resolution=(1e5, 1e5), resolutionunit=3)
    value = ingest_study(study(), tmp_path / "stage")
    assert [i["id"] for i in value["images"]] == ["i0", "i5"]
    expected = {"i1.png": ["wrong-axes"], "i2.png": ["other-channels"], "i3.png": ["other-pixel-type"], "i4.png": ["other-spacing"]}
    assert reasons(value) == expected


def test_everything_that_is_not_there_is_said_at_once(study, tmp_path):
    source = {"uri": "nowhere", "unit": "pixel"}
    assert kinds(ingest_study, study(source), tmp_path / "stage") == ["missing"]
    source = {"table": {"uri": "data/table.csv", "key": "nam", "where": {"subjct": ["s0"]}}}
    assert kinds(ingest_study, study(source), tmp_path / "stage") == ["missing-column", "missing-column"]
    shutil.rmtree(tmp_path / "data/masks")
    assert kinds(ingest_study, study(), tmp_path / "stage") == ["missing"]
    assert not (tmp_path / "stage/collection").exists()


def test_unknown_spacing_stops_a_study(study, tmp_path):
    found = kinds(ingest_study, study({"spacing": None, "unit": None}), tmp_path / "stage")
    assert set(found) == {"unknown-spacing"} and len(found) == 6


@pytest.mark.parametrize("changed", [False, True], ids=["as-it-was", "a-file-changed"])
def test_an_interrupted_ingest_goes_on_and_ends_as_an_undisturbed_one(study, tmp_path, monkeypatch, changed):
    loaded = study()
    real, done = ingest._add, []

    def killed(writer, item, *rest):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(item.id)
        return real(writer, item, *rest)

    monkeypatch.setattr(ingest, "_add", killed)
    with pytest.raises(KeyboardInterrupt):
        ingest_study(loaded, tmp_path / "stage")
    monkeypatch.setattr(ingest, "_add", real)
    if changed:
        grey(tmp_path / "data/images/i1.png", 77)
    ingest_study(loaded, tmp_path / "stage")
    ingest_study(loaded, tmp_path / "undisturbed")
    one, other = (Collection(tmp_path / n / "collection") for n in ("undisturbed", "stage"))
    assert done == ["i0", "i1", "i2"]
    assert one.catalogue.equals(other.catalogue) and other.verify() == []


def test_a_volume_study_with_tissue_maps(tmp_path, study):
    volume = RNG.integers(0, 255, (20, 20, 20), dtype=np.uint8)
    grey_map = RNG.random((20, 20, 20), dtype=np.float32)
    (tmp_path / "v").mkdir()
    for name, array in (("t1", volume), ("gm", grey_map), ("wm", 1 - grey_map)):
        image = nibabel.Nifti1Image(array.T, np.eye(4))
        image.header.set_xyzt_units("mm")
        nibabel.save(image, tmp_path / f"v/{name}.nii.gz")
    source = {
        "uri": "v/t1.nii.gz",
        "modality": "mri",
        "table": None,
        "spacing": None,
        "unit": None,
        "channels": ["t1"],
        "labels": {"kind": "tissue-maps", "maps": {"grey": "v/gm.nii.gz", "white": "v/wm.nii.gz"}},
    }
    split = {"column": "id", "unit": "volume"}
    value = ingest_study(study(source, split=split, patches={"shape": [8, 8, 8]}, validation={"samples": 8}), tmp_path / "stage")
    (image,) = value["images"]
    assert (image["axes"], image["channels"], image["unit"]) == ("zyx", ["t1"], "millimeter")
    labels = Collection(tmp_path / "stage/collection").volume("t1").read_labels()
    np.testing.assert_array_equal(labels, np.where(grey_map >= 0.5, 1, 2))
