"""Describe any path that the product reads or makes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sciimg.errors import InputError, Problem


def verify(path: Path) -> list[Problem]:
    """Read every pixel of a collection or an OME-Zarr image again and return what does not agree with its digests.

    Raises
    ------
    InputError
        For anything that keeps no digests.
    """
    from sciimg.store import Collection, Volume

    if (path / "collection.json").exists():
        return Collection(path).verify()
    volume = Volume(path) if (path / "zarr.json").exists() else None
    if volume is None or volume.digest is None:
        message = "Only collections and images that sciimg wrote keep digests of their pixels. Audit a release with `sciimg audit`."
        raise InputError(Problem(str(path), "no-digest", message))
    now = volume.measured_digest()
    if now == volume.digest:
        return []
    message = f"Pixels and metadata must have the digest {volume.digest}; they have {now}. Restore the image or ingest it again."
    return [Problem(str(path), "changed", message)]


def rebuild(path: Path) -> None:
    """Write the catalogue of a collection anew from what its images say of themselves."""
    from sciimg.store import Collection

    Collection(path).rebuild_catalogue()


def describe(path: Path) -> dict[str, Any]:
    """Return what a path holds: image, collection, model, run or release; the key ``kind`` says which.

    Raises
    ------
    InputError
        Where there is nothing, or nothing that is known.
    """
    if not path.exists():
        raise InputError(Problem(str(path), "not-found", "There is nothing here. Check the path."))
    for name, describer in (
        ("collection.json", _collection),
        ("model.json", _model),
        ("run.json", _run),
        ("dataset.sigstore.json", _release),
    ):
        if (path / name).exists():
            return describer(path)
    if (path / "release" / "dataset.sigstore.json").exists():
        return _release(path / "release")
    if (path / "zarr.json").exists() and "sciimg" in json.loads((path / "zarr.json").read_text()).get("attributes", {}):
        return _volume(path)
    return _image(path)


def table(value: dict[str, Any]) -> str:
    """Return what :func:`describe` says as a table for people; nothing for what has none."""
    if value["kind"] != "run":
        return ""
    from sciimg.stages.standing import table

    return table(value)


_LISTS = ("shape", "spacing", "channels")  # written as JSON in the catalogue


def _collection(path: Path) -> dict[str, Any]:
    from sciimg.store import Collection

    collection = Collection(path)
    core = collection.columns("axes", "shape", "dtype", "spacing", "unit", "channels").drop_duplicates()
    return {
        "kind": "collection",
        "path": str(path),
        "images": len(collection),
        "groups": len(collection.select().values("group")),
        "synthetic": collection.synthetic,
        "study": collection.study,
        "digest": collection.digest,
        "shapes": [{k: json.loads(v) if k in _LISTS else v for k, v in row.items()} for row in core.head(20).to_dict("records")],
        "labels": sorted(collection.columns("label_kind")["label_kind"].dropna().unique()),
        "columns": collection.select().columns,
        "rejected": collection.rejected,
    }


def selected(path: Path, where: Sequence[str], sample: int = 0) -> dict[str, Any]:
    """Return how many images of a collection fulfil conditions, and the names of some, of a collection of any size within seconds.

    Parameters
    ----------
    where : sequence of str
        As in :class:`sciimg.store.select.Selection`.
    sample : int
        How many to name, drawn at random, and always the same.

    Raises
    ------
    InputError
        Kinds ``not-a-collection``, ``unknown-column``, ``bad-condition``.
    """
    from sciimg.store import Collection

    rows = Collection(path).select(*where)
    named = [str(id) for id in rows.sample(sample, ("info", *where), ["id"])["id"]] if sample else []
    return {"where": list(where), "images": len(rows), "groups": len(rows.values("group")), "sample": named}


def _volume(path: Path) -> dict[str, Any]:
    from sciimg.store import Volume

    volume = Volume(path)
    return {
        "kind": "image",
        "path": str(path),
        "format": "OME-Zarr 0.5",
        "axes": volume.axes,
        "shape": list(volume.shape),
        "dtype": str(volume.dtype),
        "spacing": None if volume.spacing is None else list(volume.spacing.values),
        "unit": None if volume.spacing is None else volume.spacing.unit,
        "channels": [c.name for c in volume.channels],
        "labels": volume.label_kind,
        "acquisition": volume.acquisition,
        "synthetic": bool(volume.attributes.get("synthetic")),
        "digest": volume.digest,
    }


def _image(path: Path) -> dict[str, Any]:
    from sciimg.io.labels import PIXELS
    from sciimg.io.open import open_image

    image = open_image(path, spacing=PIXELS)  # to be described, an image need not know its size
    known = image.spacing if image.spacing is not None and image.spacing.unit != "pixel" else None
    return {
        "kind": "image",
        "path": str(path),
        "axes": image.axes,
        "shape": list(image.shape),
        "dtype": str(image.dtype),
        "spacing": None if known is None else list(known.values),
        "unit": None if known is None else known.unit,
        "channels": [c.name for c in image.channels],
        "acquisition": dict(image.acquisition),
        "sha256": image.sha256,
        "problems": [p.as_dict() for p in image.problems],
    }


def _model(path: Path) -> dict[str, Any]:
    about = json.loads((path / "model.json").read_text())
    times = path / "training.json"
    return {"kind": "model", "path": str(path), **about} | ({"training": json.loads(times.read_text())} if times.exists() else {})


def _run(path: Path) -> dict[str, Any]:
    from sciimg.report.costs import processor_hours, totals
    from sciimg.stages.ledger import Run
    from sciimg.stages.standing import standing

    run = Run(path)
    stages = standing(run)
    known = {s["stage"]: s for s in stages if "wall_s" in s}
    decision = run.folder("decide") / "decision.json"
    return {
        "kind": "run",
        "path": str(path),
        "study": run.loaded.study.name,
        "digest": run.loaded.study.digest,
        "decision": json.loads(decision.read_text())["decision"] if decision.exists() else None,
        "stages": stages,
        "totals": totals(known.values()),
        "processor_hours": processor_hours(known),
    }


def _release(path: Path) -> dict[str, Any]:
    from sciimg.protocol import load_study

    study = load_study(path / "dataset" / "study.yaml").study
    decision = json.loads((path / "dataset" / "evidence" / "decision.json").read_text())
    return {
        "kind": "release",
        "path": str(path),
        "dataset": study.release.dataset_id,
        "version": study.release.version,
        "study": study.digest,
        "decision": decision["decision"],
        "reasons": decision["reasons"],
        "images": len(list((path / "dataset" / "images").glob("*.zarr"))) if (path / "dataset" / "images").exists() else 0,
    }
