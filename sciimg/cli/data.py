"""Real images: into collections, described, and some to start with."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sciimg.cli.command import Debug, Json, Reply, Workers, app, command, data_app
from sciimg.errors import printable


@command(app, "ingest")
def ingest(
    src: Annotated[list[Path], typer.Argument(metavar="SRC...", help="Files, folders or collections of any readable format.")],
    out: Annotated[Path, typer.Option(help="The collection to make.")],
    spacing: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="Where the files say nothing.")] = None,
    unit: Annotated[str | None, typer.Option(help="nanometer, micrometer, millimeter, or pixel: no physical size is known.")] = None,
    override_spacing: Annotated[bool, typer.Option("--override-spacing", help="Let --spacing contradict a file.")] = False,
    axes: Annotated[str | None, typer.Option(help="For stacks without named axes, e.g. tyx.")] = None,
    label_kind: Annotated[str | None, typer.Option(help="What label files beside images number: instances or classes.")] = None,
    on_error: Annotated[str, typer.Option(help="quarantine or stop.")] = "quarantine",
    keep_names: Annotated[
        bool, typer.Option("--keep-names", help="Call images after their files; only where no file is named after a person.")
    ] = False,
    workers: Workers = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Read real images into a collection of OME-Zarr volumes."""
    from sciimg.stages.ingest import ingest_files, parse_spacing

    said = parse_spacing(spacing, unit)
    value = ingest_files(
        src,
        out,
        spacing=said,
        override=override_spacing,
        axes=axes,
        label_kind=label_kind,
        on_error=on_error,
        keep_names=keep_names,
        workers=workers,
    )
    lines = [
        f"{i['id']}  {i['axes']} {i['shape']} {i['dtype']}  {_numbers(i['spacing'])} {i['unit']}  {printable(i['source'])}"
        for i in value["images"]
    ]
    lines += _noticed(value["images"])
    lines += [printable(f"Rejected  {r['source']}: {p['message']} [{p['kind']}]") for r in value["rejected"] for p in r["problems"]]
    return value, "\n".join([*lines, f"{len(value['images'])} images in {out}"]), 3 if value["rejected"] else 0


def _numbers(values: list[float]) -> str:
    return " x ".join(f"{v:.6g}" for v in values)


def _noticed(images: list[dict[str, Any]]) -> list[str]:
    """Return a line for each kind of thing that was noticed and left nothing out, with the first message of it."""
    found: dict[str, list[str]] = {}
    for image in images:
        for problem in image["problems"]:
            found.setdefault(problem["kind"], []).append(f"{image['id']}: {problem['message']}")
    return [
        printable(f"Noticed  {told[0]} [{kind}{f', {len(told)} times' if len(told) > 1 else ''}]") for kind, told in sorted(found.items())
    ]


@command(app, "info")
def info(
    path: Path,
    verify: Annotated[bool, typer.Option("--verify", help="Read every pixel again and compare it with the digests.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild-catalogue", help="Write a collection's catalogue anew from its images.")] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="Count images of a collection; also !=, <, <=, > and >=; all must hold."),
    ] = None,
    sample: Annotated[int, typer.Option(min=0, help="Name so many of them, drawn at random.")] = 0,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Describe an image, collection, model, run or release."""
    from sciimg.stages import info as about

    if rebuild:
        about.rebuild(path)
    value = about.describe(path) if where is None and not sample else about.selected(path, where or (), sample)
    if verify:
        problems = about.verify(path)
        value |= {"verified": not problems, "faults": [p.as_dict() for p in problems]}
    lines = [about.table(value) or "\n".join(f"{key:<14} {_short(entry)}" for key, entry in value.items() if key != "faults")]
    lines += [f"{f['where']}: {f['message']} [{f['kind']}]" for f in value.get("faults", ())]
    return value, "\n".join(lines), 0 if value.get("verified", True) else 1


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:157] + "..."


@command(data_app, "list")
def data_list(json_: Json = False, debug: Debug = False) -> Reply:
    """List real images that ship inside dependencies."""
    from sciimg.io.samples import available

    value = available()
    return {"data": value}, "\n".join(f"{d['name']:<12} {d['title']}  ({d['licence']})" for d in value), 0


@command(data_app, "fetch")
def data_fetch(
    name: str,
    out: Annotated[Path | None, typer.Option(help="Folder; default: NAME here.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Copy one of them into a folder."""
    from sciimg.io.samples import fetch

    folder = out or Path(name)
    files = [str(f) for f in fetch(name, folder)]
    return {"name": name, "files": files}, "\n".join(files), 0
