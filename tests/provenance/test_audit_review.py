"""What the audit makes of a reader study: its numbers follow from its readings, and what was attested are these answers."""

import copy
import json

import pytest
import releases
from readers import reading

from sciimg.protocol.validation import ReviewPlan
from sciimg.provenance.attest import attest
from sciimg.provenance.audit import audit
from sciimg.provenance.keys import make_key
from sciimg.provenance.policy import TrustPolicy
from sciimg.review.evidence import as_evidence

PLANNED = "review: {readers: 2, items: 6, catch_pairs: 1}\n"
HEADS = ["sha256:" + digit * 64 for digit in "12"]


def answers():
    """Return what two readers said about six images and a scrambled one."""
    main = [reading(name, i, right=(i + n) % 3 > 0, seconds=4.0) for n, name in enumerate(("reader-1", "reader-2")) for i in range(6)]
    return [*main, *(reading(name, 99, right=True, role="catch") for name in ("reader-1", "reader-2"))]


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return make_key("Ada Example", tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def evidence():
    return json.loads(json.dumps(as_evidence(answers(), ReviewPlan(readers=2, items=6, catch_pairs=1), HEADS)))


def audited(folder, key, evidence, monkeypatch, attested=None):
    """Return what the audit finds in a release that was signed with this evidence of readers."""
    own = releases.evidence
    monkeypatch.setattr(releases, "evidence", lambda outcome: own(outcome) | {"review-ldm": json.dumps(evidence).encode()})
    release = releases.release(folder, key, text=releases.STUDY.replace("gates:", PLANNED + "gates:"))
    attest(release, key, "review", "I have seen the answers.", time=releases.TIME)
    if attested is not None:
        path = release / "attestations/review.sigstore.json"
        path.unlink()
        monkeypatch.setattr("sciimg.provenance.attest._sessions_of", lambda release: {"sessions": attested} if attested else {})
        attest(release, key, "review", "I have seen other answers.", time=releases.TIME)
    return audit(release, TrustPolicy(keys=(releases.trusted(key),)), now=releases.TIME)


def test_a_review_whose_numbers_follow_is_verified(tmp_path, key, evidence, monkeypatch):
    found = audited(tmp_path, key, evidence, monkeypatch)
    assert found.problems == [] and found.verified and found.decision == "accepted"


def _one_more_reader(own):
    own["metrics"][0]["value"] = 3


def _better(own):
    own["metrics"][1]["ci95"] = [0.45, 0.55]


def _turned(own):
    own["readings"][0]["answer"] = "real" if own["readings"][0]["answer"] == "synthetic" else "synthetic"


def _left_out(own):
    del own["readings"][3]


def _invented(own):
    own["metrics"].append({**own["metrics"][0], "name": "review-beauty"})


def _missing(own):
    del own["readings"]


def _of_something_else(own):
    own["readings"] = [{"reader": 1}]


@pytest.mark.parametrize(
    ("forge", "kind"),
    [
        (_one_more_reader, "review-does-not-follow"),
        (_better, "review-does-not-follow"),
        (_turned, "review-does-not-follow"),
        (_left_out, "review-does-not-follow"),
        (_invented, "review-does-not-follow"),
        (_missing, "malformed-evidence"),
        (_of_something_else, "malformed-evidence"),
    ],
)
def test_numbers_that_do_not_follow_from_the_readings_are_refused(tmp_path, key, evidence, monkeypatch, forge, kind):
    forged = copy.deepcopy(evidence)
    forge(forged)
    found = audited(tmp_path, key, forged, monkeypatch)
    assert {p.kind for p in found.problems} == {kind} and not found.verified


@pytest.mark.parametrize("attested", [["sha256:" + "0" * 64], [*HEADS, "sha256:" + "0" * 64], []])
def test_what_was_attested_are_these_answers(tmp_path, key, evidence, monkeypatch, attested):
    found = audited(tmp_path, key, evidence, monkeypatch, attested)
    assert [p.kind for p in found.problems] == ["other-answers"] and not found.verified
