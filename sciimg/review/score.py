"""From answers to what a reader study shows: accuracy, d′, agreement, equivalence to guessing, repeatability.

Nothing is scored while answers and key contradict each other anywhere; see :mod:`sciimg.review.match`.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sciimg.errors import InputError, Problem
from sciimg.protocol.models import ReviewPlan
from sciimg.records import Record
from sciimg.review import statistics
from sciimg.review.gather import gather
from sciimg.review.key import Choice
from sciimg.review.match import Reading, match

DEFAULT_MARGIN: float = ReviewPlan.model_fields["margin"].default


class ReaderScore(Record):
    """One reader alone. Repeats and catches count only in their own columns."""

    reader: str
    trials: int
    correct: int
    accuracy: float
    ci95: tuple[float, float]
    d_prime: float | None
    repeats: int
    repeats_same: int
    catches: int
    catches_seen: int


class ReviewScore(Record):
    """A scored reader study. :meth:`summary` is the JSON that scripts read; the rest is for the report."""

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

    def summary(self) -> dict[str, Any]:
        """Return the JSON of ``sciimg review score``."""
        names = ("readers", "items", "accuracy", "ci95", "p_value", "d_prime", "agreement", "equivalence")
        everything = self.as_json()
        return {name: everything[name] for name in names}


def score_files(paths: Sequence[Path], key: Path | None = None, *, margin: float | None = None, partial: bool = False) -> ReviewScore:
    """Score sessions, filled sheets or long tables.

    Parameters
    ----------
    paths : sequence of Path
        Sessions, XLSX or CSV files.
    key : Path, optional
        Key file of the sheets; a session brings its own. Without a key every line needs its ``truth``.
    margin : float, optional
        Half-width of the equivalence region around chance; default: the key's, else 0.15.
    partial : bool
        Score although readers or items are missing; the notes then say so.

    Raises
    ------
    InputError
        With every problem of every file at once.
    """
    known, answers, problems = gather(paths, key)
    readings, notes, more = match(answers, known, partial=partial)
    problems += more
    if not problems and not any(r.role == "main" for r in readings):
        problems.append(Problem(", ".join(p.name for p in paths), "no-answers", "At least one answered item is needed; there is none."))
    if problems:
        raise InputError(problems)
    return score(readings, margin=margin or (known.plan.margin if known else DEFAULT_MARGIN), notes=notes)


def score(readings: Sequence[Reading], *, margin: float = DEFAULT_MARGIN, notes: Sequence[str] = ()) -> ReviewScore:
    """Score matched readings; see :class:`ReviewScore`."""
    main = [r for r in readings if r.role == "main"]
    correct = sum(r.correct for r in main)
    agreement = _agreement(main)
    readers = sorted({r.reader for r in main})
    return ReviewScore(
        readers=len(readers),
        items=len({r.stimulus for r in main}),
        trials=len(main),
        correct=correct,
        accuracy=correct / len(main),
        ci95=statistics.binomial_interval(correct, len(main)),
        p_value=statistics.binomial_p(correct, len(main)),
        d_prime=_d_prime(main),
        agreement={name: estimate.value for name, estimate in agreement.items()},
        agreement_reasons={name: estimate.reason for name, estimate in agreement.items() if estimate.reason},
        equivalence=asdict(statistics.equivalence(correct, len(main), margin)),
        per_reader=tuple(_reader_score(reader, [r for r in readings if r.reader == reader]) for reader in readers),
        notes=(*notes, *_cautions(main)),
    )


# ---------------------------------------------------------------- parts of the score


def _reader_score(reader: str, readings: Sequence[Reading]) -> ReaderScore:
    main = [r for r in readings if r.role == "main"]
    first = {r.stimulus: r.said for r in main}
    repeats = [r for r in readings if r.role == "repeat" and r.stimulus in first]
    catches = [r for r in readings if r.role == "catch"]
    correct = sum(r.correct for r in main)
    return ReaderScore(
        reader=reader,
        trials=len(main),
        correct=correct,
        accuracy=correct / len(main),
        ci95=statistics.binomial_interval(correct, len(main)),
        d_prime=_d_prime(main),
        repeats=len(repeats),
        repeats_same=sum(first[r.stimulus] == r.said for r in repeats),
        catches=len(catches),
        catches_seen=sum(r.correct for r in catches),
    )


def _d_prime(main: Sequence[Reading]) -> float | None:
    """Return the sensitivity; of pairs, "a" takes the part of the answer that may be a hit or a false alarm."""
    signal: Choice
    noise: Choice
    signal, noise = ("a", "b") if main and main[0].truth in ("a", "b") else ("synthetic", "real")
    shown = Counter(r.truth for r in main)
    called = Counter(r.truth for r in main if r.answer == signal)
    if not shown[signal] or not shown[noise]:
        return None
    estimate = statistics.d_prime(called[signal], shown[signal], called[noise], shown[noise])
    return estimate / math.sqrt(2) if signal == "a" else estimate  # two looks instead of one: Macmillan & Creelman 2005, eq. 7.2


def _agreement(main: Sequence[Reading]) -> dict[str, statistics.Estimate]:
    readers, stimuli = sorted({r.reader for r in main}), sorted({r.stimulus for r in main})
    if len(readers) < 2:
        alone = statistics.Estimate(None, "agreement needs at least two readers")
        return {"fleiss_kappa": alone, "gwet_ac1": alone, "krippendorff_alpha": alone}
    ratings = np.full((len(readers), len(stimuli)), np.nan)
    rows, columns = {r: i for i, r in enumerate(readers)}, {s: i for i, s in enumerate(stimuli)}
    for r in main:
        ratings[rows[r.reader], columns[r.stimulus]] = float(r.said in ("synthetic", "second", "b"))
    counts = statistics.count_answers(ratings, (0.0, 1.0))
    complete = counts[counts.sum(1) == len(readers)]
    return {
        "fleiss_kappa": statistics.fleiss_kappa(complete),
        "gwet_ac1": statistics.gwet_ac1(counts),
        "krippendorff_alpha": statistics.krippendorff_alpha(ratings),
    }


def _cautions(main: Sequence[Reading]) -> list[str]:
    shown = Counter(r.truth for r in main)
    cautions = ["Interval, p value and equivalence treat answers as independent; those of one reader, or about one image, are not quite."]
    if abs(shown["real"] - shown["synthetic"]) > max(1, len(main) // 50):
        numbers = f"{shown['real']} real and {shown['synthetic']} synthetic images were shown"
        cautions.append(f"{numbers}: with unequal numbers a constant answer does not score 0.5; read d_prime instead of accuracy.")
    return cautions
