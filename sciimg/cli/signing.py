"""Keys, signatures and their audit."""

from pathlib import Path
from typing import Annotated

import typer

from sciimg.cli.command import Debug, Json, Reply, app, command
from sciimg.errors import printable

_SHOWN = 40  # faults of an audit that people read; a script gets all


@command(app, "keygen")
def keygen(
    name: Annotated[str, typer.Option(help="Printed name of the signer.")] = "",
    out: Annotated[Path | None, typer.Option(help="Key folder; default: the user's configuration folder.")] = None,
    no_passphrase: Annotated[bool, typer.Option("--no-passphrase", help="Do not encrypt the key, and do not ask.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Make a signing key (P-256), encrypted with a passphrase that is typed, or taken from SCIIMG_KEY_PASSPHRASE.

    Whoever audits what you sign needs the file at "policy" (or the public key), by another way than the release. The key itself is yours
    alone; it is never replaced.
    """
    from sciimg.stages.sign import keygen_command

    value = keygen_command(name, out, encrypt=not no_passphrase)
    return value, "\n".join(f"{k:<12} {v}" for k, v in value.items()), 0


@command(app, "sign")
def sign(
    release: Path,
    role: Annotated[str, typer.Option(help="decision or review.")] = "review",
    meaning: Annotated[str, typer.Option(help="What the signature means, in one sentence.")] = "",
    key: Annotated[Path | None, typer.Option(help="Key file, or the folder of `keygen --out`; default: the user's own.")] = None,
    pdf: Annotated[
        bool, typer.Option("--pdf", help="Sign inside report.pdf too (PAdES) and attest the decision; before others do.")
    ] = False,
    certificate: Annotated[
        Path | None, typer.Option(metavar="PEM", help="For --pdf: of your key, with its issuers; default: your own.")
    ] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Add a signed attestation to a release."""
    from sciimg.stages.sign import sign_command

    value = sign_command(release, role, meaning, key, pdf=pdf, certificate=certificate)
    return value, f"Attestation  {value['attestation']}", 0


@command(app, "timestamp")
def timestamp(
    release: Path,
    signature: Annotated[str, typer.Argument(help="dataset, decision, review, or another file of attestations/.")] = "decision",
    tsa: Annotated[str | None, typer.Option(metavar="URL", help="The time authority to ask.")] = None,
    query: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the query here, to be carried to an authority.")] = None,
    token: Annotated[Path | None, typer.Option(metavar="FILE", help="The authority's answer to that query.")] = None,
    certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="Of the authority, with that of its issuer.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Let a time authority (RFC 3161) vouch for when a signature of a release was made."""
    from sciimg.stages.sign import timestamp_command

    value = timestamp_command(release, signature, tsa=tsa, query=query, token=token, certificate=certificate)
    return value, "\n".join(f"{k:<12} {v}" for k, v in value.items()), 0


@command(app, "audit")
def audit(
    release: Path,
    trust: Annotated[Path | None, typer.Option(help="Trust policy; default: the user's own keys.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Files may be missing: check those that are here (exit code 3).")] = False,
    payload: Annotated[str | None, typer.Option(metavar="SHA256", help="The payload digest of the release that is meant.")] = None,
    time_authority: Annotated[Path | None, typer.Option(metavar="PEM", help="Believe time tokens of this authority too.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Check a release: bytes, signature, trust policy, decision."""
    from sciimg.stages.sign import audit_command

    value, steps = audit_command(release, trust, partial=partial, payload=payload, certificate=time_authority)
    problems = [printable(f"Fault  {p['where']}: {p['message']} [{p['kind']}]") for p in value["problems"]]
    if len(problems) > _SHOWN:
        problems[_SHOWN:] = [f"... and {len(problems) - _SHOWN} more faults; --json lists all."]
    if part := value.get("partial"):
        verdict = f"{part['verified']} of {part['of']} signed files verified; the release as a whole is NOT VERIFIED"
    else:
        verdict = f"{'Verified' if value['verified'] else 'NOT VERIFIED'}: decision {value['decision']}"
    signers = [printable(f"Signed  {s['person']}, {s['role']}, {s['time']}: {s['meaning']}") for s in value["signers"] if s["meaning"]]
    return value, "\n".join([*map(printable, steps), *signers, *problems, verdict]), 0 if value["verified"] else 3 if part else 1
