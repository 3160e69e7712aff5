"""The JSON Schema of a study, for editors and validators outside Python."""

from typing import Any

from sciimg.protocol.models import Study
from sciimg.protocol.vocabulary import PHYSICS, metrics


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a study; the words of the vocabulary are enumerations, so that editors complete them."""
    schema = Study.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "sciimg study"
    definitions = schema["$defs"]
    definitions["Gate"]["properties"]["metric"] |= {"anyOf": [{"enum": sorted(metrics(()))}, {"pattern": "^(condition_|review-)"}]}
    definitions["Gate"]["anyOf"] = [{"required": ["at_least"]}, {"required": ["at_most"]}]
    definitions["ValidationPlan"]["properties"]["physics"]["items"]["enum"] = sorted(PHYSICS)
    return schema
