"""The real calibration part in the place of synthetic images: what a set that has nothing wrong with it gets."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial

from sciimg.protocol.data import ScalarCondition
from sciimg.protocol.models import Study
from sciimg.protocol.vocabulary import SPACES, physics_of, space_of
from sciimg.records import Metric, Shortage
from sciimg.stages.judging.case import Case, Found
from sciimg.stages.judging.conditions import conditions, fidelity, inception
from sciimg.stages.judging.likeness import likeness
from sciimg.stages.judging.physics import physics
from sciimg.types import PatchSet
from sciimg.validation.obedience import SCALAR_PARTS

FEWEST = 2  # groups: one has no interval


@dataclass(frozen=True)
class Rehearsed(Case):
    """A case whose synthetic set is the calibration part; None where that is too small, and :attr:`missing` says so."""

    @cached_property
    def groups(self) -> int:
        """Independent groups of the calibration part."""
        return 0 if self.real.calibration is None else len(set(self.real.calibration.groups))

    @property
    def missing(self) -> str:
        """Why no images can be judged, or ``""``."""
        if self.real.calibration is None:
            return "the study has no calibration part"
        few = f"{self.groups} group{'' if self.groups == 1 else 's'}"
        return f"the calibration part has {few}; {FEWEST} or more are needed" if self.groups < FEWEST else ""

    @cached_property
    def synthetic(self) -> PatchSet | None:
        return None if self.missing else self.real.calibration

    def is_short(self, shortage: Shortage | None) -> bool:
        """Whether the calibration part alone has too little of something: the holdout, or a synthetic set, may have enough."""
        own, other = self.judged, self.real.holdout
        if shortage is None or own is None:
            return False
        if shortage.of == "groups":
            return shortage.found == self.groups < len(set(other.groups))
        return len(own) < len(other) and shortage.found in (len(own), len(own) // 2)


def parts_of(study: Study) -> dict[str, Callable[[Case], Found]]:
    """Return the parts of a validation that the gates read and that real images can go through.

    Whether images are copies, betray the training part, go with a pair, carry a watermark or are of use is no question to real ones.
    """
    read = {gate.metric for gate in study.gates}
    checks = {physics_of(name) for name in read}
    found: dict[str, Callable[[Case], Found]] = {
        f"physics-{name}": partial(physics, name=name) for name in study.validation.physics if name in checks
    }
    if any(space_of(name) in SPACES for name in read):
        found["likeness"] = likeness
    for part, begins in ((fidelity, "mask-"), (conditions, "condition_"), (inception, "inception_")):
        if any(name.startswith(begins) for name in read):
            found[part.__name__] = part
    return found


def telling(study: Study, metrics: Iterable[Metric]) -> list[Metric]:
    """Return the metrics that say something of real images: not how a channel's mean agrees with itself."""
    measured = [c.name for c in study.conditions if isinstance(c, ScalarCondition) and c.measure == "channel-mean"]
    themselves = {f"condition_{name}_{part}" for name in measured for part in SCALAR_PARTS}
    return [m for m in metrics if m.name not in themselves]
