"""What every command has in common: where it is registered, its options, its one way to answer and to fail."""

import errno
import functools
import json
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from sciimg.errors import InputError, Problem, SciimgError, StorageError, printable

app = typer.Typer(
    name="sciimg",
    help="Real microscopy and MRI volumes into signed, validated synthetic datasets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app = typer.Typer(help="Real images to start with.", no_args_is_help=True)
recipes_app = typer.Typer(help="The generative systems, as data.", no_args_is_help=True)
metrics_app = typer.Typer(help="Image metrics on any files, folders or collections.", no_args_is_help=True)
review_app = typer.Typer(help="Blinded reader studies.", no_args_is_help=True)
trust_app = typer.Typer(help="Whose signatures an audit believes: make and extend a trust policy.", no_args_is_help=True)
for _name, _sub in (("data", data_app), ("recipes", recipes_app), ("metrics", metrics_app), ("review", review_app), ("trust", trust_app)):
    app.add_typer(_sub, name=_name)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Device = Annotated[str | None, typer.Option(help="cpu (default; the same bits everywhere), cuda, or several to train on: cuda:0,cuda:1.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Processes; does not change results. Default: the cluster of DASK_SCHEDULER_ADDRESS, or this process."),
]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="The study's YAML file.")]
_INTERNAL = 70  # EX_SOFTWARE of sysexits.h: a mistake of ours is neither a refusal nor bad input
Reply = tuple[Any, str, int]  # JSON value, text for people, exit code


class _Command(TyperCommand):
    """A command that refuses empty paths, which Python would read as the working folder: a script's variable was not set."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        as_json, debug = "--json" in args, "--debug" in args  # the parser takes the words away
        empty = any(word == "" or (word.startswith("--") and word.endswith("=")) for word in args)
        rest: list[str] = super().parse_args(ctx, args)
        here = [name for name, value in ctx.params.items() if empty and _is_here(value)]
        if here:
            message = "A path names a file or a folder; this one is empty. Write ./ for the working folder, and leave no other word empty."
            fail(InputError([Problem(name, "empty-path", message) for name in here]), as_json=as_json, debug=debug)
        return rest


def _is_here(value: Any) -> bool:
    """Whether a path, or one of several, is that of the working folder."""
    return any(map(_is_here, value)) if isinstance(value, list | tuple) else isinstance(value, Path) and value == Path()


def command(group: typer.Typer, name: str) -> Callable[[Callable[..., Reply]], Callable[..., None]]:
    """Register a function that returns (JSON value, text, exit code) as a command with ``--json``, ``--debug`` and one way to fail."""

    def register(function: Callable[..., Reply]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(**arguments: Any) -> None:
            as_json, debug = arguments["json_"], arguments["debug"]
            try:
                value, text, code = function(**{name: _placed(value) for name, value in arguments.items()})
            except SciimgError as error:
                fail(error, as_json=as_json, debug=debug)
            except BrokenPipeError:
                raise typer.Exit(0) from None
            except KeyboardInterrupt:
                typer.echo("Interrupted. Run the same command again to continue.", err=True)
                raise typer.Exit(130) from None
            except OSError as error:
                fail(_refused_by_system(error), as_json=as_json, debug=debug, cause=error)
            except Exception as error:
                unexpected = Problem("sciimg", "internal-error", f"{type(error).__name__}: {error}. Please report it, with --debug.")
                fail(InputError(unexpected), as_json=as_json, debug=debug, code=_INTERNAL, cause=error)
            else:
                if value is not None:  # None: all that there is to say was printed when it was known
                    typer.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) if as_json else text)
                raise typer.Exit(code)

        group.command(name, cls=_Command)(run)
        return run

    return register


def _placed(value: Any) -> Any:
    """Return an argument, with each path that names a place in an object store as such a place."""
    from sciimg.objects import as_place

    if isinstance(value, list):
        return [_placed(each) for each in value]
    return as_place(value) if isinstance(value, Path) else value


def fail(error: SciimgError, *, as_json: bool, debug: bool, code: int | None = None, cause: BaseException | None = None) -> None:
    """Print every problem as one block on stderr (with ``--json`` also as JSON on stdout) and exit."""
    if debug:
        traceback.print_exception(cause or error)
    if as_json:
        typer.echo(json.dumps({"problems": [p.as_dict() for p in error.problems]}, indent=1, ensure_ascii=False))
    typer.echo("\n".join(f"Error  {printable(p.where)}\n       {printable(p.message)} [{p.kind}]" for p in error.problems), err=True)
    raise typer.Exit(error.exit_code if code is None else code)


def _refused_by_system(error: OSError) -> SciimgError:
    """Return what to say when the file system refuses: a full disk can be made room on, anything else is a wrong place."""
    where = str(error.filename or "file system")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        message = f"There must be room for the output; there is none ({error.strerror}). Make room and run the same command again."
        return StorageError(Problem(where, "disk-full", message))
    message = f"The path must be one that can be read or written; the system says: {error.strerror or error}. Check it and the permissions."
    return InputError(Problem(where, "file-system", message))


def _terminated(signal_number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Entry point of the ``sciimg`` command."""
    signal.signal(signal.SIGTERM, _terminated)  # a scheduler's request to end is an interruption like any other
    app()


def choose(device: str | None, *, here: bool = True) -> None:
    """Hand a device to the stages through the environment; one of this machine is checked before anything is done on it."""
    import os

    if device is not None and not here:
        os.environ["SCIIMG_DEVICE"] = device
    elif device is not None:
        from sciimg.augmenters.device import VARIABLE, team_of

        os.environ[VARIABLE] = ",".join(map(str, team_of(device)))
