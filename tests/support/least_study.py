"""The least that a study has to say, for tests that look at one part of it."""

from typing import Any

from sciimg.protocol import Study

_SOURCE = {"name": "a", "uri": "x", "licence": "CC0-1.0", "citation": "c", "modality": "fluorescence"}
_LEAST: dict[str, Any] = {
    "sciimg": 1,
    "name": "small",
    "registered": "2026-01-01",
    "title": "t",
    "question": "q",
    "context_of_use": "c",
    "excluded_uses": ["e"],
    "limits": ["l"],
    "sources": [_SOURCE],
    "split": {"by": "column", "column": "id", "unit": "image"},
    "patches": {"shape": [32, 32]},
    "recipes": [{"name": "r", "recipe": "r"}],
    "generate": {"count": 48},
    "validation": {},
    "gates": [{"name": "g", "metric": "noise-law_effect", "at_most": 1.5, "why": "because it must be so"}],
    "release": {"dataset_id": "d", "version": "1.0.0", "licence": "CC0-1.0", "creator": "c"},
}


def least_told(*, source: dict[str, Any] | None = None, **parts: Any) -> dict[str, Any]:
    """Return the data of a study file with these parts, and ``source`` changed in its one source; what else it says means nothing."""
    return _LEAST | {"sources": [_SOURCE | (source or {})]} | parts


def least_study(**parts: Any) -> Study:
    """Return the study that :func:`least_told` tells."""
    return Study.model_validate(least_told(**parts))
