"""What readers rated and ticked, image by image: real against synthetic, agreement between readers, and of each reader with itself."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from sciimg.protocol.validation import Criterion
from sciimg.records import Record
from sciimg.review import agreement as agree
from sciimg.review import resampling
from sciimg.review.match import Reading, Seen
from sciimg.review.statistics import Estimate
from sciimg.review.table import Table, Value, value_of


class CriterionScore(Record):
    """What readers rated on real and synthetic images, and how far they agree. Steps count from 1; the lists say how often each was chosen.

    ``difference`` is the mean step of synthetic images less that of real ones, ``superiority`` how often a reader rates a synthetic image
    above a real one (ties count half, 0.5 when alike).
    """

    name: str
    question: str
    anchors: tuple[str, ...]
    level: str
    real: tuple[int, ...]
    synthetic: tuple[int, ...]
    difference: Value
    superiority: Value
    agreement: dict[str, Value]
    repeats: int
    repeats_same: int
    repeatability: Value


class ArtefactScore(Record):
    """How often an artefact was ticked: readings of real and of synthetic images, and the difference of the shares."""

    name: str
    real: int
    of_real: int
    synthetic: int
    of_synthetic: int
    difference: Value


def criterion_score(criterion: Criterion, readings: Sequence[Reading], table: Table) -> CriterionScore:
    name, most = criterion.name, len(criterion.anchors)
    first = {(r.reader, seen.picture): seen.ratings[name] for r in table.main for seen in r.seen if name in seen.ratings}
    given = {picture: np.zeros(most, np.int64) for picture in sorted({picture for _, picture in first})}
    for (_, picture), step in first.items():
        given[picture][step - 1] += 1
    again = [(r.reader, seen) for r in readings if r.role == "repeat" for seen in r.seen if name in seen.ratings]
    pairs = [(first[who, seen.picture], seen.ratings[name]) for who, seen in again if (who, seen.picture) in first]
    twice = np.array([np.bincount((a - 1, b - 1), minlength=most) for a, b in pairs], np.int64).reshape(-1, most)
    steps = _steps(table, most, lambda seen: seen.ratings.get(name))
    return CriterionScore(
        name=name,
        question=criterion.question,
        anchors=criterion.anchors,
        level=criterion.level,
        real=tuple(int(n) for n in steps.real.sum((0, 1))),
        synthetic=tuple(int(n) for n in steps.synthetic.sum((0, 1))),
        difference=value_of(_compared(steps, table, resampling.difference)),
        superiority=value_of(_compared(steps, table, resampling.superiority)),
        agreement=_agreement_on(criterion, np.array(list(given.values()), np.int64).reshape(-1, most), len(table.readers)),
        repeats=len(pairs),
        repeats_same=sum(a == b for a, b in pairs),
        repeatability=value_of(agree.over_items(partial(agree.gwet_ac, level=criterion.level), twice))
        if pairs
        else Value(n=0, reason="no item was repeated"),
    )


def _agreement_on(criterion: Criterion, counts: agree.Counts, readers: int) -> dict[str, Value]:
    """Return AC2 and α on the scale of the criterion, from how many readers gave each step to each picture."""
    coefficients = {"gwet_ac2": agree.gwet_ac, "krippendorff_alpha": agree.krippendorff_alpha}
    if readers < 2:
        return dict.fromkeys(coefficients, Value(reason="agreement needs at least two readers"))
    return {title: value_of(agree.over_items(partial(f, level=criterion.level), counts)) for title, f in coefficients.items()}


def artefact_score(name: str, table: Table) -> ArtefactScore:
    steps = _steps(table, 2, lambda seen: 1 + (name in seen.artefacts))
    return ArtefactScore(
        name=name,
        real=int(steps.real[..., 1].sum()),
        of_real=int(steps.real.sum()),
        synthetic=int(steps.synthetic[..., 1].sum()),
        of_synthetic=int(steps.synthetic.sum()),
        difference=value_of(_compared(steps, table, resampling.difference)),
    )


def _steps(table: Table, most: int, step: Callable[[Seen], int | None]) -> resampling.Steps:
    """Return how often each step was given to the pictures of each kind, by reader and stimulus."""
    found = resampling.Steps(*(np.zeros((len(table.readers), len(table.stimuli), most)) for _ in range(2)))
    for r in table.main:
        for seen in r.seen:
            if (given := step(seen)) is not None:
                (found.real if seen.kind == "real" else found.synthetic)[(*table.at(r), given - 1)] += 1
    return found


def _compared(steps: resampling.Steps, table: Table, how: Callable[[resampling.Steps, resampling.Draws], Estimate]) -> Estimate:
    if not steps.real.any() or not steps.synthetic.any():
        return Estimate(None, "ratings of real and of synthetic images are needed", n=int(steps.real.sum() + steps.synthetic.sum()))
    return how(steps, table.draws)
