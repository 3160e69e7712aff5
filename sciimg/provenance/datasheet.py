"""``DATASHEET.md``: the questions of Gebru et al. 2021, answered from the study and the decision, not by hand.

References
----------
Gebru et al. 2021, Datasheets for Datasets, Communications of the ACM 64(12), doi:10.1145/3458723.
"""

from collections.abc import Iterable

from sciimg.protocol.data import Source, SplitByBlocks
from sciimg.provenance.facts import Facts

NAME = "DATASHEET.md"


def datasheet(facts: Facts) -> str:
    """Return the page."""
    study = facts.study
    parts = [
        f"# {study.title}",
        facts.summary,
        _facts(facts),
        "## Verdict",
        f"**{facts.decision.decision.capitalize()}.**",
        bullets(facts.decision.reasons),
        _gates(facts),
        "## Motivation",
        f"Question of the study: {line(study.question)}",
        f"Context of use: {line(study.context_of_use)}",
        "## Composition",
        _composition(facts),
        "## Collection and preprocessing",
        "Real images that the synthetic ones were learnt from, and that are not part of this dataset:",
        bullets(source_line(s) for s in study.sources),
        split_line(facts),
        _removed(facts),
        "## Uses",
        "Excluded:",
        bullets(map(line, study.excluded_uses)),
        "What the data cannot support, said before any result:",
        bullets(map(line, study.limits)),
        "## Distribution and maintenance",
        f"Licence of this dataset: {study.release.licence}. Licences of the sources are named above. A correction is a new version with a "
        "signature of its own; the bytes of a version never change. `CHECKING.md` says how to check them.",
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def _facts(facts: Facts) -> str:
    study = facts.study
    rows = {
        "Dataset": facts.identity,
        "Creator": study.release.creator,
        "Study": f"{study.name}, registered {study.registered.isoformat()}",
        "Study digest": f"`{study.digest}`",
        **{f"Model {recipe}": f"`{digest}`" for recipe, digest in facts.model_digests.items()},
        "Inputs left out as unreadable or contradictory": str(facts.rejected),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {cell(k)} | {cell(v)} |" for k, v in rows.items())])


def _gates(facts: Facts) -> str:
    why = {gate.name: gate.why for gate in facts.study.gates}
    rows = [(r.outcome, r.gate, r.recipe or "all", r.rule, r.reason, why.get(r.gate, "")) for r in facts.decision.gates]
    head = ["| Outcome | Gate | Recipe | Rule | What came | Why the bar stands there |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(map(cell, row))} |" for row in rows)]) if rows else "The study has no gate."


def _composition(facts: Facts) -> str:
    study = facts.study
    if not facts.images:
        return f"No images: a study that is {facts.decision.decision} releases none. The evidence is in `evidence/`."
    conditions = ", ".join(f"{c.name} ({c.kind})" for c in study.conditions) or "nothing"
    shape = " x ".join(map(str, study.patches.shape))
    mark = study.release.watermark
    marked = (
        f"A pattern of {mark.alpha:.0%} of the local noise in each image, put in before the images were judged, tells where they come from."
        if mark
        else ""
    )
    return line(f"""
        {facts.images} synthetic images of {shape} pixels as OME-Zarr 0.5, each with the label image it was generated for (if any).
        Generated given: {conditions}. Masks, source images and scalars are drawn from the training part and perturbed.
        `catalogue.parquet` has one row an image with its condition and its lineage: study, model, sampler, seed and index make the same
        bytes again. Every image is marked synthetic. How close samples come to training images is judged where the study has a gate for it.
        {marked}
    """)


def source_line(source: Source) -> str:
    """Return what a source is, whose it is and what was done to it."""
    steps = ", ".join(step.kind for step in source.prepare) or "none"
    labels = source.labels.kind if source.labels else "none"
    origin = f"**{source.name}** ({source.modality}): {line(source.citation)} Licence: {source.licence}."
    return f"{origin} Preparation: {steps}. Labels: {labels}."


def split_line(facts: Facts) -> str:
    """Return how the parts of the data were kept apart."""
    split = facts.study.split
    held = f"{split.calibration:.0%} calibration, {split.holdout:.0%} holdout, the rest for training"
    if isinstance(split, SplitByBlocks):
        return f"Split by {split.unit}: strips along {split.axis} with a guard gap of {split.guard_px} pixels; {held}."
    return f"Split by {split.unit} (column `{split.column}`), whole groups in one part; {held}."


def _removed(facts: Facts) -> str:
    """Return what the real images' files said that no image keeps."""
    if not facts.removed:
        return ""
    rows = [f"| {cell(name)} | {images} |" for name, images in facts.removed.items()]
    said = "Elements of the files' headers that were left behind at ingest, without the values, and how many images had them:"
    return "\n".join([said, "", "| Element | Images |", "|---|---|", *rows])


def bullets(items: Iterable[str]) -> str:
    """Return a Markdown list."""
    return "\n".join(f"- {item}" for item in items)


def line(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """Return a text that a Markdown table can hold."""
    return line(text).replace("|", "\\|")
