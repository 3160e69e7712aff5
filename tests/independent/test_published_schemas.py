"""Bill of materials and provenance against what their own projects publish: the CycloneDX schema, the protocol buffers of in-toto."""

import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")  # of the outside libraries


def test_the_bill_of_this_environment_is_valid_cyclonedx() -> None:
    validation = pytest.importorskip("cyclonedx.validation.json", reason="cyclonedx-python-lib[json-validation] is not installed here")
    from cyclonedx.schema import SchemaVersion

    from sciimg.provenance.sbom import bill_of_materials

    bill = bill_of_materials()
    validator = validation.JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(bill)) is None
    names = {c["name"].lower() for c in bill["components"]}
    assert {"numpy", "torch", "zarr", "cryptography"} <= names and bill["metadata"]["component"]["name"] == "sciimg"
    licensed = sum("licenses" in c for c in bill["components"])
    assert licensed > 0.9 * len(bill["components"]), "nearly every package states its licence"
    references = [c["bom-ref"] for c in bill["components"]] + [bill["metadata"]["component"]["bom-ref"]]
    assert len(set(references)) == len(references)
    assert {r for d in bill["dependencies"] for r in [d["ref"], *d["dependsOn"]]} <= set(references)
    spoilt = bill | {"components": [{"name": "no type"}]}
    assert validator.validate_str(json.dumps(spoilt)) is not None


def test_a_bill_of_materials_comes_back_through_another_reader() -> None:
    pytest.importorskip("cyclonedx", reason="cyclonedx-python-lib is not installed here")
    from cyclonedx.model.bom import Bom

    from sciimg.provenance.sbom import bill_of_materials

    bill = bill_of_materials()
    read = Bom.from_json(data=bill)  # type: ignore[attr-defined]
    assert {(c.name, c.version) for c in read.components} == {(c["name"], c["version"]) for c in bill["components"]}


def test_every_stage_is_slsa_provenance(made: dict[str, Path]) -> None:
    buffers = pytest.importorskip(
        "in_toto_attestation.predicates.provenance.v1.provenance_pb2", reason="in-toto-attestation is not installed here"
    )
    from google.protobuf.json_format import Parse, ParseError
    from in_toto_attestation.v1.statement import Statement
    from in_toto_attestation.v1.statement_pb2 import Statement as Buffer

    for path in (made["accepted"] / "dataset/provenance").iterdir():
        Statement.copy_from_pb(Parse(path.read_text(), Buffer())).validate()
        predicate = json.loads(path.read_text())["predicate"]
        read = Parse(json.dumps(predicate), buffers.Provenance())
        assert read.build_definition.build_type and read.run_details.builder.id
        assert all(len(d.digest["sha256"]) == 64 for d in read.build_definition.resolved_dependencies)
        with pytest.raises(ParseError):
            Parse(json.dumps(predicate | {"materials": []}), buffers.Provenance())
