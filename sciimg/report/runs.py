"""Several runs side by side: a study over time, or studies that ask the same of other recipes."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from sciimg.protocol import Study
from sciimg.records import GateResult, digest_of
from sciimg.report.costs import duration, energy, totals
from sciimg.report.evidence import Evidence, read_run
from sciimg.report.model import Block, Column, GateLine, Gates, Missing, ReportModel, Section, Table, Verdict
from sciimg.report.sections import judged, pictures
from sciimg.report.words import caption, count, listed, plain, text

Met = tuple[Evidence, GateResult]


def runs_in(folder: Path) -> list[Path]:
    """Return the run folders that lie in a folder; of a run folder itself, none."""
    return [] if (folder / "study.yaml").exists() else sorted(path.parent for path in folder.glob("*/study.yaml"))


def report_of_runs(runs: Sequence[Path]) -> ReportModel:
    """Return the page that compares runs: what they came to, gate by gate on one scale, their samples, and how their studies differ.

    Parameters
    ----------
    runs : sequence of Path
        Run folders, finished or not; shown by name of their study, then in the order of registration.

    Raises
    ------
    InputError, StudyError
        If one of them cannot be read as a run.
    """
    found = sorted((read_run(run) for run in runs), key=lambda e: (e.study.name, e.study.registered, e.study.digest))
    words = [e.decision.decision if e.decision else "undecided" for e in found]
    tally = listed(f"{words.count(word)} {word}" for word in ("accepted", "refused", "inconclusive", "undecided") if word in words)
    names = list(dict.fromkeys(e.study.name for e in found))
    return ReportModel(
        kind="runs",
        title=f"Runs of {listed(names)}",
        subtitle=" ".join(dict.fromkeys(e.study.title for e in found)),
        study=listed(names),
        digest=digest_of(sorted(e.study.digest for e in found)),
        date=max(e.study.registered for e in found),
        verdict=Verdict(word=count(len(found), "run"), tone="note", sentence=f"{tally[0].upper()}{tally[1:]}.", reasons=()),
        sections=(_overview(found), _gates(found), _samples(found), _changes(found)),
        colophon=text("runs-colophon"),
    )


def label(evidence: Evidence) -> str:
    """Return the name of a run's folder."""
    return f"{evidence.study.name}-{evidence.study.digest.removeprefix('sha256:')[:8]}"


def _overview(found: Sequence[Evidence]) -> Section:
    rows = []
    for own in found:
        decision = own.decision
        recipes = listed(f"{k} {v}" for k, v in decision.per_recipe.items()) if decision else ""
        registered = own.study.registered.isoformat()
        spent = totals((own.costs or {}).values())
        cost = (duration(spent["cpu_s"]), energy(spent["energy_wh"])) if own.costs else ("none", "none")
        outcome = decision.decision if decision else "undecided"
        rows.append((label(own), registered, outcome, recipes or "none", judged.tally(own), *cost))
    titles = ("Run", "Registered", "Decision", "Recipes", "Gate results", "Processor", "Energy")
    columns = tuple(Column(title=t, short=t in ("Registered", "Decision", "Processor", "Energy")) for t in titles)
    table = Table(caption="Runs", columns=columns, rows=tuple(rows))
    return Section(name="runs", title="What they came to", blocks=(table,))


def _gates(found: Sequence[Evidence]) -> Section:
    """Return each measured quantity that has a bar somewhere, its results below one another on one scale."""
    by_metric: dict[str, list[Met]] = {}
    for own in found:
        for result in own.decision.gates if own.decision else ():
            by_metric.setdefault(result.metric, []).append((own, result))
    blocks: list[Block] = [
        Gates(title=caption(metric).title, lines=tuple(_lines(results)))
        for metric, results in by_metric.items()
    ]  # fmt: skip
    return Section(
        name="gates",
        title="Gate by gate",
        lead=text("runs-lead"),
        blocks=tuple(blocks) or (Missing(what="gates", why="No run has come to a decision."),),
    )


def _lines(results: Sequence[Met]) -> Iterator[GateLine]:
    scales = [scale for own, result in results if (scale := judged.scale_of(own, result)) is not None]
    beside = tuple(value for scale in scales for value in scale.values)
    for own, result in results:
        whose = f"{label(own)}, {result.recipe}" if result.recipe else label(own)
        yield judged.gate_line(own, result, beside).model_copy(update={"measures": whose, "reason": "", "why": ""})


def _samples(found: Sequence[Evidence]) -> Section:
    blocks: list[Block] = []
    for own in found:
        show = pictures.show_of(own)
        missing = Missing(what=f"pictures of {label(own)}", why="Its validation has left no real images to show.")
        blocks += pictures.side_by_side(own, show, label(own)) if show else [missing]
    return Section(name="pictures", title="What they look like", lead=text("pictures-lead"), blocks=tuple(blocks))


def _changes(found: Sequence[Evidence]) -> Section:
    """Return the keys in which a study differs from the one that was registered under its name before."""
    blocks: list[Block] = []
    for before, after in pairwise(found):
        if before.study.name != after.study.name:
            continue
        old, new = (dict(_flat(e.study)) for e in (before, after))
        rows = tuple((key, old.get(key, "–"), new.get(key, "–")) for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key))
        columns = (Column(title="Key"), Column(title=label(before)), Column(title=label(after)))
        blocks.append(Table(caption=f"{label(before)}, then {label(after)}", columns=columns, rows=rows, compact=True))
    why = "No two runs are of studies with one name."
    return Section(
        name="changes",
        title="How the studies differ",
        lead=text("runs-changes"),
        blocks=tuple(blocks) or (Missing(what="differences", why=why),),
    )


def _flat(study: Study) -> Iterator[tuple[str, str]]:
    """Yield the dotted keys of a study; members of lists are called by their names where they have one."""

    def walk(value: Any, path: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for key, child in value.items():
                yield from walk(child, f"{path}.{key}" if path else key)
        elif isinstance(value, list) and any(isinstance(child, dict) for child in value):
            for i, child in enumerate(value):
                name = child.get("name", i) if isinstance(child, dict) else i
                yield from walk(child, f"{path}[{name}]")
        else:
            yield path, plain(value)

    yield from walk(study.model_dump(mode="json"), "")
