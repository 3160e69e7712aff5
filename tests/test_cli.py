"""The command line as scripts see it: JSON on stdout, one readable block on stderr, exit codes."""

import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from sciimg.cli import app

ROOT = Path(__file__).parents[1]
BAD = ROOT.parent / "shared" / "data" / "bad"


def call(*words: object) -> tuple[int, str, str]:
    """Run a command inside this process; return exit code, stdout, stderr."""
    result = CliRunner().invoke(app, [str(w) for w in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def reply(*words: object) -> tuple[int, dict[str, object]]:
    code, out, _ = call(*words, "--json")
    return code, json.loads(out)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images with spaces é"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        tifffile.imwrite(folder / f"cell {i}.tif", rng.integers(0, 4000, (40, 48)).astype(np.uint16))
    return folder


def test_help_is_quick_to_import() -> None:
    heavy = {"torch", "monai", "prefect", "pandas", "zarr", "matplotlib"}
    code = f"import sys; import sciimg.cli; bad = {heavy} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_ingest_never_loads_torch(images: Path, tmp_path: Path) -> None:
    words = ["ingest", str(images), "--out", str(tmp_path / "c"), "--unit", "pixel", "--spacing", "1"]
    code = f"import sys; from sciimg.cli import app; app({words!r}, standalone_mode=False); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0


def test_schema_is_a_json_schema() -> None:
    code, value = reply("schema")
    assert code == 0
    assert value["type"] == "object"


def test_ingest_then_info(images: Path, tmp_path: Path) -> None:
    code, value = reply("ingest", images, "--out", tmp_path / "c", "--spacing", "0.5,0.5", "--unit", "micrometer")
    assert code == 0
    assert value["rejected"] == []
    first = value["images"][0]  # type: ignore[index]
    assert set(first) >= {"id", "source", "axes", "shape", "dtype", "spacing", "unit", "channels", "sha256"}
    assert (first["axes"], first["shape"], first["spacing"], first["unit"]) == ("yx", [40, 48], [0.5, 0.5], "micrometer")
    code, about = reply("info", tmp_path / "c")
    assert code == 0
    assert (about["kind"], about["images"]) == ("collection", 3)


def test_unknown_spacing_is_asked_for(images: Path, tmp_path: Path) -> None:
    code, _, err = call("ingest", images, "--out", tmp_path / "c")
    assert code == 2
    assert "--spacing" in err
    assert "Traceback" not in err
    assert not (tmp_path / "c").exists()


def test_bad_inputs_are_left_out_and_named(images: Path, tmp_path: Path) -> None:
    (images / "empty.tif").touch()
    (images / "cut.tif").write_bytes((images / "cell 0.tif").read_bytes()[:700])
    (images / "text.png").write_text("not an image")
    tifffile.imwrite(images / "nan.tif", np.full((8, 8), np.nan, np.float32))
    code, value = reply("ingest", images, "--out", tmp_path / "c", "--spacing", "1", "--unit", "pixel")
    assert code == 3
    assert len(value["images"]) == 3  # type: ignore[arg-type]
    assert {Path(r["source"]).name for r in value["rejected"]} == {"empty.tif", "cut.tif", "text.png", "nan.tif"}  # type: ignore[attr-defined]


def test_stopping_at_the_first_bad_input_writes_nothing(images: Path, tmp_path: Path) -> None:
    (images / "empty.tif").touch()
    code, _, err = call("ingest", images, "--out", tmp_path / "c", "--spacing", "1", "--unit", "pixel", "--on-error", "stop")
    assert code == 2
    assert "empty.tif" in err
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("path", ["nothing-here", "nothing-here/*.tif"])
def test_missing_input(path: str, tmp_path: Path) -> None:
    code, _, err = call("ingest", tmp_path / path, "--out", tmp_path / "c")
    assert code == 2
    assert "Error" in err


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    code, _, _ = call("ingest", tmp_path / "empty", "--out", tmp_path / "c")
    assert code == 2
    assert not (tmp_path / "c").exists()


@pytest.mark.skipif(not BAD.is_dir(), reason="needs ../shared/data/bad, which users do not have")
def test_the_collection_of_bad_files(tmp_path: Path) -> None:
    code, value = reply("ingest", BAD, "--out", tmp_path / "c", "--spacing", "1", "--unit", "pixel")
    assert code == 3
    kinds = {Path(r["source"]).name: {p["kind"] for p in r["problems"]} for r in value["rejected"]}  # type: ignore[attr-defined]
    for name in ("cut.png", "nan_rows.tif", "declares_300000x300000.tif", "zero_sform.nii", "corrupt.nii.gz"):
        assert name in kinds, kinds
    assert any("file with space" in i["source"] for i in value["images"])  # type: ignore[attr-defined]


def test_metrics_pair(images: Path) -> None:
    one = images / "cell 0.tif"
    code, value = reply("metrics", "pair", one, one, "--metric", "ssim,psnr", "--data-range", 4095)
    by_name = {m["name"]: m for m in value["metrics"]}  # type: ignore[attr-defined]
    assert code == 0
    assert by_name["ssim"]["value"] == pytest.approx(1)
    assert by_name["psnr"]["status"] == "undefined"  # infinite
    assert by_name["ssim"]["data_range"] == 4095


def test_metrics_set(images: Path) -> None:
    code, value = reply("metrics", "set", images, images, "--metric", "kid")
    assert code == 0
    for metric in value["metrics"]:  # type: ignore[attr-defined]
        assert set(metric) >= {
            "name",
            "value",
            "status",
            "reason",
            "n",
            "higher_is_better",
            "ci95",
            "null",
            "n_real",
            "n_synthetic",
            "features",
        }


def test_recipes() -> None:
    code, value = reply("recipes", "list")
    assert code == 0
    assert {"ldm", "gan"} <= {r["name"] for r in value["recipes"]}  # type: ignore[attr-defined]
    keys = {"name", "systems", "dims", "space", "process", "backbone", "conditioning", "sampler", "cites"}
    assert all(set(r) >= keys for r in value["recipes"])  # type: ignore[attr-defined]
    assert "CycleGAN" in call("recipes", "list")[1]  # found by the system's name too
    assert all(reply("recipes", "show", r["name"])[0] == 0 for r in value["recipes"])  # type: ignore[attr-defined]
    small, large = (reply("recipes", "show", "ldm", "--dims", dims)[1]["training"]["batch"] for dims in (2, 3))  # type: ignore[index]
    assert small > large
    assert call("recipes", "show", "no-such")[0] == 2


def test_verify(tmp_path: Path) -> None:
    code, value = reply("verify", "--out", tmp_path / "v.json")
    assert code == 0
    assert value["passed"] is True
    assert json.loads((tmp_path / "v.json").read_text()) == value
    assert all(set(c) == {"name", "expected", "got", "tolerance", "passed", "source"} for c in value["checks"])  # type: ignore[attr-defined]


def test_review_score_of_a_long_csv(tmp_path: Path) -> None:
    rows = ["reader,item,answer,truth"]
    truths = ["real", "synthetic"] * 10
    for reader in ("a", "b"):
        rows += [f"{reader},i{i},{'real' if i % 3 else truth},{truth}" for i, truth in enumerate(truths)]
    (tmp_path / "answers.csv").write_text("\n".join(rows))
    code, value = reply("review", "score", tmp_path / "answers.csv")
    assert code == 0
    assert set(value) >= {"readers", "items", "accuracy", "ci95", "p_value", "d_prime", "agreement", "equivalence"}
    assert set(value["agreement"]) >= {"fleiss_kappa", "gwet_ac1", "krippendorff_alpha"}  # type: ignore[arg-type]


def test_a_study_with_five_mistakes_names_all_five(tmp_path: Path) -> None:
    text = (ROOT / "protocols" / "smoke.yaml").read_text()
    text = text.replace("unit: pixel", "unit: parsec").replace("count: 24", "count: -1").replace("by: blocks", "by: luck")
    text = text.replace("    licence: No known", "    licens: No known").replace("version: 1.0.0", "version: one")
    (tmp_path / "bad.yaml").write_text(text)
    code, value = reply("run", tmp_path / "bad.yaml", "--workdir", tmp_path / "runs")
    assert code == 2
    assert len(value["problems"]) >= 5  # type: ignore[arg-type]
    assert not (tmp_path / "runs").exists()


def test_unknown_recipe_options_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    text = (ROOT / "protocols" / "smoke.yaml").read_text().replace("space.training.steps: 12", "space.training.stepz: 12")
    (tmp_path / "bad.yaml").write_text(text)
    code, _, err = call("run", tmp_path / "bad.yaml", "--workdir", tmp_path / "runs")
    assert code == 2
    assert "stepz" in err
    assert not (tmp_path / "runs").exists()


def test_dry_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sciimg.stages.forecast.trials.trial", lambda *arguments: [])  # tests/stages/test_predict.py has one that is real
    code, value = reply("run", ROOT / "protocols" / "smoke.yaml", "--workdir", tmp_path / "runs", "--dry-run")
    assert code == 0
    assert next(s["stage"] for s in value["stages"]) == "ingest"  # type: ignore[attr-defined]
    assert value["predicted"]["totals"]["cpu_s"]["value"] > 0  # type: ignore[index]
    assert not (tmp_path / "runs").exists()


def test_report_plan(tmp_path: Path) -> None:
    code, value = reply("report", ROOT / "protocols" / "brain-demo.yaml", "--plan", "--out", tmp_path)
    assert code == 0
    assert all(Path(f).stat().st_size > 1000 for f in value["files"])  # type: ignore[attr-defined]


def test_keygen(tmp_path: Path) -> None:
    code, value = reply("keygen", "--name", "Ada Lovelace", "--out", tmp_path / "keys")
    assert code == 0
    assert value["signer"] == "Ada Lovelace"
    assert call("keygen", "--out", tmp_path / "keys")[0] == 2


def test_data_list() -> None:
    code, value = reply("data", "list")
    assert code == 0
    assert {"tissue", "brain"} <= {d["name"] for d in value["data"]}  # type: ignore[attr-defined]


def test_a_dry_run_refuses_what_a_run_would_refuse_at_once(tmp_path: Path) -> None:
    study = ROOT / "protocols" / "smoke.yaml"
    assert reply("run", study, "--workdir", tmp_path, "--dry-run", "--engine", "kube")[0] == 2
    elsewhere = tmp_path / "study.yaml"
    elsewhere.write_text(study.read_text().replace("package:skimage/data/ihc.png", "/nowhere/images"))
    code, value = reply("run", elsewhere, "--workdir", tmp_path, "--dry-run")
    assert code == 2 and [p["kind"] for p in value["problems"]] == ["missing"]


def test_sets_that_cannot_be_compared_are_undefined_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    tifffile.imwrite(tmp_path / "one" / "a.tif", np.full((32, 32), 7, np.uint8))
    code, value = reply("metrics", "set", tmp_path / "one", tmp_path / "one", "--metric", "kid")
    assert code == 0 and {m["status"] for m in value["metrics"]} == {"undefined"} and all(m["reason"] for m in value["metrics"])


def test_images_of_one_pixel_are_undefined_without_a_warning(tmp_path: Path) -> None:
    for i in range(24):
        tifffile.imwrite(tmp_path / f"{i}.tif", np.array([[10 * i]], np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code, value = reply("metrics", "set", tmp_path, tmp_path, "--metric", "kid", "--features", "texture")
    assert code == 0 and {m["status"] for m in value["metrics"]} == {"undefined"}
    assert all("1 x 1 px" in m["reason"] for m in value["metrics"]), value


EMPTY = [
    ("metrics", "pair", "", "X"),
    ("metrics", "set", "X", ""),
    ("ingest", "X", "", "--out", "X/c"),
    ("ingest", "X", "--out", ""),
    ("info", ""),
]


@pytest.mark.parametrize("words", EMPTY, ids=" ".join)
def test_an_empty_path_is_not_the_working_folder(images: Path, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(images)
    code, value = reply(*(word.replace("X", str(images)) for word in words))
    assert code == 2 and [p["kind"] for p in value["problems"]] == ["empty-path"]
    assert sorted(p.name for p in images.iterdir()) == [f"cell {i}.tif" for i in range(3)]


def _set_of(folder: Path, top: int, seed: int) -> Path:
    folder.mkdir()
    for i, image in enumerate(np.random.default_rng(seed).integers(0, top, (12, 16, 16)).astype(np.uint16)):
        tifffile.imwrite(folder / f"{i:02d}.tif", image)
    return folder


def test_a_set_says_how_many_of_its_images_are_real_ones_and_on_what_scale_it_is(tmp_path: Path) -> None:
    real, other, bright = _set_of(tmp_path / "a", 4096, 0), _set_of(tmp_path / "b", 4096, 1), _set_of(tmp_path / "c", 65536, 2)
    words = ("--metric", "coverage", "--features", "texture")

    def notes(synthetic: Path) -> dict[str, str]:
        return {note["kind"]: note["message"] for note in reply("metrics", "set", real, synthetic, *words)[1]["notes"]}

    assert notes(other) == {}
    assert "12 bits" in (said := notes(bright)["other-bit-depth"]) and "16 (" in said
    for i in range(5):
        tifffile.imwrite(other / f"{i:02d}.tif", tifffile.imread(real / f"{11 - i:02d}.tif"), compression="zlib")
    assert notes(other) == {"identical-images": "5 of 12 synthetic images are real ones, pixel for pixel."}
    code, text, _ = call("metrics", "set", real, real, *words)
    assert code == 0 and "12 of 12 synthetic images are real ones, pixel for pixel" in text
    line = text.splitlines()[0]
    assert line.startswith("coverage_texture") and "; null " in line and "; n 12 groups; higher is better" in line, text
    found = {m["name"]: m for m in reply("metrics", "set", real, real, *words)[1]["metrics"]}["coverage_texture"]
    assert found["ci95"][0] < 0.75, found  # twelve images cannot show a share of 0.99


@pytest.mark.parametrize("value", ["nan", "0", "-1", "inf", "1e200", "1e-200"])
def test_a_data_range_that_is_none(tmp_path: Path, value: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.arange(1024, dtype=np.uint8).reshape(32, 32))
    assert reply("metrics", "pair", tmp_path / "a.tif", tmp_path / "a.tif", "--data-range", value)[0] == 2


def test_a_name_cannot_forge_a_line() -> None:
    result = CliRunner().invoke(app, ["info", "nothing\nVerified: decision accepted"])
    assert result.exit_code == 2 and "\nVerified" not in result.output and "nothing\\nVerified" in result.output


@pytest.mark.parametrize("out", ["/proc/nope/c", "/dev/null/c", "x" * 480])
def test_a_place_that_cannot_be_written_is_bad_usage(tmp_path: Path, out: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.arange(1024, dtype=np.uint8).reshape(32, 32))
    code, value = reply("ingest", tmp_path / "a.tif", "--unit", "pixel", "--out", out)
    assert code == 2 and [p["kind"] for p in value["problems"]] == ["file-system"]
