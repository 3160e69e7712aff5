"""How often each gate is right, against the strength of a fault: simulated studies drawn from real images.

A simulated study deals the groups of real images of one kind at random to a training, a calibration and a holdout part and to a fourth part
that stands for synthetic images: as it is (the study must accept it) or with a fault planted (it should not). It passes through the judges'
own code and through the gates of ``sciimg.decision``; only what costs time is remembered: statistics and feature vectors are computed once
for each image and each strength of a fault, and an image of a simulated study is a *ticket*, four equal pixels that say which to look up.
What is fixed on real images before that (bins and scales of a check, axes of a feature space) is fixed once, on all images of the kind; a
few studies of every check are repeated without remembering, and the difference is written beside the rates.

Each gate is a part of its own in FOLDER/NAME.json; what is there is kept, so that a killed run goes on.

Run ``python tests/benchmarks/judges_curves.py [--only PART,...] [--studies N] [--parts FOLDER] [--small]``.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy starts its threads

import numpy as np
import pandas as pd
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from real_sets import MAKERS, RealSet, available, real_set

from sciimg.decision import judged
from sciimg.protocol.validation import Gate
from sciimg.randomness import generator
from sciimg.records import Metric
from sciimg.types import PatchSet, Spacing
from sciimg.validation.physics import CHECKS, Check, Control, RealImages, calibrate, effect, measured_synthetic, outliers
from sciimg.validation.physics import controls as plants
from sciimg.validation.resampling import group_index, proportion_interval

Array = NDArray[np.float64]
Plant = Callable[[PatchSet, np.random.Generator], PatchSet]
Rows = NDArray[np.intp]

STUDIES = 100
PARTS = {"holdout": 0.3, "synthetic": 0.3, "calibration": 0.2, "train": 0.2}  # of the groups
HALF_ROUNDS, BOOTSTRAP = 200, 60  # of a study: pairs of halves for the margin, rounds of an interval
REPEATED = 2  # studies of every check that are also made without remembering
SHARES = (0.1, 0.25, 0.5, 1.0)  # of the synthetic images that have a fault of one strength

# ---------------------------------------------------------------- tickets


def tickets(rows: Rows, groups: NDArray[Any]) -> PatchSet:
    """Return images that are the numbers of rows of a bank: the same in each of four pixels, since one without neighbours is no image."""
    values = np.repeat(np.asarray(rows, np.float64), 4).reshape(-1, 1, 2, 2)
    table = pd.DataFrame(index=range(len(values)))
    return PatchSet(values, np.ones((len(values), 2, 2), np.int32), groups, table, Spacing((1.0, 1.0), "pixel"), ("ticket",), "instances")


def rows_of(patches: PatchSet) -> Rows:
    """Return the rows of a bank that tickets stand for."""
    return patches.images[:, 0, 0, 0].astype(np.intp)


class Bank:
    """Versions of all images of a kind, each computed once: version ``real`` first, then others as they are asked for."""

    def __init__(self, images: PatchSet, compute: Callable[[PatchSet], Array], key: tuple[str, ...]) -> None:
        self.images, self._compute, self._key = images, compute, key
        self._first: dict[str, int] = {}
        self._rows: list[Array] = []
        self.version("real", lambda patches, rng: patches)

    def version(self, name: str, plant: Plant) -> int:
        """Return the first row of a version, made by ``plant`` if it is not there."""
        if name not in self._first:
            self._first[name] = len(self._rows) * len(self.images)
            self._rows.append(self._compute(plant(self.images, generator("judges-curves", *self._key, name))))
        return self._first[name]

    def look_up(self, patches: PatchSet) -> Array:
        """Return what was computed for these tickets."""
        number, image = np.divmod(rows_of(patches), len(self.images))
        out = np.empty((len(number), *self._rows[0].shape[1:]))
        for k in np.unique(number):
            out[number == k] = self._rows[k][image[number == k]]
        return out

    def take(self, rows: Rows, first: int = 0) -> PatchSet:
        """Return tickets of images in one version."""
        return tickets(np.asarray(rows) + first, self.images.groups[rows])


def dealt(groups: NDArray[Any], rng: np.random.Generator) -> dict[str, Rows]:
    """Deal whole groups to the parts of a study at random."""
    names, index = group_index(groups)
    order = rng.permutation(len(names))
    cuts = np.round(np.cumsum(list(PARTS.values()))[:-1] * len(names)).astype(int)
    return {part: np.flatnonzero(np.isin(index, some)) for part, some in zip(PARTS, np.split(order, cuts), strict=True)}


# ---------------------------------------------------------------- rates


class Tally:
    """Outcomes of gates over studies, by gate, fault and strength."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str, float], list[tuple[str, float | None]]] = {}

    def add(self, gates: Sequence[Gate], metrics: Sequence[Metric], fault: str, strength: float) -> None:
        """Let gates judge what one study found."""
        study: Any = SimpleNamespace(gates=gates, review=SimpleNamespace(readers=0))
        for result in judged(study, metrics)[1]:
            outcome = "undefined" if result.value is None else "blind" if SAYS_NOTHING in result.reason else result.outcome
            self._seen.setdefault((result.gate, fault, strength), []).append((outcome, result.value))

    def curves(self, gates: Sequence[Gate]) -> dict[str, Any]:
        """Return, for every gate, what became of honest studies and of each fault by its strength."""
        out: dict[str, Any] = {}
        for gate in gates:
            mine = {(fault, s): seen for (name, fault, s), seen in self._seen.items() if name == gate.name}
            faults = list(dict.fromkeys(fault for fault, _ in mine if fault != "none"))
            bars = {k: v for k, v in (("at_least", gate.at_least), ("at_most", gate.at_most)) if v is not None}
            curve = {
                "gate": bars | {"judged_on": gate.judged_on, "why": gate.why},
                "honest": rates(mine[("none", 0.0)]),
                "faults": {f: [{"strength": s} | rates(seen) for (name, s), seen in mine.items() if name == f] for f in faults},
            }
            if gate.name.endswith(OWN):
                out[gate.metric]["own_bar"] = curve
            else:
                out[gate.metric] = curve
        return out


def rates(seen: Sequence[tuple[str, float | None]]) -> dict[str, Any]:
    """Return the rates of outcomes, and the exact interval of acceptance.

    ``blind`` are studies in which the gate said that its bar tells nothing there, ``able`` those in which it could judge: neither blind nor
    undefined.
    """
    n = len(seen)
    count = {name: sum(o == name for o, _ in seen) for name in ("passed", "inconclusive", "failed", "undefined", "blind")}
    low, high = proportion_interval(count["passed"], n)
    values = [v for _, v in seen if v is not None]
    return {
        "studies": n,
        "accepted": round(count["passed"] / n, 4),
        "accepted_ci95": [round(low, 4), round(high, 4)],
        "refused": round(count["failed"] / n, 4),
        "inconclusive": round(count["inconclusive"] / n, 4),
        "undefined": round(count["undefined"] / n, 4),
        "blind": round(count["blind"] / n, 4),
        "able": n - count["undefined"] - count["blind"],
        "median": float(f"{np.median(values):.4g}") if values else None,
    }


def gate_of(metric: str, *, judged_on: Any = "interval", why: str, **bar: float) -> Gate:
    return Gate(name="g-" + metric.replace("_", "-").lower()[:60], metric=metric, judged_on=judged_on, why=why, **bar)  # type: ignore[arg-type]


def own_gate(gate: Gate, trials: Sequence[Metric]) -> Gate | None:
    """Return the same gate with the bar that the worst of real trial studies meets, or None where a trial says nothing."""
    ends = [m.ci95 if gate.judged_on == "interval" else (m.value, m.value) for m in trials if m.value is not None]
    known = [e for e in ends if e is not None]
    if len(known) < 2:
        return None
    bars = {"at_least": min(low for low, _ in known)} if gate.at_least is not None else {}
    bars |= {"at_most": max(high for _, high in known)} if gate.at_most is not None else {}
    return gate.model_copy(update={"name": gate.name[: 60 - len(OWN)] + OWN, "why": WORST} | bars)


def with_own(gates: Sequence[Gate], trials: Sequence[Sequence[Metric]]) -> list[Gate]:
    """Return each gate, and after it the one with its own bar unless it is that already."""
    out = []
    for gate in gates:
        own = None if gate.why == WORST else own_gate(gate, [m for t in trials for m in t if m.name == gate.metric])
        out += [gate] if own is None else [gate, own]
    return out


SAYS_NOTHING = "says nothing at this bar"  # in the reason of a gate that its check's own planted faults would meet
OWN = "-own"
# Real-versus-real studies from which a gate's own bar is read, before the others are made. The worst of n leaves more than 5 % of honest
# sets beyond it with probability 0.95 ** n (Wilks 1941, doi:10.1214/aoms/1177731788): with n = 150 that is expected of none of 160 bars.
TRIALS = 150
WORST = f"The worst of {TRIALS} other studies in which both sides are real: one in {TRIALS + 1} honest sets lies beyond."
TWICE = "At most twice what 95 % of real halves differ by, as the bundled studies ask."

# ---------------------------------------------------------------- physics


@dataclass(frozen=True)
class Ladder:
    """A fault in growing strength."""

    fault: str
    strengths: tuple[float, ...]
    plant: Callable[[float], Plant]
    shared: bool = False  # the strength is the share of images that have the fault

    def version(self, bank: Bank, strength: float) -> int:
        made = 1.0 if self.shared else strength
        return bank.version(f"{self.fault} {made:g}", self.plant(made))

    def planted(self, bank: Bank, rows: Rows, strength: float, rng: np.random.Generator) -> PatchSet:
        """Return tickets of images of a study with the fault."""
        first = np.full(len(rows), self.version(bank, strength))
        if self.shared:
            first[rng.permutation(len(rows))[round(strength * len(rows)) :]] = 0
        return tickets(rows + first, bank.images.groups[rows])


BLUR = Ladder("blur, px", (0.25, 0.5, 1.0, 2.0), plants.blurred)
NOISE = Ladder("noise, own sigmas", (0.25, 0.5, 1.0, 2.0), plants.noisier)

LADDERS: dict[str, tuple[Ladder, ...]] = {
    "intensity-law": (Ladder("gamma", (1.1, 1.25, 1.5, 2.0), plants.gamma_changed),),
    "noise-law": (NOISE, BLUR),
    "power-spectrum": (BLUR, NOISE),
    "object-morphology": (Ladder("magnification", (0.9, 0.8, 0.65, 0.5), plants.magnified),),
    "point-pattern": (Ladder("share of images that repeat their middle fifth", SHARES, lambda s: plants.repeated(1 / 5), shared=True),),
    "resolution": (Ladder("defocus, px", (0.5, 1.0, 2.0, 4.0), plants.defocused),),
    "detector-range": (
        Ladder("share of pixels overexposed", (0.01, 0.02, 0.05, 0.1), plants.overexposed),
        Ladder("black level lifted by", (0.01, 0.02, 0.05, 0.1), plants.lifted),
    ),
    "grey-level-comb": (Ladder("share of images in 256 levels or fewer", SHARES, lambda s: plants.coarser(256), shared=True),),
    "bleed-through": (Ladder("share of the first channel in the others", (0.05, 0.1, 0.25, 0.5), plants.mixed),),
    "photon-transfer": (NOISE, Ladder("gamma", (1.1, 1.25, 1.5, 2.0), plants.gamma_changed)),
    "snr": (NOISE,),
    "tissue-snr": (NOISE,),
    "contrast-order": (Ladder("share of images with contrast inverted", SHARES, lambda s: plants.inverted, shared=True),),
    "tissue-volumes": (Ladder("share of images with structures 1 px thicker", SHARES, lambda s: plants.thickened, shared=True),),
    "image-quality": (NOISE,),
    "air-quality": (Ladder("share of images with spots in the air", SHARES, lambda s: plants.spotted, shared=True),),
    "rician-noise": (Ladder("share of images with Gaussian air", SHARES, lambda s: plants.gaussian_air, shared=True), NOISE),
    "bias-field": (Ladder("factor of the field", (1.1, 1.2, 1.35, 1.5), plants.biased),),
    "ghosting": (Ladder("ghost, share of the image", (0.02, 0.05, 0.1, 0.2), lambda s: plants.ghosted(s, -1)),),
    "k-space-slope": (BLUR, NOISE),
    "ringing": (Ladder("share of k-space cut off", (0.1, 0.2, 0.3, 0.4), lambda s: plants.truncated(1 - s)),),
    "noise-whiteness": (BLUR,),
    "symmetry": (Ladder("one half moved, px", (1.0, 2.0, 3.0, 5.0), lambda s: plants.half_shifted(round(s))),),
}


class Remembered(Check):
    """A check whose statistics are looked up; the judges' own code does the rest."""

    labels = "none"  # labels were found when the statistics were computed

    def __init__(self, check: Check, frame: Any, bank: Bank) -> None:
        self._check, self._frame, self._bank = check, frame, bank
        self.name, self.estimator, self.unit, self.source = check.name, check.estimator, check.unit, check.source  # type: ignore[misc]
        self.controls = tuple(Control(c.name, self._of_control(c)) for c in check.controls)  # type: ignore[misc]

    def _of_control(self, control: Control) -> Plant:
        first = self._bank.version(control.name, control.plant)
        return lambda patches, rng: tickets(rows_of(patches) + first, patches.groups)

    def frame(self, real: PatchSet) -> Any:
        return self._frame

    def measure(self, patches: PatchSet, frame: Any) -> Array:
        return self._bank.look_up(patches)

    def distance(self, first: Array, second: Array, frame: Any) -> dict[str, Array]:
        return self._check.distance(first, second, frame)

    def floors(self, frame: Any) -> dict[str, float]:
        return self._check.floors(frame)

    def curves(self, total: Array, frame: Any) -> dict[str, Array]:
        return self._check.curves(total, frame)


def physics(name: str, kind: RealSet, studies: int) -> dict[str, Any]:
    """Return the curves of one physics check on one kind of real images, or why it does not apply."""
    check = CHECKS[name]

    def seen(patches: PatchSet) -> PatchSet:
        return kind.segment(patches) if check.labels == "segmented" and kind.segment is not None else patches

    if check.labels == "segmented" and kind.segment is None and kind.images.labels is None:
        return {"not_run": "these images have no labels"}
    labelled = seen(kind.images)
    if reason := check.obstacle(labelled):
        return {"not_run": reason}
    frame = check.frame(labelled)
    bank = Bank(kind.images, lambda patches: check.measure(seen(patches), frame), (kind.name, name))
    remembered = Remembered(check, frame, bank)
    asked = [
        gate_of(f"{name}_effect", at_most=2, why=TWICE),
        gate_of(f"{name}_outliers", at_most=0.25, why="At most a quarter is unlike 95 % of single real images, as the nuclei study asks."),
    ]
    tally, without, trials = Tally(), [], []
    gates: list[Gate] = []
    ladders = LADDERS[name]
    for number in (*range(-TRIALS, 0), *range(studies)):
        key = ("judges-curves", kind.name, name, str(number))
        rng = generator(*key)
        part = dealt(kind.images.groups, rng)
        about: dict[str, Any] = {"rounds": HALF_ROUNDS, "bootstrap": BOOTSTRAP, "key": key}
        ready = calibrate(remembered, RealImages(bank.take(part["holdout"]), bank.take(part["calibration"])), **about)
        null = real_share(ready)

        def found(made: PatchSet, ready: Any = ready, null: Any = null) -> list[Metric]:
            with mock.patch.object(SINGLE, "real_share", lambda *_: null):  # the same for all candidates of a study
                rows = measured_synthetic(ready, made)
                return [effect(ready, made, name=asked[0].metric, rows=rows), outliers(ready, made, name=asked[1].metric, rows=rows)]

        honest, *rest = found(bank.take(part["synthetic"]))
        if number < 0:
            trials.append([honest, *rest])
            continue
        gates = gates or with_own(asked, trials)
        tally.add(gates, [honest, *rest], "none", 0.0)
        for ladder in ladders:
            for strength in ladder.strengths:
                tally.add(gates, found(ladder.planted(bank, part["synthetic"], strength, rng)), ladder.fault, strength)
        if number < REPEATED:
            real = RealImages(
                kind.images.take(part["holdout"]), kind.images.take(part["calibration"]), None, kind.segment or (lambda patches: patches)
            )
            exact = effect(calibrate(check, real, **about), kind.images.take(part["synthetic"]), name=honest.name)
            without.append({"remembered": [honest.value, honest.ci95], "computed": [exact.value, exact.ci95], "reason": exact.reason})
    return {
        "images": kind.about,
        "n": len(kind.images),
        "groups": len(np.unique(kind.images.groups.astype(str))),
        "without_remembering": without,
        "metrics": tally.curves(gates),
    }


SINGLE = import_module("sciimg.validation.physics.outliers")


def real_share(ready: Any) -> Any:
    """Return the share of real samples beyond the bar of single samples."""
    real = ready if isinstance(ready, str) else ready.typical
    return None if isinstance(real, str) else SINGLE.real_share(real, (*ready.key, ready.check.name))


# ---------------------------------------------------------------- sets of images in a feature space

SAMPLES = 48  # on each side of a comparison of sets
ROUNDS = 50  # splits: as few as a study may have
LEARNED_ON = 20  # groups from which feature spaces, encoder and segmenter are learned; no study holds them

IMAGE_FAULTS = (
    Ladder("blur, px", (0.5, 1.0, 2.0), plants.blurred),
    Ladder("noise, own sigmas", (1.0,), plants.noisier),
)
DROPPED, REPEATED_FROM, COPIED = (1.0,), (8.0,), (0.25, 1.0)
C2ST_SPLITS = 5  # of the 40 of a study: its classifiers cost more than all other metrics together


class RememberedSpace:
    """A feature space whose vectors are looked up."""

    def __init__(self, name: str, bank: Bank) -> None:
        self.name, self.bank = name, bank

    def transform(self, patches: PatchSet) -> Array:
        return self.bank.look_up(patches)


def apart(images: PatchSet) -> tuple[PatchSet, PatchSet]:
    """Return images to learn from, and all others, by group."""
    names, index = group_index(images.groups)
    chosen = generator("judges-curves", "learned-on").permutation(len(names))[: min(LEARNED_ON, len(names) // 4)]
    first = np.isin(index, chosen)
    return images.take(np.flatnonzero(first)), images.take(np.flatnonzero(~first))


def space_bank(name: str, kind: RealSet) -> Bank:
    """Return a bank of vectors in the feature space of this name, learned on images that no study holds."""
    from sciimg.validation.features.encoder import train_encoder
    from sciimg.validation.features.named import FIXED
    from sciimg.validation.features.space import Scale, fit_space

    learned, pool = apart(kind.images)
    scale = Scale.of(learned)
    if name == "encoder":
        embed = train_encoder(scale.apply(learned.images), steps=120, key=("judges-curves", kind.name)).embed
    else:
        embed = FIXED[name]
    space = fit_space(name, embed, learned, scale)
    return Bank(pool, space.transform, (kind.name, name))


def darkest(rows: Rows, images: PatchSet) -> Rows:
    """Return the darkest quarter of these images."""
    means = images.images[rows].reshape(len(rows), -1).mean(axis=1)
    return rows[np.argsort(means, kind="stable")[: max(2, len(rows) // 4)]]


def candidates(bank: Bank, part: Mapping[str, Rows], rng: np.random.Generator) -> Iterator[tuple[str, float, PatchSet]]:
    """Yield what stands for synthetic images in one study: fault, strength, tickets; a sample that was made is a group of its own."""
    fresh, train = part["synthetic"], part["train"]
    yield "none", 0.0, bank.take(fresh)
    for ladder in IMAGE_FAULTS:
        for strength in ladder.strengths:
            yield ladder.fault, strength, ladder.planted(bank, fresh, strength, rng)
    alone = np.array([f"made-{i:03d}" for i in range(len(fresh))], object)
    dark = darkest(fresh, bank.images)
    for share in DROPPED:
        rows = fresh.copy()
        places = rng.permutation(len(rows))[: round(share * len(rows))]
        rows[places] = np.resize(rng.permutation(dark), len(places))
        yield "share of images drawn from the darkest quarter", share, tickets(rows, alone)
    for times in REPEATED_FROM:
        yield (
            "times each image is repeated",
            times,
            tickets(np.resize(rng.permutation(fresh)[: round(len(fresh) / times)], len(fresh)), alone),
        )
    for share in COPIED:
        rows = fresh.copy()
        places = rng.permutation(len(rows))[: round(share * len(rows))]
        rows[places] = np.resize(rng.permutation(train), len(places))
        yield "share of training copies", share, tickets(rows, alone)


class OneStudy:
    """What candidates of one study share in ``set_metrics``: the real side, its null and the controls, made once."""

    def __init__(self, bank: Bank) -> None:
        from sciimg.validation import c2st, comparison, distribution

        self._bank, self._made = bank, {}  # type: ignore[var-annotated]
        self._comparison, self._accuracies, self._controls = comparison.Comparison, c2st.accuracies, comparison.feature_controls
        self.patches = mock.patch.multiple(
            distribution,
            Comparison=self._compare,
            accuracies=self._accurate,
            feature_controls=self._control,
            faulty_sets=self._faulty,
        )

    def _compare(self, vectors: Array, relation: Any, splits: Any, *rest: Any) -> Any:
        from copy import copy

        if "comparison" not in self._made:
            self._made["comparison"] = self._comparison(vectors, relation, splits, *rest)
            return self._made["comparison"]
        again = copy(self._made["comparison"])  # with its null
        known = {s.reference.tobytes() for s in again.splits}
        again.splits = [s for s in splits if s.reference.tobytes() in known]
        assert len(again.splits) == len(self._made["comparison"].splits), "candidates of one study have one size"
        return again

    def _accurate(self, comparison: Any, candidate: Any, *rest: Any) -> Array:
        if candidate.vectors is not comparison.vectors:
            return self._accuracies(comparison, candidate, *rest)
        if "c2st" not in self._made:
            self._made["c2st"] = self._accuracies(comparison, candidate, *rest)
        return self._made["c2st"]

    def _control(self, *about: Any) -> Any:
        if "controls" not in self._made:
            self._made["controls"] = self._controls(*about)
        return self._made["controls"]

    def _faulty(self, real: PatchSet, key: tuple[str | int, ...]) -> Iterator[Any]:
        """The four faults of ``faulty_sets`` in tickets."""
        from sciimg.validation.features import faults

        rows = rows_of(real)
        for name, plant in (("blurred", plants.blurred(faults.BLUR_PX)), ("noisier", plants.noisier(faults.NOISE))):
            first = self._bank.version(f"control {name}", plant)
            yield faults.FaultySet(name, tickets(rows + first, real.groups), lambda r, real, rng: r)
        dark = np.flatnonzero(np.isin(rows, darkest(rows, self._bank.images)))
        yield faults.FaultySet("mode-dropped", real, lambda r, real, rng: np.resize(rng.permutation(dark), len(r)), repeats=True)
        yield faults.FaultySet("duplicated", real, faults._few_repeated, repeats=True)


def sampled(part: Mapping[str, Rows], rng: np.random.Generator) -> dict[str, Rows]:
    """Return as many images of each part as a study compares."""
    return {name: np.sort(rng.permutation(rows)[:SAMPLES]) for name, rows in part.items()}


def set_gates(space: str, trials: Sequence[Sequence[Metric]]) -> list[Gate]:
    """Return a gate for every metric of sets, those without a unit with a bar read from trial studies."""
    gates = []
    for metric in trials[0]:
        name, stem = metric.name, metric.name.removesuffix(f"_{space}")
        if stem.startswith("control_"):
            gates.append(
                gate_of(name, judged_on="value", at_least=1.0, why="A planted fault lies beyond what 95 % of real halves differ by.")
            )
        elif stem.endswith("_effect"):
            gates.append(gate_of(name, at_most=2.0, why=TWICE))
        elif stem == "kid_per_blur":
            gates.append(gate_of(name, at_most=0.25, why="A quarter of the distance of visibly blurred images, as the tissue study asks."))
        elif stem.endswith("_ratio"):
            gates.append(gate_of(name, judged_on="value", at_least=0.5, why="Half of what real images give, as the tissue study asks."))
        else:
            seen = [m.value for t in trials for m in t if m.name == name and m.value is not None]
            if seen:
                bar: dict[str, float] = {"at_least": min(seen)} if metric.higher_is_better else {"at_most": max(seen)}
                gates.append(gate_of(name, judged_on="value", why=WORST, **bar))
    return with_own(gates, trials)


def likeness(space: str, kind: RealSet, studies: int) -> dict[str, Any]:
    """Return the curves of every metric of sets and of membership in one feature space."""
    from sciimg.validation import c2st
    from sciimg.validation.distribution import set_metrics
    from sciimg.validation.membership import membership_metrics

    bank = space_bank(space, kind)
    remembered: Any = RememberedSpace(space, bank)
    tally, gates, trials = Tally(), [], []
    for number in (*range(-TRIALS, 0), *range(studies)):
        key = ("judges-curves", kind.name, space, str(number))
        rng = generator(*key)
        whole = dealt(bank.images.groups, rng)
        part = sampled(whole, rng)
        real, train = bank.take(part["holdout"]), bank.take(part["train"])
        once = OneStudy(bank)
        for fault, strength, made in candidates(bank, part, rng):
            with once.patches, mock.patch.object(c2st, "SPLITS", C2ST_SPLITS):
                found = set_metrics(real, made, [remembered], train=train, rounds=ROUNDS, key=key)
            if fault in ("none", "share of training copies"):
                about: dict[str, Any] = {"rounds": ROUNDS, "key": key}
                found += membership_metrics(train, bank.take(whole["holdout"]), made, [remembered], **about)
            if number < 0:
                trials.append(found)
                break
            gates = gates or set_gates(space, trials)
            seen = {m.name for m in found}
            tally.add([g for g in gates if g.metric in seen], found, fault, strength)
    unjudged = sorted({m.name for t in trials for m in t} - {g.metric for g in gates})
    return {
        "images": kind.about,
        "n": len(bank.images),
        "samples": SAMPLES,
        "groups": len(np.unique(bank.images.groups.astype(str))),
        "metrics": tally.curves(gates),
        "undefined_in_all_trials": {name: next(m.reason for t in trials for m in t if m.name == name) for name in unjudged},
    }


# ---------------------------------------------------------------- conditions


def fidelity(kind: RealSet, studies: int) -> dict[str, Any]:
    """Return the curves of mask fidelity against the share of masks that belong to other images."""
    from sciimg.validation import fidelity as judge
    from sciimg.validation.scores import object_counts, overlap_counts
    from sciimg.validation.segmentation import Training, train_segmenter

    learned, pool = apart(kind.images)
    assert learned.labels is not None and pool.labels is not None
    segmenter = train_segmenter(learned, Training(steps=60, width=8), key=("judges-curves", kind.name))
    predicted = segmenter.segment(pool).labels
    assert predicted is not None

    def counted(patches: PatchSet) -> Array:
        assert patches.labels is not None
        counts = [overlap_counts(predicted, patches.labels, segmenter.kind, segmenter.classes)]
        counts += [object_counts(predicted, patches.labels)] if segmenter.kind == "instances" else []
        return np.concatenate([c.reshape(len(pool), -1) for c in counts], axis=1)

    def exchanged(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        assert patches.labels is not None
        order = np.roll(np.arange(len(patches)), len(patches) // 2)
        return replace(patches, labels=patches.labels[order])

    bank = Bank(pool, counted, (kind.name, "fidelity"))
    widths = [overlap_counts(predicted[:1], pool.labels[:1], segmenter.kind, segmenter.classes).reshape(1, -1).shape[1]]

    def looked_up(_: Any, patches: PatchSet) -> list[tuple[list[str], Array]]:
        from sciimg.validation.pooling import by_group

        rows = np.split(bank.look_up(patches), widths, axis=1)
        return [by_group(r.reshape(len(r), -1, 3), patches.groups) for r in rows if r.shape[1]]  # (K classes, 3), as f1 takes them

    ladder = Ladder("share of masks of other images", SHARES, lambda s: exchanged, shared=True)
    tally, gates, trials = Tally(), [], []
    for number in (*range(-TRIALS, 0), *range(studies)):
        key = ("judges-curves", kind.name, "fidelity", str(number))
        rng = generator(*key)
        part = dealt(pool.groups, rng)
        made = [("none", 0.0, bank.take(part["synthetic"]))]
        if number >= 0:
            made += [(ladder.fault, s, ladder.planted(bank, part["synthetic"], s, rng)) for s in ladder.strengths]
        for fault, strength, patches in made:
            with mock.patch.object(judge, "_counts", looked_up):
                found = judge.mask_fidelity(segmenter, bank.take(part["holdout"]), patches, bootstrap=BOOTSTRAP, key=key)
            if number < 0:
                trials.append(found)
                continue
            gates = gates or with_own(
                [
                    gate_of(m.name, at_least=0.9, why="Nine tenths of real holdout images, as the bundled studies ask.")
                    if m.name.endswith("fidelity")
                    else gate_of(m.name, judged_on="value", at_least=min(t[i].value for t in trials if t[i].value is not None), why=WORST)
                    for i, m in enumerate(found)
                ],
                trials,
            )
            tally.add(gates, found, fault, strength)
    return {"images": kind.about, "n": len(pool), "metrics": tally.curves(gates)}


ABOUT = 0.1  # of the spread of real values: how nearly a good set is what it was asked for; exactly would have no interval


def conditions(kind: RealSet, studies: int) -> dict[str, Any]:
    """Return the curves of a class and of a scalar condition against the share of samples that were asked for something else."""
    from sciimg.validation.obedience import class_obedience, scalar_obedience

    bank = space_bank("texture", kind)
    images = bank.images
    vectors, classes = bank.look_up(bank.take(np.arange(len(images)))), images.table["class"].to_numpy(object)
    levels = images.images[:, 0].reshape(len(images), -1).mean(axis=1)
    tally, trials = Tally(), []
    gates: list[Gate] = []
    bars = {
        "condition_kind_accuracy-ratio": {"at_least": 0.9, "why": "Nine tenths of real holdout images, as the nuclei study asks."},
        "condition_level_correlation": {"at_least": 0.9, "why": "A fifth of the variance unexplained at most, as the tissue study asks."},
        "condition_level_slope": {"at_least": 0.8, "at_most": 1.25, "why": "A requested change is followed within a quarter."},
        "condition_level_error": {"at_most": 0.5, "why": "Half of the spread of real values."},
    }
    for number in (*range(-TRIALS, 0), *range(studies)):
        key = ("judges-curves", kind.name, "conditions", str(number))
        rng = generator(*key)
        part = dealt(images.groups, rng)
        fresh = part["synthetic"]
        for share in (0.0,) if number < 0 else (0.0, *SHARES):
            asked = fresh.copy()
            places = rng.permutation(len(fresh))[: round(share * len(fresh))]
            asked[places] = np.roll(asked[places], max(1, len(places) // 2))
            level_asked = levels[asked] + ABOUT * levels.std() * rng.normal(size=len(asked))
            about: dict[str, Any] = {"bootstrap": BOOTSTRAP, "key": key}
            found = class_obedience(
                "kind",
                train=(vectors[part["train"]], classes[part["train"]]),
                holdout=(vectors[part["holdout"]], classes[part["holdout"]], images.groups[part["holdout"]]),
                synthetic=(vectors[fresh], classes[asked], images.groups[fresh]),
                features="texture",
                **about,
            )
            found += scalar_obedience("level", level_asked, levels[fresh], images.groups[fresh], real_spread=float(levels.std()), **about)
            if number < 0:
                trials.append(found)
                continue
            gates = gates or with_own(
                [
                    gate_of(m.name, **bars[m.name])  # type: ignore[arg-type]
                    if m.name in bars
                    else gate_of(m.name, judged_on="value", at_least=min(t[i].value for t in trials if t[i].value is not None), why=WORST)
                    for i, m in enumerate(found)
                ],
                trials,
            )
            fault = ("none", 0.0) if share == 0 else ("share of samples that were asked for what another is", share)
            tally.add(gates, found, *fault)
    return {"images": kind.about, "n": len(images), "metrics": tally.curves(gates)}


# ---------------------------------------------------------------- downstream use

STUDENTS = {"seeds": 2, "steps": 60, "annotated_images": 4}  # a study has 3 seeds of 200 steps; a hundred of them would take a day
HARM = "Adding images must not cost a segmenter more than 0.015, as the bundled studies ask of Dice."


def downstream(kind: RealSet, studies: int) -> dict[str, Any]:
    """Return the curve of the gate on harm: real images added to a few annotated ones, as they are and with masks of other images."""
    from sciimg.protocol.validation import DownstreamPlan
    from sciimg.validation.downstream import downstream_metrics, run_arm

    images = kind.images
    plan = DownstreamPlan(**STUDENTS)  # type: ignore[arg-type]
    gates = [gate_of(f"downstream_{f1}gain_added_to_classical", at_least=-0.015, why=HARM) for f1 in ("", "f1_")]
    names, tally = {gate.metric for gate in gates}, Tally()
    for number in range(studies):
        key = ("judges-curves", kind.name, "downstream", str(number))
        rng = generator(*key)
        part = {name: images.take(rows.tolist()) for name, rows in dealt(images.groups, rng).items()}
        about: dict[str, Any] = {"train": part["train"], "holdout": part["holdout"], "key": key}
        alone = {("classical", s): run_arm("classical", s, plan, synthetic=None, **about) for s in range(plan.seeds)}
        alone |= {("real", s): alone["classical", s] for s in range(plan.seeds)}  # stands in for an arm that the gate does not read
        for share in (0.0, *SHARES[2:]):
            made = exchanged(part["synthetic"], share, rng)
            joined = {("combined", s): run_arm("combined", s, plan, synthetic=made, **about) for s in range(plan.seeds)}
            found = downstream_metrics(
                alone | joined,
                plan,
                kind=images.label_kind,
                bootstrap=BOOTSTRAP,
                key=key,
                ceiling=None,
                missing={"synthetic": "not asked here"},
            )
            fault = ("none", 0.0) if share == 0 else ("share of masks of other images", share)
            tally.add(gates, [m for m in found if m.name in names], *fault)
    return {"images": kind.about, "n": len(images), "students": STUDENTS, "metrics": tally.curves(gates)}


def exchanged(patches: PatchSet, share: float, rng: np.random.Generator) -> PatchSet:
    """Return the patches with masks of one another in this share of them."""
    assert patches.labels is not None
    labels = patches.labels.copy()
    places = rng.permutation(len(patches))[: round(share * len(patches))]
    labels[places] = np.roll(labels[places], 1, axis=0)
    return replace(patches, labels=labels)


# ---------------------------------------------------------------- what is simulated

KINDS_TRIED = 2  # where time is short, one: --kinds 1
KINDS: dict[str, tuple[str, ...]] = {  # of real images, the first two that are there and on which a check is defined
    "intensity-law": ("nuclei", "hippocampi", "tissue", "template"),
    "noise-law": ("nuclei", "axons", "tissue", "fundus"),
    "power-spectrum": ("nuclei", "hippocampi", "tissue", "template"),
    "object-morphology": ("nuclei", "tissue"),
    "point-pattern": ("nuclei-wide", "nuclei", "tissue"),
    "resolution": ("axons", "nuclei", "cells", "fundus"),
    "detector-range": ("nuclei", "axons", "tissue"),
    "grey-level-comb": ("axons", "hippocampi", "tissue", "template"),
    "bleed-through": ("cells", "tissue"),
    "photon-transfer": ("nuclei", "axons", "cells", "fundus"),
    "snr": ("echo-planar", "heads"),
    "tissue-snr": ("hippocampi", "brains", "template"),
    "contrast-order": ("brains", "template"),
    "tissue-volumes": ("brains", "template"),
    "image-quality": ("brains", "template"),
    "air-quality": ("echo-planar", "heads"),
    "rician-noise": ("echo-planar", "heads"),
    "bias-field": ("brains", "heads", "template"),
    "ghosting": ("echo-planar", "heads"),
    "k-space-slope": ("hippocampi", "heads", "template"),
    "ringing": ("hippocampi", "heads", "template"),
    "noise-whiteness": ("nuclei", "axons", "tissue", "fundus"),
    "symmetry": ("heads", "echo-planar"),
}
SPACES = ("scattering", "texture", "spectrum", "cooccurrence", "encoder")

NOT_SIMULATED = {
    "verification-failures": "closed forms, no sampling: every check has a fault that it must notice (sciimg verify, tests/verification)",
    "split-failures": "rules of the split, no sampling: tests/patches/test_prove.py",
    "split-closest-match": "a number beside split-failures",
    "review-": "needs readers: tests/review simulates them",
    "folds-failures": "rules of the folds, no sampling: tests/patches/test_folds.py",
    "watermark-": "a mark of our own in images of our own: found and not found in tests/validation and in every report that has one",
    "optical-cutoff": "needs the optics of every image, which no set here states: planted faults in tests/conformance/test_checks.py",
    "dose-linearity": "needs a dose, which no set here has: planted faults in tests/conformance/test_checks.py",
    "fd_infinity": "needs 64 samples a side of every split; studies here have 24",
    "inception_score": "compares with no real image, so that no fault need lower it: closed forms in tests/validation/test_inception.py",
    "weights": "a space of the user's network, judged by the code that judges the encoder",
    "paired": "the same metric with samples resampled together: intervals are narrower, the rest is the same code",
    "reconstruction": "a mean over pairs, no two-sample question: what it says of a blur is in tests/validation/test_pair.py",
    "downstream_": "of its gates the one on harm is: others differ in the arms, not in what is done with them",
    "worst": "the same metric on the images of one subgroup: read its curve at fewer groups",
    "copy-rate": "section memory, by number of canaries",
    "leaked-holdout": "section memory, by number of leaked images",
    "copy-control": "section memory: the share of planted copies that is found",
    "nearest-correlation": "a description beside copy-rate",
}


def parts(shipped: bool = False, kinds: int = KINDS_TRIED) -> dict[str, Callable[[int], dict[str, Any]]]:
    """Return what makes each part, by name; with ``shipped`` only of images that ship."""
    found: dict[str, Callable[[int], dict[str, Any]]] = {name: lambda n, name=name: checked(name, n, shipped, kinds) for name in LADDERS}  # type: ignore[misc]
    found |= {f"likeness-{space}": lambda n, s=space: likeness(s, labelled_kind(shipped), n) for space in SPACES}  # type: ignore[misc]
    found["fidelity"] = lambda n: fidelity(labelled_kind(shipped), n)
    found["conditions"] = lambda n: conditions(labelled_kind(shipped), n)
    found["downstream"] = lambda n: downstream(labelled_kind(shipped), n)
    return found


def labelled_kind(shipped: bool) -> RealSet:
    """Return microscopy with masks and classes: nuclei, or the section that ships, whose class is light or dark."""
    if not shipped and not available()["nuclei"]:
        return real_set("nuclei")
    kind = real_set("tissue")
    level = kind.images.images[:, 1].reshape(len(kind.images), -1).mean(axis=1)
    table = kind.images.table.assign(**{"class": np.where(level > np.median(level), "dab", "no-dab")})
    return replace(kind, images=replace(kind.images, table=table))


def checked(name: str, studies: int, shipped: bool, kinds: int) -> dict[str, Any]:
    """Return the curves of a physics check on the first kinds of images on which it is defined, and why it is not on those before."""
    found: dict[str, Any] = {}
    for kind in KINDS[name]:
        if shipped and MAKERS[kind][1]:
            continue
        missing = available()[kind]
        found[kind] = {"not_run": missing} if missing else physics(name, real_set(kind), studies)
        if sum("metrics" in f for f in found.values()) == kinds:
            break
    return found


def options(parser: argparse.ArgumentParser) -> None:
    """Add what can be asked of the curves."""
    parser.add_argument("--only", default="", help=f"parts of the curves, made anew; comma-separated; there are: {', '.join(parts())}")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--gather", action="store_true", help="of the curves write what is there, and make nothing")
    parser.add_argument("--kinds", type=int, default=KINDS_TRIED, help="of real images on which a physics check is tried")
    parser.add_argument("--parts", type=Path, default=Path(tempfile.gettempdir()) / "sciimg-judges-curves")


SMALL = ("noise-law", "conditions")


def section(asked: argparse.Namespace) -> dict[str, Any]:
    """Return all curves, and why some gates have none; makes the parts that are asked for, or those that are not there yet."""
    only = tuple(n for n in asked.only.split(",") if n) or (SMALL if asked.small else ())
    studies = 3 if asked.small else asked.studies
    folder = Path(tempfile.mkdtemp()) if asked.small else asked.parts
    folder.mkdir(parents=True, exist_ok=True)
    made = parts(asked.small, 1 if asked.small else asked.kinds)
    for name in () if asked.gather else only or made:
        path = folder / f"{name}.json"
        if not only and path.exists() and json.loads(path.read_text())["studies"] == studies:
            continue
        start = time.process_time()
        value = made[name](studies)
        kept = {"studies": studies, "processor_seconds": round(time.process_time() - start, 1), "found": value}
        path.with_suffix(".partial").write_text(json.dumps(kept, indent=1) + "\n")
        path.with_suffix(".partial").replace(path)
        print(name, kept["processor_seconds"], "s", flush=True)
    found = {name: json.loads((folder / f"{name}.json").read_text()) for name in made if (folder / f"{name}.json").exists()}
    return {"parts": found, "not_made_yet": [name for name in made if name not in found], "not_simulated": NOT_SIMULATED}


def every_curve(found: Mapping[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield part, kind of images, metric, and its curve."""
    for part, one in found["parts"].items():
        by_kind = one["found"] if part in LADDERS else {"": one["found"]}
        for kind, value in by_kind.items():
            for metric, curve in value.get("metrics", {}).items():
                yield part, kind, metric, curve


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Write the picture of all curves: one panel for each gate, share of studies accepted against the strength of the fault."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "sciimg"  # the same bytes every time
    panels = [(part, kind, metric, curve, fault) for part, kind, metric, curve in every_curve(found) for fault in curve["faults"]]
    panels = [p for p in panels if p[0] in LADDERS or shown(p[2], p[4])]
    columns = 6
    rows = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(3.1 * columns, 2.1 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat:
        axis.set_visible(False)
    for axis, (_, kind, metric, curve, fault) in zip(axes.flat, panels, strict=False):
        points = [{"strength": 0.0} | curve["honest"], *curve["faults"][fault]]
        places = range(len(points))
        axis.set_visible(True)
        axis.fill_between(places, *zip(*(p["accepted_ci95"] for p in points), strict=True), alpha=0.2, color="C0", linewidth=0)
        axis.plot(places, [p["accepted"] for p in points], "o-", color="C0", markersize=3, label="accepted")
        axis.plot(places, [p["refused"] for p in points], "s--", color="C3", markersize=2.5, linewidth=0.8, label="refused")
        axis.axhline(0.95, color="0.6", linewidth=0.6, linestyle=":")
        axis.set(ylim=(-0.05, 1.05), yticks=(0, 0.5, 1))
        axis.set_xticks(list(places), ["real", *(f"{p['strength']:g}" for p in points[1:])], fontsize=6)
        axis.tick_params(axis="y", labelsize=6)
        axis.set_title(f"{metric.removesuffix('_effect')}{f', {kind}' if kind else ''}", fontsize=7)
        axis.set_xlabel(fault, fontsize=6)
    if panels:
        axes.flat[0].legend(fontsize=6, loc="center left")
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def shown(metric: str, fault: str) -> bool:
    """Whether the picture has room for a gate of sets and a fault: every gate with what it is there to find."""
    stem = metric.rpartition("_")[0]
    if metric.startswith(("mask", "condition", "downstream")):
        return True
    if stem.startswith(("authenticity", "ct", "membership", "nearer")):
        return "copies" in fault
    if stem.startswith(("recall", "coverage", "vendi", "density")):
        return "repeated" in fault
    return not stem.startswith("control") and "blur" in fault


def main() -> None:
    parser = argparse.ArgumentParser(description="Rates of every gate over simulated studies with real images.")
    options(parser)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--svg", type=Path)
    asked = parser.parse_args()
    found = section(asked)
    for part, kind, metric, curve in every_curve(found):
        honest = curve["honest"]
        strongest = {f: rows[-1]["accepted"] for f, rows in curve["faults"].items()}
        print(
            f"{part:22s} {kind:12s} {metric:34s} honest {honest['accepted']:.2f} (refused {honest['refused']:.2f})  strongest {strongest}"
        )
    if asked.svg:
        draw(found, asked.svg)


if __name__ == "__main__":
    main()
