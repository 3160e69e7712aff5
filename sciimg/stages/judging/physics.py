"""Whether properties of the modality are kept."""

from sciimg.records import Metric
from sciimg.stages.judging.case import Case, Found
from sciimg.validation import gallery


def physics(case: Case, name: str) -> Found:
    """Compare one property of the modality, and plot it."""
    from sciimg.validation.physics import CHECKS, calibrate, curves, effect, measured_synthetic, outliers

    if name not in CHECKS:
        reason = f"there is no check of this name; there are: {', '.join(CHECKS)}"
        return [Metric.undefined(f"{name}_{what}", reason, higher_is_better=False) for what in ("effect", "outliers")], {}
    ready = calibrate(CHECKS[name], case.real_images, bootstrap=case.rounds, key=(*case.key, "physics"))
    rows = measured_synthetic(ready, case.judged)
    metrics = [
        effect(ready, case.judged, name=f"{name}_effect", rows=rows),
        outliers(ready, case.judged, name=f"{name}_outliers", rows=rows),
    ]
    if case.paired is not None:
        metrics.append(effect(ready, case.paired, name=f"{name}_effect_paired", paired=True))
    arrays = {} if isinstance(ready, str) else gallery.physics(name, curves(ready, case.judged, rows=rows))
    return metrics, arrays
