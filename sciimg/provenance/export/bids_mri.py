"""Magnetic resonance images as BIDS has them: volumes in ``anat/`` by their contrast, a mask as a discrete segmentation."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sciimg.errors import Problem
from sciimg.files import write_text
from sciimg.provenance.export import nifti
from sciimg.provenance.export.content import Content, Item, Picture, refused

_SUFFIXES = {"t1": "T1w", "t2": "T2w", "pd": "PDw", "flair": "FLAIR", "t2star": "T2starw"}
_DESC = "desc-synthetic"

EXTENSION = nifti.SUFFIX
WORD = "MRI"
PAGE = "`anat/` of each subject has its images, and its mask as `dseg`."


def obstacles(content: Content) -> list[Problem]:
    """Return why these are no images of BIDS."""
    found = nifti.obstacles(content)
    if content.axes != {"zyx"}:
        found.append(refused("bids", "BIDS has anatomical images as volumes", f"planes ({', '.join(sorted(content.axes))})", "nifti"))
    if unknown := [c for c in content.channels if suffix_of(c) is None]:
        names = ", ".join(_SUFFIXES)
        found.append(refused("bids", f"BIDS names images by contrast; channels are {names} (or t1w, ...)", ", ".join(unknown), "nifti"))
    elif len({suffix_of(c) for c in content.channels}) < len(content.channels):
        found.append(refused("bids", "BIDS has one file a contrast", "two channels of the same", "nifti"))
    if content.units != {"millimeter"}:
        came = " and ".join(sorted(content.units))
        found.append(refused("bids", "BIDS images have a spacing in millimetres", f"spacings in {came}", "nifti"))
    return found


def suffix_of(channel: str) -> str | None:
    """Return the BIDS suffix of a channel, or None."""
    return _SUFFIXES.get(re.sub(r"[^a-z0-9]", "", channel.lower().replace("*", "star")).removesuffix("w"))


def files(content: Content, item: Item, subject: str) -> Iterator[tuple[str, Picture, bytes, dict[str, Any]]]:
    """Yield the files of an image: path without its ending, picture, bytes, and what the sidecar needs."""
    first = None
    for picture in content.pictures(item, together=False):
        image = picture.part == "image"
        stem = f"{subject}/anat/{subject}_{_DESC}_{suffix_of(picture.channels[0]) if image else 'dseg'}"
        first = first or f"{stem}{EXTENSION}"
        told: dict[str, Any] = {"SkullStripped": False} if image else {"SpatialReference": f"bids::{first}"}
        yield stem, picture, nifti.encode(picture), told  # SkullStripped is required; nothing here strips, what was learnt from may be


def beside(content: Content, out: Path, subjects: list[str]) -> list[str]:
    """Write the files of the whole dataset that these images need; return what of the dataset BIDS does not know."""
    if content.label_kind == "classes" and content.classes:
        lines = ["index\tname", "0\tbackground", *(f"{i}\t{name}" for i, name in enumerate(content.classes, 1))]
        write_text(out / f"{_DESC}_dseg.tsv", "\n".join(lines) + "\n")
    return []
