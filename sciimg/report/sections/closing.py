"""What follows and what does not: machinery, groups, limits, how to check everything with other people's tools, and the appendix."""

from sciimg.protocol.data import SplitByBlocks
from sciimg.provenance.checking import OUTSIDER, RECIPE
from sciimg.report import costs
from sciimg.report.evidence import Evidence
from sciimg.report.model import Block, Bullets, Column, Commands, Facts, Missing, Notice, Prose, Section, Table
from sciimg.report.sections.checks import checks_table
from sciimg.report.sections.done import group_numbers
from sciimg.report.sections.judged import details, flagged
from sciimg.report.words import caption, count, estimate, listed, sentence, text
from sciimg.review.statistics import binomial_interval

BENCHMARK = "benchmark-"  # begins the name of a check of `sciimg verify --benchmarks`


def machinery(evidence: Evidence) -> Section:
    """Return how the closed-form tests of this machine ended and how good the judges are; the tests themselves stand in the appendix."""
    failed = [c for c in evidence.checks if not c.passed]
    blocks: list[Block] = []
    if not evidence.checks:
        blocks.append(
            Missing(what="closed-form tests", why=next((a.why for a in evidence.absent if "tests" in a.what), "None is in the run."))
        )
    elif failed:
        blocks.append(Notice(tone="bad", title=f"{count(len(failed), 'test')} failed", text=text("tests-failed")))
        blocks.append(checks_table("Tests that failed", failed))
    if evidence.common or evidence.judges:
        rows = tuple(
            (caption(m.name).title, estimate(m), f"{m.n} {m.unit_of_n}" if m.n is not None else "–")
            for m in (*evidence.common, *evidence.judges)
        )
        columns = (Column(title="Measurement"), Column(title="Value"), Column(title="n", short=True))
        blocks.append(Table(caption="Of the study, and of the judges on the real holdout", columns=columns, rows=rows, compact=True))
    lead = text("tests-lead", tests=count(len(evidence.checks), "test"), failed=len(failed) or "none") if evidence.checks else ""
    return Section(name="machinery", title="Do the tools work?", lead=lead, blocks=tuple(blocks))


# ---------------------------------------------------------------- what follows


def conclusions(evidence: Evidence) -> Section:
    """Return what the number of independent groups allows one to conclude, and what it does not."""
    title = "What follows, and what does not"
    if not evidence.regions:
        missing = Missing(what="the number of groups", why="The run has no split.")
        return Section(name="conclusions", title=title, blocks=(missing,))
    study, held = evidence.study, group_numbers(evidence)["holdout"]
    unit = study.split.unit
    if isinstance(study.split, SplitByBlocks):
        notice, can, cannot = _of_pieces(evidence, count(held, unit))
    else:
        said = count(held, f"independent {unit}")
        notice = Notice(tone="note", title=f"{said} in the holdout", text=text("groups", unit=unit))
        can, cannot = text("can-groups", unit=unit), text("cannot-groups")
    share = f"{binomial_interval(0, held, 0.9)[1]:.0%}" if held else "all"  # a two-sided 90 % interval ends at the one-sided 95 % bound
    points = (can, cannot, text("rare", held=count(held, unit), share=share, unit=unit), text("passed-means"))
    return Section(name="conclusions", title=title, blocks=(notice, Bullets(items=points)))


def _of_pieces(evidence: Evidence, held: str) -> tuple[Notice, str, str]:
    images = len(evidence.images)
    things = "one image" if images == 1 else f"{images} images"
    modality, volume = evidence.study.sources[0].modality, evidence.study.dims == 3
    said = text("pieces", held=held, things=things) + (f" {text('one-volume')}" if volume else "")
    notice = Notice(tone="open", title=f"All data come from {things}: for any other, n is {images}", text=said)
    return (
        notice,
        text("can-within"),
        text("cannot-within", other="subject or scanner" if modality == "mri" else "slide, patient or microscope"),
    )


def limits(evidence: Evidence) -> Section:
    """Return the limits of the study and everything that is missing from its evidence."""
    undefined = _unmade(evidence)
    number = sum(m.status == "undefined" for r in evidence.recipes for m in r.metrics)
    absent = [f"{a.what}: {a.why}" for a in (*evidence.absent, *(a for r in evidence.recipes for a in r.absent))]
    blocks: list[Block] = [Bullets(items=tuple(map(sentence, evidence.study.limits)))]
    if undefined:
        blocks += [Prose(text=f"{count(number, 'measurement')} could not be made:"), Bullets(items=undefined)]
    if absent:
        blocks += [Prose(text="Evidence that is not in the run:"), Bullets(items=tuple(map(sentence, absent)))]
    return Section(name="limits", title="Limits", blocks=tuple(blocks), parts=(_failures(evidence),))


def _failures(evidence: Evidence) -> Section:
    """Return what failed in this study, and how the judges met images of which the truth is known."""
    gates = evidence.decision.gates if evidence.decision else ()
    points = []
    for recipe in evidence.recipes:
        own = [g.gate for g in gates if g.outcome == "failed" and g.recipe in (None, recipe.plan.name)]
        points += [f"Recipe {recipe.plan.name} failed {count(len(own), 'gate')}: {listed(own)}."] if own else []
    checked, blind = flagged(evidence)
    if checked:
        said = f"; {listed(blind)} missed some of their own" if blind else ""
        points.append(f"Faults planted in real images were flagged by {checked - len(blind)} of {checked} physics checks{said}.")
    nulls = [m for r in evidence.recipes for m in r.metrics if m.null is not None]
    if nulls:
        points.append(text("negative-controls", measurements=count(len(nulls), "measurement")))
    again = [name for name, cost in (evidence.costs or {}).items() if cost.get("attempts", 1) > 1]
    points += [f"Stages that took more than one attempt: {listed(again)}."] if again else []
    return Section(
        name="failures", title="What failed, and how the judges were tried", blocks=(Bullets(items=(*points, text("failed-runs"))),)
    )


def _unmade(evidence: Evidence) -> tuple[str, ...]:
    """Say once for each reason which measurements of which recipes there are not."""
    of: dict[tuple[str, str], list[str]] = {}  # (reason, measurement) → recipes
    for recipe in evidence.recipes:
        for metric in recipe.metrics:
            if metric.status == "undefined":
                of.setdefault((str(metric.reason), caption(metric.name).title), []).append(recipe.plan.name)
    together: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (reason, title), recipes in of.items():
        together.setdefault((reason, tuple(recipes)), []).append(title)
    return tuple(f"{listed(titles)} ({listed(recipes)}): {reason}" for (reason, recipes), titles in together.items())


# ---------------------------------------------------------------- checking


def checking(evidence: Evidence) -> Section:
    """Return how to check a release without this software."""
    title, release = "How to check this yourself", evidence.release
    if release is None:
        return Section(name="checking", title=title, blocks=(Notice(tone="open", title="Not signed", text=text("not-signed")),))
    digests = (("Payload, SHA-256", release.payload_digest), ("signer.pub, SHA-256", release.key_id or "not found"))
    blocks: tuple[Block, ...] = (
        Facts(rows=(*digests, ("Files signed", str(release.files))), code=tuple(term for term, _ in digests)),
        Notice(tone="note", title="First, the key", text=text("key-first")),
        Commands(title="With OpenSSF model_signing", text=text("model-signing"), lines=(OUTSIDER,)),
        Commands(title="With openssl, jq and sha256sum alone", text=text("openssl"), lines=tuple(RECIPE.strip().splitlines())),
    )
    return Section(name="checking", title=title, lead=text("checking-lead"), blocks=blocks)


def appendix(evidence: Evidence) -> Section:
    """Return digests, environment and every measurement that no other section shows."""
    rows = [("Study", evidence.study.digest)]
    rows += [(f"Model {r.plan.name}", str(r.model["digest"])) for r in evidence.recipes if r.model.get("digest")]
    rows += [(str(i.get("id")), str(i.get("digest") or i.get("sha256"))) for i in evidence.images[:8] if i.get("digest") or i.get("sha256")]
    if evidence.release:
        rows.append(("Signed payload", f"sha256:{evidence.release.payload_digest}"))
    blocks: list[Block] = [Facts(rows=tuple(rows), code=tuple(term for term, _ in rows))]
    first = next(iter(evidence.environments.values()), {})  # where stages differ, the deviations say so
    about = [("Environment", listed(f"{k} {v}" for k, v in sorted(first.items())))] if first else []
    if evidence.decision:
        about.append(("Recipes", listed(f"{k} {v}" for k, v in evidence.decision.per_recipe.items())))
        about.append(("Released", evidence.decision.released or "none"))
    blocks += [Facts(rows=tuple(about))] if about else []
    blocks.append(Prose(text=text("bill-of-materials")))
    blocks += _costs(evidence)
    blocks += details(evidence.recipes)
    trained = [c for c in evidence.checks if c.name.startswith(BENCHMARK)]
    closed = [c for c in evidence.checks if not c.name.startswith(BENCHMARK)]
    for title, checks in (("Short trainings held against recorded bands", trained), ("Tests against closed forms", closed)):
        if checks:
            blocks.append(checks_table(title, sorted(checks, key=lambda c: (c.passed, c.name))))
    return Section(name="appendix", title="Appendix: digests, environment, every test", blocks=tuple(blocks))


def _costs(evidence: Evidence) -> list[Block]:
    """Return what the stages cost, and what is not known of it; in a report that is released, where to find it."""
    if evidence.costs is None:
        return [Prose(text=text("costs-elsewhere"))]
    if not evidence.costs:
        return []
    known = list(evidence.costs.values())
    spent = listed(f"{hours:.2f} for the {what}" for what, hours in costs.processor_hours(evidence.costs).items())
    said = [text("costs", spent=spent), *costs.reasons(known)]
    if missing := costs.unseen(known):
        said.append(text("costs-unseen", seconds=f"{missing:.0f}"))
    return [costs.table(evidence.costs), Prose(text=" ".join(said))]
