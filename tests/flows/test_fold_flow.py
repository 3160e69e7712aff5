"""Where one group is left out at a time, the flow plans the folds when the split has said how many there are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from flows import study as flow
from sciimg.files import write_bytes, write_json
from sciimg.protocol import load_study
from sciimg.stages.ledger import Run, Stage

ROOT = Path(__file__).parents[2]
NUCLEI = (ROOT / "protocols/nuclei.yaml").read_text()


class Carried:
    """Stands for the engine: notes what was asked for, and leaves the split that an engine would have made."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.rounds: list[list[str]] = []

    def __call__(self, run: Run, stages: dict[str, Stage], futures: dict[str, Any], slots: int, runner: Any, shown: Any) -> None:
        self.rounds.append([name for name in stages if name not in futures])
        futures |= dict.fromkeys(stages)
        for number in range(1, self.groups + 1):
            write_bytes(run.folder("split") / f"folds/{number}.parquet", b"")
        write_json(run.folder("split") / "stage.json", {})


@contextmanager
def no_engine(name: str, slots: int, cluster: str | None) -> Iterator[None]:
    yield None


def carried(asked: str, groups: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    engine = Carried(groups)
    outcome = {"study": "s", "decision": "refused", "reasons": [], "report": "r"}
    for name, stand_in in {
        "engine": no_engine,
        "_carry_out_all": engine,
        "check_study_parameters": lambda study_file, *others: load_study(Path(study_file)).study,
        "summary": lambda run: outcome,
        "_show": lambda run, outcome, shown: None,
    }.items():
        monkeypatch.setattr(flow, name, stand_in)
    (folder / "study.yaml").write_text(NUCLEI.replace("validation:\n", f"validation:\n  cross_validation: {asked}\n"))
    flow.study_flow.fn(str(folder / "study.yaml"), str(folder))
    return engine.rounds


def test_folds_of_groups_are_planned_after_the_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = carried("{leave_one_out: true, recipes: [gan]}", 5, tmp_path, monkeypatch)
    assert first == ["ingest", "split"]
    assert len([name for name in second if name.startswith("fold-")]) == 5 * 4
    assert {"folds-gan", "decide", "release"} < set(second) and not set(first) & set(second)


def test_folds_of_a_known_number_are_planned_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (only,) = carried("{folds: 3}", 3, tmp_path, monkeypatch)
    assert len(only) == 12 + 3 * 7 + 2


@pytest.mark.parametrize(("stage", "where"), [("train-gan", "train"), ("fold-2-train-gan", "fold-2-train-gan: train")])
def test_a_problem_of_a_fold_says_which_fold(stage: str, where: str, tmp_path: Path) -> None:
    note = {"exit_code": 2, "problems": [{"where": "train", "kind": "too-few-images", "message": "Too few."}]}
    write_json(tmp_path / f"logs/{stage}.problems.json", note)
    found = flow._problems(Run(tmp_path), Stage(stage, (), lambda run, out: None), 2, tmp_path / "log")
    assert [p.where for p in found] == [where]


def test_a_stage_that_kept_a_checkpoint_ends_the_run_with_its_exit_code(tmp_path: Path) -> None:
    """85 means "the same command goes on": whoever started the run must learn it as well."""
    problem = {"where": "model", "kind": "checkpointed", "message": "The same command goes on exactly there."}

    def stopped(stage: str, folder: Path, log_file: Path) -> int:
        write_json(folder / f"logs/{stage}.problems.json", {"exit_code": 85, "problems": [problem]})
        return 85

    with pytest.raises(flow.ToldError) as caught:
        flow._carry_out(Run(tmp_path), Stage("train-gan", (), lambda run, out: None, trains=True), stopped)
    assert caught.value.exit_code == 85
