"""A BIDS derivative dataset: magnetic resonance images by their contrast, masks as discrete segmentations, nobody as participant.

References
----------
Brain Imaging Data Structure 1.10: derivatives, common data types, imaging data types; Gorgolewski et al. 2016, doi:10.1038/sdata.2016.44.
"""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sciimg.errors import Problem
from sciimg.files import write_json, write_text
from sciimg.provenance.export import nifti, table
from sciimg.provenance.export.content import Content, refused, slug
from sciimg.provenance.export.folder import put
from sciimg.provenance.export.page import synthetic, uses, verifying
from sciimg.provenance.facts import urn_of
from sciimg.records import pretty_json

NAME = "bids"
VERSION = "1.10.0"
_SUFFIXES = {"t1": "T1w", "t2": "T2w", "pd": "PDw", "flair": "FLAIR", "t2star": "T2starw"}
_DESC = "synthetic"
_OTHERS = ("images.csv", "monai.json", "synthetic.json")
_LINK = "release"
_TOLD = ("scalar", "class", "text")  # conditions that a table can tell


def obstacles(content: Content) -> list[Problem]:
    """Return why this is no dataset of BIDS."""
    if content.modalities != {"mri"}:
        came = " and ".join(sorted(content.modalities))
        return [refused(NAME, "This BIDS export holds magnetic resonance images", came, "tiff, which is OME-TIFF")]
    found = nifti.obstacles(content)
    if content.axes != {"zyx"}:
        found.append(refused(NAME, "BIDS has anatomical images as volumes", f"planes ({', '.join(sorted(content.axes))})", "nifti"))
    if unknown := [c for c in content.channels if suffix_of(c) is None]:
        names = ", ".join(_SUFFIXES)
        found.append(refused(NAME, f"BIDS names images by contrast; channels are {names} (or t1w, ...)", ", ".join(unknown), "nifti"))
    elif len({suffix_of(c) for c in content.channels}) < len(content.channels):
        found.append(refused(NAME, "BIDS has one file a contrast", "two channels of the same", "nifti"))
    if content.units != {"millimeter"}:
        came = " and ".join(sorted(content.units))
        found.append(refused(NAME, "BIDS images have a spacing in millimetres", f"spacings in {came}", "nifti"))
    if len({_subject(str(row["id"])) for row in content.rows}) < len(content.rows):
        found.append(refused(NAME, "BIDS labels are letters and digits", "ids that differ in other signs alone", "nifti"))
    return found


def suffix_of(channel: str) -> str | None:
    """Return the BIDS suffix of a channel, or None."""
    return _SUFFIXES.get(re.sub(r"[^a-z0-9]", "", channel.lower().replace("*", "star")).removesuffix("w"))


def write(content: Content, out: Path) -> None:
    """Write the dataset into an empty folder."""
    rows = []
    for item in content.items():
        subject, mask = _subject(item.id), None
        files: list[str] = []
        for picture in content.pictures(item, together=False):
            suffix = suffix_of(picture.channels[0]) if picture.part == "image" else "dseg"
            stem = f"{subject}/anat/{subject}_desc-{_DESC}_{suffix}"
            put(out / f"{stem}{nifti.SUFFIX}", nifti.encode(picture))
            told = _sidecar(dict(picture.about)) | ({"SpatialReference": f"bids::{files[0]}"} if picture.part == "mask" else {})
            put(out / f"{stem}.json", pretty_json(told).encode())
            if picture.part == "mask":
                mask = f"{stem}{nifti.SUFFIX}"
            else:
                files.append(f"{stem}{nifti.SUFFIX}")
        rows.append(table.row_of(content, item, files, mask))
    write_text(out / "participants.tsv", _participants(content, rows))
    write_json(out / "participants.json", _columns(content))
    if content.label_kind == "classes" and content.classes:
        lines = ["index\tname", "0\tbackground", *(f"{i}\t{name}" for i, name in enumerate(content.classes, 1))]
        write_text(out / f"desc-{_DESC}_dseg.tsv", "\n".join(lines) + "\n")
    write_json(out / "dataset_description.json", description(content))
    write_text(out / "images.csv", table.csv_of(rows))
    write_json(out / "monai.json", table.monai_list(content, rows))
    write_json(out / "synthetic.json", content.about())
    write_text(out / ".bidsignore", "".join(f"{name}\n" for name in _OTHERS))
    write_text(out / "README.md", _page(content))


def description(content: Content) -> dict[str, Any]:
    """Return ``dataset_description.json``."""
    release = content.study.release
    urn = urn_of(release)
    return {
        "Name": f"{content.study.title} (synthetic)",
        "BIDSVersion": VERSION,
        "DatasetType": "derivative",
        "License": release.licence,
        "Authors": [release.creator],
        "HowToAcknowledge": f"Name the dataset, {content.identity}, and say that its images are synthetic.",
        "Keywords": ["synthetic data", "MRI"],
        "GeneratedBy": [
            {
                "Name": "sciimg",
                "Version": version("sciimg"),
                "Description": f"Recipe {content.decision.released} under study {content.study.digest}; exported from the signed release. "
                f"{content.verify}.",
            }
        ],
        "SourceDatasets": [{"URL": urn, "Version": release.version}],
        "DatasetLinks": {_LINK: urn},
    }


def _sidecar(about: dict[str, Any]) -> dict[str, Any]:
    source = f"bids:{_LINK}:images/{about['image']}.zarr"
    what = "Synthetic image" if about["part"] == "image" else "Mask that the synthetic image was generated for"
    told = {"Description": f"{what}, made by a trained algorithm and not acquired.", "Sources": [source], "Synthetic": about}
    return told | (
        {"SkullStripped": False} if about["part"] == "image" else {}
    )  # required; nothing here strips, what was learnt from may be


def _subject(id: str) -> str:
    return f"sub-{slug(id).replace('-', '')}"


def _participants(content: Content, rows: list[dict[str, Any]]) -> str:
    names = sorted({c.name for c in content.study.conditions if c.kind in _TOLD} & set(rows[0]))
    lines = ["\t".join(["participant_id", "image", *(slug(n).replace("-", "_") for n in names)])]
    for row in rows:
        told = ["n/a" if row[n] is None else str(row[n]) for n in names]
        lines.append("\t".join([_subject(row["id"]), row["id"], *told]))
    return "\n".join(lines) + "\n"


def _columns(content: Content) -> dict[str, Any]:
    return {
        "participant_id": {"Description": "One synthetic image; there is no person behind it."},
        "image": {"Description": f"Name of the image in the release {content.identity}."},
        **{
            slug(c.name).replace("-", "_"): {"Description": f"What the image was asked to show ({c.kind})."}
            for c in content.study.conditions
            if c.kind in _TOLD
        },
    }


def _page(content: Content) -> str:
    return f"""\
# {content.study.title}

{synthetic(content)}

A BIDS derivative: `anat/` of each subject has its images, and its mask as `dseg`. A subject is an image; there is no person behind it.
`images.csv` has a row an image, `monai.json` is the same as a data list.

{verifying(content, NAME)}

{uses(content)}
"""
