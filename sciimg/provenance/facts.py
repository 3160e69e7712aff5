"""What a dataset's descriptions are written from: one frozen value, so that RO-Crate, Croissant and datasheet cannot disagree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sciimg.protocol import Study
from sciimg.protocol.models import ReleasePlan
from sciimg.records import Decision, Digest, Metric

SOFTWARE = "urn:x-sciimg:software"
_SPDX = {"CC0-1.0", "PDDL-1.0", "ODbL-1.0", "MIT", "BSD-3-Clause", "Apache-2.0"} | {
    f"CC-{terms}-{version}" for terms in ("BY", "BY-SA", "BY-NC", "BY-NC-SA", "BY-ND") for version in ("3.0", "4.0")
}


@dataclass(frozen=True)
class File:
    """A file of the dataset: size in bytes and SHA-256 in hexadecimal."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Facts:
    """A dataset that is about to be described.

    Parameters
    ----------
    files : mapping
        Every file outside ``images/`` that is there already, by name.
    images, image_bytes : int
        Number of images, and of bytes under ``images/``.
    columns : mapping
        Catalogue column → Croissant data type; empty when there is no catalogue.
    stages : mapping
        Stage → digests of what it was given and of what it made.
    environment : mapping
        Interpreter, platform and library versions.
    rejected : int
        Number of inputs that were left out.
    removed : mapping
        Element of a header that was left behind at ingest → number of images whose files had it.
    metrics : mapping
        Recipe → what was measured of it; under the empty name what was measured of the whole study.
    """

    study: Study
    decision: Decision
    files: Mapping[str, File]
    images: int
    image_bytes: int
    columns: Mapping[str, str]
    stages: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, str]
    rejected: int
    removed: Mapping[str, int] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[Metric]] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Dataset id and version, as they are signed."""
        return f"{self.study.release.dataset_id}@{self.study.release.version}"

    @property
    def urn(self) -> str:
        return urn_of(self.study.release)

    @property
    def model_digests(self) -> dict[str, Digest]:
        """Trained model by recipe, as the digest of the training stage's outputs."""
        return {n.removeprefix("train-"): s["outputs"]["digest"] for n, s in self.stages.items() if n.startswith("train-")}

    @property
    def summary(self) -> str:
        """One sentence that can be read alone."""
        study = self.study
        if self.decision.decision == "accepted":
            return (
                f"{self.images} synthetic images, made by recipe {self.decision.released!r} under the study {study.name!r}: {study.title}."
            )
        return f"No images, only evidence and decision: the study {study.name!r} ({study.title}) was {self.decision.decision}."


def urn_of(release: ReleasePlan) -> str:
    """Return the name by which documents refer to a dataset."""
    return f"urn:x-sciimg:dataset:{release.dataset_id}:{release.version}"


def licence_url(name: str) -> str | None:
    """Return the SPDX page of a licence that is named by its SPDX identifier, or None."""
    return f"https://spdx.org/licenses/{name}" if name in _SPDX else None
