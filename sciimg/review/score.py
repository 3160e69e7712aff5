"""From answers to what a reader study shows: accuracy, d′, equivalence to guessing, agreement, repeatability, criteria and artefacts.

Nothing is scored while answers and key contradict each other anywhere; see :mod:`sciimg.review.match`. Every number stands with its n and
an interval, or with the reason why there is none.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from pydantic import Field

from sciimg.errors import InputError, Problem
from sciimg.protocol.validation import ReviewPlan
from sciimg.records import Digest, Record
from sciimg.review import agreement as agree
from sciimg.review import resampling, statistics
from sciimg.review.gather import gather
from sciimg.review.key import Choice, ReviewKey, Task
from sciimg.review.match import Reading, match
from sciimg.review.questions import CONFIDENCE
from sciimg.review.scales import ArtefactScore, CriterionScore, artefact_score, criterion_score
from sciimg.review.statistics import Estimate
from sciimg.review.table import Table, Value

DEFAULT_MARGIN: float = ReviewPlan.model_fields["margin"].default
SCRIPTED = ("readers", "items", "accuracy", "ci95", "p_value", "d_prime", "agreement", "equivalence")  # what scripts rest on, in order
FEW_READERS = 5


class ReaderScore(Record):
    """One reader alone. Repeats and catches count only in their own columns."""

    reader: str
    trials: int
    correct: int
    accuracy: float
    ci95: tuple[float, float]
    d_prime: float | None
    bias: float | None = None
    repeats: int
    repeats_same: int
    catches: int
    catches_seen: int
    confidence: float | None = None
    seconds: float | None = None

    @property
    def looked(self) -> bool:
        """Whether this reader noticed at least half of the scrambled images: who did not says nothing about the others either."""
        return 2 * self.catches_seen >= self.catches


class ReviewScore(Record):
    """A scored reader study. :meth:`summary` is the JSON that scripts read; its first keys never change."""

    readers: int
    items: int
    trials: int
    correct: int
    accuracy: float
    ci95: tuple[float, float]
    p_value: float
    d_prime: float | None
    agreement: dict[str, float | None]
    agreement_reasons: dict[str, str]
    equivalence: dict[str, Any]
    per_reader: tuple[ReaderScore, ...]
    notes: tuple[str, ...]
    study: Digest | None = None
    recipe: str | None = None
    sessions: tuple[Digest, ...] = ()  # heads of the chains of answers
    task: Task = "yes-no"
    agreement_ci95: dict[str, tuple[float, float]] = Field(default_factory=dict)
    clustered: dict[str, Any] = Field(default_factory=dict)
    to_decide: dict[str, Any] = Field(default_factory=dict)
    repeatability: dict[str, Value] = Field(default_factory=dict)
    catches: dict[str, int] = Field(default_factory=dict)
    confidence: tuple[dict[str, Any], ...] = ()
    criteria: tuple[CriterionScore, ...] = ()
    artefacts: tuple[ArtefactScore, ...] = ()

    def summary(self) -> dict[str, Any]:
        """Return the JSON of ``sciimg review score``."""
        everything = self.as_json()
        return {name: everything[name] for name in (*SCRIPTED, *(n for n in everything if n not in SCRIPTED))}


@dataclass(frozen=True, slots=True)
class Matched:
    """Readings without a contradiction, what belongs to them, and what to know about them. ``heads`` seal the answers of sessions."""

    readings: list[Reading]
    key: ReviewKey | None
    heads: tuple[Digest, ...]
    notes: list[str]

    def score(self, margin: float | None = None) -> ReviewScore:
        """Return the score; the margin is the key's where none is given."""
        plan = self.key.plan if self.key else ReviewPlan()
        found = score(
            self.readings,
            plan=plan if margin is None else plan.model_copy(update={"margin": margin}),
            notes=[*self.notes, *(self.key.cautions if self.key else ())],
        )
        about = {"study": self.key.study, "recipe": self.key.recipe} if self.key else {}
        return found.model_copy(update={"sessions": self.heads, **about})


def score_files(paths: Sequence[Path], key: Path | None = None, *, margin: float | None = None, partial: bool = False) -> ReviewScore:
    """Score sessions, filled sheets or long tables: :func:`matched`, then :meth:`Matched.score`."""
    return matched(paths, key, partial=partial).score(margin)


def matched(paths: Sequence[Path], key: Path | None = None, *, partial: bool = False) -> Matched:
    """Read sessions, filled sheets or long tables, and join every answer with its truth.

    Parameters
    ----------
    paths : sequence of Path
        Sessions, XLSX or CSV files.
    key : Path, optional
        Key file of the sheets; a session brings its own. Without a key every line needs its ``truth``.
    partial : bool
        Go on although readers or items are missing; the notes then say so.

    Raises
    ------
    InputError
        With every problem of every file at once.
    """
    found = gather(paths, key)
    readings, notes, more = match(found.answers, found.key, partial=partial)
    problems = found.problems + more
    if not problems and not any(r.role == "main" for r in readings):
        problems.append(Problem(", ".join(p.name for p in paths), "no-answers", "At least one answered item is needed; there is none."))
    if problems:
        raise InputError(problems)
    if found.key is None:
        notes.append("The truth is the tables' own: there is no key that says whether it is right and whether anything was left out.")
    return Matched(readings, found.key, found.heads, notes)


def score(readings: Sequence[Reading], *, plan: ReviewPlan | None = None, notes: Sequence[str] = ()) -> ReviewScore:
    """Score matched readings; see :class:`ReviewScore`. ``plan`` says what was asked, and the margin."""
    plan = plan or ReviewPlan()
    main = [r for r in readings if r.role == "main"]
    correct = sum(r.correct for r in main)
    table = Table(main)
    agreement = _agreement(table)
    clustered = _clustered(table, plan.margin)
    return ReviewScore(
        task=table.task,
        readers=len(table.readers),
        items=len(table.stimuli),
        trials=len(main),
        correct=correct,
        accuracy=correct / len(main),
        ci95=statistics.binomial_interval(correct, len(main)),
        p_value=statistics.binomial_p(correct, len(main)),
        d_prime=_sensitivity(main)[0],
        agreement={name: estimate.value for name, estimate in agreement.items()},
        agreement_reasons={name: estimate.reason for name, estimate in agreement.items() if estimate.reason},
        agreement_ci95={name: estimate.ci95 for name, estimate in agreement.items() if estimate.ci95},
        equivalence=asdict(statistics.equivalence(correct, len(main), plan.margin)),
        clustered=clustered,
        to_decide=_to_decide(correct, len(main), plan.margin, len(table.readers)),
        repeatability={"answers": _repeatability(_repeated(readings))},
        catches={"shown": sum(r.role == "catch" for r in readings), "seen": sum(r.role == "catch" and r.correct for r in readings)},
        confidence=_by_confidence(main),
        criteria=tuple(criterion_score(c, readings, table) for c in plan.criteria),
        artefacts=tuple(artefact_score(name, table) for name in plan.artefacts),
        per_reader=tuple(_reader_score(reader, [r for r in readings if r.reader == reader]) for reader in table.readers),
        notes=(*notes, *_cautions(main, readings, plan, clustered)),
    )


# ---------------------------------------------------------------- right and wrong


def _reader_score(reader: str, readings: Sequence[Reading]) -> ReaderScore:
    main = [r for r in readings if r.role == "main"]
    catches = [r for r in readings if r.role == "catch"]
    correct = sum(r.correct for r in main)
    sensitivity, bias = _sensitivity(main)
    pairs = _repeated(readings)
    sure, took = [r.confidence for r in main if r.confidence is not None], [r.seconds for r in main if r.seconds is not None]
    return ReaderScore(
        reader=reader,
        trials=len(main),
        correct=correct,
        accuracy=correct / len(main),
        ci95=statistics.binomial_interval(correct, len(main)),
        d_prime=sensitivity,
        bias=bias,
        repeats=len(pairs),
        repeats_same=sum(first == again for first, again in pairs),
        catches=len(catches),
        catches_seen=sum(r.correct for r in catches),
        confidence=fmean(sure) if sure else None,
        seconds=median(took) if took else None,
    )


def _signal(main: Sequence[Reading]) -> tuple[Choice, Choice]:
    """Return the answer that may be a hit or a false alarm, and the other one."""
    return ("a", "b") if main[0].truth in ("a", "b") else ("synthetic", "real")


def _sensitivity(main: Sequence[Reading]) -> tuple[float | None, float | None]:
    """Return d′ and bias, None where one kind was not shown."""
    signal, noise = _signal(main)
    shown = Counter(r.truth for r in main)
    called = Counter(r.truth for r in main if r.answer == signal)
    if not shown[signal] or not shown[noise]:
        return None, None
    counts = called[signal], shown[signal], called[noise], shown[noise]
    return (statistics.d_prime_2afc if signal == "a" else statistics.d_prime)(*counts), statistics.bias(*counts)


def _clustered(table: Table, margin: float) -> dict[str, Any]:
    """Return accuracy and d′ with intervals that resample readers and images, and equivalence judged on the 90 % one."""
    main, d = table.main, table.draws
    signal, _ = _signal(main)
    right, asked = table.sums([r.correct for r in main], [1] * len(main))
    resampled = resampling.mean(right, asked, d)
    accuracy = float(right.sum() / asked.sum())
    whole, inner = (resampling.interval(accuracy, resampled, len(main), level) for level in (0.95, 0.90))
    signals, hits = table.sums([r.truth == signal for r in main], [r.truth == signal == r.answer for r in main])
    calls = table.sums([r.answer == signal for r in main])[0]
    sensitivity, _ = _sensitivity(main)
    looks = np.sqrt(2) if table.task == "2afc" else 1.0
    z = resampling.sensitivity(hits, signals, calls - hits, asked - signals, d) / looks
    spread = resampling.interval(sensitivity, z, len(main))
    within = None if inner.ci95 is None else bool(abs(inner.ci95[0] - 0.5) <= margin and abs(inner.ci95[1] - 0.5) <= margin)
    return {
        "resampled": d.resampled,
        "rounds": len(resampled),
        "ci95": whole.ci95,
        "ci90": inner.ci95,
        "reason": whole.reason,
        "equivalent": within,
        "d_prime_ci95": spread.ci95,
        "d_prime_reason": spread.reason if sensitivity is not None else "only one kind was shown",
    }


def _to_decide(correct: int, trials: int, margin: float, readers: int) -> dict[str, Any]:
    """Return how many more readings, and readers with as many items, would settle whether readers guess."""
    need = statistics.to_decide(correct, trials, margin)
    more = None if need.readings is None else -(-need.readings * readers // trials)
    return {**asdict(need), "readers": more}


def _by_confidence(main: Sequence[Reading]) -> tuple[dict[str, Any], ...]:
    """Return how often answers of each confidence were right: who knows more when surer knows something."""
    groups = [(step, [r.correct for r in main if r.confidence == step]) for step in range(1, len(CONFIDENCE) + 1)]
    return tuple(
        {"confidence": step, "n": len(g), "correct": sum(g), "ci95": statistics.binomial_interval(sum(g), len(g))}
        for step, g in groups
        if g
    )


# ---------------------------------------------------------------- agreement and repeatability


def _agreement(table: Table) -> dict[str, Estimate]:
    if len(table.readers) < 2:
        alone = Estimate(None, "agreement needs at least two readers")
        return {"fleiss_kappa": alone, "gwet_ac1": alone, "krippendorff_alpha": alone}
    counts = table.counts()
    complete = counts[counts.sum(1) == len(table.readers)]
    return {
        "fleiss_kappa": agree.over_items(agree.fleiss_kappa, complete),
        "gwet_ac1": agree.over_items(agree.gwet_ac, counts),
        "krippendorff_alpha": agree.over_items(agree.krippendorff_alpha, counts),
    }


def _repeated(readings: Sequence[Reading]) -> list[tuple[str, str]]:
    """Return what readers said first and when they were shown the same again."""
    first = {(r.reader, r.stimulus): r.said for r in readings if r.role == "main"}
    again = [r for r in readings if r.role == "repeat" and (r.reader, r.stimulus) in first]
    return [(first[r.reader, r.stimulus], r.said) for r in again]


def _repeatability(pairs: Sequence[tuple[Any, Any]]) -> Value:
    """Return how often a reader says the same of the same, with the exact interval."""
    same = sum(first == again for first, again in pairs)
    if not pairs:
        return Value(n=0, reason="no item was repeated")
    return Value(value=same / len(pairs), ci95=statistics.binomial_interval(same, len(pairs)), n=len(pairs))


# ---------------------------------------------------------------- what to be careful about


def _cautions(main: Sequence[Reading], readings: Sequence[Reading], plan: ReviewPlan, clustered: dict[str, Any]) -> list[str]:
    cautions = ["Interval, p value and equivalence treat answers as independent; those of one reader, or about one image, are not quite."]
    readers = len({r.reader for r in main})
    if readers < FEW_READERS:
        said = f"With {readers} {'reader' if readers == 1 else 'readers'}, what other readers would see is hardly known"
        cautions.append(f"{said}; intervals that resample readers tend to be too narrow below {FEW_READERS}.")
    if clustered["equivalent"] is False and statistics.equivalence(sum(r.correct for r in main), len(main), plan.margin).equivalent:
        cautions.append("Equivalence does not hold once readers and images are resampled: do not rest on it.")
    signal, noise = _signal(main)
    shown = Counter(r.truth for r in main)
    if abs(shown[signal] - shown[noise]) > max(1, len(main) // 50) and signal == "synthetic":
        numbers = f"{shown['real']} real and {shown['synthetic']} synthetic images were shown"
        cautions.append(f"{numbers}: with unequal numbers a constant answer does not score 0.5; read d_prime instead of accuracy.")
    missed = Counter(r.reader for r in readings if r.role == "catch" and not r.correct)
    cautions += [f"{reader} missed {_items(n, 'catch item')}: was the task understood?" for reader, n in sorted(missed.items())]
    quick = Counter(r.reader for r in readings if r.seconds is not None and r.seconds < plan.minimum_seconds)
    cautions += [f"{reader} answered {_items(n, 'item')} in less than {plan.minimum_seconds:g} s." for reader, n in sorted(quick.items())]
    return cautions


def _items(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
