"""A score in lines for a terminal; the report says the same at length."""

from typing import Any

from sciimg.review.score import ReviewScore
from sciimg.review.table import Value


def lines(value: dict[str, Any]) -> list[str]:
    """Return what the JSON of ``sciimg review score`` says, one finding a line, cautions last."""
    score = ReviewScore.model_validate(value)
    equal, task = score.equivalence, "pairs" if score.task == "2afc" else "images"
    found = f"equivalent to guessing (p {equal['p_value']:.2g})" if equal["equivalent"] else "not shown to be equivalent to guessing"
    out = [
        _line("readers", f"{score.readers}, {score.items} {task}, {score.trials} readings"),
        _line("accuracy", f"{_number(score.accuracy, score.ci95)}, p {score.p_value:.2g} against guessing (0.5); exact"),
        _line("", f"{_ends(score.clustered['ci95'], score.clustered['reason'])} with {score.clustered['resampled']} resampled"),
        _line("d'", _said(Value(value=score.d_prime, ci95=score.clustered["d_prime_ci95"], reason=score.clustered["d_prime_reason"]))),
        _line(f"within {equal['margin']:g}", f"{found}; power {equal['power']:.2g}, {equal['trials_needed']} readings needed for 0.8"),
        _line("to decide", _to_decide(score.to_decide)),
    ]
    for name, coefficient in score.agreement.items():
        said = Value(value=coefficient, ci95=score.agreement_ci95.get(name), reason=score.agreement_reasons.get(name, ""))
        out.append(_line(name, _said(said)))
    out.append(_line("same again", _said(score.repeatability["answers"])))
    if score.catches["shown"]:
        out.append(_line("catches", f"{score.catches['seen']} of {score.catches['shown']} seen"))
    for c in score.criteria:
        out.append(_line(c.name, f"synthetic - real {_said(c.difference)}, of steps 1 to {len(c.anchors)}"))
    for a in score.artefacts:
        out.append(_line(a.name, f"ticked on {a.synthetic} of {a.of_synthetic} synthetic, {a.real} of {a.of_real} real readings"))
    for r in score.per_reader:
        out.append(_line(r.reader, f"{r.correct} of {r.trials} right {_ends(r.ci95, '')}"))
    return out + [f"Note: {note}" for note in score.notes]


def _line(term: str, said: str) -> str:
    return f"{term:<20} {said}"


def _to_decide(need: dict[str, Any]) -> str:
    if need["settled"] != "open":
        return f"settled: {need['settled']}"
    if need["readings"] is None:
        return str(need["reason"])
    return f"{need['readings']} more readings ({need['readers']} more readers) at the accuracy seen, with power {need['power']:g}"


def _said(value: Value) -> str:
    if value.value is None:
        return f"undefined: {value.reason}"
    return _number(value.value, value.ci95) + (f" (n {value.n})" if value.n else "")


def _number(value: float, ci95: tuple[float, float] | None) -> str:
    return f"{value:.3g}" + (f" {_ends(ci95, '')}" if ci95 else "")


def _ends(ci95: tuple[float, float] | None, reason: str) -> str:
    return f"[{ci95[0]:.3g}, {ci95[1]:.3g}]" if ci95 else reason
