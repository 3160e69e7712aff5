"""What people have signed is kept when a run releases anew, and what readers say makes it release anew."""

import shutil

import releases
from report_run import make_run

from sciimg.files import write_json
from sciimg.provenance.attest import attest
from sciimg.provenance.audit import audit
from sciimg.provenance.keys import make_key
from sciimg.provenance.policy import TrustPolicy
from sciimg.stages.attested import KEPT, keep_attested
from sciimg.stages.ledger import Run
from sciimg.stages.plan import plan_of


def run_in(folder):
    make_run(folder)
    write_json(folder / "run.json", {"folder": str(folder)})
    return Run(folder)


def test_a_release_that_others_have_signed_is_kept(tmp_path, capsys):
    run, key, other = run_in(tmp_path / "run"), make_key("Ada", tmp_path / "keys"), make_key("Bob", tmp_path / "other")
    keep_attested(run)  # there is none
    (run.path / "release").mkdir()
    release = shutil.move(releases.release(tmp_path / "made", key), run.path / "release/release")
    keep_attested(run)
    assert not (run.path / KEPT).exists()  # nobody but the run itself has signed it
    attest(release, other, "review", "I looked at every image.", time=releases.TIME)
    keep_attested(run)
    keep_attested(run)  # once is enough
    (kept,) = (run.path / KEPT).iterdir()
    decision = release / "attestations/decision.sigstore.json"
    decision.unlink()
    decision.write_text("damaged")
    keep_attested(run)
    shutil.rmtree(run.path / "release")
    found = audit(kept, TrustPolicy(keys=(releases.trusted(key), releases.trusted(other))), now=releases.TIME)
    assert found.verified and [s.person for s in found.signers][-1] == "Bob"
    assert capsys.readouterr().err.count("is kept in") == 1


def test_what_readers_said_is_released_even_where_it_changes_no_decision(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    run = run_in(tmp_path / "run")
    stages = [plan_of(run)[name] for name in ("decide", "release")]
    before = [stage.parameters(run) for stage in stages]
    write_json(run.path / "review/ldm/evidence.json", {"metrics": [], "readings": [1]})
    first = [stage.parameters(run) for stage in stages]
    write_json(run.path / "review/ldm/evidence.json", {"metrics": [], "readings": [2]})
    second = [stage.parameters(run) for stage in stages]
    for values in zip(before, first, second, strict=True):
        assert len({str(v) for v in values}) == 3
