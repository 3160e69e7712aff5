"""Small releases made by the real code, for tests of signing, audit and reports."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np

from sciimg.decision import collect, decide
from sciimg.io.image import Image
from sciimg.protocol import LoadedStudy, parse_study
from sciimg.provenance.keys import Key
from sciimg.provenance.policy import ROLES, TrustedKey
from sciimg.provenance.release import publish
from sciimg.randomness import generator
from sciimg.records import Check, Decision, Digest, Lineage, Metric, digest_of
from sciimg.store.collection import CollectionWriter
from sciimg.types import Spacing

TIME = datetime.datetime(2026, 6, 1, 12, 0, 0, tzinfo=datetime.UTC)

STUDY = """\
# A study that a test can run in its head.
sciimg: 1
name: small
registered: 2026-01-01
title: Small synthetic images
question: Do signed bytes stay as they were?
context_of_use: Tests of signing.
excluded_uses: [Everything else.]
limits: [The images mean nothing.]
sources:
  - {name: real, uri: nowhere, licence: CC0-1.0, citation: "Nobody 2026, Nothing", modality: fluorescence}
split: {by: column, column: id, unit: image}
patches: {shape: [16, 16]}
recipes:
  - {name: ldm, recipe: ldm}
  - {name: gan, recipe: gan}
generate: {count: 8}
validation: {samples: 8, physics: [intensity-law]}
gates:
  - {name: verified, metric: verification-failures, at_most: 0, judged_on: value, why: The machinery must hold.}
  - {name: intensities, metric: intensity-law_effect, at_most: 1, why: As far apart as real halves are.}
release: {dataset_id: small, version: 1.2.0, licence: CC-BY-4.0, creator: The testers}
"""

PACKAGES = {  # of an environment that does not change with the machine, and is not read for every release
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "version": 1,
    "components": [{"type": "library", "bom-ref": "pkg:pypi/numpy@2.4.0", "name": "numpy", "version": "2.4.0"}],
}
INTERVALS = {"accepted": (0.3, 0.8), "inconclusive": (0.5, 1.5), "refused": (1.5, 2.5)}


def loaded(text: str = STUDY) -> LoadedStudy:
    return parse_study(text.encode(), "study.yaml")


def evidence(outcome: str = "accepted") -> dict[str, bytes]:
    """Return evidence by which ``ldm`` comes to this outcome and ``gan`` is refused."""
    check = Check(name="sum", expected=1.0, got=1.0, tolerance=0.0, passed=True, source="arithmetic")

    def metrics(ends: tuple[float, float]) -> dict[str, Any]:
        return {"metrics": [Metric(name="intensity-law_effect", value=sum(ends) / 2, ci95=ends).as_json()]}

    values = {
        "split": {"checks": [check.as_json()]},
        "verify": {"checks": [check.as_json()]},
        "validate-ldm": metrics(INTERVALS[outcome]),
        "validate-gan": metrics(INTERVALS["refused"]),
    }
    return {name: json.dumps(value).encode() for name, value in values.items()}


def decided(study: LoadedStudy, files: dict[str, bytes]) -> Decision:
    return decide(study.study, *collect({n: json.loads(v) for n, v in files.items()}))


def synthetic_collection(path: Path, study: Digest, images: int = 2, synthetic: bool = True) -> Path:
    """Write small images; the second has a mask of nothing, all fill value, whose only chunk so is not on disk."""
    rng = generator("test", "release")
    with CollectionWriter(path, synthetic=synthetic, study=study) as writer:
        for i in range(images):
            array = rng.integers(1, 1000, (1, 16, 16)).astype(np.uint16)
            lineage = Lineage(study=study, model=digest_of("m"), recipe="ldm", sampler="heun", steps=2, seed=0, index=i, condition={})
            image = Image.from_array(array, "cyx", Spacing((1.0, 1.0), "pixel"), channels=("dna",), source=f"ldm-{i}")
            labels = np.where(i == 1, 0, array[0] > 500).astype(np.int32)
            writer.add(f"ldm-{i}", image, group=f"g{i}", labels=labels, label_kind="instances", lineage=lineage)
    return path


def stages() -> dict[str, dict[str, Any]]:
    """Return ledger entries as the run writes them, timings and all."""
    needs = {
        "ingest": [],
        "split": ["ingest"],
        "train-ldm": ["ingest", "split"],
        "generate-ldm": ["train-ldm"],
        "validate-ldm": ["generate-ldm"],
        "decide": ["split", "validate-ldm"],
    }
    return {
        name: {
            "inputs": {"needs": {n: digest_of(n) for n in before}, "parameters": {"path": "/home/somebody/data"}},
            "outputs": {"digest": digest_of(name), "files": 1, "bytes": 2},
            "timings": {"started": "2026-06-01T11:00:00Z", "wall_s": 12.5},
        }
        for name, before in needs.items()
    }


def release(folder: Path, key: Key, outcome: str = "accepted", text: str = STUDY, time: datetime.datetime = TIME, images: int = 2) -> Path:
    """Make a whole release in ``folder/release``."""
    study = loaded(text)
    files = evidence(outcome)
    accepted = outcome == "accepted"
    collection = synthetic_collection(folder / "synthetic", study.study.digest, images) if accepted else None
    publish(
        folder / "release",
        key,
        study=study,
        decision=decided(study, files),
        evidence=files,
        synthetic=collection,
        stages=stages(),
        environment={
            "python": "3.11.9",
            "platform": "test",
            "machine": "x86_64",
            "sciimg": "0.1.0",
            "numpy": "2.4.0",
            "torch": "not installed",
        },
        packages=PACKAGES,
        render=render,
        time=time,
    )
    return folder / "release"


def render(out: Path, payload: Digest) -> None:
    (out / "report.html").write_text(f"<!doctype html><title>Report</title><p>Payload <b>{payload[:20]}<wbr>{payload[20:]}</b></p>\n")
    (out / "report.pdf").write_bytes(f"%PDF-1.7\n% a report on {payload}\n".encode())


def trusted(key: Key, **changes: object) -> TrustedKey:
    """Return the entry of a trust policy for a key."""
    fields: dict[str, object] = {"key_id": key.id, "public_key": key.public.pem.decode(), "person": key.signer, "roles": ROLES}
    return TrustedKey.model_validate(fields | changes)
