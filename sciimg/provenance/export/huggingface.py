"""A Hugging Face dataset: an image folder with ``metadata.csv``, and a card that says synthetic first.

Planes are PNG, or TIFF where they are floats; volumes are NIfTI. Channels are columns, each with its files, because an image folder knows
grey and colour pictures only.

References
----------
Hugging Face Datasets, ImageFolder and NiftiFolder; Hub, dataset cards.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from sciimg.errors import Problem
from sciimg.files import write_json, write_text
from sciimg.provenance.export import nifti, png, table, tiff
from sciimg.provenance.export.content import Content, refused
from sciimg.provenance.export.folder import Format, put
from sciimg.provenance.export.page import synthetic, uses, verifying

NAME = "huggingface"
_TRAIN = "train"
_LICENCES = {"CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "CC-BY-ND-4.0", "MIT", "Apache-2.0", "BSD-3-Clause"}
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def obstacles(content: Content) -> list[Problem]:
    """Return what an image folder's decoders would not give back exactly."""
    if content.axes == {"zyx"}:
        return nifti.obstacles(content)
    found = []
    if odd := content.axes - {"yx"}:
        found.append(refused(NAME, "An image folder holds planes, or volumes", ", ".join(sorted(odd)), "tiff"))
    if content.dtypes == {np.dtype(np.float32)}:
        return found
    return found + [p for p in png.obstacles(content) if not found]


def write(content: Content, out: Path) -> None:
    """Write the dataset into an empty folder.

    ::

        train/metadata.csv   one row an image; columns ending in file_name are read as images
        train/images/ train/masks/
        monai.json  synthetic.json  README.md
    """
    volumes = content.axes == {"zyx"}
    together, rows = not volumes and png.together(content), []
    for item in content.items():
        files: dict[str, list[str]] = {"image": [], "mask": []}
        for picture in content.pictures(item, together=together):
            format: Format = nifti if volumes else png if picture.pixels.dtype.kind == "u" else tiff
            name = f"{picture.part}s/{picture.name}{format.SUFFIX}"
            put(out / _TRAIN / name, format.encode(picture))
            files[picture.part].append(name)
        rows.append(table.row_of(content, item, files["image"], next(iter(files["mask"]), None)))
    listed = [
        row | {name: f"{_TRAIN}/{row[name]}" for name in (*table.file_columns(row), *(["mask"] if row["mask"] else []))} for row in rows
    ]
    write_json(out / "monai.json", table.monai_list(content, listed))
    write_text(out / _TRAIN / "metadata.csv", table.csv_of([_named(row) for row in rows]))
    write_json(out / "synthetic.json", content.about())
    write_text(out / "README.md", card(content, [_column(name) for name in table.file_columns(rows[0])], masks=bool(rows[0]["mask"])))


def _column(name: str) -> str:
    """Return a column of files as Hugging Face calls it."""
    return "file_name" if name == "file" else f"{name.removeprefix('file_')}_file_name"


def _named(row: Mapping[str, Any]) -> dict[str, Any]:
    files = table.file_columns(row)
    first = {_column(name): row[name] for name in files} | ({"mask_file_name": row["mask"]} if row["mask"] else {})
    return first | {k: v for k, v in row.items() if k not in (*files, "mask", "split")}


def card(content: Content, columns: list[str], *, masks: bool) -> str:
    """Return the dataset card."""
    study = content.study
    known = study.release.licence in _LICENCES
    head: dict[str, Any] = {
        "license": study.release.licence.lower() if known else "other",
        **({} if known else {"license_name": study.release.licence}),
        "pretty_name": study.title,
        "tags": ["synthetic", "synthetic-data", "trainedAlgorithmicMedia", *sorted(content.modalities)],
        "task_categories": ["image-segmentation" if masks else "unconditional-image-generation"],
        "size_categories": [next((name for limit, name in _SIZES if len(content.rows) < limit), "n>1M")],
        "configs": [{"config_name": "default", "data_files": [{"split": _TRAIN, "path": f"{_TRAIN}/**"}]}],
    }
    pictures = [("image" if c == "file_name" else c.removesuffix("_file_name")) for c in columns] + (["mask"] if masks else [])
    return f"""\
---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---

# {study.title}

{synthetic(content)}

```python
from datasets import load_dataset

images = load_dataset("FOLDER", split="train")
images[0]
images.with_format("torch")[0]
```

{"Pictures" if content.axes == {"yx"} else "Volumes"}: {", ".join(f"`{p}`" for p in pictures)}, each value as it was released.
`monai.json` lists the same files for MONAI. Every image is offered for training; test on real images.

{verifying(content, NAME)}

{uses(content)}
"""
