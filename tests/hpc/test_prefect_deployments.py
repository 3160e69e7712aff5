"""Deployments on a real server with a real worker: what is deployed, what a person sees of a run, and that no file of images is named."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
import yaml
from prefect_lab import PATIENCE_S, ROOT, STUDY, Lab

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CANARY = "smith_john_19501224"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    made = Lab(tmp_path_factory.mktemp("lab"))
    try:
        made.server()
        made.deploy()
        made.worker()
        yield made
    finally:
        made.close()


def test_everything_that_ships_deploys(lab: Lab) -> None:
    shutil.copy(ROOT / "flows/prefect.yaml", lab.work / "shipped.yaml")
    lab.prefect("deploy", "--prefect-file", "shipped.yaml", "--all")
    found = {d["name"]: d for d in lab.call("POST", "/deployments/filter", {})}
    asked = {d["name"]: d for d in yaml.safe_load((ROOT / "flows/prefect.yaml").read_text())["deployments"]}
    assert set(asked) == {"nightly-study", "watched-folder", "nightly-revalidation", "cross-validation"} <= set(found)
    for name, wanted in asked.items():
        made = found[name]
        assert made["schedules"][0]["schedule"]["cron"] == wanted["schedules"][0]["cron"]
        assert made["schedules"][0]["active"] == wanted["schedules"][0].get("active", True)
        assert made["global_concurrency_limit"]["limit"] == 1
        assert made["concurrency_options"]["collision_strategy"] == wanted["concurrency_limit"]["collision_strategy"]
        assert made["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
        assert set(made["parameters"]) <= set(made["parameter_openapi_schema"]["properties"])
    lab.until(lambda: _scheduled(lab), PATIENCE_S, "a run is planned")


def _scheduled(lab: Lab) -> bool:
    runs = lab.call("POST", "/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
    return any(run["auto_scheduled"] for run in runs)


def test_what_a_person_sees_of_a_study(lab: Lab) -> None:
    run = lab.begin("sciimg-study/small")
    lab.well(run)
    about = lab.run(run)
    (folder,) = (lab.work / "runs").iterdir()
    digest8 = folder.name.rsplit("-", 1)[1]
    assert about["name"] == f"smoke-{digest8}" == folder.name and {"smoke", digest8} <= set(about["tags"])
    seen = lab.artifacts(run)
    assert {"smoke-progress", "smoke-gates", "smoke-stages", "smoke-decision", "smoke-report"} == set(seen)  # no picture: it was refused
    assert seen["smoke-progress"]["data"] == 100 and seen["smoke-progress"]["description"] == "5 of 5 stages are done"
    assert '"outcome": "failed"' in seen["smoke-gates"]["data"] and "smoke: refused" in seen["smoke-decision"]["data"]
    assert "train-b" in seen["smoke-stages"]["data"] and "file://" in seen["smoke-report"]["data"]
    tasks = lab.call("POST", "/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    assert {t["name"] for t in tasks} == {"ingest", "train-a", "train-b", "decide", "release"}
    assert not any(t["tags"] for t in tasks)  # with tags, every stage would have to ask the server before it begins
    assert b"subject-smith" not in lab.everything_kept()  # a reason of the decision, which may name an image


def test_two_runs_of_one_study_at_once_one_waits(lab: Lab) -> None:
    shutil.rmtree(lab.work / "runs", ignore_errors=True)
    first = lab.begin("sciimg-study/small")
    lab.wait(first, ["Running"])
    second = lab.begin("sciimg-study/small")
    assert lab.wait(second, ["AwaitingConcurrencySlot", "Completed"]) == "AwaitingConcurrencySlot"
    assert lab.state(first) == "Running"
    lab.well(first)
    lab.well(second)
    assert sorted(lab.begun()[-5:]) == ["decide", "ingest", "release", "train-a", "train-b"]  # the second found all of it done


def test_two_deployments_of_one_study_at_once_the_second_is_told_who_has_it(lab: Lab) -> None:
    shutil.rmtree(lab.work / "runs", ignore_errors=True)
    lab.environment["SMALL_PARTS"] = "4"
    first = lab.begin("sciimg-study/small")
    lab.until(lambda: list((lab.work / "runs").glob("*/.run.lock")), PATIENCE_S, "the first works")
    second = lab.begin("sciimg-study/small-again")
    ended = lab.wait(second)
    said = lab.run(second)["state"]["message"]
    lab.well(first)
    assert ended == "Completed" or "busy" in said, said  # on a slow machine the first is done before the second begins


def test_a_watched_folder_is_taken_in_and_nothing_names_a_file(lab: Lab) -> None:
    incoming = lab.work / "incoming"
    incoming.mkdir()
    rng = np.random.default_rng(0)
    for number in range(3):
        tifffile.imwrite(incoming / f"{CANARY} [{number}] é.tif", rng.integers(0, 4000, (24, 24), dtype=np.uint16))
    (incoming / f"{CANARY}-broken.tif").write_bytes(b"II*\0" + bytes(40))
    first, second = lab.begin("sciimg-watch/watch"), None
    lab.well(first)
    rows = lab.artifacts(first)["watch-collection-arrivals"]["data"]
    assert '{"what": "new images", "count": 3}' in rows and "left out" in rows
    second = lab.begin("sciimg-watch/watch")
    lab.well(second)
    assert '{"what": "new images", "count": 0}' in lab.artifacts(second)["watch-collection-arrivals"]["data"]
    assert CANARY.encode() not in lab.everything_kept()
    private = (lab.work / "taken/collection.names.csv").read_text()
    assert CANARY in private


def test_a_stage_that_refuses_names_no_file(lab: Lab) -> None:
    text = (lab.work / STUDY).read_text().replace("package:skimage/data/ihc.png", "images/*.tif").replace("names: kept", "names: hidden")
    text = "\n".join(line for line in text.splitlines() if "names: hidden" not in line)
    (lab.work / "broken.yaml").write_text(text.replace("name: smoke", "name: broken"))
    (lab.work / "images").mkdir()
    (lab.work / f"images/{CANARY}.tif").write_bytes(b"II*\0" + bytes(40))
    run = lab.begin("sciimg-study/study", study_file="broken.yaml")
    assert lab.wait(run) == "Failed"
    said = lab.run(run)["state"]["message"]
    assert "ToldError: Stage 'ingest' has failed: 1 problem" in said and "ingest.log" in said
    assert CANARY.encode() not in lab.everything_kept()
    (folder,) = (lab.work / "runs").glob("broken-*")
    assert CANARY in (folder / "logs/ingest.problems.json").read_text()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"study_file": "no-such.yaml"}, "study_file: There is no such file."),
        ({"slots": 0, "engine_name": "none", "study_file": "prefect.yaml", "workdir": STUDY}, "slots: It is a whole number from 1; got 0."),
    ],
)
def test_parameters_are_refused_with_one_message(wrong: dict[str, object], said: str, lab: Lab) -> None:
    run = lab.begin("sciimg-study/study", **wrong)
    assert lab.wait(run) == "Failed"
    message = lab.run(run)["state"]["message"]
    assert said in message
    if "engine_name" in wrong:
        assert "workdir: " in message and "engine_name: " in message
    assert not (lab.work / "no-such").exists() and Path(lab.work / STUDY).is_file()
