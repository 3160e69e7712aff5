"""Whose signatures an audit believes."""

from pathlib import Path
from typing import Annotated

import typer

from sciimg.cli.command import Debug, Json, Reply, command, trust_app

Policy = Annotated[Path, typer.Argument(metavar="POLICY", help="The trust policy, a JSON file.")]


@command(trust_app, "show")
def trust_show(policy: Policy, json_: Json = False, debug: Debug = False) -> Reply:
    """Print a policy."""
    from sciimg.stages import trust

    value = trust.show(policy)
    return value, trust.words(value), 0


@command(trust_app, "add")
def trust_add(
    policy: Policy,
    key: Annotated[Path, typer.Argument(help="A public key (PEM) that reached you safely, or a whole policy.")],
    person: Annotated[str | None, typer.Option(help="Printed name; default: the one beside the key.")] = None,
    orcid: Annotated[str | None, typer.Option(help="ORCID iD of the person.")] = None,
    roles: Annotated[str | None, typer.Option(help="dataset,decision,review; default: all.")] = None,
    not_before: Annotated[str | None, typer.Option(metavar="DATE", help="First day of the key, YYYY-MM-DD (UTC).")] = None,
    not_after: Annotated[str | None, typer.Option(metavar="DATE", help="Last day of the key.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Believe a person's key; the policy is made where there is none. Of a key that stands there, what is given is changed."""
    from sciimg.stages import trust

    value = trust.add(policy, key, person=person, orcid=orcid, roles=roles, not_before=not_before, not_after=not_after)
    return value, trust.words(value), 0


@command(trust_app, "revoke")
def trust_revoke(
    policy: Policy,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="The first digits of the key's id.")],
    why: Annotated[str, typer.Option(help="Why, and since when.")],
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Never believe a key again, whatever time it claims."""
    from sciimg.stages import trust

    value = trust.revoke(policy, key_id, why)
    return value, trust.words(value), 0


@command(trust_app, "set")
def trust_set(
    policy: Policy,
    threshold: Annotated[int | None, typer.Option(help="How many persons must have signed the decision.")] = None,
    minimum_version: Annotated[list[str] | None, typer.Option(metavar="DATASET=VERSION", help="Refuse older ones.")] = None,
    time_authority: Annotated[list[Path] | None, typer.Option(metavar="PEM", help="Believe time tokens of this authority.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Change what a policy asks for beyond its keys."""
    from sciimg.stages import trust

    value = trust.change(policy, threshold=threshold, minimum_versions=minimum_version or (), time_authorities=time_authority or ())
    return value, trust.words(value), 0
