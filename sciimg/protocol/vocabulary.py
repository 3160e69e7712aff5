"""The words that a study may use for checks and metrics, so that a misspelt gate is found before a run and not after it.

A check or metric that is added to the judges is added here, with what it needs; ``tests/protocol/test_vocabulary.py`` keeps both in step.
"""

from dataclasses import dataclass
from typing import Literal

Need = Literal["labels", "classes", "instances", "downstream", "review"]

MODALITIES = ("fluorescence", "brightfield", "electron", "mri")
_MICROSCOPY = ("fluorescence", "brightfield", "electron")


@dataclass(frozen=True)
class Physics:
    """A physics check: the modalities it makes sense for, and what it needs."""

    modalities: tuple[str, ...]
    needs: Need | None = None


PHYSICS: dict[str, Physics] = {
    "intensity-law": Physics(MODALITIES),
    "noise-law": Physics(_MICROSCOPY),
    "power-spectrum": Physics(MODALITIES),
    "object-morphology": Physics(_MICROSCOPY, "instances"),
    "snr": Physics(("mri",)),
    "contrast-order": Physics(("mri",), "classes"),
    "tissue-volumes": Physics(("mri",), "classes"),
}

# name: what it needs to be computable at all
METRICS: dict[str, Need | None] = {
    "verification-failures": None,
}


def known_metrics() -> tuple[str, ...]:
    """Return every metric name that a gate may use: the physics checks' own names and the others."""
    return (*PHYSICS, *METRICS)
