"""Carrying a study out, and what a study may say."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sciimg.cli.command import Debug, Device, Json, Reply, StudyFile, app, choose, command


@command(app, "run")
def run(
    study: StudyFile,
    workdir: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    engine: Annotated[str, typer.Option(help="local, dask or slurm.")] = "local",
    cluster: Annotated[Path | None, typer.Option(help="What jobs ask of a Slurm cluster; default: cluster.yaml here.")] = None,
    slots: Annotated[int, typer.Option(min=0, help="Heavy stages at the same time; does not change results. 0: one a core.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and what it will cost, and stop.")] = False,
    publish: Annotated[Path | None, typer.Option(metavar="URI", help="s3:// or gs:// place to which the release is copied.")] = None,
    device: Device = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Carry a study from its images to a decided, signed release. Run it again to continue after any interruption."""
    from sciimg.decision import WAITS
    from sciimg.stages import launch
    from sciimg.stages.copy import check_publishing, copy_command

    check_publishing(workdir, publish)
    choose(device, here=engine != "slurm")
    if dry_run:
        from sciimg.stages.forecast.shown import table

        value = launch.dry_run(study, workdir, engine, slots, cluster)
        return value, table(value), 0
    outcome = launch.launch(study, workdir, engine=engine, slots=slots, cluster=cluster)
    if publish is not None:
        outcome["published"] = copy_command(Path(outcome["release"]), publish)["to"]
    reasons = "\n".join(f"  - {r}" for r in outcome["reasons"])
    text = f"Decision  {outcome['decision']}\n{reasons}\nRelease   {outcome['release']}\nReport    {outcome['report']}"
    if any(WAITS in reason for reason in outcome["reasons"]):
        text += f"\nReaders   sciimg review serve {outcome['run']}"
    text += f"\nPublished {outcome['published']}" if publish is not None else ""
    return outcome, text, 1 if outcome["decision"] == "refused" else 0


@command(app, "schema")
def schema(
    cluster: Annotated[bool, typer.Option("--cluster", help="Of a cluster file instead.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Print the JSON Schema of a study, for editors and validators."""
    from sciimg.protocol import json_schema
    from sciimg.protocol.cluster import cluster_schema

    value = cluster_schema() if cluster else json_schema()
    return value, json.dumps(value, indent=1, ensure_ascii=False), 0
