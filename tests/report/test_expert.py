"""The section on expert review: readers, criteria, artefacts and cautions, and one sentence on whether readers guess."""

from dataclasses import replace

import pytest
from readers import PLAN, reading, readings
from report_run import STUDY

from sciimg.files import write_json
from sciimg.protocol import parse_study
from sciimg.report.build import plan_of_study
from sciimg.report.evidence import read_run
from sciimg.report.sections.expert import review
from sciimg.review import agreement
from sciimg.review.evidence import as_evidence, metrics
from sciimg.review.score import score


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr(agreement, "ROUNDS", 20)  # no test here looks at intervals of agreement


@pytest.fixture(scope="module")
def evidence(refused_run):
    return read_run(refused_run)


def shown(evidence, given, plan=PLAN):
    first, *others = evidence.recipes
    return review(replace(evidence, recipes=(replace(first, review=score(given, plan=plan)), *others)))


def tables(section):
    return {t.columns[0].title: t for t in section.blocks if t.kind == "table"}


def test_every_reader_criterion_and_artefact_has_its_row(evidence):
    section = shown(evidence, readings())
    found = tables(section)
    assert [row[0] for row in found["Reader"].rows] == ["ada", "ben", "chi"]
    assert found["Reader"].rows[1][5:] == ("2 of 3", "0 of 1", "2.8", "5 s")
    assert found["Criterion"].rows[0][:4] == ("sharpness: How sharp? 1 = very poor, 5 = very good", "2.00, n = 18", "3.00, n = 18", "1, no interval: resampling shows no spread")  # fmt: skip  # noqa: E501
    assert found["Artefact"].rows[0][:3] == ("blur", "0 of 18", "3 of 18")
    assert len(found["Confidence"].rows) == 5
    facts = dict(next(b for b in section.blocks if b.kind == "facts").rows)
    assert facts["Readings"] == "36 by 3 readers, about 12 images"
    assert facts["Catch items seen"] == "2 of 3"
    assert "resampled readers and images, 2000 times" in facts["Accuracy, clustered"]
    assert any("ben missed 1 catch item" in note for b in section.blocks if b.kind == "bullets" for note in b.items)
    plot = next(b for b in section.blocks if b.kind == "plot")
    assert "0, 18, 0, 0, 0 times for real and 0, 0, 18, 0, 0 for synthetic" in plot.panels[0].alt


@pytest.mark.parametrize(
    ("right", "title", "said"),
    [
        (
            lambda i, reader: (7 * i + 3 * reader) % 11 % 2 == 0,
            "Readers cannot be told from guessing",
            "it holds when readers and images are resampled",
        ),
        (lambda i, reader: i % 10 > 0, "Readers can tell", "lies beyond 0.35 and 0.65"),
        (lambda i, reader: i % 5 > 1, "Whether readers guess is not settled", "more readings"),
        (
            lambda i, reader: reader < 2,
            "Equivalent to guessing only if answers are independent",
            "it does not hold when readers and images are resampled",
        ),
    ],
)
def test_the_verdict_on_guessing_is_one_sentence(evidence, right, title, said):
    made = [reading(f"reader-{r}", i, right=right(i, r)) for r in range(4) for i in range(50)]
    notice = next(b for b in shown(evidence, made).blocks if b.kind == "notice")
    assert notice.title == title and said in notice.text


def test_who_does_not_notice_scrambled_images_has_not_looked(evidence):
    """A reader who calls everything real is right half of the time: that is no guessing, and proves nothing."""
    given = readings()  # ben misses the only catch item
    notice = next(b for b in shown(evidence, given).blocks if b.kind == "notice")
    assert notice.title == "1 reader of 3 did not notice the scrambled images" and "answers of ben" in notice.text
    counted = {m.name: m for m in metrics(score(given, plan=PLAN))}["review-readers"]
    assert (counted.value, counted.n) == (2, 3)
    awake = [r for r in given if r.reader != "ben"]
    assert "scrambled" not in next(b for b in shown(evidence, awake).blocks if b.kind == "notice").title


def test_one_reader_has_no_agreement_and_the_report_says_why(evidence):
    section = shown(evidence, [r for r in readings(("ada",)) if r.role == "main"])
    facts = dict(next(b for b in section.blocks if b.kind == "facts").rows)
    assert facts["Agreement, Gwet AC1"] == "undefined: agreement needs at least two readers"
    assert facts["Same answer when shown again"] == "undefined: no item was repeated"
    assert "images only" in facts["Accuracy, clustered"]


def test_the_plan_says_what_readers_will_be_asked():
    criterion = "{name: sharpness, question: How sharp, level: interval}"
    asked = f"review: {{readers: 3, task: 2afc, artefacts: [seams], criteria: [{criterion}]}}\nrelease:"
    plan = plan_of_study(parse_study(STUDY.replace("release:", asked).encode(), "s").study)
    method = next(s for s in plan.sections if s.name == "method")
    words = [value for b in method.blocks if b.kind == "facts" for term, value in b.rows if term == "Expert review"]
    assert "which of two is synthetic" in words[0] and "ticked: seams" in words[0] and "within 0.15 of 0.5" in words[0]
    table = next(b for b in method.blocks if b.kind == "table" and b.columns[0].title == "Criterion")
    assert table.rows == (("sharpness", "How sharp", "1 = very poor, 2 = poor, 3 = fair, 4 = good, 5 = very good", "interval"),)


def test_a_recorded_score_is_read_from_the_run(refused_run, tmp_path):
    import shutil

    run = shutil.copytree(refused_run, tmp_path / "run")
    write_json(run / "review/ldm/evidence.json", as_evidence(readings(), PLAN, ["sha256:" + "1" * 64]))
    read = read_run(run)
    ldm, gan = read.recipes
    assert {m.name for m in ldm.reviewed} == {m.name for m in metrics(score(readings(), plan=PLAN))} and gan.reviewed == ()
    section = review(read)
    assert section.lead.startswith(
        "3 blinded readers said whether an image is real or synthetic, 12 images each (real ones and those of ldm)"
    )
    assert dict(next(b for b in section.blocks if b.kind == "facts").rows)["Answers sealed by"] == "sha256:" + "1" * 64
    write_json(run / "review/gan/evidence.json", as_evidence(readings(items=6), PLAN))
    both = review(read_run(run))
    assert [part.title for part in both.parts] == ["Images of ldm", "Images of gan"] and "6 images each" in both.parts[1].lead
