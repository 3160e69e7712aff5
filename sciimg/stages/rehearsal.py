"""A rehearsal: real images meet the gates of the study first, so that a gate which no images could pass is known early.

The real calibration part is judged as if it were the synthetic set, by the code that will judge that one, against the same holdout.
No synthetic image is seen, no number of a recipe changes and nothing is decided. The margins of physics checks are made from holdout
and calibration together, so what the calibration part gets there is slightly favourable.

rehearsal.json          what came of it, :class:`sciimg.records.Rehearsal`
parts/rehearsal-*.json  what is done so far
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sciimg.files import write_json
from sciimg.protocol.models import Study
from sciimg.records import GateResult, Metric, Rehearsal, RehearsedGate, digest_of

if TYPE_CHECKING:
    from sciimg.stages.judging.rehearsed import Rehearsed

REHEARSAL = "rehearsal.json"
IMAGES = "the real calibration part"
_CONCERNS = {
    "failed": ("refuses real images", "Take its bar from real images of the kind, or drop it"),
    "undefined": ("cannot be judged on these images", "Bring what is missing, or drop it"),
    "blind": ("accepts planted faults", "Take its bar from real images of the kind, bring more groups, or drop it"),
}


def rehearse(study: Study, *, real: Path, regions: Path | None, baseline: Path, folder: Path = Path()) -> Rehearsal:
    """Let real images meet the gates that read what can be asked of them, and write ``rehearsal.json``.

    Parameters
    ----------
    real : Path
        Collection of real images.
    regions : Path or None
        ``regions.parquet`` of the split; without it there is no calibration part.
    baseline : Path
        Folder of :func:`sciimg.stages.baseline.baseline`, to which the rehearsal is added; parts of an interrupted attempt are kept.
    folder : Path
        What the path of ``validation.weights`` is relative to: that of the study file.

    Raises
    ------
    InputError
        Those of the weights.
    """
    import pandas as pd

    from sciimg.stages.baseline import ENCODER, EVIDENCE, SEGMENTER
    from sciimg.stages.judging.rehearsed import Rehearsed, parts_of, telling
    from sciimg.stages.parts import CATALOGUE, Parts, file_keys
    from sciimg.stages.validate import checked_weights
    from sciimg.validation.material import real_data
    from sciimg.workers import HERE

    files = file_keys(real / CATALOGUE, regions, baseline / EVIDENCE, baseline / SEGMENTER, baseline / ENCODER)
    parts = Parts(baseline, digest_of([study.digest, files]))
    data = real_data(study, real, None if regions is None else pd.read_parquet(regions))
    case = Rehearsed(study, data, real, None, None, None, baseline, checked_weights(study, folder), parts, parts, HERE)
    metrics = [
        metric
        for name, part in parts_of(study).items()
        if not case.missing or name.startswith("physics-")  # what a check can see is known without images to judge
        for metric in parts.metrics(f"rehearsal-{name}", lambda part=part: (part(case)[0], {}))  # type: ignore[misc]
    ]
    made = Rehearsal(
        study=study.digest,
        images=IMAGES,
        patches=0 if data.calibration is None else len(data.calibration),
        groups=case.groups,
        missing=case.missing,
        gates=tuple(_met(case, telling(study, metrics))),
    )
    write_json(baseline / REHEARSAL, made.as_json())
    return made


def concerns(baseline: Path) -> list[str]:
    """Return a line for each gate that real images fail, or that cannot judge such images: which, why and what to do.

    Parameters
    ----------
    baseline : Path
        Folder of the baseline; an older one, without a rehearsal, has no concerns.
    """
    path = baseline / REHEARSAL
    if not path.exists():
        return []
    gates = Rehearsal.model_validate_json(path.read_bytes()).gates
    return [_said(gate) for gate in gates if gate.concern]


def _said(gate: RehearsedGate) -> str:
    what, remedy = _CONCERNS[gate.concern]
    return f"rehearsal: gate {gate.gate!r} {what}: {gate.reason}. {remedy}, in a new study, registered anew."


# ---------------------------------------------------------------- one gate


def _met(case: "Rehearsed", metrics: Sequence[Metric]) -> Iterator[RehearsedGate]:
    """Yield the gates whose metric is there; where no images were judged, those that could judge none."""
    from sciimg.decision import blind, judged
    from sciimg.validation.physics import obstacle_between

    found = {m.name: m for m in metrics}
    nobody = obstacle_between(case.real.holdout, None)
    for gate, result in zip(case.study.gates, judged(case.study, metrics)[1], strict=True):
        metric = found.get(gate.metric)
        missed = [] if metric is None else blind(gate, metric)
        if metric is None or (metric.reason == nobody and not missed):
            continue
        told = result.model_dump()
        if metric.reason == nobody:  # a check that sees its faults, at a bar that they meet
            told |= {"outcome": "inconclusive", "reason": _meet(missed), "concern": "blind"}
        else:
            told |= {"concern": _concern(case, result, metric, missed)}
            if missed and metric.value is not None and missed[0] not in result.reason:
                told |= {"reason": f"{result.reason}; {_meet(missed)}"}
        yield RehearsedGate(**told)


def _meet(missed: Sequence[str]) -> str:
    return f"faults planted in real images meet this bar too: {', '.join(missed)}"


def _concern(case: "Rehearsed", result: GateResult, metric: Metric, missed: Sequence[str]) -> str:
    """Return what a study should know of a gate before it trains: not that the calibration part is small, or its interval wide."""
    if metric.value is None:
        return "" if case.is_short(metric.shortage) else "undefined"
    return "failed" if result.outcome == "failed" else "blind" if missed else ""
