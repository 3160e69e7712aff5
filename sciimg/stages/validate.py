"""Judge one synthetic collection by a study's checks: every metric, with its reason where there is no number, and the report's pictures.

evidence.json   {"metrics": [...]}
gallery.npz     see :mod:`sciimg.validation.gallery`
parts/          what is done so far; a killed stage goes on with the next part
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem
from sciimg.files import write_json
from sciimg.protocol.models import Study
from sciimg.records import Metric, digest_file, digest_of
from sciimg.stages.baseline import ENCODER, EVIDENCE, SEGMENTER, baseline, baseline_parts
from sciimg.stages.judging.case import Case, Found
from sciimg.stages.judging.conditions import conditions, fidelity, inception
from sciimg.stages.judging.copies import copies, membership
from sciimg.stages.judging.downstream import downstream
from sciimg.stages.judging.likeness import likeness
from sciimg.stages.judging.pairs import pairs, watermark
from sciimg.stages.judging.physics import physics
from sciimg.stages.judging.pictures import pictures, worst
from sciimg.stages.judging.subgroups import subgroups
from sciimg.stages.parts import CATALOGUE, Parts, file_keys
from sciimg.types import Spacing
from sciimg.validation import gallery
from sciimg.validation.material import real_data, refuse_small
from sciimg.workers import open_workers

GALLERY = "gallery.npz"


def validate(
    study: Study,
    *,
    real: Path,
    regions: Path | None,
    synthetic: Path,
    paired: Path | None = None,
    reconstruction: Path | None = None,
    unmarked: Path | None = None,
    made_baseline: Path | None = None,
    train: Path | None = None,
    folder: Path = Path(),
    out: Path,
    key: tuple[str, ...] = (),
) -> list[Metric]:
    """Judge a synthetic collection and write ``evidence.json`` and ``gallery.npz``.

    Parameters
    ----------
    real : Path
        Collection of real images.
    regions : Path or None
        ``regions.parquet`` of the split; without it REAL is all holdout.
    synthetic : Path
        The collection to judge, whoever made it.
    paired : Path, optional
        Samples made for conditions of the holdout, with columns ``real_image`` and ``real_origin``.
    reconstruction : Path, optional
        What an autoencoder keeps of holdout patches, with the same columns.
    unmarked : Path, optional
        The first of the synthetic images before their watermark.
    made_baseline : Path, optional
        Folder of :func:`sciimg.stages.baseline.baseline`; made inside ``out`` where it is not given.
    train : Path, optional
        Collection of real training images, where they are not part of ``real``.
    folder : Path
        What the path of ``validation.weights`` is relative to: that of the study file.
    out : Path
        Folder to fill; parts of an interrupted attempt are kept.
    key : tuple of str
        What draws depend on beside the study: the fold, where ``regions`` are not the split of the study.

    Raises
    ------
    InputError
        Kind ``too-small`` where real or synthetic images are smaller than a patch, and those of the weights.
    """
    import pandas as pd

    weights = checked_weights(study, folder)
    refuse_small(study, synthetic)
    base = made_baseline or out / "baseline"
    if made_baseline is None:
        baseline(study, real=real, regions=regions, train=train, out=base, key=key)
    collections = (real, synthetic, paired, reconstruction, unmarked, train)
    files = file_keys(
        *(None if c is None else c / CATALOGUE for c in collections), regions, base / EVIDENCE, base / SEGMENTER, base / ENCODER
    )
    parts = Parts(out, digest_of([study.digest, files]))
    table = None if regions is None else pd.read_parquet(regions)
    kept = baseline_parts(study, real=real, regions=regions, train=train, folder=base)
    opened = real_data(study, real, table, train=train, key=key)
    with open_workers() as workers:
        case = Case(study, opened, synthetic, paired, reconstruction, unmarked, base, weights, kept, parts, workers)
        metrics = [metric for name, compute in _plan(case) for metric in parts.metrics(name, compute)]
    _no_name_twice(metrics)
    write_json(out / EVIDENCE, {"metrics": [m.as_json() for m in metrics]})
    gallery.write_arrays(out / GALLERY, parts.arrays)
    return metrics


def validate_command(study: Path, real: Path, synthetic: Path, train: Path | None, out: Path) -> dict[str, Any]:
    """Judge images from the command line; return metrics, what was left out, and gates and decision where the study only judges.

    Parameters
    ----------
    real, synthetic, train : Path
        Collections, or anything that ingest reads; files are taken as they are, without the preparation that the study's sources get.

    Raises
    ------
    InputError
        Faults of the study, and whatever reading the images raises: a file that cannot be read is left out, but not all of them.
    """
    from sciimg.decision import judged
    from sciimg.protocol import load_study

    loaded = load_study(study, judging=True)
    rejected: list[dict[str, Any]] = []
    try:
        read = {
            name: _collection(path, out / "read" / name, loaded.study, rejected)
            for name, path in (("real", real), ("synthetic", synthetic), ("train", train))
        }
        assert read["real"] is not None and read["synthetic"] is not None
        metrics = validate(
            loaded.study, real=read["real"], regions=None, synthetic=read["synthetic"], train=read["train"], folder=loaded.folder, out=out
        )
    except InputError:
        _forget(out, {name: path for name, path in (("real", real), ("synthetic", synthetic), ("train", train)) if path is not None})
        raise
    value: dict[str, Any] = {"metrics": [m.as_json() for m in metrics], "rejected": rejected}
    if loaded.only_judges:
        decision, gates = judged(loaded.study, metrics)
        value |= {"gates": [g.as_json() for g in gates], "decision": decision}
    return value


def _collection(path: Path | None, place: Path, study: Study, rejected: list[dict[str, Any]]) -> Path | None:
    """Return a collection as it is, and files as a collection made at ``place``, with the spacing of the study where they say none.

    Files that cannot be read are added to ``rejected``.
    """
    from sciimg.stages.ingest import ingest_files

    if path is None or (path / CATALOGUE).exists():
        return path
    if place.exists():  # of an earlier call; the files may have changed since
        shutil.rmtree(place)
    source = study.sources[0]
    known = Spacing(source.spacing, source.unit) if source.spacing and source.unit else None
    place.parent.mkdir(parents=True, exist_ok=True)
    rejected += ingest_files([path], place, spacing=known, keep_names=source.names == "kept")["rejected"]
    return place


def _forget(out: Path, given: dict[str, Path]) -> None:
    """Remove the pixels read for a call that was refused before anything was judged, and nothing that this call has not made.

    The private look-up stays: it says which file an id in the message is.
    """
    if not out.is_dir() or {p.name for p in out.iterdir()} != {"read"}:
        return
    for name, path in given.items():
        if not (path / CATALOGUE).exists():  # a collection was taken as it is, wherever it lies
            shutil.rmtree(out / "read" / name, ignore_errors=True)


def checked_weights(study: Study, folder: Path) -> Path | None:
    """Return the file of the user's network, if it is the one that the study names."""
    asked = study.validation.weights
    if asked is None:
        return None
    path, place = folder / asked.path, "validation.weights"
    if not path.is_file():
        raise InputError(Problem(place, "not-found", f"The weights are a file; there is none at {asked.path}, relative to the study file."))
    if (came := digest_file(path).removeprefix("sha256:")) != asked.sha256:
        message = f"The file has the SHA-256 that the study registers, {asked.sha256}; {asked.path} has {came}. Use the registered file."
        raise InputError(Problem(place, "other-weights", message))
    return path


def _no_name_twice(metrics: list[Metric]) -> None:
    names = [m.name for m in metrics]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise AssertionError(f"Metrics carry one name each; twice: {', '.join(twice)}")


def _plan(case: Case) -> list[tuple[str, Callable[[], Found]]]:
    """Return the parts in the order in which they are made."""
    asked = case.study.validation
    parts: dict[str, Callable[[Case], Found]] = {
        "pictures": pictures,
        "worst": worst,
        "likeness": likeness,
        "copies": copies,
        "membership": membership,
        **{f"physics-{name}": partial(physics, name=name) for name in asked.physics},
        "fidelity": fidelity,
        "conditions": conditions,
        "inception": inception,
        "pairs": pairs,
        "downstream": downstream,
        **({"watermark": watermark} if case.study.release.watermark else {}),
        **{f"subgroups-{i}": partial(subgroups, column=column) for i, column in enumerate(asked.subgroups or ())},
    }
    return [(name, partial(part, case)) for name, part in parts.items()]
