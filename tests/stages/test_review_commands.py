"""``sciimg review sheets | score`` and ``sciimg report``: from a run folder to files on disk."""

import json
import shutil

import openpyxl
import pytest
from report_run import STUDY, make_run, tissue

from sciimg.errors import InputError
from sciimg.files import write_json
from sciimg.io.image import Image
from sciimg.review.evidence import contradictions
from sciimg.stages.ledger import Run
from sciimg.stages.report import report_command
from sciimg.stages.review import score_command, sheets_command
from sciimg.store import CollectionWriter
from sciimg.types import Channel, Spacing


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("run"))
    write_json(folder / "run.json", {"folder": str(folder)})
    images, labels = tissue()
    channels = (Channel("haematoxylin"), Channel("dab"))
    with CollectionWriter(folder / "generate-ldm/synthetic", synthetic=True) as collection:
        for i in range(24):
            image = Image.from_array(images[i], "cyx", spacing=Spacing((1.0, 1.0), "pixel"), channels=channels, source=f"made {i}")
            conditions = {"dab-level": 1.0}
            collection.add(f"s{i:03d}", image, group=f"s{i}", conditions=conditions, labels=labels[i], label_kind="instances")
    return folder


def test_sheets_of_a_run_and_their_score(run, tmp_path):
    said = sheets_command(run, tmp_path / "sheets", 2)
    assert (said["readers"], said["items"], said["recipe"]) == (2, 40 + 4 + 2, "ldm")
    assert len(said["files"]) == 8
    key = json.loads((tmp_path / "sheets-key.json").read_text())
    truth = {line["item"]: line["truth"] for line in key["items"]}
    for reader in (1, 2):
        book = openpyxl.load_workbook(tmp_path / f"sheets/reader-{reader}/answers.xlsx")
        for row in book.active.iter_rows(min_row=2):
            row[2].value = truth[row[1].value]
        book.save(tmp_path / f"{reader}.xlsx")
    value = score_command([tmp_path / "1.xlsx", tmp_path / "2.xlsx"], tmp_path / "sheets-key.json")
    assert (value["readers"], value["items"], value["accuracy"]) == (2, 40, 1.0)


def test_a_score_is_recorded_in_its_own_run_alone(run, tmp_path):
    sheets_command(run, tmp_path / "sheets", 1)
    key = json.loads((tmp_path / "sheets-key.json").read_text())
    answers = "".join(f"reader-1,{line['item']},{line['truth']}\n" for line in key["items"])
    (tmp_path / "1.csv").write_text("reader,item,answer\n" + answers)
    (tmp_path / "table.csv").write_text("reader,item,answer,truth\nada,1,real,real\nada,2,synthetic,synthetic\n")
    (tmp_path / "other.json").write_text(json.dumps(key | {"study": "sha256:" + "0" * 64}))
    (tmp_path / "none.json").write_text(json.dumps(key | {"study": None}))
    (tmp_path / "recipe.json").write_text(json.dumps(key | {"recipe": "vae"}))
    few = [line for line in key["items"] if line["role"] == "main"][:1]
    (tmp_path / "few.json").write_text(json.dumps(key | {"items": few}))
    (tmp_path / "few.csv").write_text(f"reader,item,answer\nreader-1,{few[0]['item']},{few[0]['truth']}\n")
    turned = [{**line, "truth": {"real": "synthetic", "synthetic": "real"}[line["truth"]]} for line in key["items"]]
    (tmp_path / "turned.json").write_text(json.dumps(key | {"items": turned}))
    for options, kind in (
        ({"key": None, "run": run, "answers": "table.csv"}, "no-key"),
        ({"key": tmp_path / "none.json", "run": run}, "no-key"),
        ({"key": tmp_path / "recipe.json", "run": run}, "other-key"),
        ({"key": tmp_path / "few.json", "run": run, "answers": "few.csv"}, "other-key"),
        ({"key": tmp_path / "turned.json", "run": run}, "other-key"),
        ({"key": tmp_path / "other.json", "run": run}, "other-study"),
        ({"key": tmp_path / "sheets-key.json", "run": run, "partial": True}, "partial-score"),
        ({"key": tmp_path / "sheets-key.json", "run": tmp_path}, "not-a-run"),
    ):
        with pytest.raises(InputError) as error:
            score_command([tmp_path / options.pop("answers", "1.csv")], **options)
        assert [p.kind for p in error.value.problems] == [kind]
        assert not (run / "review").exists()
    value = score_command([tmp_path / "1.csv"], tmp_path / "sheets-key.json", run)
    evidence = json.loads((run / "review/ldm/evidence.json").read_text())
    recorded = {m["name"]: m for m in evidence["metrics"]}
    assert (recorded["review-readers"]["value"], recorded["review-accuracy"]["value"]) == (1, value["accuracy"])
    assert recorded["review-agreement"]["status"] == "undefined"
    assert (value["recipe"], value["notes"][0][:8]) == ("ldm", "Interval")
    assert len(evidence["readings"]) == len(key["items"]) and contradictions(evidence, Run(run).loaded.study.review) == []
    score_command([tmp_path / "1.csv"], tmp_path / "sheets-key.json", run)  # the same once more is the same
    (tmp_path / "1.csv").write_text((tmp_path / "1.csv").read_text().replace(",real", ",synthetic"))
    with pytest.raises(InputError) as error:
        score_command([tmp_path / "1.csv"], tmp_path / "sheets-key.json", run)
    assert [p.kind for p in error.value.problems] == ["recorded-already"]
    shutil.rmtree(run / "review")


def test_sheets_need_samples(tmp_path):
    folder = make_run(tmp_path / "run")
    write_json(folder / "run.json", {"folder": str(folder)})
    with pytest.raises(InputError, match="generate-ldm is not finished"):
        sheets_command(folder, tmp_path / "sheets", 1)
    assert not (tmp_path / "sheets").exists()


def test_report_of_a_run_and_plan_of_a_study(run, tmp_path):
    files = report_command(run, plan=False, out=tmp_path / "out")["files"]
    assert [f.rsplit("/", 1)[1] for f in files] == ["report.html", "report.pdf"]
    (tmp_path / "study.yaml").write_text(STUDY)
    plans = report_command(tmp_path / "study.yaml", plan=True, out=tmp_path / "out")["files"]
    assert [f.rsplit("/", 1)[1] for f in plans] == ["plan.html", "plan.pdf"]
    assert "Registered, not run" in (tmp_path / "out/plan.html").read_text()
