"""What rules look at, and what they say."""

import datetime
from dataclasses import dataclass

from sciimg.protocol.data import Condition, LabelFiles, SegmentNuclei, Source, Split
from sciimg.protocol.models import GenerationPlan, Patches, RecipePlan, ReleasePlan
from sciimg.protocol.validation import Gate, ReviewPlan, ValidationPlan
from sciimg.protocol.yaml_tree import KeyPath

Fault = tuple[KeyPath, str, str]  # key path, kind, message


@dataclass(frozen=True)
class Parts:
    """The parts of a study that are sound by themselves; ``None`` stands for one that is not. Lists hold (place in the file, item)."""

    sources: tuple[tuple[int, Source], ...] = ()
    split: Split | None = None
    patches: Patches | None = None
    conditions: tuple[tuple[int, Condition], ...] = ()
    recipes: tuple[tuple[int, RecipePlan], ...] = ()
    generate: GenerationPlan | None = None
    validation: ValidationPlan | None = None
    gates: tuple[tuple[int, Gate], ...] = ()
    review: ReviewPlan | None = None
    registered: datetime.date | None = None
    release: ReleasePlan | None = None
    faulty: frozenset[str] = frozenset()  # top-level keys with an item left out above

    @property
    def dims(self) -> int | None:
        return None if self.patches is None else len(self.patches.shape)


def label_kind(source: Source) -> str:
    """Return what the labels of a source number: instances, classes, or nothing."""
    match source.labels:
        case LabelFiles(labels=kind):
            return kind
        case SegmentNuclei():
            return "instances"
        case None:
            return ""
        case _:
            return "classes"
