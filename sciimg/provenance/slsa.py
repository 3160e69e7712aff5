"""``provenance/<stage>.json``: an in-toto statement a stage, with SLSA provenance v1: what was made from what, by which software.

The statements carry no signature of their own: they lie in the signed root. They have no time either, for the root says the same
whenever it is made (``metadata`` is optional in the specification), and no parameter that may hold a path: the study's digest stands for
all of them.

References
----------
SLSA provenance v1, https://slsa.dev/spec/v1.0/provenance; in-toto Statement v1, github.com/in-toto/attestation.
"""

from typing import Any

from sciimg.provenance.dsse import statement
from sciimg.provenance.facts import SOFTWARE, Facts
from sciimg.records import Digest

FOLDER = "provenance"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:x-sciimg:stage:v1"
_ABOUT = {"digestOf": "canonical JSON (sorted keys, no spaces) of {path: 'sha256:...'} of the files that the stage made"}
_NOT_SOFTWARE = ("python", "platform", "machine")


def provenance(stage: str, facts: Facts) -> dict[str, Any]:
    """Return the statement of one stage of ``facts.stages``."""
    record = facts.stages[stage]
    kind, _, recipe = stage.partition("-")
    given: dict[str, Any] = {"study": facts.decision.study, "stage": kind} | ({"recipe": recipe} if recipe else {})
    versions = {n: v for n, v in sorted(facts.environment.items()) if v != "not installed"}
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": given,
            "internalParameters": {n: versions[n] for n in _NOT_SOFTWARE if n in versions},
            "resolvedDependencies": [_study(facts), *(_made(n, digest) for n, digest in record["needs"].items())],
        },
        "runDetails": {
            "builder": {
                "id": f"{SOFTWARE}:{versions.get('sciimg', 'unknown')}",
                "version": {n: v for n, v in versions.items() if n not in _NOT_SOFTWARE},
            }
        },
    }
    value = statement({stage: record["outputs"]["digest"]}, PREDICATE, predicate)
    value["subject"][0]["annotations"] = _ABOUT
    return value


def _study(facts: Facts) -> dict[str, Any]:
    return {"name": "study.yaml", "mediaType": "application/yaml", "digest": {"sha256": facts.files["study.yaml"].sha256}}


def _made(stage: str, digest: Digest) -> dict[str, Any]:
    return {"name": stage, "digest": {"sha256": digest.removeprefix("sha256:")}, "annotations": _ABOUT}
