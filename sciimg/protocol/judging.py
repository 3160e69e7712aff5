"""A study that only judges: images that were made elsewhere need no word on how they are split, made, reviewed and released.

    sciimg: 1
    name: other-peoples-nuclei
    sources:
      - {name: nuclei, modality: fluorescence, spacing: [1, 1], unit: pixel}
    patches: {shape: [64, 64]}
    validation: {physics: [noise-law, power-spectrum]}
    gates:
      - {name: noise, metric: noise-law_effect, at_most: 2, why: At most twice what real halves differ by.}

It is the same contract with the same rules; what it leaves out is filled with the values below, which no judge looks at.
"""

from typing import Any

MAKING = ("split", "recipes", "generate", "release")
_UNSAID = "Not said: the study only judges."
_PARTS: dict[str, Any] = {
    "registered": "1970-01-01",
    "title": _UNSAID,
    "question": _UNSAID,
    "context_of_use": _UNSAID,
    "excluded_uses": [_UNSAID],
    "limits": [_UNSAID],
    "split": {"by": "column", "column": "id", "unit": "image"},
    "recipes": [{"name": "elsewhere", "recipe": "elsewhere"}],
    "generate": {"count": 1_000_000_000},  # no rule finds that too few
    "release": {"dataset_id": "none", "version": "0.0.0", "licence": _UNSAID, "creator": _UNSAID},
}
_SOURCE = {"uri": "-", "licence": _UNSAID, "citation": _UNSAID}


def only_judges(value: Any) -> bool:
    """Whether the data of a study file are those of a study that only judges: nothing in them speaks of making images."""
    return isinstance(value, dict) and not any(part in value for part in MAKING)


def completed(value: dict[str, Any]) -> dict[str, Any]:
    """Return the data of a study that only judges with what it leaves out."""
    sources = value.get("sources")
    if isinstance(sources, list):
        value = value | {"sources": [_SOURCE | s if isinstance(s, dict) else s for s in sources]}
    return _PARTS | value
