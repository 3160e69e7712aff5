"""Cross-validation as stages: each fold goes through the stages of the study, sees no other fold's holdout, and is pooled fail-closed."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from least_study import least_study, least_told
from stores import collection_of, files_of, texture

from sciimg.decision import collect, decide
from sciimg.errors import InputError
from sciimg.files import write_bytes, write_json
from sciimg.patches.regions import table_bytes
from sciimg.protocol.models import Study
from sciimg.records import Check, Metric
from sciimg.stages.folds import pool_folds
from sciimg.stages.launch import describe_plan
from sciimg.stages.ledger import Stage
from sciimg.stages.plan import Cut, plan
from sciimg.stages.split import fold_files, split_collection
from sciimg.validation.crossvalidation import corrected_interval

GROUPS = [f"subject-{i}" for i in range(8)]
BASE: dict[str, Any] = {
    "name": "folded",
    "split": {"by": "column", "column": "field", "unit": "subject", "calibration": 0.2, "holdout": 0.2},
    "patches": {"shape": [16, 16]},
    "recipes": [{"name": "ldm", "recipe": "ldm"}, {"name": "gan", "recipe": "gan", "role": "comparator"}],
    "generate": {"count": 24},
    "gates": [{"name": "again", "metric": "kid_scattering_folds", "at_most": 2, "why": "because it must be so"}],
}


def study(cross_validation: dict[str, Any] | None = None, **changes: Any) -> Study:
    return least_study(**BASE | {"validation": {"samples": 24, "cross_validation": cross_validation}} | changes)


# ---------------------------------------------------------------- which stages there are


def needed(stages: dict[str, Stage], name: str) -> set[str]:
    """Return a stage and everything that it rests on."""
    return {name}.union(*(needed(stages, need) for need in stages[name].needs))


def test_a_study_without_folds_has_the_stages_that_it_had() -> None:
    assert {name: stage.needs for name, stage in plan(study()).items()} == {
        "ingest": (),
        "split": ("ingest",),
        "train-ldm": ("ingest", "split"),
        "train-gan": ("ingest", "split"),
        "baseline": ("ingest", "split"),
        "verify": (),
        "generate-ldm": ("ingest", "split", "train-ldm"),
        "generate-gan": ("ingest", "split", "train-gan"),
        "validate-ldm": ("ingest", "split", "baseline", "generate-ldm"),
        "validate-gan": ("ingest", "split", "baseline", "generate-gan"),
        "decide": ("split", "verify", "validate-ldm", "validate-gan"),
        "release": ("ingest", "train-ldm", "generate-ldm", "train-gan", "generate-gan", "decide"),
    }


def test_each_fold_goes_through_the_same_stages_and_rests_on_no_other_fold() -> None:
    stages = plan(study({"folds": 4, "recipes": ["ldm"]}))
    assert len(stages) == 12 + 4 * 4 + 1
    for i, (name, stage) in enumerate(stages.items()):
        assert set(stage.needs) <= set(list(stages)[:i]), name
    for fold in range(1, 5):
        rests_on = needed(stages, f"fold-{fold}-validate-ldm")
        own = {f"fold-{fold}-{stage}" for stage in ("train-ldm", "baseline", "generate-ldm", "validate-ldm")}
        assert rests_on == own | {"ingest", "split"}
    assert "folds-ldm" in stages["decide"].needs and "folds-gan" not in stages
    assert not any(name.startswith("fold") for name in stages["release"].needs)
    heavy = [name for name, stage in stages.items() if stage.heavy]
    assert all(f"fold-{fold}-train-ldm" in heavy for fold in range(1, 5)) and "folds-ldm" not in heavy


def test_how_many_groups_can_be_left_out_is_known_after_the_split() -> None:
    asked = study({"leave_one_out": True})
    assert list(plan(asked)) == ["ingest", "split"]
    assert sum(name.endswith("train-ldm") for name in plan(asked, 6)) == 7


def test_draws_of_a_fold_are_its_own_and_those_of_the_study_stay() -> None:
    assert [Cut().key, Cut(1).key, Cut(2).key] == [(), ("fold", "1"), ("fold", "2")]
    assert [Cut().name("baseline"), Cut(2).name("baseline")] == ["baseline", "fold-2-baseline"]


@pytest.mark.parametrize(("asked", "folds", "stages"), [({"folds": 3}, 3, 12 + 3 * 7 + 2), ({"leave_one_out": True}, None, 2)])
def test_a_dry_run_counts_the_stages(asked: dict[str, Any], folds: int | None, stages: int, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.tif").write_bytes(b"II")
    table = {"uri": "t.csv", "key": "image"}
    gates = [{"name": "g", "metric": "verification-failures", "at_most": 0, "why": "because it must be so"}]
    conditions = [{"kind": "scalar", "name": "level", "measure": "channel-mean", "channel": "c0"}]
    parts = BASE | {"validation": {"samples": 24, "cross_validation": asked}, "gates": gates, "conditions": conditions}
    value = least_told(source={"uri": "images/*.tif", "table": table}, **parts)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(value))
    described = describe_plan(tmp_path / "study.yaml", tmp_path)
    assert (described["folds"], len(described["stages"])) == (folds, stages)


# ---------------------------------------------------------------- split and pool


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = {f"i{i}": texture(i, (64, 64)) for i in range(len(GROUPS))}
    field = {f"i{i}": group for i, group in enumerate(GROUPS)}
    return collection_of(tmp_path_factory.mktemp("folds") / "c", images, "yx", field=field).path


@pytest.fixture(scope="module")
def split(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The split of a study that asks for three folds."""
    folder = tmp_path_factory.mktemp("split")
    split_collection(study({"folds": 3}), collection, folder)
    return folder


def judged(folder: Path, values: list[float]) -> list[Path]:
    """Write what the judges of each fold might have said."""
    for fold, value in enumerate(values, start=1):
        metrics = [Metric(name="kid_scattering", value=value, ci95=(value - 1, value + 1), higher_is_better=False)]
        write_json(folder / f"judged-{fold}/evidence.json", {"metrics": [m.as_json() for m in metrics]})
    return [folder / f"judged-{fold}" for fold in range(1, len(values) + 1)]


def test_the_split_of_a_study_makes_and_proves_its_folds(collection: Path, split: Path, tmp_path: Path) -> None:
    split_collection(study({"folds": 3}), collection, tmp_path)
    assert files_of(tmp_path) == files_of(split)
    files = fold_files(split)
    assert [path.name for path in files] == ["1.parquet", "2.parquet", "3.parquet"]
    whole = pd.read_parquet(split / "regions.parquet")
    secret = set(whole.loc[whole["part"] == "holdout", "group"])
    held = [set(t.loc[t["part"] == "holdout", "group"]) for t in map(pd.read_parquet, files)]
    assert secret and not any(secret & set(pd.read_parquet(path)["group"]) for path in files)
    assert sorted(group for names in held for group in names) == sorted(set(GROUPS) - secret)
    evidence = json.loads((split / "evidence.json").read_text())
    folds = [Check.model_validate(c) for c in evidence["checks"] if c["name"].startswith("folds-")]
    assert len(folds) == 4 and all(check.passed for check in folds)


def test_the_split_of_a_study_without_folds_stays_as_it_was(collection: Path, tmp_path: Path) -> None:
    split_collection(study(), collection, tmp_path)
    assert sorted(files_of(tmp_path)) == ["evidence.json", "regions.parquet"]
    assert b"folds" not in (tmp_path / "evidence.json").read_bytes()


@pytest.mark.parametrize(("asked", "held"), [({"folds": 7}, 0.2), ({"leave_one_out": True}, 0.75)])
def test_too_few_groups_are_one_problem_of_the_split(asked: dict[str, Any], held: float, collection: Path, tmp_path: Path) -> None:
    less = BASE["split"] | {"holdout": held, "calibration": 0.1}
    with pytest.raises(InputError) as refused:
        split_collection(study(asked, split=less), collection, tmp_path / "out")
    (problem,) = refused.value.problems
    assert (problem.where, problem.kind) == ("validation.cross_validation", "too-few-groups")
    assert "fewer folds" in problem.message
    assert not (tmp_path / "out").exists()


def test_folds_are_pooled_with_how_many_groups_they_share(collection: Path, split: Path, tmp_path: Path) -> None:
    asked, values = study({"folds": 3}), [0.2, 0.5, 0.8]
    (found,) = pool_folds(asked, collection, split, judged(tmp_path, values), tmp_path / "a")
    # six groups outside the holdout: two held out, two calibrate, two train
    assert found.value == pytest.approx(0.5) and found.ci95 == pytest.approx(corrected_interval(values, 1.0))
    evidence = json.loads((tmp_path / "a/evidence.json").read_text())
    assert [(f["train"], f["calibration"], f["holdout"]) for f in evidence["folds"]] == [(2, 2, 2)] * 3
    tables = [pd.read_parquet(path) for path in fold_files(split)]
    assert [f["held_out"] for f in evidence["folds"]] == [sorted(t.loc[t["part"] == "holdout", "group"]) for t in tables]
    pool_folds(asked, collection, split, judged(tmp_path, values), tmp_path / "b")
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")


@pytest.mark.parametrize("fault", ["another fold's holdout is trained on", "the holdout of the study is trained on"])
def test_a_planted_crossing_takes_every_number_and_the_study_is_refused(fault: str, collection: Path, split: Path, tmp_path: Path) -> None:
    asked = study({"folds": 3})
    shutil.copytree(split, tmp_path / "split")
    path = fold_files(tmp_path / "split")[1]
    table, whole = pd.read_parquet(path), pd.read_parquet(tmp_path / "split/regions.parquet")
    if fault.startswith("another"):
        table.loc[table.index[table["part"] == "holdout"][0], "part"] = "train"
    else:
        table = pd.concat([table, whole[whole["part"] == "holdout"].assign(part="train")], ignore_index=True)
    write_bytes(path, table_bytes(table))
    metrics = pool_folds(asked, collection, tmp_path / "split", judged(tmp_path, [0.2, 0.5, 0.8]), tmp_path / "out")
    assert [m.status for m in metrics] == ["undefined"] and "folds are not apart" in metrics[0].reason
    evidence = json.loads((tmp_path / "out/evidence.json").read_text())
    recipes, common = collect({"folds-ldm": evidence})
    assert common == [] and {m.name for m in recipes["ldm"]} == {"kid_scattering_folds", "folds-failures"}
    assert next(m.value for m in recipes["ldm"] if m.name == "folds-failures")
    decision = decide(asked, recipes, common)
    assert decision.decision == "refused" and "folds are not apart" in " ".join(decision.reasons)


def test_a_gate_over_folds_meets_the_pool_of_its_recipe(collection: Path, split: Path, tmp_path: Path) -> None:
    asked = study({"folds": 3})
    outcomes = {}
    for name, values in (("near", [0.2, 0.2, 0.3]), ("unclear", [0.2, 0.2, 3.0]), ("far", [9.0, 9.1, 9.2])):
        pool_folds(asked, collection, split, judged(tmp_path, values), tmp_path / name)
        evidence = json.loads((tmp_path / name / "evidence.json").read_text())
        decision = decide(asked, *collect({"folds-ldm": evidence, "folds-gan": evidence}))
        outcomes[name] = decision.decision
    assert outcomes == {"near": "accepted", "unclear": "inconclusive", "far": "refused"}


def test_pixels_of_the_holdout_are_never_asked_for_in_a_fold(collection: Path, split: Path) -> None:
    """What stages read of the images goes through the regions of their fold."""
    from sciimg.validation.material import real_data

    asked = study({"folds": 3})
    whole = pd.read_parquet(split / "regions.parquet")
    secret = set(whole.loc[whole["part"] == "holdout", "image"])
    for fold, path in enumerate(fold_files(split), start=1):
        data = real_data(asked, collection, pd.read_parquet(path), key=Cut(fold).key)
        assert data.calibration is not None and data.train is not None
        seen = [np.unique(p.table["image"]) for p in (data.holdout, data.calibration, data.train)]
        assert not secret & set(np.concatenate(seen))
        assert len(set(np.concatenate(seen))) == sum(map(len, seen))
