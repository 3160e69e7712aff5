"""Microscopy as BIDS has it: OME-TIFF in ``micr/``, a sample each. A mask lies beside its image; BIDS has no name for it and is told so."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sciimg.errors import Problem
from sciimg.files import write_json, write_text
from sciimg.provenance.export import tiff
from sciimg.provenance.export.content import Content, Item, Picture, refused

_SUFFIXES = {"fluorescence": "FLUO", "brightfield": "BF"}
_UNITS = {"nanometer": "nm", "micrometer": "um", "millimeter": "mm"}
_SAMPLE = "sample-synthetic"
_INSTEAD = "tiff, which is OME-TIFF"
_TYPE = "technical sample"  # of the standard's words the one that names nothing that lived

EXTENSION = ".ome.tif"
WORD = "microscopy"
PAGE = "`micr/` of each subject has its image with all channels, and its mask, for which BIDS has no name in microscopy (`.bidsignore`)."


def obstacles(content: Content) -> list[Problem]:
    """Return why these are no images of BIDS."""
    found = tiff.obstacles(content)
    if unknown := content.modalities - _SUFFIXES.keys():
        rule = "BIDS tells transmission from scanning electron microscopes, and a study does not"
        found.append(refused("bids", rule, " and ".join(sorted(unknown)), _INSTEAD))
    if len(content.modalities) > 1:
        found.append(refused("bids", "One BIDS dataset here is of one modality", " and ".join(sorted(content.modalities)), _INSTEAD))
    if content.units - _UNITS.keys():
        found.append(refused("bids", "BIDS has pixels of a known size", "images without one", _INSTEAD))
    return found


def files(content: Content, item: Item, subject: str) -> Iterator[tuple[str, Picture, bytes, dict[str, Any]]]:
    """Yield the files of an image: path without its ending, picture, bytes, and what the sidecar needs."""
    (modality,) = content.modalities
    for picture in content.pictures(item, together=True):
        stem = f"{subject}/micr/{subject}_{_SAMPLE}_{_SUFFIXES[modality] if picture.part == 'image' else 'mask'}"
        size = {"PixelSize": list(picture.spacing.values[::-1]), "PixelSizeUnits": _UNITS[picture.spacing.unit]}
        yield stem, picture, tiff.encode(picture), size


def beside(content: Content, out: Path, subjects: list[str]) -> list[str]:
    """Write the files of the whole dataset that these images need; return what of the dataset BIDS does not know."""
    lines = ["sample_id\tparticipant_id\tsample_type", *(f"{_SAMPLE}\t{subject}\t{_TYPE}" for subject in subjects)]
    write_text(out / "samples.tsv", "\n".join(lines) + "\n")
    write_json(out / "samples.json", {"sample_type": {"Description": "Nothing was sampled: the image is synthetic."}})
    return ["**/micr/*_mask.*"]
