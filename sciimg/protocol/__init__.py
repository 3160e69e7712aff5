"""The contract: a study as frozen models, read from YAML with every problem at once."""

from sciimg.protocol.load import LoadedStudy, built_in_studies, load_study, parse_study
from sciimg.protocol.models import Study
from sciimg.protocol.schema import json_schema

__all__ = ["LoadedStudy", "Study", "built_in_studies", "json_schema", "load_study", "parse_study"]
