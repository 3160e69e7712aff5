"""The exported schema is a schema, accepts the ready studies, and refuses what the loader refuses."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sciimg.protocol import json_schema
from sciimg.protocol.judging import completed, only_judges
from sciimg.protocol.vocabulary import PHYSICS

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema, an independent validator, is not installed")

ROOT = Path(__file__).parents[2]


def study() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((ROOT / "protocols/tissue-demo.yaml").read_text())
    return value | {"registered": str(value["registered"])}


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", sorted((ROOT / "protocols").glob("*.yaml")), ids=lambda p: p.stem)
def test_it_accepts_the_ready_studies(path: Path) -> None:
    value = yaml.safe_load(path.read_text())
    value = completed(value) if only_judges(value) else value
    jsonschema.validate(value | {"registered": str(value["registered"])}, json_schema())


@pytest.mark.parametrize(
    "change",
    [
        {"tittle": "x"},
        {"sciimg": 2},
        {"gates": []},
        {"gates": [{"name": "g", "metric": "verification-failures", "why": "It has no bar at all."}]},
        {"validation": {"physics": ["astrology"]}},
        {"split": {"by": "column", "axis": "x"}},
    ],
)
def test_it_refuses_what_the_loader_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(study() | change, json_schema())


def test_editors_complete_the_vocabulary() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["ValidationPlan"]["properties"]["physics"]["items"]["enum"] == sorted(PHYSICS)
    assert "verification-failures" in definitions["Gate"]["properties"]["metric"]["anyOf"][0]["enum"]
