"""A release that people have attested is not lost when it is made anew."""

import os
import shutil
import sys

from sciimg.stages.ledger import Run

KEPT = "attested-before"


def keep_attested(run: Run) -> None:
    """Keep the release of a run beside its stages where anybody but its own key, or for more than its decision, has signed it.

    Files are linked, not copied. What was signed speaks of other evidence than the release that comes now.
    """
    from sciimg.provenance.attest import FOLDER, payload_digest
    from sciimg.provenance.dsse import read_bundle

    release = run.folder("release") / "release"
    bundle = release / "dataset.sigstore.json"
    if not bundle.is_file():
        return
    own = read_bundle(bundle, bundle.name).key_id
    given = sorted((release / FOLDER).glob("*.sigstore.json"))
    others = [path for path in given if path.name != "decision.sigstore.json" or read_bundle(path, path.name).key_id != own]
    place = run.path / KEPT / payload_digest(bundle).removeprefix("sha256:")[:12]
    if not others or place.exists():
        return
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(release, partial, copy_function=os.link)
    partial.rename(place)
    names = ", ".join(path.name for path in others)
    print(f"The release is made anew. The one that was attested ({names}) is kept in {place}.", file=sys.stderr, flush=True)
