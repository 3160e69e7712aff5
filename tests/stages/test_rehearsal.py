"""Real images meet the gates first: a bar that they do not reach, or a check that cannot see, is known before any training ends."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from least_study import least_study
from report_run import densities

from flows.study import stage_task
from sciimg.decision import collect, decide
from sciimg.io.image import Image
from sciimg.patches.split import make_split
from sciimg.protocol.models import Study
from sciimg.records import Metric, Rehearsal, RehearsedGate, Shortage, canonical_json
from sciimg.stages import plan as plan_stage
from sciimg.stages.judging import rehearsed
from sciimg.stages.ledger import Run, folder_digest
from sciimg.stages.rehearsal import REHEARSAL, concerns, rehearse
from sciimg.store import Collection, CollectionWriter
from sciimg.types import Spacing
from sciimg.validation.material import real_data
from sciimg.validation.physics import CHECKS
from sciimg.validation.physics.check import Control
from sciimg.validation.physics.controls import blurred
from sciimg.validation.physics.power_spectrum import PowerSpectrum

ROOT = Path(__file__).parents[2]
CHANNELS = ("haematoxylin", "dab")


class HardlyBlurred(PowerSpectrum):
    """A check whose own fault is too small to be seen in so few groups."""

    controls = (Control("blur-a-little", blurred(0.42)),)


def study(*gates: tuple[str, str, dict[str, Any]], **validation: Any) -> Study:
    """Return a study with gates (name, metric, bar)."""
    return least_study(
        source={"name": "ihc", "modality": "brightfield"},
        split={"by": "blocks", "axis": "x", "calibration": 0.2, "holdout": 0.3, "guard_px": 8, "cell": [64, 64]},
        conditions=[{"kind": "scalar", "name": "dab-level", "measure": "channel-mean", "channel": "dab"}],
        validation={
            "samples": 32,
            "bootstrap": 50,
            "physics": ["noise-law", "power-spectrum", "intensity-law"],
            "features": ["texture"],
            **validation,
        },
        gates=[{"name": name, "metric": metric, "why": "because it must be so", **bar} for name, metric, bar in gates],
    )


IMPOSSIBLE = study(
    ("noise", "noise-law_effect", {"at_most": 0.0001, "judged_on": "value"}),
    ("single", "noise-law_outliers", {"at_most": 0.5}),
    ("sharpness", "power-spectrum_effect", {"at_most": 1e6}),
    ("stain", "condition_dab-level_correlation", {"at_least": 0.9}),
    ("column", "condition_dab-level_slope", {"at_least": 0.9}),
    ("copies", "copy-rate", {"at_most": 0.05}),
    ("verified", "verification-failures", {"at_most": 0}),
)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a collection of one section, without labels, and its split."""
    folder = tmp_path_factory.mktemp("real")
    with CollectionWriter(folder / "ingest/collection", synthetic=False) as writer:
        pixels = Image.from_array(densities()[:, :320], "cyx", Spacing((1.0, 1.0), "pixel"), CHANNELS)
        writer.add("ihc", pixels, group="ihc")
    (folder / "split").mkdir()
    regions = make_split(Collection(folder / "ingest/collection"), IMPOSSIBLE.split, IMPOSSIBLE.patches.shape)
    regions.to_parquet(folder / "split/regions.parquet")
    return folder


def made(own: Study, real: Path, out: Path, regions: Path | None = None) -> Rehearsal:
    out.mkdir(exist_ok=True)
    return rehearse(own, real=real / "ingest/collection", regions=regions or real / "split/regions.parquet", baseline=out)


@pytest.fixture(scope="module")
def impossible(real: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rehearsal, Path]:
    out = tmp_path_factory.mktemp("baseline")
    return made(IMPOSSIBLE, real, out), out


def test_a_bar_that_real_images_do_not_meet_is_told(impossible: tuple[Rehearsal, Path]) -> None:
    found, out = impossible
    assert (found.images, found.patches, found.missing) == ("the real calibration part", 32, "") and found.groups >= 2
    noise, single, _ = found.gates
    assert noise.outcome == "failed" and noise.value is not None and noise.value > 0.0001 and noise.rule == "noise-law_effect <= 0.0001"
    assert (single.outcome, single.concern) == ("passed", "")
    told = [line for line in concerns(out) if "'noise'" in line]
    assert len(told) == 1 and not [line for line in concerns(out) if "'single'" in line]
    for part in ("refuses real images", f"{noise.value:.4g}", "at most 0.0001", "bar from real images of the kind", "registered anew"):
        assert part in told[0]


def test_a_bar_that_planted_faults_meet_too_is_told(impossible: tuple[Rehearsal, Path]) -> None:
    found, out = impossible
    sharpness = found.gates[2]
    assert (sharpness.gate, sharpness.outcome, sharpness.concern) == ("sharpness", "inconclusive", "blind")
    assert any("'sharpness' accepts planted faults" in line and "blur" in line for line in concerns(out))
    assert sharpness.reason.count("planted") == 1


def test_what_real_images_are_not_asked_is_left_out(impossible: tuple[Rehearsal, Path]) -> None:
    """Copies and verification are of no image here; a channel's mean is what it was asked to be, so that nothing follows."""
    found, out = impossible
    assert [g.gate for g in found.gates] == ["noise", "single", "sharpness"]
    assert len(concerns(out)) == 2


def test_a_check_that_misses_its_faults_says_how_many_groups_it_needs(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHECKS, "power-spectrum", HardlyBlurred())
    own = study(("sharpness", "power-spectrum_effect", {"at_most": 2}), ("single", "power-spectrum_outliers", {"at_most": 0.25}))
    found = made(own, real, tmp_path)
    for gate in found.gates:
        assert (gate.outcome, gate.value, gate.concern) == ("inconclusive", None, "undefined")
        assert "groups needed" in gate.reason and gate.reason.count("blur-a-little") == 1
    first, second = concerns(tmp_path)
    assert "'sharpness' cannot be judged on these images" in first and "groups needed" in first and "'single'" in second


def test_a_small_calibration_part_is_no_concern(real: Path, tmp_path: Path) -> None:
    """Five groups say nothing of a distance of sets; a synthetic set will have more."""
    found = made(study(("likeness", "kid_texture", {"at_most": 0.1})), real, tmp_path)
    assert [(g.outcome, g.value, g.concern) for g in found.gates] == [("inconclusive", None, "")]
    assert found.gates[0].reason.startswith("8 groups needed, ") and concerns(tmp_path) == []


def test_a_shortage_of_the_holdout_is_not_laid_at_the_calibration_parts_door(real: Path) -> None:
    data = real_data(IMPOSSIBLE, real / "ingest/collection", pd.read_parquet(real / "split/regions.parquet"))
    case = rehearsed.Rehearsed(IMPOSSIBLE, data, *(None,) * 9)  # type: ignore[arg-type]
    few, many = case.groups, len(set(data.holdout.groups))
    assert few < many
    for found, expected in ((few, True), (many, False), (few + many, False)):
        assert case.is_short(Shortage(found=found, needed=99, of="groups")) is expected
    assert not case.is_short(None)


# ---------------------------------------------------------------- without a calibration part


def test_one_calibration_group_judges_nothing_and_blindness_is_told_all_the_same(real: Path, tmp_path: Path) -> None:
    regions = pd.read_parquet(real / "split/regions.parquet")
    regions.loc[regions["part"] == "calibration", "cell"] = "[512, 512]"
    regions.to_parquet(tmp_path / "regions.parquet")
    found = made(IMPOSSIBLE, real, tmp_path, tmp_path / "regions.parquet")
    assert (found.groups, found.missing) == (1, "the calibration part has 1 group; 2 or more are needed") and found.patches
    (gate,) = found.gates  # the others can judge, and nothing was judged
    assert (gate.gate, gate.outcome, gate.value, gate.concern) == ("sharpness", "inconclusive", None, "blind")
    assert "blur" in gate.reason and len(concerns(tmp_path)) == 1


def test_without_a_split_there_is_no_rehearsal_and_the_groups_that_lack_are_told(real: Path, tmp_path: Path) -> None:
    found = rehearse(IMPOSSIBLE, real=real / "ingest/collection", regions=None, baseline=tmp_path)
    assert (found.patches, found.groups, found.missing) == (0, 0, "the study has no calibration part")
    assert [(g.outcome, g.concern) for g in found.gates] == [("inconclusive", "undefined")] * 3
    assert all(g.reason.startswith("5 groups needed, 1 there") for g in found.gates)


# ---------------------------------------------------------------- parts, stages, decision


def test_a_killed_rehearsal_goes_on_and_ends_in_the_same_bytes(
    impossible: tuple[Rehearsal, Path], real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = rehearsed.physics

    def killed(at: str) -> Any:
        def part(case: Any, name: str) -> Any:
            if name == at:
                raise KeyboardInterrupt
            return honest(case, name)

        return part

    monkeypatch.setattr(rehearsed, "physics", killed("power-spectrum"))
    with pytest.raises(KeyboardInterrupt):
        made(IMPOSSIBLE, real, tmp_path)
    assert not (tmp_path / REHEARSAL).exists()
    monkeypatch.setattr(rehearsed, "physics", killed("noise-law"))  # done before the kill: not asked for again
    made(IMPOSSIBLE, real, tmp_path)
    assert folder_digest(tmp_path) == folder_digest(impossible[1])


def test_the_stage_rehearses_and_a_fold_does_not(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("sciimg.stages.baseline.baseline", lambda *a, **k: None)
    own = study(("noise", "noise-law_effect", {"at_most": 0.0001, "judged_on": "value"}))
    run: Any = SimpleNamespace(loaded=SimpleNamespace(study=own, folder=real), path=real, folder=lambda name: real / name)
    (real / "split/folds").mkdir(exist_ok=True)
    shutil.copy(real / "split/regions.parquet", real / "split/folds/1.parquet")
    for cut, names in ((plan_stage.Cut(), {"parts", REHEARSAL}), (plan_stage.Cut(1), set())):
        out = tmp_path / f"baseline-{cut.fold}"
        out.mkdir()
        plan_stage._baseline(cut, run, out)
        assert {p.name for p in out.iterdir()} == names
    assert "rehearsal: gate 'noise' refuses real images" in capsys.readouterr().err


def test_the_judges_are_made_before_any_training_begins_and_those_of_folds_after() -> None:
    own = study(("noise", "noise-law_effect", {"at_most": 2}), cross_validation={"folds": 3})
    names = list(plan_stage.plan(own))
    assert names.index("baseline") < names.index("train-r") < names.index("fold-1-train-r") < names.index("fold-1-baseline")


def test_the_run_says_so_on_the_terminal(impossible: tuple[Rehearsal, Path], tmp_path: Path, capsys: Any) -> None:
    run = Run.begin(ROOT / "protocols/smoke.yaml", tmp_path)
    free: Any = SimpleNamespace(taken=lambda name: nullcontext())

    def runner(stage: str, folder: Path, log_file: Path) -> int:
        shutil.copytree(impossible[1], folder / stage)
        return 0

    stage_task.fn(str(run.path), "baseline", free, runner)
    said = capsys.readouterr().err
    assert said.index("baseline: done in") < said.index("rehearsal: gate 'noise' refuses real images") and "'single'" not in said


def test_a_rehearsal_among_the_evidence_decides_nothing(impossible: tuple[Rehearsal, Path]) -> None:
    metrics = [Metric(name=g.metric, value=0.1, ci95=(0.0, 0.2)).as_json() for g in IMPOSSIBLE.gates]
    evidence = {"verify": {"checks": []}, "validate-r": {"metrics": metrics}}
    with_it = evidence | {"rehearsal": json.loads((impossible[1] / REHEARSAL).read_text())}
    first, second = (canonical_json(decide(IMPOSSIBLE, *collect(e)).as_json()) for e in (evidence, with_it))
    assert first == second


def test_an_older_baseline_has_no_concerns(tmp_path: Path) -> None:
    assert concerns(tmp_path) == []


def test_a_concern_has_words() -> None:
    """Each kind of concern that can be kept can be told."""
    from typing import get_args

    from sciimg.stages.rehearsal import _CONCERNS

    assert {"", *_CONCERNS} == set(get_args(RehearsedGate.model_fields["concern"].annotation))
