"""The table of an export, and the list that MONAI reads: one row an image, with everything that a training script asks for."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sciimg.provenance.export.content import Content, Item, slug

SPLIT = "train"  # every image of a release is for training; what is tested on is real


def row_of(content: Content, item: Item, files: Sequence[str], mask: str | None) -> dict[str, Any]:
    """Return the row of one image: ``file``, or ``file_<channel>`` where each channel has its own."""
    named = {"file": files[0]} if len(files) == 1 else {f"file_{slug(c)}": f for c, f in zip(content.channels, files, strict=True)}
    lineage = json.loads(item.row["lineage"]) if item.row["lineage"] else {}
    sizes = dict(zip(item.axes, item.pixels.shape, strict=True))
    values = dict(zip(item.axes[1:], json.loads(item.row["spacing"]), strict=True))
    own = {
        "id": item.id,
        "split": SPLIT,
        **named,
        "mask": mask or "",
        **{f"size_{a}": sizes[a] for a in item.axes[1:]},
        **{f"spacing_{a}": values[a] for a in item.axes[1:]},
        "unit": item.row["unit"],
        "channels": json.dumps(list(content.channels), ensure_ascii=False),
        "dtype": item.row["dtype"],
        "label_kind": item.row["label_kind"] or "",
        "label_max": item.row["label_max"],
        "affine_ras_mm": "" if item.affine is None else json.dumps(item.affine.tolist()),
        "group": item.row["group"],
        "recipe": lineage.get("recipe", ""),
        "seed": lineage.get("seed", ""),
        "index": lineage.get("index", ""),
        "synthetic": True,
        "sha256": item.row["sha256"],
        "digest": item.row["digest"],
    }
    return own | {f"condition_{k}" if k in own else k: v for k, v in content.conditions(item.row).items()}


def file_columns(row: Mapping[str, Any]) -> list[str]:
    """Return the columns that name the files of an image."""
    return [name for name in row if name == "file" or name.startswith("file_")]


def csv_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV (RFC 4180, line feeds); a missing value is empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def monai_list(content: Content, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a data list in the form of the Medical Segmentation Decathlon, which ``monai.data.load_decathlon_datalist`` reads."""
    entries = []
    for row in rows:
        files = [row[name] for name in file_columns(row)]
        told = {k: v for k, v in content.conditions(row).items() if k in _asked(content)}
        label = {"label": row["mask"]} if row["mask"] else {}
        entries.append({"image": files[0] if len(files) == 1 else files, **label, "id": row["id"], **told})
    classes = content.classes if content.label_kind == "classes" else ()
    labels = {"0": "background", **{str(i): name for i, name in enumerate(classes, 1)}}
    return {
        **content.about(),
        "name": content.identity,
        "description": content.study.title,
        "licence": content.study.release.licence,
        "tensorImageSize": f"{len(next(iter(content.axes)))}D",
        "modality": {str(i): name for i, name in enumerate(content.channels)},
        "labels": labels if content.label_kind == "classes" else {"0": "background", "1 and above": "objects, numbered"},
        "numTraining": len(entries),
        "numTest": 0,
        "training": entries,
        "test": [],
    }


def _asked(content: Content) -> set[str]:
    return {c.name for c in content.study.conditions if c.kind in ("scalar", "class", "text")}
