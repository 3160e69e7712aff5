"""What is being audited, what has been seen of it so far, and what the audit comes to."""

import datetime
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sciimg.errors import AuditError, Problem
from sciimg.protocol import Study
from sciimg.provenance.attest import Attestation
from sciimg.provenance.dsse import Bundle
from sciimg.provenance.policy import TrustPolicy
from sciimg.provenance.timestamp import Stamp
from sciimg.records import Decision, Digest

DATASET = "dataset"
T = TypeVar("T")


@dataclass(frozen=True)
class Signer:
    """Whose signature was believed, for what."""

    person: str
    role: str
    key_id: str
    time: str | None = None
    meaning: str | None = None
    proved: Stamp | None = None

    def as_dict(self) -> dict[str, Any]:
        said = {"person": self.person, "role": self.role, "key_id": self.key_id, "time": self.time, "meaning": self.meaning}
        if self.proved is None:
            return said
        return said | {"time_proved": {"time": written(self.proved.time), "authority": self.proved.authority}}


@dataclass
class Audit:
    """What an audit came to. ``decision`` is None unless everything was verified.

    ``present`` says how many of the signed files are there and as signed, and how many were signed.
    """

    steps: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    signers: list[Signer] = field(default_factory=list)
    decision: str | None = None
    payload: Digest | None = None
    present: tuple[int, int] | None = None
    unchecked: int = 0

    @property
    def verified(self) -> bool:
        whole = self.present is not None and self.present[0] == self.present[1]
        return whole and not self.problems and not self.unchecked and self.decision is not None

    @property
    def partly(self) -> bool:
        """Whether a part was asked for and is sound, and more was signed than is there."""
        return not self.verified and not self.problems and self.present is not None

    def as_json(self) -> dict[str, Any]:
        return {
            "verified": self.verified,
            "decision": self.decision if self.verified else None,
            "signers": [s.as_dict() for s in self.signers],
            "problems": [p.as_dict() for p in self.problems],
            **({"partial": dict(zip(("verified", "of"), self.present, strict=True))} if self.partly and self.present else {}),
        }


class NotCheckedError(Exception):
    """A step that cannot be made, and why."""

    def __init__(self, why: str = "an earlier step has failed") -> None:
        super().__init__(why)


@dataclass
class Case:
    release: Path
    policy: TrustPolicy
    now: datetime.datetime
    partial: bool = False
    payload: Digest | None = None
    bundle: Bundle | None = None
    digests: dict[str, str] | None = None
    absent: frozenset[str] = frozenset()  # signed, and not in this part of a release
    intact: bool = False
    study: Study | None = None
    attestations: list[Attestation] | None = None
    decision: Decision | None = None

    def signed(self, name: str) -> bytes:
        """Return the bytes of a file of the dataset, exactly as signed."""
        digests = need(self.digests)
        if not self.intact:
            raise NotCheckedError
        if name not in digests:
            raise AuditError(Problem(f"{DATASET}/{name}", "missing", "A dataset has this file; it was never signed. Refuse the release."))
        if name in self.absent:
            raise NotCheckedError(f"{DATASET}/{name} is not in this part")
        data = (self.release / DATASET / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != digests[name]:
            raise AuditError(Problem(f"{DATASET}/{name}", "changed", "Its bytes changed during the audit. Stop whatever writes there."))
        return data


Outcome = tuple[str, list[Problem]]  # what was seen, what is wrong


def need(value: T | None) -> T:
    if value is None:
        raise NotCheckedError
    return value


def proof(stamp: Stamp | None) -> str:
    return f" (before {written(stamp.time)}, says {stamp.authority})" if stamp else ""


def written(time: datetime.datetime) -> str:
    return f"{time.astimezone(datetime.UTC):%Y-%m-%dT%H:%M:%SZ}"
