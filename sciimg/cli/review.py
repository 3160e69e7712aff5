"""Reader studies."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sciimg.cli.command import Debug, Json, Reply, command, review_app
from sciimg.errors import printable


@command(review_app, "sheets")
def review_sheets(
    study: Annotated[Path, typer.Argument(metavar="STUDY|RUN", help="The study's YAML file, or a run folder.")],
    out: Annotated[Path, typer.Option(help="New folder for the readers; the key goes beside it.")] = Path("review"),
    workdir: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    readers: Annotated[int | None, typer.Option(min=1, help="How many; default: as the study plans, or 3.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Make blinded sheets for readers, and a key that stays with you."""
    from sciimg.stages.review import run_of, sheets_command

    value = sheets_command(run_of(study, workdir), out, readers)
    return value, "\n".join([*value["files"], f"The key, for you alone: {value['key']}", *(f"Note: {c}" for c in value["cautions"])]), 0


@command(review_app, "serve")
def review_serve(
    study: Annotated[Path, typer.Argument(metavar="STUDY|RUN", help="The study's YAML file, or a run folder.")],
    workdir: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of this machine; 0: any that is free.")] = 8321,
    readers: Annotated[int | None, typer.Option(min=1, help="How many; default: as the study plans, or 3.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Let readers answer in a browser on this machine; Ctrl-C ends it, the same command goes on. Score the session afterwards."""
    from sciimg.stages.serving import serve_command

    def announce(said: dict[str, Any]) -> None:
        lines = [f"{link['reader']:<12} {link['url']}" for link in said["links"]]
        known = f", {said['answers']} answers so far" if said["answers"] else ""
        told = "One link a reader; it stays valid, and shows nobody else's answers. Ctrl-C ends."
        notes = [f"Note: {caution}" for caution in said["cautions"]]
        if not said["planned"]:
            notes.append(
                "Note: the study planned no readers. Their answers will be in the report and in the release; no gate waits for them."
            )
        text = "\n".join([f"Reader study at {said['url']}  ({said['items']} items a reader{known})", *lines, told, *notes])
        typer.echo(json.dumps(said, indent=1, ensure_ascii=False) if json_ else text)

    value = serve_command(study, workdir, port=port, readers=readers, announce=announce)
    text = f"Session      {value['session']}\nAnswers      {value['answers']}\nChain head   {value['head']}"
    text += f"\nTo score it  sciimg review score {value['session']} --run {value['run']}"
    return None if json_ else value, text, 0


@command(review_app, "score")
def review_score(
    answers: Annotated[list[Path], typer.Argument(help="A session, filled sheets (XLSX, CSV) or a long CSV: reader,item,answer[,truth].")],
    key: Annotated[Path | None, typer.Option(help="The key file of the sheets.")] = None,
    run: Annotated[Path | None, typer.Option(help="Record the score in this run; the next `sciimg run` decides with it.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="Score what is there while sheets or answers are missing.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Score a session or filled sheets."""
    from sciimg.review.telling import lines
    from sciimg.stages.review import score_command

    value = score_command(answers, key, run, partial=partial)
    told = [*lines(value), *([f"Recorded in {run}. `sciimg run` decides with it now, and releases the readings."] if run else [])]
    return value, "\n".join(map(printable, told)), 0
