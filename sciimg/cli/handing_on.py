"""Releases in other places and formats, and images that come back."""

from pathlib import Path
from typing import Annotated

import typer

from sciimg.cli.command import Debug, Json, Reply, app, command
from sciimg.errors import printable


@command(app, "copy")
def copy(
    source: Annotated[Path, typer.Argument(metavar="FROM", help="A collection, release, model or OME-Zarr image.")],
    target: Annotated[Path, typer.Argument(metavar="TO", help="Its new place. One of the two is s3://BUCKET/KEY or gs://BUCKET/KEY.")],
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Carry it from a folder to an object store or back: whole, or not there. The same command goes on after an interruption."""
    from sciimg.stages.copy import copy_command

    value = copy_command(source, target)
    return (
        value,
        f"{value['kind']} in {value['to']}: {value['files']} files, {value['bytes']:,} bytes, {value['sent']} sent",
        0,
    )


@command(app, "export")
def export(
    release: Path,
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    format: Annotated[str, typer.Option(help="png, tiff, nifti, dicom, bids or huggingface.")],
    trust: Annotated[Path | None, typer.Option(help="Trust policy; default: the user's own keys.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Hand out the images of a release in another format, marked synthetic, each value as it was signed; audited first."""
    from sciimg.stages.export import export_command

    value = export_command(release, out, format, trust)
    return value, f"{value['images']} images of {value['dataset']} in {out}: {value['files']} files; its README says how to check them.", 0


@command(app, "watermark")
def watermark(
    path: Annotated[
        Path, typer.Argument(help="An image, a folder of images of one shape, or a collection; pieces and single channels too.")
    ],
    release: Annotated[Path, typer.Option(help="The release that they may come from.")],
    trust: Annotated[Path | None, typer.Option(help="Trust policy; default: the user's own keys.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Look for the watermark of a release in images whose files say nothing any more."""
    from sciimg.stages.watermark import watermark_command

    value = watermark_command(path, release, trust)
    lines = [
        f"{'found' if i['found'] else 'no   '}  {printable(i['name'])}  {i['image']} {i['channel']} at {i['offset']}  "
        f"z {i['z']:.1f}, chance at most {i['chance']:.1g}"
        for i in value["images"]
    ]
    number = sum(i["found"] for i in value["images"])
    return value, "\n".join([*lines, f"The mark of {value['release']} is in {number} of {len(lines)} images."]), 0
