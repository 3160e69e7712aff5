"""A BIDS derivative dataset of synthetic images, with nobody as participant: magnetic resonance images, or microscopy.

References
----------
Brain Imaging Data Structure 1.10: derivatives, common data types, imaging data types; Gorgolewski et al. 2016, doi:10.1038/sdata.2016.44;
microscopy: Bourget et al. 2022, doi:10.3389/fnins.2022.871228.
"""

from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from sciimg.errors import Problem
from sciimg.files import write_json, write_text
from sciimg.provenance.export import bids_microscopy, bids_mri, table
from sciimg.provenance.export.content import Content, refused, slug
from sciimg.provenance.export.folder import put
from sciimg.provenance.export.page import synthetic, uses, verifying
from sciimg.provenance.facts import urn_of
from sciimg.records import pretty_json

NAME = "bids"
VERSION = "1.10.0"
_OTHERS = ("images.csv", "monai.json", "synthetic.json")
_LINK = "release"
_TOLD = ("scalar", "class", "text")  # conditions that a table can tell


def obstacles(content: Content) -> list[Problem]:
    """Return why this is no dataset of BIDS."""
    if "mri" in content.modalities and len(content.modalities) > 1:
        came = " and ".join(sorted(content.modalities))
        return [refused(NAME, "One BIDS dataset here is of MRI or of microscopy", came, "tiff, which is OME-TIFF")]
    found: list[Problem] = _kind(content).obstacles(content)
    if len({_subject(str(row["id"])) for row in content.rows}) < len(content.rows):
        found.append(refused(NAME, "BIDS labels are letters and digits", "ids that differ in other signs alone", "tiff"))
    return found


def write(content: Content, out: Path) -> None:
    """Write the dataset into an empty folder."""
    kind, rows = _kind(content), []
    for item in content.items():
        files: list[str] = []
        mask = None
        for stem, picture, data, told in kind.files(content, item, _subject(item.id)):
            place = f"{stem}{kind.EXTENSION}"
            put(out / place, data)
            put(out / f"{stem}.json", pretty_json(_sidecar(dict(picture.about)) | told).encode())
            if picture.part == "mask":
                mask = place
            else:
                files.append(place)
        rows.append(table.row_of(content, item, files, mask))
    unknown = kind.beside(content, out, [_subject(row["id"]) for row in rows])
    write_text(out / "participants.tsv", _participants(content, rows))
    write_json(out / "participants.json", _columns(content))
    write_json(out / "dataset_description.json", description(content))
    write_text(out / "images.csv", table.csv_of(rows))
    write_json(out / "monai.json", table.monai_list(content, rows))
    write_json(out / "synthetic.json", content.about())
    write_text(out / ".bidsignore", "".join(f"{name}\n" for name in (*_OTHERS, *unknown)))
    write_text(out / "README.md", _page(content))


def _kind(content: Content) -> ModuleType:
    return bids_mri if "mri" in content.modalities else bids_microscopy


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
        "Keywords": ["synthetic data", _kind(content).WORD],
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
    return {"Description": f"{what}, made by a trained algorithm and not acquired.", "Sources": [source], "Synthetic": about}


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

A BIDS derivative: {_kind(content).PAGE} A subject is an image; there is no person behind it.
`images.csv` has a row an image, `monai.json` is the same as a data list.

{verifying(content, NAME)}

{uses(content)}
"""
