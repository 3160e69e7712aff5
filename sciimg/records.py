"""The frozen evidence that stages leave behind, and the digests that tie it together.

Every record is plain data that goes through canonical JSON unchanged; nothing here computes a result.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

Digest = str  # "sha256:" + 64 hexadecimal digits


def canonical_json(value: Any) -> bytes:
    """Return the one byte string for a JSON value: sorted keys, no spaces, UTF-8, shortest floats; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def pretty_json(value: Any) -> str:
    """Return JSON for people: sorted, indented, one trailing newline; the same value gives the same bytes."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def digest_of(value: Any) -> Digest:
    """Return the SHA-256 digest of a JSON value in canonical form."""
    return digest_bytes(canonical_json(value))


def digest_bytes(data: bytes) -> Digest:
    """Return the SHA-256 digest of bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_file(path: Path) -> Digest:
    """Return the SHA-256 digest of a file's bytes, read in bounded memory."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


class Record(BaseModel):
    """Base of all evidence: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


class Lineage(Record):
    """Where one synthetic sample comes from; enough to make the same bytes again."""

    study: Digest | None
    model: Digest
    recipe: str
    sampler: str
    steps: int
    seed: int
    index: int
    condition: dict[str, Any]
    synthetic: Literal[True] = True


class Null(Record):
    """The same metric between two real sets of the same size: what 'as good as real' looks like."""

    value: float
    ci95: tuple[float, float] | None = None


class Shortage(Record):
    """What there is too little of: a metric is undefined for this alone, and more data would define it."""

    found: int = Field(ge=1)  # nothing at all is no shortage but nothing to judge
    needed: int
    of: str  # independent units or samples, in the plural

    @model_validator(mode="after")
    def _short(self) -> Self:
        if self.needed <= self.found:
            raise ValueError(f"{self.found} {self.of} are no shortage where {self.needed} are needed.")
        return self


class TooFew(str):
    """A reason why a metric is undefined that says as data, too, how many independent units or samples are needed."""

    shortage: Shortage | None = None

    @classmethod
    def of(cls, reason: str, found: int, needed: int, what: str = "groups") -> str:
        """Return the reason; a plain one where there is nothing at all, or enough of it, so that more data are no remedy."""
        if not 0 < found < needed:
            return reason
        few = cls(reason)
        few.shortage = Shortage(found=found, needed=needed, of=what)
        return few


class Metric(Record):
    """One number with what is needed to believe it, or the reason why there is none.

    ``n`` counts independent units (subjects, fields, blocks) when ``unit_of_n`` says so, otherwise samples. ``shortage`` is there, and
    written, only where a metric is undefined for want of data.
    """

    name: str
    value: float | None
    status: Literal["ok", "undefined"] = "ok"
    reason: str = ""
    n: int | None = None
    unit_of_n: str = "samples"
    n_real: int | None = None
    n_synthetic: int | None = None
    ci95: tuple[float, float] | None = None
    null: Null | None = None
    features: str | None = None
    unit: str | None = None
    data_range: float | None = None
    higher_is_better: bool | None = None
    source: str = ""
    detail: dict[str, Any] = Field(default_factory=dict)
    shortage: Shortage | None = None

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Evidence without a shortage has the bytes that it had before there was such a field."""
        value: dict[str, Any] = handler(self)
        return value if self.shortage is not None else {k: v for k, v in value.items() if k != "shortage"}

    @model_validator(mode="after")
    def _value_or_reason(self) -> Self:
        if self.status == "ok" and (self.value is None or not math.isfinite(self.value)):
            raise ValueError(f"Metric {self.name!r} is 'ok' without a finite value; use Metric.undefined with a reason.")
        if self.status == "undefined" and (self.value is not None or not self.reason):
            raise ValueError(f"Metric {self.name!r} is 'undefined': give a reason and no value.")
        if self.status == "ok" and self.shortage is not None:
            raise ValueError(f"Metric {self.name!r} has a value: nothing was short.")
        return self

    @classmethod
    def undefined(cls, name: str, reason: str, **fields: Any) -> Self:
        """Return the outcome of a metric that cannot be computed; a reason that is :class:`TooFew` brings its shortage."""
        short = {"shortage": reason.shortage} if isinstance(reason, TooFew) else {}
        return cls(name=name, value=None, status="undefined", reason=str(reason), **(short | fields))


class Check(Record):
    """One closed-form test of the machinery: what theory says, what came out, how far apart they may be."""

    name: str
    expected: float
    got: float
    tolerance: float
    passed: bool
    source: str


class GateResult(Record):
    """A gate of the study meeting its evidence."""

    gate: str
    recipe: str | None
    metric: str
    outcome: Literal["passed", "failed", "inconclusive"]
    value: float | None
    ci95: tuple[float, float] | None
    rule: str
    reason: str


class RehearsedGate(GateResult):
    """A gate meeting real images, with what of that a study should know before it trains."""

    concern: Literal["", "failed", "undefined", "blind"]  # real images fail, there is no number, planted faults meet the bar too


class Rehearsal(Record):
    """What real images get at the gates of a study; it binds nothing. ``missing`` says why no images were judged, or nothing."""

    study: Digest
    images: str
    patches: int
    groups: int
    missing: str = ""
    gates: tuple[RehearsedGate, ...]


class Decision(Record):
    """The end of a study. ``released`` names the recipe whose samples are released, if any."""

    study: Digest
    decision: Literal["accepted", "refused", "inconclusive"]
    reasons: tuple[str, ...]
    released: str | None
    gates: tuple[GateResult, ...]
    per_recipe: dict[str, Literal["accepted", "refused", "inconclusive"]]
