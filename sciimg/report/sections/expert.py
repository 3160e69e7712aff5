"""The reader study: what was asked, what readers saw, how far they agree with one another and with themselves."""

from typing import Any

from sciimg.report.evidence import Evidence
from sciimg.report.figures import Curve, Panel, draw
from sciimg.report.model import Block, Bullets, Column, Facts, Notice, Plot, Section, Table
from sciimg.report.sections.asked import review_words
from sciimg.report.words import count, listed, number, sentence, text, with_interval
from sciimg.review.questions import CONFIDENCE
from sciimg.review.scales import CriterionScore
from sciimg.review.score import ReviewScore
from sciimg.review.table import Value


def review(evidence: Evidence) -> Section:
    """Return the reader study, a part for each recipe whose images were shown, or say that there was none."""
    read = [(recipe.plan.name, recipe.review) for recipe in evidence.recipes if recipe.review is not None]
    if len(read) == 1:
        (name, score), *_ = read
        return Section(name="review", title="Expert review", lead=_lead(name, score), blocks=tuple(_blocks(score)))
    if read:
        parts = tuple(Section(name=f"review-{n}", title=f"Images of {n}", lead=_lead(n, s), blocks=tuple(_blocks(s))) for n, s in read)
        return Section(name="review", title="Expert review", parts=parts)
    planned = evidence.study.review.readers
    said = "The planned expert review has not been answered yet" if planned else "No expert review was asked for"
    words = sentence(review_words(evidence.study)) if planned else "Nothing here says what an expert would see."
    return Section(name="review", title="Expert review", blocks=(Notice(tone="open", title=said, text=words),))


def _lead(recipe: str, score: ReviewScore) -> str:
    readers, items = count(score.readers, "blinded reader"), count(score.items, "pair" if score.task == "2afc" else "image")
    asked = "said which of two images is synthetic" if score.task == "2afc" else "said whether an image is real or synthetic"
    right = with_interval(score.accuracy, score.ci95)
    were = "was" if score.readers == 1 else "were"
    return f"{readers} {asked}, {items} each (real ones and those of {recipe}), and {were} right {right} of the time; guessing gives 0.5."


def _blocks(score: ReviewScore) -> list[Block]:
    blocks: list[Block] = [_verdict(score), Facts(rows=tuple(_facts(score))), _readers(score)]
    if score.criteria:
        blocks += [_criteria(score), _steps(score.criteria)]
    if score.artefacts:
        blocks.append(_artefacts(score))
    if score.confidence:
        blocks.append(_confidence(score))
    return [*blocks, Bullets(items=score.notes)] if score.notes else blocks


def _verdict(score: ReviewScore) -> Notice:
    """Say whether readers guess, in one sentence that can be read alone."""
    asleep = [r.reader for r in score.per_reader if not r.looked]
    if asleep:
        title = f"{count(len(asleep), 'reader')} of {score.readers} did not notice the scrambled images"
        return Notice(tone="bad", title=title, text=text("review-asleep", who=listed(asleep)))
    equal = score.equivalence
    margin = f"{number(0.5 - equal['margin'])} and {number(0.5 + equal['margin'])}"
    clustered = score.clustered.get("equivalent")
    if equal["equivalent"]:
        held = (
            ""
            if clustered is None
            else f"; it {'holds' if clustered else 'does not hold'} when {score.clustered['resampled']} are resampled"
        )
        said = text("review-equivalent", margin=margin, trials=count(score.trials, "reading"), held=held)
        if clustered is False:
            return Notice(tone="open", title="Equivalent to guessing only if answers are independent", text=said)
        return Notice(tone="note", title="Readers cannot be told from guessing", text=said)
    if score.to_decide.get("settled") == "beyond the margin":
        said = text("review-told", margin=margin, accuracy=with_interval(score.accuracy, score.ci95))
        return Notice(tone="bad", title="Readers can tell", text=said)
    said = text("review-open", margin=margin, power=number(equal["power"]), needed=str(equal["trials_needed"]), more=_more(score.to_decide))
    return Notice(tone="open", title="Whether readers guess is not settled", text=said)


def _more(need: dict[str, Any]) -> str:
    if not need:
        return ""
    if need["readings"] is None:
        return sentence(str(need["reason"]))
    readers = count(need["readers"], "more reader")
    return f"If they go on as they did, {count(need['readings'], 'more reading')} ({readers}) would settle it with power {need['power']:g}."


def _facts(score: ReviewScore) -> list[tuple[str, str]]:
    clustered = score.clustered
    rows = [
        ("Readings", f"{score.trials} by {count(score.readers, 'reader')}, about {count(score.items, _shown(score))}"),
        ("Accuracy, exact interval", f"{with_interval(score.accuracy, score.ci95)}; p against guessing {number(score.p_value)}"),
    ]
    if clustered:
        said = with_interval(score.accuracy, clustered["ci95"]) if clustered["ci95"] else clustered["reason"]
        rows.append(("Accuracy, clustered", f"{said}; resampled {clustered['resampled']}, {clustered['rounds']} times"))
    sensitivity = Value(value=score.d_prime, ci95=clustered.get("d_prime_ci95"), reason=clustered.get("d_prime_reason", ""))
    rows.append(("d′", _said(sensitivity)))
    for name, title in (("fleiss_kappa", "Fleiss κ"), ("gwet_ac1", "Gwet AC1"), ("krippendorff_alpha", "Krippendorff α")):
        reason = score.agreement_reasons.get(name, "")
        rows.append((f"Agreement, {title}", _said(Value(value=score.agreement[name], ci95=score.agreement_ci95.get(name), reason=reason))))
    if "answers" in score.repeatability:
        rows.append(("Same answer when shown again", _said(score.repeatability["answers"])))
    if score.catches.get("shown"):
        rows.append(("Catch items seen", f"{score.catches['seen']} of {score.catches['shown']}"))
    return [*rows, *(("Answers sealed by", head) for head in score.sessions)]


def _readers(score: ReviewScore) -> Table:
    columns = ("Reader", "Right", "Accuracy", "d′", "Leaning c", "Same again", "Catches seen", "Confidence", "Median time")
    rows = tuple(
        (
            r.reader,
            f"{r.correct} of {r.trials}",
            with_interval(r.accuracy, r.ci95),
            _or_dash(r.d_prime),
            _or_dash(r.bias),
            f"{r.repeats_same} of {r.repeats}" if r.repeats else "–",
            f"{r.catches_seen} of {r.catches}" if r.catches else "–",
            _or_dash(r.confidence),
            "–" if r.seconds is None else f"{number(r.seconds)} s",
        )
        for r in score.per_reader
    )
    caption = text("review-readers", towards="“a”" if score.task == "2afc" else "“synthetic”")
    return Table(caption=caption, columns=tuple(Column(title=t, short=True) for t in columns), rows=rows, compact=True)


def _criteria(score: ReviewScore) -> Table:
    columns = ("Criterion", "Real", "Synthetic", "Synthetic less real", "Synthetic rated higher", "AC2", "α", "Again, AC2")
    rows = tuple(
        (
            f"{c.name}: {c.question} 1 = {c.anchors[0]}, {len(c.anchors)} = {c.anchors[-1]}",
            _mean(c.real),
            _mean(c.synthetic),
            _said(c.difference, n=False),
            _said(c.superiority, n=False),
            _said(c.agreement["gwet_ac2"], n=False),
            _said(c.agreement["krippendorff_alpha"], n=False),
            _again(c),
        )
        for c in score.criteria
    )
    caption = text("review-criteria", resampled=score.clustered["resampled"])
    return Table(caption=caption, columns=tuple(Column(title=t) for t in columns), rows=rows, compact=True)


def _again(c: CriterionScore) -> str:
    if not c.repeats or c.repeats == c.repeats_same:
        return f"{c.repeats_same} of {c.repeats} the same" if c.repeats else "no item was repeated"
    return f"{_said(c.repeatability, n=False)}; {c.repeats_same} of {c.repeats} the same"


def _steps(criteria: tuple[CriterionScore, ...]) -> Plot:
    """Return how often each step was chosen, one panel a criterion."""
    panels = []
    for c in criteria:
        steps = list(range(1, len(c.anchors) + 1))
        curves = [
            Curve(x=steps, y=[n / max(sum(of), 1) for n in of], colour=colour, dots=True)  # type: ignore[arg-type]
            for of, colour in ((c.real, "ink"), (c.synthetic, "s1"))
        ]
        said = (
            f"{c.name}: steps 1 to {len(steps)} chosen {_spelled(c.real)} times for real and {_spelled(c.synthetic)} for synthetic images."
        )
        panels.append(Panel(c.name, "step", "share of ratings", curves, said, ticks=[(s, str(s)) for s in steps]))
    key = (("ink", "real"), ("s1", "synthetic"))
    return Plot(title="How often each step was chosen", caption=text("review-steps"), panels=tuple(draw(p) for p in panels), key=key)


def _artefacts(score: ReviewScore) -> Table:
    columns = (
        Column(title="Artefact"),
        *(Column(title=t, short=True) for t in ("On real", "On synthetic")),
        Column(title="Difference of shares"),
    )
    rows = tuple(
        (a.name, f"{a.real} of {a.of_real}", f"{a.synthetic} of {a.of_synthetic}", _said(a.difference, n=False)) for a in score.artefacts
    )
    return Table(caption=text("review-artefacts", resampled=score.clustered["resampled"]), columns=columns, rows=rows, compact=True)


def _confidence(score: ReviewScore) -> Table:
    rows = tuple(
        (
            f"{c['confidence']}, {CONFIDENCE[c['confidence'] - 1]}",
            f"{c['correct']} of {c['n']}",
            with_interval(c["correct"] / c["n"], c["ci95"]),
        )
        for c in score.confidence
    )
    columns = (Column(title="Confidence"), Column(title="Right", short=True), Column(title="Share, exact interval", short=True))
    return Table(caption=text("review-confidence"), columns=columns, rows=rows, compact=True)


# ---------------------------------------------------------------- words


def _shown(score: ReviewScore) -> str:
    return "pair" if score.task == "2afc" else "image"


def _said(value: Value, *, n: bool = True) -> str:
    """Return a number with its interval, or with why it has none."""
    if value.value is None:
        return f"undefined: {value.reason}"
    said = with_interval(value.value, value.ci95)
    if value.ci95 is None and value.reason:
        said += f", no interval: {value.reason}"
    return f"{said}, n = {value.n}" if n and value.n else said


def _or_dash(value: float | None) -> str:
    return "–" if value is None else number(value, 2)


def _mean(steps: tuple[int, ...]) -> str:
    total = sum(steps)
    return f"{sum(s * n for s, n in enumerate(steps, start=1)) / total:.2f}, n = {total}" if total else "none"


def _spelled(steps: tuple[int, ...]) -> str:
    return ", ".join(map(str, steps))
