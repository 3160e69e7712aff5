"""Recipes, trained models and samples."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sciimg.cli.command import Debug, Device, Json, Reply, StudyFile, Workers, app, choose, command, recipes_app


@command(recipes_app, "list")
def recipes_list(json_: Json = False, debug: Debug = False) -> Reply:
    """List the recipes."""
    from sciimg.augmenters.recipes import summaries

    value = summaries()
    lines = (f"{r['name']:<24} {r['space']} x {r['process']} x {r['backbone']}  {r['dims']}  {', '.join(r['systems'])}" for r in value)
    return {"recipes": value}, "\n".join(lines), 0


@command(recipes_app, "show")
def recipes_show(
    name: str,
    dims: Annotated[int | None, typer.Option(min=2, max=3, help="As it is for images of 2 or 3 dimensions; default: the fewest.")] = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Print one recipe whole."""
    from sciimg.augmenters.recipes import RECIPES, get_recipe

    fewest = min(RECIPES[name].dims) if name in RECIPES else 2
    value = get_recipe(name, {}, dims or fewest).model_dump(mode="json")  # type: ignore[arg-type]
    return value, json.dumps(value, indent=1), 0


@command(app, "train")
def train(
    study: StudyFile,
    data: Annotated[Path, typer.Option(help="Real images: a collection that `sciimg ingest` made.")],
    out: Annotated[Path, typer.Option(help="The model folder to make.")],
    recipe: Annotated[str | None, typer.Option(help="Name of the recipe in the study; default: its first.")] = None,
    device: Device = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Train one recipe of a study on a collection."""
    from sciimg.stages.train import train_command

    choose(device)
    value = train_command(study, data, out, recipe)
    return value, "" if value is None else f"Model  {out}\nDigest {value['digest']}", 0


@command(app, "generate")
def generate(
    model: Path,
    out: Annotated[Path, typer.Option(help="The synthetic collection to make.")],
    count: Annotated[int, typer.Option(min=1)],
    condition: Annotated[list[str] | None, typer.Option(metavar="K=V", help="Fix a scalar or class condition.")] = None,
    mask: Annotated[Path | None, typer.Option(help="A collection whose labels are the masks.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    sampler: Annotated[str | None, typer.Option()] = None,
    steps: Annotated[int | None, typer.Option(min=1)] = None,
    shape: Annotated[str | None, typer.Option(metavar="Z,Y,X", help="Images of any size, larger than memory too.")] = None,
    source: Annotated[Path | None, typer.Option(help="A collection of real images to translate, or to begin from.")] = None,
    task: Annotated[str | None, typer.Option(help="inpaint, outpaint, copy, interpolate or edit; default: the recipe's.")] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="BOX|COLLECTION", help="What to inpaint or outpaint, or labels where it is known.")
    ] = None,
    strength: Annotated[float | None, typer.Option(min=0, max=1, help="Share of a copy's noise that is redrawn.")] = None,
    workers: Workers = None,
    device: Device = None,
    json_: Json = False,
    debug: Debug = False,
) -> Reply:
    """Draw samples from a trained model into a collection with lineage."""
    from sciimg.stages.generate import generate_command

    choose(device)
    value = generate_command(
        model,
        out,
        count=count,
        conditions=condition or [],
        masks=mask,
        seed=seed,
        sampler=sampler,
        steps=steps,
        shape=shape,
        source=source,
        task=task,
        keep=keep,
        strength=strength,
        workers=workers,
    )
    return value, f"{value['count']} samples in {out}", 0
