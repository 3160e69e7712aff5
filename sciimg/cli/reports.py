"""Pages to read."""

from pathlib import Path
from typing import Annotated

import typer

from sciimg.cli.command import Debug, Json, Reply, app, command


@command(app, "report")
def report(
    path: Annotated[
        Path, typer.Argument(metavar="RUN|RUNS|STUDY", help="A run, a folder of runs to compare, or a study file with --plan.")
    ],
    plan: Annotated[bool, typer.Option("--plan", help="Render the study itself, before any run.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the HTML and the PDF.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Render the audit report of a run, several runs side by side, or a study as its pre-registration."""
    from sciimg.stages.report import report_command

    value = report_command(path, plan=plan, out=out)
    return value, "\n".join(value["files"]), 0
