"""Whom to believe, and for what: a JSON file that travels apart from every release.

The default policy trusts the user's own keys and nothing else. An empty policy trusts nobody. A key must be valid both at the time that
the signer claims and now, because whoever holds a key can claim any time; where a time authority that the policy names has vouched for a
time, that one counts instead of now. A revoked key is refused whatever it claims.
"""

import datetime
import json
import unicodedata
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, Field, ValidationError, field_validator, model_validator

from sciimg.errors import InputError, Problem
from sciimg.files import write_json
from sciimg.provenance.dsse import Bundle
from sciimg.provenance.keys import Key, PublicKey, config_folder
from sciimg.provenance.timestamp import certificates
from sciimg.records import Record

Role = Literal["dataset", "decision", "review"]
ROLES: tuple[Role, ...] = ("dataset", "decision", "review")
UTC = datetime.UTC
CLOCKS = datetime.timedelta(hours=1)  # by which two clocks may differ


class TrustedKey(Record):
    """A public key, the person it belongs to, and what that person may sign."""

    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    public_key: str = Field(description="PEM")
    person: str
    orcid: str | None = None
    roles: tuple[Role, ...] = Field(min_length=1)
    not_before: AwareDatetime | None = None
    not_after: AwareDatetime | None = None
    revoked: str | None = Field(default=None, min_length=1, description="Why and when; a revoked key is never believed.")

    @model_validator(mode="after")
    def _id_belongs_to_key(self) -> Self:
        if self.public.id != self.key_id:
            raise ValueError(f"key_id is the SHA-256 of the PEM; expected {self.public.id}")
        return self

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.not_before and self.not_after and self.not_before > self.not_after:
            raise ValueError(f"a key is valid from a time to a later one; got {self.not_before} to {self.not_after}")
        return self

    @property
    def public(self) -> PublicKey:
        try:
            return PublicKey.from_pem(self.public_key.encode(), self.key_id)
        except InputError as error:
            raise ValueError(error.problems[0].message) from None

    @property
    def identity(self) -> str:
        """Who the person is, however the name is written: two keys of one person are one signer."""
        return self.orcid.rpartition("/")[2] if self.orcid else plain_name(self.person)

    def objection(
        self, role: Role, claimed: datetime.datetime | None, now: datetime.datetime, proved: datetime.datetime | None = None
    ) -> tuple[str, str] | None:
        """Return (kind, reason) why a signature in this role is not believed, or None."""
        if self.revoked:
            return "key-revoked", f"the key of {self.person} is revoked: {self.revoked}"
        if role not in self.roles:
            wider = ",".join(r for r in ROLES if r in (*self.roles, role))
            allowed = f"Whoever keeps the policy may allow it: `sciimg trust add POLICY KEY --roles {wider}`"
            return "role-not-allowed", f"{self.person} may sign {', '.join(self.roles)}; this signs as {role}. {allowed}"
        latest = (proved, "at the time proved") if proved else (now, "now")
        for moment, name in (latest, (claimed, "at the time claimed")):
            if moment is not None and self.not_before and moment < self.not_before:
                return "key-not-yet-valid", f"the key of {self.person} is valid from {self.not_before.isoformat()}, not {name}"
            if moment is not None and self.not_after and moment > self.not_after:
                return "key-expired", f"the key of {self.person} was valid until {self.not_after.isoformat()}, not {name}"
        if claimed is not None and claimed > latest[0] + CLOCKS:
            return "time-in-future", f"it claims to have been signed at {claimed.isoformat()}; {latest[1]} it was {latest[0].isoformat()}"
        return None


def plain_name(name: str) -> str:
    """Return a name without what differs when the same person writes it twice: case, spaces, the Unicode form of its letters."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


class TrustPolicy(Record):
    """Trusted keys and how many of them a decision needs.

    Parameters
    ----------
    threshold : int
        How many different persons must have signed the decision.
    minimum_versions : dict
        Dataset id → oldest version that is still accepted, so that an older release cannot stand in for a newer one.
    time_authorities : tuple of str
        Certificates in PEM of each authority whose time tokens are believed: the one that issued its certificate, and its own where no
        other of that issuer is meant.
    """

    sciimg_trust: Literal[1] = 1
    threshold: int = Field(default=1, ge=1)
    keys: tuple[TrustedKey, ...]
    minimum_versions: dict[str, Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]] = Field(default_factory=dict)

    time_authorities: tuple[str, ...] = ()

    @field_validator("time_authorities")
    @classmethod
    def _certificates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for pem in value:
            try:
                certificates(pem, "time_authorities")
            except InputError as error:
                raise ValueError(error.problems[0].message) from None
        return value

    @model_validator(mode="after")
    def _keys_stand_once(self) -> Self:
        if len({k.key_id for k in self.keys}) != len(self.keys):
            raise ValueError("a key stands once in a policy")
        return self

    def signer(
        self,
        bundle: Bundle,
        role: Role,
        claimed: datetime.datetime | None,
        now: datetime.datetime,
        proved: datetime.datetime | None = None,
    ) -> TrustedKey:
        """Return whose signature a bundle carries; ``proved`` is the time that a token proves, see :mod:`sciimg.provenance.timestamp`.

        Raises
        ------
        Untrusted
            If the key is unknown, the signature does not verify, or the policy does not believe this key in this role at this time.
        """
        key = next((k for k in self.keys if k.key_id == bundle.key_id), None)
        if key is None:
            message = f"It is signed by a key that the trust policy does not know ({bundle.key_id[:16]}…)."
            advice = "Get the signer's policy by another way and pass it with --trust, or refuse the release."
            raise Untrusted(Problem(bundle.where, "untrusted-key", f"{message} {advice}"))
        if not bundle.signed_by(key.public):
            message = f"The signature is not one of {key.person}'s key over this payload. Get the release again from its source."
            raise Untrusted(Problem(bundle.where, "bad-signature", message))
        if objection := key.objection(role, claimed, now, proved):
            raise Untrusted(Problem(bundle.where, objection[0], f"Not believed: {objection[1]}."))
        return key


class Untrusted(InputError):
    """A signature that the policy does not believe."""


def load_policy(path: Path) -> TrustPolicy:
    """Read a trust policy.

    Raises
    ------
    InputError
        With every fault of the file.
    """
    try:
        data = path.read_bytes()
        json.loads(data)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        message = f"A trust policy is a JSON file; this cannot be read ({why}). `sciimg keygen` writes one for your own key."
        raise InputError(Problem(str(path), "not-a-policy", message)) from None
    try:
        return TrustPolicy.model_validate_json(data)
    except ValidationError as error:
        raise InputError(
            Problem(f"{path}: {'.'.join(map(str, d['loc']))}", "bad-policy", f"{d['msg']}. Correct the policy.") for d in error.errors()
        ) from None


def write_policy(key: Key) -> Path:
    """Write a policy that trusts this key, for its owner to hand to those who audit; return its file."""
    path = key.path.with_suffix(".policy.json")
    write_json(path, TrustPolicy(keys=(entry(key.public, key.signer),)).as_json())
    return path


def own_policy() -> TrustPolicy:
    """Return the default policy: ``trust.json`` in the configuration folder where the user keeps one, otherwise the user's own keys."""
    folder = config_folder()
    if (folder / "trust.json").exists():
        return load_policy(folder / "trust.json")
    return TrustPolicy(keys=tuple(read_key(path) for path in sorted((folder / "keys").glob("*.pub"))))


def read_key(path: Path) -> TrustedKey:
    """Return the entry of a public key for every role; the person is the one named in the JSON file beside it, else the file's name."""
    try:
        public = PublicKey.from_pem(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(Problem(str(path), "no-key", f"A public key in PEM is needed here ({error.strerror}).")) from None
    try:
        person = str(json.loads(path.with_suffix(".json").read_text())["signer"])
    except (OSError, ValueError, KeyError, TypeError):
        person = path.stem
    return entry(public, person)


def entry(public: PublicKey, person: str, **more: Any) -> TrustedKey:
    """Return the entry of a key; for every role, for ever, where ``more`` does not say otherwise."""
    return TrustedKey(**{"key_id": public.id, "public_key": public.pem.decode(), "person": person, "roles": ROLES} | more)
