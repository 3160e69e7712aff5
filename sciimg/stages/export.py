"""Hand a release out in the format that somebody works with: audited first, written beside its place, renamed when it is whole."""

from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem, RefusedError

FORMATS = ("png", "tiff", "nifti", "dicom", "bids", "huggingface")


def export_command(release: Path, out: Path, format: str, trust: Path | None) -> dict[str, Any]:
    """Export a release; return what was written.

    Parameters
    ----------
    format : str
        One of :data:`FORMATS`.
    trust : Path, optional
        Trust policy of the audit; default: the user's own keys.

    Raises
    ------
    AuditError
        With the faults, when the release does not verify; nothing is written.
    RefusedError
        When the study was refused or inconclusive: its release has no images.
    InputError
        Kinds ``unknown-format``, ``not-found``, ``exists``, ``inside-release``, ``cannot-hold``.
    """
    from sciimg.files import new_folder
    from sciimg.provenance.audit import audit
    from sciimg.provenance.export import bids, dicom, folder, huggingface, nifti, png, tiff
    from sciimg.provenance.export.content import Content
    from sciimg.provenance.policy import load_policy

    _check_words(release, out, format)
    content = Content.of(release, audit(release, load_policy(trust) if trust else None))
    if content.decision.decision != "accepted":
        message = f"Only accepted studies release images; this one is {content.decision.decision}, and its release holds evidence alone."
        raise RefusedError(Problem(str(release), "no-images", f"{message} There is nothing to export."))
    plain: dict[str, folder.Format] = {f.NAME: f for f in (png, tiff, nifti, dicom)}
    layout = {"bids": bids, "huggingface": huggingface}.get(format)
    if problems := (plain[format] if layout is None else layout).obstacles(content):
        raise InputError(problems)
    with new_folder(out) as place:
        if layout is None:
            folder.write(content, plain[format], place)
        else:
            layout.write(content, place)
    files = [p for p in sorted(out.rglob("*")) if p.is_file()]
    return {
        "out": str(out),
        "format": format,
        "dataset": content.identity,
        "payload": content.payload,
        "images": len(content.rows),
        "files": len(files),
        "bytes": sum(p.stat().st_size for p in files),
    }


def _check_words(release: Path, out: Path, format: str) -> None:
    problems = []
    if format not in FORMATS:
        problems.append(Problem("--format", "unknown-format", f"Formats are {', '.join(FORMATS)}; got {format!r}."))
    if not release.is_dir():
        message = "There is no such folder. Name a release, e.g. runs/STUDY-DIGEST/release/release."
        problems.append(Problem(str(release), "not-found", message))
    if out.exists():
        message = "An export is written to a new folder; there is something here already. Choose another name or remove it."
        problems.append(Problem(str(out), "exists", message))
    if out.resolve().is_relative_to(release.resolve()):
        message = "An export lies outside the release, which holds nothing that was not signed. Choose another folder."
        problems.append(Problem(str(out), "inside-release", message))
    if problems:
        raise InputError(problems)
