"""A release that people have attested is not lost when it is made anew."""

import os
import shutil
import sys
from pathlib import Path

from sciimg.errors import SciimgError
from sciimg.records import digest_file
from sciimg.stages.ledger import Run

KEPT = "attested-before"


def keep_attested(run: Run) -> None:
    """Keep the release of a run beside its stages where anybody but its own key, or for more than its decision, has signed it.

    Files are linked, not copied. What was signed speaks of other evidence than the release that comes now.
    """
    from sciimg.provenance.attest import FOLDER

    release = run.folder("release") / "release"
    bundle = release / "dataset.sigstore.json"
    if not bundle.is_file():
        return
    own = _key_of(bundle)
    others = [p for p in sorted((release / FOLDER).glob("*.sigstore.json")) if p.name != "decision.sigstore.json" or _key_of(p) != own]
    place = run.path / KEPT / digest_file(bundle).removeprefix("sha256:")[:12]
    if not others or place.exists():
        return
    partial = place.with_name(f".{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(release, partial, copy_function=_linked)
    partial.rename(place)
    names = ", ".join(path.name for path in others)
    print(f"The release is made anew. The one that was attested ({names}) is kept in {place}.", file=sys.stderr, flush=True)


def _key_of(bundle: Path) -> str | None:
    from sciimg.provenance.dsse import read_bundle

    try:
        return read_bundle(bundle, bundle.name).key_id
    except SciimgError:  # damaged: whose it was is not known
        return None


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        shutil.copy2(source, target)
