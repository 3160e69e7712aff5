"""What an export is made from: the images of an audited release, read one at a time and held against the signed catalogue."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import AuditError, InputError, Problem
from sciimg.io.image import digest_array
from sciimg.protocol import Study, parse_study
from sciimg.provenance.audit import DATASET, Audit
from sciimg.records import Decision, Digest
from sciimg.store import Collection
from sciimg.store.catalogue import COLUMNS
from sciimg.types import Spacing

_WORDS = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True)
class Picture:
    """What one file holds: some channels of an image, or its mask.

    Parameters
    ----------
    pixels : array
        Axes as ``axes`` says: ``c`` first where there are channels, then ``zyx`` or ``yx``.
    part : str
        ``"image"`` or ``"mask"``.
    affine : array, shape (4, 4), or None
        From voxel index (x, y, z, 1) to millimetres, right-anterior-superior; None where nothing says how the image lies.
    about : mapping
        The mark as JSON: what every file says of itself.
    """

    name: str
    pixels: NDArray[Any]
    axes: str
    part: str
    channels: tuple[str, ...]
    spacing: Spacing
    affine: NDArray[np.float64] | None
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Item:
    """One image of the release. ``pixels`` has the axes ``c[z]yx``, ``labels`` the same without ``c``."""

    id: str
    pixels: NDArray[Any]
    labels: NDArray[Any] | None
    axes: str
    affine: NDArray[np.float64] | None
    row: Mapping[str, Any]


@dataclass(frozen=True)
class Content:
    """The dataset of a release that was audited.

    Parameters
    ----------
    folder : Path
        ``dataset/`` of the release.
    payload : Digest
        Of the signed statement: what an audit prints and the report cites.
    """

    folder: Path
    study: Study
    decision: Decision
    payload: Digest
    signers: tuple[str, ...]

    @classmethod
    def of(cls, release: Path, audit: Audit) -> "Content":
        """Return what an audit has verified.

        Raises
        ------
        AuditError
            With the faults, where it has not.
        """
        if not audit.verified or audit.payload is None:
            raise AuditError(audit.problems)
        folder = release / DATASET
        study = parse_study((folder / "study.yaml").read_bytes(), "study.yaml").study
        decision = Decision.model_validate_json((folder / "evidence" / "decision.json").read_bytes())
        signers = tuple(dict.fromkeys(f"{s.person} ({s.key_id[:16]}…)" for s in audit.signers))
        return cls(folder, study, decision, audit.payload, signers)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The catalogue, a row an image, sorted by id; empty cells are None."""
        table = Collection(self.folder).catalogue
        return [{str(k): None if v != v else v for k, v in row.items()} for row in table.astype(object).to_dict("records")]

    @property
    def identity(self) -> str:
        """Dataset id and version, as they are signed."""
        return f"{self.study.release.dataset_id}@{self.study.release.version}"

    @property
    def modalities(self) -> set[str]:
        return {source.modality for source in self.study.sources}

    @property
    def axes(self) -> set[str]:
        """Axes of the images, without ``c``."""
        return {str(row["axes"]).replace("c", "") for row in self.rows}

    @property
    def dtypes(self) -> set[np.dtype[Any]]:
        return {np.dtype(str(row["dtype"])) for row in self.rows}

    @property
    def units(self) -> set[str]:
        return {str(row["unit"]) for row in self.rows}

    @cached_property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, which all images share.

        Raises
        ------
        InputError
            Where they do not, or where two names become one in a file name.
        """
        sets = {tuple(json.loads(row["channels"])) for row in self.rows}
        first = sorted(sets)[0]
        if len(sets) > 1 or len({slug(c) for c in first}) < len(first):
            message = f"An export has one set of channels, with names that differ as file names; these are {sorted(sets)}. Use OME-Zarr."
            raise InputError(Problem(str(self.folder), "channels", message))
        return first

    @property
    def label_kind(self) -> str | None:
        return next((str(row["label_kind"]) for row in self.rows if row["label_kind"]), None)

    @property
    def mask_dtype(self) -> np.dtype[Any]:
        """The smallest type that holds every label of the dataset, so that all masks have one type."""
        largest = max((int(row["label_max"]) for row in self.rows), default=0)
        return np.min_scalar_type(largest) if largest < 2**16 else np.dtype(np.int32)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that masks number from 1; empty where the study does not name them."""
        named = {tuple(names) for s in self.study.sources if (names := getattr(s.labels, "classes", getattr(s.labels, "values", None)))}
        return next(iter(named)) if len(named) == 1 else ()

    def items(self) -> Iterator[Item]:
        """Read the images in the order of the catalogue.

        Raises
        ------
        AuditError
            Kind ``changed``, where the pixels are not those that the signed catalogue lists: somebody writes there.
        """
        collection = Collection(self.folder)
        for row in self.rows:
            volume = collection.volume(str(row["id"]))
            pixels, labels = volume.read(), volume.read_labels()
            if digest_array(pixels) != row["sha256"]:
                message = f"The signed catalogue lists pixels with the digest {row['sha256']}; these have another. Audit the release again."
                raise AuditError(Problem(str(row["path"]), "changed", message))
            axes = volume.axes if "c" in volume.axes else f"c{volume.axes}"
            drawn = None if labels is None else labels.astype(self.mask_dtype)
            yield Item(str(row["id"]), pixels.reshape((-1, *pixels.shape[-len(axes) + 1 :])), drawn, axes, volume.affine, row)

    def pictures(self, item: Item, *, together: bool) -> Iterator[Picture]:
        """Yield the image of an item, as one picture or one a channel, and then its mask."""
        spacing = Spacing(tuple(json.loads(item.row["spacing"])), item.row["unit"])
        if together:
            about = self._mark(item, "image", self.channels)
            yield Picture(item.id, item.pixels, item.axes, "image", self.channels, spacing, item.affine, about)
        else:
            for name, pixels in zip(self.channels, item.pixels, strict=True):
                mark = self._mark(item, "image", (name,))
                called = item.id if len(self.channels) == 1 else f"{item.id}_{slug(name)}"
                yield Picture(called, pixels, item.axes[1:], "image", (name,), spacing, item.affine, mark)
        if item.labels is not None:
            mark = self._mark(item, "mask", ())
            yield Picture(item.id, item.labels, item.axes[1:], "mask", (), spacing, item.affine, mark)

    # ------------------------------------------------------------ what every file and folder says of itself

    def about(self) -> dict[str, Any]:
        """Return what the whole export says of itself, as JSON."""
        release = self.study.release
        return {
            "synthetic": True,
            "digital_source_type": SOURCE_TYPE,
            "dataset": self.identity,
            "payload": self.payload,
            "study": self.study.digest,
            "decision": self.decision.decision,
            "recipe": self.decision.released,
            "signed_by": list(self.signers),
            "licence": release.licence,
            "creator": release.creator,
            "software": f"sciimg {version('sciimg')}",
            "verify": self.verify,
        }

    @property
    def verify(self) -> str:
        """How to find out whether this is true, in one line."""
        return f"sciimg audit RELEASE --trust POLICY; RELEASE is {self.identity} and its payload {self.payload}"

    def _mark(self, item: Item, part: str, channels: tuple[str, ...]) -> dict[str, Any]:
        return {
            "synthetic": True,
            "digital_source_type": SOURCE_TYPE,
            "dataset": self.identity,
            "image": item.id,
            "part": part,
            "channels": list(channels),
            "content_digest": item.row["digest"],
            "payload": self.payload,
            "study": self.study.digest,
            "registered": self.study.registered.isoformat(),
            "recipe": self.decision.released,
            "spacing": json.loads(item.row["spacing"]),
            "unit": item.row["unit"],
            "affine_ras_mm": None if item.affine is None else item.affine.tolist(),
            "licence": self.study.release.licence,
            "creator": self.study.release.creator,
            "verify": self.verify,
        }

    def conditions(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an image was asked to show, and every further column of its own."""
        return {k: v for k, v in row.items() if k not in COLUMNS}


SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def slug(text: str) -> str:
    """Return a text as part of a file name: a-z, 0-9 and dashes."""
    return _WORDS.sub("-", text.lower()).strip("-") or "x"


def sentence(about: Mapping[str, Any]) -> str:
    """Return the mark in words."""
    what = "Synthetic image" if about["part"] == "image" else "Mask of a synthetic image"
    return f"{what}, made by a trained algorithm and not acquired: {about['image']} of {about['dataset']}. Verify: {about['verify']}."


def refused(format: str, rule: str, came: str, instead: str) -> Problem:
    """Return why a format cannot hold what is there."""
    return Problem(f"--format {format}", "cannot-hold", f"{rule}; here are {came}. Nothing is converted to fit: choose {instead}.")
