"""A release looked at again: the newest is found, what moved is said, a tampered one is not judged at all."""

import json
from pathlib import Path
from typing import Any

import pytest
from releases import STUDY, evidence, release, trusted

from sciimg.errors import BusyError, InputError
from sciimg.files import hold, write_json, write_text
from sciimg.protocol import parse_study
from sciimg.provenance.keys import make_key
from sciimg.provenance.policy import TrustPolicy
from sciimg.stages import revalidate as again
from sciimg.stages.ledger import LOCK, Run, environment

SIGNED = {name: json.loads(text) for name, text in evidence("accepted").items()}


def run_of(workdir: Path, name: str, started: str) -> Path:
    folder = workdir / name
    write_text(folder / "study.yaml", STUDY)
    write_json(folder / "run.json", {"study": parse_study(STUDY.encode(), "s").study.digest, "folder": str(workdir)})
    write_json(folder / "release/stage.json", {"timings": {"started": started}})
    return folder


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Return a folder of runs with one release, and ``trust.json`` beside it."""
    key = make_key("Ada Example", tmp_path / "keys", secret="")
    folder = run_of(tmp_path / "runs", "small-12345678", "2026-06-01T11:00:00Z")
    release(folder / "release", key)
    write_json(tmp_path / "trust.json", TrustPolicy(keys=(trusted(key),)).as_json())
    return tmp_path


def look(lab: Path) -> dict[str, Any]:
    return again.revalidate(str(lab / "runs"), "", str(lab / "trust.json"))


def judged(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let judges of today find what was signed, but for ``changes`` of the recipe's one metric."""
    metric = {**SIGNED["validate-ldm"]["metrics"][0], **changes}
    now = {"validate-ldm": {"metrics": [metric]}, "verify": SIGNED["verify"]}
    monkeypatch.setattr(again, "_judged_again", lambda run, release, signed: now)


def test_as_signed(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch)
    value = look(lab)
    assert (value["verdict"], value["compared"], value["moved"]) == ("as signed", 2, [])
    assert value["decision"] == {"signed": "accepted", "now": "accepted"}
    assert value["environment"]["numpy"] == ["2.4.0", environment()["numpy"]] or environment()["numpy"] == "2.4.0"
    assert json.loads(Path(value["result"]).read_text())["verdict"] == "as signed"
    assert not list((lab / "runs/small-12345678").glob(".revalidation*"))


def test_a_number_that_moved_within_its_bar(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, value=0.65, ci95=[0.4, 0.9])  # signed: 0.55, 0.3 to 0.8
    value = look(lab)
    assert value["verdict"] == "moved" and value["decision"]["now"] == "accepted"
    (row,) = value["moved"]
    assert row["name"] == "intensity-law_effect" and row["stage"] == "validate-ldm"
    assert row["change"] == pytest.approx(0.1) and row["of_interval"] == pytest.approx(0.4)  # of half of 0.5


def test_a_number_that_moved_over_its_bar(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged(monkeypatch, value=2.0, ci95=[1.5, 2.5])
    value = look(lab)
    assert value["verdict"] == "decided otherwise" and value["decision"] == {"signed": "accepted", "now": "refused"}


def test_a_tampered_release_is_not_judged(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "_judged_again", lambda *about: pytest.fail("nothing in it is to be believed"))
    with (lab / "runs/small-12345678/release/release/dataset/DATASHEET.md").open("a") as stream:
        stream.write("x")
    value = look(lab)
    assert value["verdict"] == "fault" and value["faults"][0]["kind"] == "changed"


def test_what_the_judges_need_is_asked_for(lab: Path) -> None:
    with pytest.raises(InputError, match=r"gone: .*ingest/collection, .*regions.parquet"):
        look(lab)


def test_a_study_that_is_being_run_is_left_alone(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(again, "hold", lambda path: hold(path, patience_s=0.1))
    with hold(lab / "runs/small-12345678" / LOCK), pytest.raises(BusyError):
        look(lab)


def test_the_newest_is_the_one_that_was_released_last(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is none"):
        again.newest_release(tmp_path)
    newest = run_of(tmp_path, "small-aaaaaaaa", "2026-06-02T00:00:00Z")
    run_of(tmp_path, "small-bbbbbbbb", "2026-06-01T00:00:00Z")
    (run_of(tmp_path, "small-cccccccc", "2026-06-03T00:00:00Z") / "release/stage.json").unlink()  # not finished
    assert again.newest_release(tmp_path) == Run(newest) == again.newest_release(tmp_path, "small")
    with pytest.raises(InputError, match="of a study called 'other'"):
        again.newest_release(tmp_path, "other")


def test_the_largest_change_stands_first() -> None:
    def metric(name: str, value: float | None, status: str = "ok") -> dict[str, Any]:
        return {"name": name, "value": value, "ci95": [0.0, 2.0] if value is not None else None, "status": status}

    signed = {"metrics": [metric("a", 1.0), metric("b", 1.0), metric("c", 1.0), metric("d", 1.0)]}
    now = {"metrics": [metric("a", 1.0), metric("b", 1.1), metric("c", None, "undefined"), metric("d", 1.5), metric("e", 1.0)]}
    rows = sorted((r for r in again._compared("s", signed, now) if r["signed"] != r["now"]), key=again._weight, reverse=True)
    assert [r["name"] for r in rows][-2:] == ["d", "b"] and {r["name"] for r in rows[:2]} == {"c", "e"}
