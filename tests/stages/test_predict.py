"""Predictions scale as the work does, come from the best knowledge that there is, and say what they do not know."""

import json
import shutil
from collections import namedtuple
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from stores import collection_of, texture

from sciimg.files import write_json
from sciimg.protocol import LoadedStudy, load_study
from sciimg.stages.forecast import predict as module
from sciimg.stages.forecast import trials
from sciimg.stages.forecast.material import Material, material
from sciimg.stages.forecast.predict import predict, schedule
from sciimg.stages.forecast.ranges import Range
from sciimg.stages.forecast.shown import table
from sciimg.stages.forecast.usual import samples, usual
from sciimg.stages.launch import dry_run
from sciimg.stages.ledger import Run, Stage
from sciimg.stages.plan import plan

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "protocols" / "smoke.yaml"
TISSUE = ROOT / "protocols" / "tissue-demo.yaml"
SAID = [
    {"step": ["autoencoder", 9.0, 9.0]},
    {"step": ["autoencoder", 2.0, 1.0]},
    {"step": ["process", 9.0, 9.0]},
    {"step": ["process", 4.0, 2.0]},
    {"fit": {"wall_s": 30.0, "cpu_s": 16.0, "bytes": 1000}},
    {"phases": [["autoencoder", 100, 50], ["process", 200, 100]]},
    {"draw": [2, 12, 3.0, 3.0]},
    {"draw": [4, 12, 5.0, 5.0]},
    {"peak_mb": 500.0, "device": "cpu"},
]


@pytest.fixture(autouse=True)
def nothing_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "trial", lambda *a, **k: list(SAID))
    monkeypatch.setattr(module, "speed_s", lambda: module.SPEED_S)


def changed(tmp_path: Path, name: str = "smoke", **sections: dict[str, Any]) -> Path:
    """Write a bundled study with some keys changed."""
    value = yaml.safe_load((ROOT / "protocols" / f"{name}.yaml").read_text(encoding="utf-8"))
    for section, keys in sections.items():
        value[section] |= keys
    path = tmp_path / f"{'-'.join(sections) or 'same'}.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    return path


def stages_of(study: Path, workdir: Path, slots: int = 1) -> dict[str, Any]:
    return {s["stage"]: s["predicted"] for s in dry_run(study, workdir, slots=slots)["stages"]}


# ---------------------------------------------------------------- how numbers follow from what was seen


def test_training_is_what_is_done_once_and_every_step_of_every_phase(tmp_path: Path) -> None:
    found = stages_of(SMOKE, tmp_path)["train-ldm"]
    once = 16 - 2 * 1 - 2 * 2  # of the short training, without its two steps of each phase at their usual price
    looks = 100 / 50 * 1 + 200 / 100 * 2  # each taken to cost a step
    assert found["cpu_s"]["value"] == pytest.approx(once + 100 * 1 + 200 * 2 + looks)
    assert found["kept_bytes"]["value"] == 1000 and found["beside_bytes"] == 3000 and found["peak_mb"]["value"] == 500


def test_generation_grows_with_samples_and_with_the_solvers_steps(tmp_path: Path) -> None:
    few, many = (stages_of(changed(tmp_path, generate={"count": n}), tmp_path)["generate-ldm"] for n in (1000, 2000))
    for quantity in ("cpu_s", "kept_bytes"):  # but for the pairs and the start of the process, of which there is as much
        assert many[quantity]["value"] / few[quantity]["value"] == pytest.approx(2, rel=0.05)
    chunk = 5 + (12 - 4) * (5 - 3) / (4 - 2)  # a line through two and four steps, followed to twelve
    count = 24 + 24
    assert stages_of(SMOKE, tmp_path)["generate-ldm"]["cpu_s"]["value"] == pytest.approx(count / 8 * chunk + 0.005 * count + 1.5, abs=0.1)


def test_judging_grows_with_steps_seeds_and_samples() -> None:
    loaded = load_study(TISSUE)
    about = Material(1, 512.0 * 512, 512.0 * 512, ("a", "b"), "uint16", "instances")

    def cost(kind: str, **keys: Any) -> float:
        asked = loaded.study.validation.model_copy(update=keys)
        found = usual(kind, loaded.study.model_copy(update={"validation": asked}), about)
        assert found is not None
        return found.cpu_s

    none = cost("baseline", downstream=None)
    plan = loaded.study.validation.downstream
    assert plan is not None
    twice = plan.model_copy(update={"steps": 2 * plan.steps})
    assert cost("baseline", downstream=twice) - none == pytest.approx(2 * (cost("baseline") - none))
    asked, usual_s = (
        plan.model_copy(update={"synthetic_only": True, "ratios": (1, 2, 4)}),
        cost("validate") - cost("validate", downstream=None),
    )
    assert cost("validate", downstream=asked) - cost("validate") == pytest.approx(usual_s * 4 / 2)  # four arms beside two
    assert cost("baseline", downstream=asked) == cost("baseline")
    assert cost("validate", samples=256) > 1.2 * cost("validate", samples=128)
    assert cost("baseline", samples=256) > cost("baseline", samples=128)  # the rehearsal
    more = usual("ingest", loaded.study, replace(about, images=1000, pixels=1000 * about.pixels))
    assert more is not None and more.kept_bytes > 900 * (usual("ingest", loaded.study, about) or more).kept_bytes


def test_slower_machines_need_longer_for_what_was_not_timed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stages_of(SMOKE, tmp_path)
    monkeypatch.setattr(module, "speed_s", lambda: 2 * module.SPEED_S)
    after = stages_of(SMOKE, tmp_path)
    assert after["baseline"]["cpu_s"]["value"] == pytest.approx(2 * before["baseline"]["cpu_s"]["value"], abs=0.2)
    assert after["train-ldm"] == before["train-ldm"]


def test_every_prediction_has_a_range_around_it_and_a_source(tmp_path: Path) -> None:
    for own in stages_of(SMOKE, tmp_path).values():
        assert own["known_from"]
        for quantity in ("wall_s", "cpu_s", "peak_mb", "kept_bytes"):
            assert own[quantity]["low"] <= own[quantity]["value"] <= own[quantity]["high"]


def test_ranges_add_up() -> None:
    assert Range(1, 2, 3) + Range(1, 1, 1) == Range(2, 3, 4)
    assert Range.around(6.0, 2.0) == Range(3.0, 6.0, 12.0)


# ---------------------------------------------------------------- stages side by side


def stage(name: str, *needs: str, heavy: bool = True) -> Stage:
    return Stage(name, needs, lambda run, out: None, heavy=heavy)


def test_stages_run_side_by_side_as_far_as_there_are_places() -> None:
    stages = {s.name: s for s in (stage("first", heavy=False), stage("a", "first"), stage("b", "first"), stage("last", "a", "b"))}
    lasts = {"first": 1.0, "a": 10.0, "b": 4.0, "last": 2.0}
    assert schedule(stages, lasts, 1) == 1 + 10 + 4 + 2
    assert schedule(stages, lasts, 2) == 1 + 10 + 2
    assert schedule(stages, {"b": 4.0, "last": 2.0}, 2) == 6  # what is done takes no time


def test_light_stages_take_no_place() -> None:
    stages = {s.name: s for s in (stage("a"), stage("b", heavy=False), stage("c"))}
    assert schedule(stages, {"a": 3.0, "b": 5.0, "c": 3.0}, 1) == 6


def test_more_slots_end_sooner_and_need_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 4)
    one, two = (dry_run(SMOKE, tmp_path, slots=n)["predicted"]["totals"] for n in (1, 2))
    assert two["wall_s"]["value"] < 0.8 * one["wall_s"]["value"] and two["cpu_s"] == one["cpu_s"]
    assert two["peak_mb"]["value"] > 1.5 * one["peak_mb"]["value"] - 450


# ---------------------------------------------------------------- earlier runs


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A work folder with a run of the smoke study that took known times."""
    workdir = tmp_path / "runs"
    run = Run.begin(SMOKE, workdir)
    images = {"i": np.stack([texture(0, (512, 512)), texture(1, (512, 512))])}
    collection = collection_of(tmp_path / "c", images, "cyx").path
    shutil.copytree(collection, run.folder("ingest") / "collection")
    loaded = run.loaded
    spent = {"baseline": 50.0, "train-ldm": 700.0, "generate-ldm": 30.0, "ingest": 1.0}
    for name, cpu_s in spent.items():
        timings = {"wall_s": cpu_s, "cpu_s": cpu_s, "peak_mb": 900.0}
        write_json(run.folder(name) / "stage.json", {"timings": timings, "outputs": {"bytes": 5000, "digest": "sha256:0"}, "inputs": {}})
    from sciimg.augmenters.recipes import get_recipe

    recipe = get_recipe("ldm", loaded.study.recipes[0].options).model_dump(mode="json")
    write_json(run.folder("train-ldm") / "model" / "model.json", {"recipe": recipe, "shape": [2, 64, 64]})
    return workdir


def test_an_earlier_run_of_the_same_work_is_the_best_prediction(earlier: Path, tmp_path: Path) -> None:
    again = stages_of(changed(tmp_path, release={"version": "2.0.0"}), earlier)
    assert again["train-ldm"]["cpu_s"]["value"] == pytest.approx(700)
    assert again["baseline"]["cpu_s"]["value"] == pytest.approx(50) and again["baseline"]["known_from"] == "an earlier run"
    assert again["train-ldm"]["kept_bytes"]["value"] == 5000
    assert again["train-gan"]["known_from"] == "a few steps, timed"  # other networks


def test_an_earlier_run_with_another_budget_is_scaled_by_it(earlier: Path, tmp_path: Path) -> None:
    value = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
    value["recipes"][0]["options"] |= {"training.steps": 24, "space.training.steps": 24}
    value["validation"]["downstream"]["steps"] = 5
    value["generate"]["count"] = 24 + 48
    path = tmp_path / "more.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    found = stages_of(path, earlier)
    assert found["train-ldm"]["cpu_s"]["value"] == pytest.approx(2 * 700)
    assert found["generate-ldm"]["cpu_s"]["value"] == pytest.approx(2 * 30)  # 48 and 24 pairs before, 96 now


def test_runs_that_disagree_widen_the_range(earlier: Path, tmp_path: Path) -> None:
    (one,) = [p for p in earlier.iterdir() if (p / "run.json").exists()]
    other = earlier / "another"
    shutil.copytree(one, other)
    ledger = other / "baseline" / "stage.json"
    entry = json.loads(ledger.read_text())
    entry["timings"]["cpu_s"] = 150.0
    ledger.write_text(json.dumps(entry))
    found = stages_of(changed(tmp_path, release={"version": "2.0.0"}), earlier)["baseline"]
    assert found["cpu_s"]["value"] == pytest.approx(100) and found["known_from"] == "2 earlier runs"
    assert found["cpu_s"]["low"] <= 50 and found["cpu_s"]["high"] >= 150


# ---------------------------------------------------------------- what is not known, and what does not fit


def test_a_trial_that_was_stopped_says_what_it_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "trial", lambda *a, **k: SAID[:2])
    found = stages_of(SMOKE, tmp_path)
    assert found["train-ldm"]["cpu_s"]["value"] == pytest.approx(24 * 1.0) and "stopped" in found["train-ldm"]["known_from"]
    assert found["train-ldm"]["cpu_s"]["high"] / found["train-ldm"]["cpu_s"]["value"] == pytest.approx(4)


def test_a_trial_that_failed_leaves_its_stages_unknown_and_totals_a_lower_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "trial", lambda *a, **k: [{"failed": "the trial was unlucky"}])
    about = dry_run(SMOKE, tmp_path)
    assert about["predicted"]["totals"]["at_least"]
    assert next(s for s in about["stages"] if s["stage"] == "train-gan")["predicted"] == {"unknown": "the trial was unlucky"}
    said = table(about)
    assert "at least" in said and "the trial was unlucky: train-ldm, train-gan, generate-ldm, generate-gan" in said


def test_images_that_cannot_be_read_leave_all_unknown_and_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"II")
    value = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
    value["sources"][0]["uri"] = str(tmp_path / "a.tif")
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")
    about = dry_run(tmp_path / "s.yaml", tmp_path)
    assert about["predicted"]["totals"] is None and "size of the images is not known" in table(about)


def test_a_disk_without_room_is_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10**12, 0, 10**12))
    assert dry_run(SMOKE, tmp_path)["predicted"]["warnings"] == []
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10**12, 0, 10**6 if Path(path) == tmp_path else 10**12))
    (warning,) = dry_run(SMOKE, tmp_path / "runs" / "below")["predicted"]["warnings"]
    assert "1 MB free, which is not enough" in warning and str(tmp_path) in warning
    assert not (tmp_path / "runs").exists()


def test_folds_cost_what_the_study_does_and_unknown_ones_are_told_apart(tmp_path: Path) -> None:
    gate = {"name": "g", "metric": "verification-failures", "at_most": 0, "why": "because it must be so"}
    folded = changed(tmp_path, validation={"cross_validation": {"folds": 3}})
    value = yaml.safe_load(folded.read_text())
    value["gates"] = [gate]
    folded.write_text(yaml.safe_dump(value), encoding="utf-8")
    found = stages_of(folded, tmp_path)
    assert found["fold-2-train-ldm"] == found["train-ldm"] and "fold-3-baseline" in found
    totals = [dry_run(path, tmp_path, slots=1)["predicted"]["totals"]["cpu_s"]["value"] for path in (changed(tmp_path), folded)]
    each = sum(
        found[n]["cpu_s"]["value"] for n in ("baseline", *(f"{k}-{r}" for k in ("train", "generate", "validate") for r in ("ldm", "gan")))
    )
    pooled = 2 * found["folds-ldm"]["cpu_s"]["value"]
    assert totals[1] - totals[0] == pytest.approx(3 * each + pooled, rel=1e-3)


# ---------------------------------------------------------------- what is there to be read


def test_sizes_come_from_headers_and_a_few_files_stand_for_many(tmp_path: Path) -> None:
    for i in range(40):
        tifffile.imwrite(tmp_path / f"{i:02}.tif", np.zeros((20, 30), np.uint8))
    value = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
    value["sources"][0] |= {"uri": str(tmp_path)}
    del value["sources"][0]["prepare"]
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(value), encoding="utf-8")
    found = material(load_study(tmp_path / "s.yaml"))
    assert (found.images, found.pixels, found.largest, found.dtype) == (40, 40 * 600, 600, "uint8")
    assert not found.complete and found.labels == "instances" and found.segmented
    assert found.bytes == 40 * 600 * len(found.channels)


def test_the_bundled_image_is_two_stains(tmp_path: Path) -> None:
    found = material(load_study(SMOKE))
    assert (found.images, found.pixels, found.channels, found.dtype) == (1, 512 * 512, ("haematoxylin", "dab"), "uint16")
    assert samples(load_study(SMOKE).study) == 24 + 24


@pytest.mark.slow
def test_a_real_trial_sees_every_phase_and_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    loaded: LoadedStudy = load_study(SMOKE)
    said = trials.trial(loaded, loaded.study.recipes[0], material(loaded), limit_s=250)
    keys = [next(iter(line)) for line in said]
    assert keys.count("step") == 6 and keys[-1] == "peak_mb" and keys.count("draw") == 2, said
    phases = next(line["phases"] for line in said if "phases" in line)
    assert phases == [["autoencoder", 12, 100], ["process", 12, 100]]
    assert asdict(material(loaded))["images"] == 1


def test_nothing_of_a_plan_is_left_out(tmp_path: Path) -> None:
    loaded = load_study(SMOKE)
    stages = plan(loaded.study)
    found = predict(loaded, tmp_path, Run(tmp_path / "none"), stages, dict.fromkeys(stages, False), 1)
    assert set(found["stages"]) == set(stages)
