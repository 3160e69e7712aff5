"""Making and extending a trust policy, for the command line: the file that says whom to believe, and travels apart from every release."""

import datetime
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sciimg.errors import InputError, Problem
from sciimg.files import write_json
from sciimg.provenance.policy import ROLES, UTC, TrustedKey, TrustPolicy, load_policy, read_key


def show(path: Path) -> dict[str, Any]:
    """Return a policy as JSON."""
    return load_policy(path).as_json()


def add(
    path: Path,
    source: Path,
    *,
    person: str | None = None,
    orcid: str | None = None,
    roles: str | None = None,
    not_before: str | None = None,
    not_after: str | None = None,
) -> dict[str, Any]:
    """Add a key, or all keys of another policy, to a policy; it is made where there is none. Return the policy.

    Of a key that stands there already, what is given is changed.

    Parameters
    ----------
    path : Path
        The policy.
    source : Path
        A public key (PEM), or a policy that somebody has handed over.
    person, orcid, roles, not_before, not_after : str, optional
        Of the key; dates as YYYY-MM-DD, whole days, UTC. Not for a policy, which says them itself.

    Raises
    ------
    InputError
        If a key stands there already and nothing about it is given, or it is revoked, or anything given is wrong; the file is untouched
        then.
    """
    said = {"person": person, "orcid": orcid, "roles": _roles(roles), "not_before": _date(not_before), "not_after": _date(not_after, 1)}
    given = {k: v for k, v in said.items() if v is not None}
    policy = load_policy(path) if path.exists() else TrustPolicy(keys=())
    if _is_policy(source):
        if given:
            message = f"A policy says {', '.join(sorted(given))} of its keys itself. Leave them out, or add a public key."
            raise InputError(Problem(str(source), "says-it-itself", message))
        new = load_policy(source).keys
    else:
        if (source.parent / "dataset.sigstore.json").exists():
            message = "A key that comes with a release proves nothing about it. Get it from its owner, or where the release was announced."
            raise InputError(Problem(str(source), "key-from-release", message))
        if person is None and not source.with_suffix(".json").exists():
            message = "A policy says whose a key is: nothing beside this one does. Say it with --person, as the name is printed."
            raise InputError(Problem(str(source), "no-person", message))
        new = (_changed(read_key(source), str(source), **given),)
    known = {k.key_id: k for k in policy.keys}
    if (twice := [known[k.key_id] for k in new if k.key_id in known]) and given and not twice[0].revoked:
        changed = _changed(twice[0], str(source), **given)
        return _write(path, policy, keys=tuple(changed if k is twice[0] else k for k in policy.keys))
    if twice:
        raise InputError(Problem(k.key_id, "key-stands-already", _stands(k)) for k in twice)
    return _write(path, policy, keys=(*policy.keys, *new))


def _stands(key: TrustedKey) -> str:
    does = f"revoked: {key.revoked}. It stays so." if key.revoked else "as it is. Say what to change about it, e.g. --roles."
    return f"The key of {key.person} stands in the policy, {does}"


def revoke(path: Path, key_id: str, why: str) -> dict[str, Any]:
    """Say that a key is never to be believed again; ``key_id`` may be its first digits. Return the policy."""
    policy = load_policy(path)
    found = [k for k in policy.keys if k.key_id.startswith(key_id.lower())]
    if len(found) != 1 or len(key_id) < 4:
        listed = ", ".join(f"{k.key_id[:12]}… ({k.person})" for k in policy.keys) or "none"
        message = f"A key is named by the first digits of its id, at least 4, that no other begins with. The policy has: {listed}."
        raise InputError(Problem(key_id, "which-key", message))
    if not why.strip():
        raise InputError(Problem("--why", "no-reason", "Say why, and since when, in a few words: those who meet a refusal will read it."))
    revoked = _changed(found[0], key_id, revoked=why.strip())
    return _write(path, policy, keys=tuple(revoked if k is found[0] else k for k in policy.keys))


def change(
    path: Path, *, threshold: int | None = None, minimum_versions: Sequence[str] = (), time_authorities: Sequence[Path] = ()
) -> dict[str, Any]:
    """Change what a policy asks for beyond its keys. Return the policy.

    Parameters
    ----------
    path : Path
    threshold : int, optional
        How many persons must have signed the decision.
    minimum_versions : sequence of str
        ``DATASET=1.2.0`` each.
    time_authorities : sequence of Path
        Certificates (PEM) of an authority each, added to those that are there.
    """
    policy = load_policy(path)
    versions = dict(policy.minimum_versions)
    for text in minimum_versions:
        name, _, version = text.partition("=")
        if not name or not version:
            raise InputError(Problem("--minimum-version", "not-a-version", f"It is DATASET=VERSION, e.g. nuclei=1.2.0; got {text!r}."))
        versions[name] = version
    pems = [*policy.time_authorities, *(p for p in map(_text, time_authorities) if p not in policy.time_authorities)]
    more = {"threshold": threshold} if threshold is not None else {}
    return _write(path, policy, minimum_versions=versions, time_authorities=tuple(pems), **more)


def words(value: dict[str, Any]) -> str:
    """Return a policy for people."""
    lines = [f"{value['threshold']} of these must have signed the decision:"]
    for key in value["keys"]:
        since, until = (key[name][:10] if key[name] else "" for name in ("not_before", "not_after"))
        valid = f", valid {' '.join(w for w in (since and f'from {since}', until and f'until {until}') if w)}" if since or until else ""
        orcid = f" ({key['orcid']})" if key["orcid"] else ""
        revoked = f"  REVOKED: {key['revoked']}" if key["revoked"] else ""
        lines.append(f"  {key['key_id'][:16]}…  {key['person']}{orcid}: {', '.join(key['roles'])}{valid}{revoked}")
    lines += [f"Oldest version of {name} that is accepted: {version}" for name, version in sorted(value["minimum_versions"].items())]
    able = {key["person"] for key in value["keys"] if "decision" in key["roles"] and not key["revoked"]}
    if len(able) < value["threshold"]:
        lines.append(f"No release can pass: {value['threshold']} persons must sign the decision, and only {len(able)} may.")
    if value["time_authorities"]:
        lines.append(f"Time authorities: {len(value['time_authorities'])}")
    return "\n".join(lines)


def _write(path: Path, policy: TrustPolicy, **changes: Any) -> dict[str, Any]:
    try:
        changed = TrustPolicy.model_validate(policy.model_dump() | changes)
    except ValidationError as error:
        raise _bad(error, str(path)) from None
    write_json(path, changed.as_json())
    return changed.as_json()


def _changed(key: TrustedKey, where: str, **changes: Any) -> TrustedKey:
    try:
        return TrustedKey.model_validate(key.model_dump() | changes)
    except ValidationError as error:
        raise _bad(error, where) from None


def _bad(error: ValidationError, where: str) -> InputError:
    told = [d["msg"].removeprefix("Value error, ") for d in error.errors()]
    return InputError(Problem(where, "bad-policy", f"{message.rstrip('.')}. Nothing was written.") for message in told)


def _is_policy(path: Path) -> bool:
    try:
        return path.read_bytes().lstrip()[:1] == b"{"
    except OSError:
        return False


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        message = f"A file with certificates in PEM is needed here ({error})."
        raise InputError(Problem(str(path), "not-a-certificate", message)) from None


def _roles(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    named = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not named or set(named) - set(ROLES):
        raise InputError(Problem("--roles", "unknown-role", f"Roles are {', '.join(ROLES)}, with commas between; got {text!r}."))
    return named


def _date(text: str | None, days: int = 0) -> datetime.datetime | None:
    """Return the beginning of a day, or with ``days=1`` its last second."""
    if text is None:
        return None
    try:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            raise ValueError
        day = datetime.datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InputError(Problem("--not-before, --not-after", "not-a-date", f"A date is YYYY-MM-DD; got {text!r}.")) from None
    return day + datetime.timedelta(days=days) - datetime.timedelta(seconds=days)
