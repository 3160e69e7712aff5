"""``sciimg review serve``: from a run to answers, from answers to evidence that is signed."""

import json

import pytest
import releases
from report_run import STUDY, make_run, tissue
from starlette.testclient import TestClient

from sciimg.errors import InputError
from sciimg.files import write_json
from sciimg.io.image import Image
from sciimg.protocol import load_study
from sciimg.provenance.attest import attest, read_attestation
from sciimg.provenance.keys import make_key
from sciimg.review import server
from sciimg.review.book import read_book
from sciimg.stages.ledger import run_folder
from sciimg.stages.review import score_command
from sciimg.stages.serving import serve_command
from sciimg.store import CollectionWriter
from sciimg.types import Channel, Spacing

REVIEW = """review:
  readers: 2
  items: 12
  catch_pairs: 1
  criteria: [{name: sharpness, question: 'How sharp is it?'}]
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return the file of a study, and the folder of runs in which it has been run."""
    folder = tmp_path_factory.mktemp("serving")
    file = folder / "study.yaml"
    file.write_text(STUDY.replace("release:", REVIEW + "release:"))
    run = run_folder(load_study(file).study, folder / "runs")
    make_run(run)
    (run / "study.yaml").write_text(file.read_text())
    write_json(run / "run.json", {"folder": str(folder)})
    images, labels = tissue()
    channels = (Channel("haematoxylin"), Channel("dab"))
    with CollectionWriter(run / "generate-ldm/synthetic", synthetic=True) as collection:
        for i in range(12):
            image = Image.from_array(images[i], "cyx", spacing=Spacing((1.0, 1.0), "pixel"), channels=channels, source=f"made {i}")
            collection.add(f"s{i}", image, group=f"s{i}", conditions={"dab-level": 1.0}, labels=labels[i], label_kind="instances")
    return file


def read_all(app, links, readers=None):
    """Answer every item of these readers over the application."""
    client = TestClient(app, base_url="http://127.0.0.1")
    for link in links[:readers]:
        headers = {"Authorization": f"Bearer {link['url'].split('#')[1]}"}
        place = client.get("/api/session", headers=headers).json()["place"]
        while place["now"]:
            assert len(client.get(f"/api/items/{place['now']}/0", headers=headers).content) == 2 * 32 * 32 * 2
            cells = {"item": place["now"], "answer": "real", "sharpness": "4", "seconds": "3"}
            place = client.post("/api/answers", json=cells, headers=headers).json()


def test_from_a_study_to_signed_answers(study, tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(server, "serve", lambda app, place: read_all(app, told[-1]["links"], 1))
    first = serve_command(study, study.parent / "runs", port=0, readers=None, announce=told.append)
    assert (told[0]["items"], len(told[0]["links"]), first["answers"]) == (12 + 1 + 1, 2, 14)
    assert all(link["url"].startswith("http://127.0.0.1:") for link in told[0]["links"])
    run = next((study.parent / "runs").iterdir())
    with pytest.raises(InputError, match="No answer of reader-2"):
        score_command([run / "review/session.sqlite"], None, run)

    monkeypatch.setattr(server, "serve", lambda app, place: read_all(app, told[-1]["links"]))
    second = serve_command(run, study.parent, port=0, readers=None, announce=told.append)  # a run folder names itself
    assert [link["url"].split("#")[1] for link in told[1]["links"]] == [link["url"].split("#")[1] for link in told[0]["links"]]
    assert (told[1]["answers"], second["answers"]) == (14, 28)
    for name in ("session.sqlite", "links.json"):
        assert (run / "review" / name).stat().st_mode & 0o777 == 0o600

    value = score_command([run / "review/session.sqlite"], None, run)
    assert (value["readers"], value["items"], value["accuracy"]) == (2, 12, 0.5)
    evidence = json.loads((run / "review/ldm/evidence.json").read_text())
    head = read_book(run / "review/session.sqlite").head
    assert evidence["sessions"] == [head] == [second["head"]]

    key = make_key("Ada Example", tmp_path / "keys")
    monkeypatch.setattr(
        releases, "evidence", lambda outcome, given=releases.evidence: {**given(outcome), "review-ldm": json.dumps(evidence).encode()}
    )
    release = releases.release(tmp_path, key)
    assert read_attestation(attest(release, key, "review", "I have seen the answers.")).said["sessions"] == [head]
    assert "sessions" not in read_attestation(release / "attestations/decision.sigstore.json").said


def test_another_number_of_readers_is_another_session(study, monkeypatch):
    monkeypatch.setattr(server, "serve", lambda app, place: None)
    serve_command(study, study.parent / "runs", port=0, readers=None, announce=lambda said: None)
    with pytest.raises(InputError) as caught:
        serve_command(study, study.parent / "runs", port=0, readers=3, announce=lambda said: None)
    assert caught.value.problems[0].kind == "other-session"


def test_a_study_that_was_not_run_has_nothing_to_show(study, tmp_path):
    for argument in (study, tmp_path):
        with pytest.raises(InputError) as caught:
            serve_command(argument, tmp_path, port=0, readers=None, announce=lambda said: None)
        assert caught.value.problems[0].kind == "not-a-run"
