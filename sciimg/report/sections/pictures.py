"""What was made, to look at: real beside synthetic, masks, pairs, reconstructions, the worst and the nearest."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sciimg.protocol.data import StainSeparation
from sciimg.protocol.models import Study
from sciimg.report.evidence import Evidence, RecipeEvidence
from sciimg.report.model import Block, Missing, Plate, PlateRow, Prose, Section
from sciimg.report.outlines import ASKED, FOUND, Layer, outlines
from sciimg.report.plates import image_strip, map_strip
from sciimg.report.words import number, text
from sciimg.review.presentation import Presentation, presentation_of
from sciimg.types import LabelKind, Spacing

TILES = {2: 6, 3: 6}  # images in a strip, by dimension of a sample
Array = NDArray[np.generic]


def show_of(evidence: Evidence) -> Presentation | None:
    """Return the one way in which every image of the report is shown, fixed on real images of the gallery; None without any."""
    for recipe in evidence.recipes:
        real = recipe.gallery.get("real.images")
        if real is not None and len(real):
            return presentation_of(real, channel_names(recipe, real.shape[1]), spacing_of(recipe, real.ndim - 2), _stains(evidence.study))
    return None


def channel_names(recipe: RecipeEvidence, n: int) -> tuple[str, ...]:
    """Return the channel names of the gallery, or numbers."""
    names = recipe.gallery.get("channels")
    if names is not None and len(names) == n:
        return tuple(str(name) for name in names)
    return tuple(f"channel {i + 1}" for i in range(n))


def spacing_of(recipe: RecipeEvidence, dims: int) -> Spacing:
    """Return the spacing of the gallery; equal spacing where none is recorded, which only affects proportions of volumes."""
    stored = recipe.gallery.get("spacing")
    if stored is not None and len(stored) == dims:
        return Spacing(tuple(float(v) for v in stored), "pixel")
    return Spacing((1.0,) * dims, "pixel")


def _stains(study: Study) -> StainSeparation | None:
    return next((p for s in study.sources for p in s.prepare if isinstance(p, StainSeparation)), None)


def section(evidence: Evidence, show: Presentation | None) -> Section:
    """Return the plates."""
    if show is None:
        why = "No validation stage has left real images to show."
        return Section(name="pictures", title="What it looks like", blocks=(Missing(what="every picture", why=why),))
    dims = len(show.spacing.values)
    blocks: list[Block] = [Prose(text=show.words + (f" {text('volumes')}" if dims == 3 else ""))]
    blocks += side_by_side(evidence, show)
    parts = [part for recipe in evidence.recipes if (part := _of_recipe(recipe, show)) is not None]
    return Section(name="pictures", title="What it looks like", lead=text("pictures-lead"), blocks=tuple(blocks), parts=tuple(parts))


def side_by_side(evidence: Evidence, show: Presentation, title: str = "Real and synthetic") -> list[Block]:
    """Return strips of real images and of each recipe's, and what is missing."""
    n = _tiles(show)
    real = next(r.gallery["real.images"] for r in evidence.recipes if len(r.gallery.get("real.images", ())))
    rows = [PlateRow(label="Real", note="held out", picture=image_strip(real[:n], show, f"{min(n, len(real))} real holdout images."))]
    blocks: list[Block] = []
    for recipe in evidence.recipes:
        made = recipe.gallery.get("synthetic.images")
        if made is None or not len(made):
            blocks.append(Missing(what=f"synthetic images of {recipe.plan.name}", why=_why(recipe)))
            continue
        alt = f"{min(n, len(made))} synthetic images by recipe {recipe.plan.name}, drawn at random."
        rows.append(PlateRow(label=f"Synthetic: {recipe.plan.name}", note=recipe.plan.role, picture=image_strip(made[:n], show, alt)))
    return [Plate(title=title, caption=text("side-by-side"), rows=tuple(rows)), *blocks]


def _of_recipe(recipe: RecipeEvidence, show: Presentation) -> Section | None:
    if not recipe.gallery:
        return None
    makers: tuple[tuple[str, Callable[[RecipeEvidence, Presentation], Plate | None]], ...] = (
        ("images made for the masks of real ones", _same_mask),
        ("masks asked for and found", _masks),
        ("worst cases", _worst),
    )
    blocks: list[Block] = []
    for what, make in makers:
        plate = make(recipe, show)
        blocks.append(plate or Missing(what=f"{what} ({recipe.plan.name})", why=_why(recipe)))
    back = _reconstruction(recipe, show)  # only an autoencoder has one
    blocks += [back] if back else []
    return Section(name=f"pictures-{recipe.plan.name}", title=f"Recipe {recipe.plan.name}", blocks=tuple(blocks))


def _same_mask(recipe: RecipeEvidence, show: Presentation) -> Plate | None:
    g, name, n = recipe.gallery, recipe.plan.name, _tiles(show)
    real, made = g.get("paired.real"), g.get("paired.synthetic")
    if real is None or made is None or not len(real):
        return None
    labels = g.get("paired.labels")
    drawn = None
    if labels is not None:
        drawn = outlines([Layer(labels[:n], ASKED)], show, _kind(recipe), "Borders of the masks, the same for both rows.")
    rows = [
        PlateRow(label="Real", note="held out", picture=image_strip(real[:n], show, "Real holdout images."), overlay=drawn),
        PlateRow(label="Synthetic", note="same condition", picture=image_strip(made[:n], show, f"Images by {name}."), overlay=drawn),
    ]
    caption = text("same-condition")
    error = g.get("paired.error")
    if error is not None:
        rows.append(_difference(error[:n], show))
        caption += f" {text('difference')} {text('not-meant-to-equal')}"
    return Plate(title="Made for the conditions of a real image", caption=caption, rows=tuple(rows))


def _difference(error: Array, show: Presentation) -> PlateRow:
    mean = ", ".join(number(float(np.mean(e)), 2) for e in np.asarray(error, dtype=np.float64))
    alt = f"Maps of the absolute difference of each pair; means {mean}."
    return PlateRow(label="Difference", note=f"mean {mean}", picture=map_strip(error, show, alt, top=0.5))


def _kind(recipe: RecipeEvidence) -> LabelKind:
    return "classes" if str(recipe.gallery.get("label-kind", "")) == "classes" else "instances"


def _masks(recipe: RecipeEvidence, show: Presentation) -> Plate | None:
    g, name, n = recipe.gallery, recipe.plan.name, _tiles(show)
    made, asked, found = g.get("synthetic.images"), g.get("synthetic.labels"), g.get("synthetic.read-back")
    if made is None or asked is None or not len(made):
        return None
    plain = image_strip(made[:n], show, f"Images by {name}.")
    layers, caption, note = [Layer(asked[:n], ASKED)], text("mask-asked"), "solid"
    if found is not None:
        layers.append(Layer(found[:n], FOUND, dashed=True))
        caption, note = f"{caption} {text('mask-found')}", "asked solid, found dashed"
    drawn = outlines(layers, show, _kind(recipe), "Borders of the masks asked for and of the masks found.")
    rows = (PlateRow(label="Synthetic", note="", picture=plain), PlateRow(label="With masks", note=note, picture=plain, overlay=drawn))
    return Plate(title="Masks asked for and masks found", caption=caption, rows=rows)


def _worst(recipe: RecipeEvidence, show: Presentation) -> Plate | None:
    worst, distance = recipe.gallery.get("worst.synthetic"), recipe.gallery.get("worst.distance")
    if worst is None or not len(worst):
        return None
    n = _tiles(show)
    picture = image_strip(worst[:n], show, f"The synthetic images of {recipe.plan.name} that are least like any real one.")
    rows = (PlateRow(label="Least like real", note=_distances(distance, n), picture=picture),)
    return Plate(title="Worst cases", caption=text("worst"), rows=rows)


def _reconstruction(recipe: RecipeEvidence, show: Presentation) -> Plate | None:
    real, back = recipe.gallery.get("reconstruction.real"), recipe.gallery.get("reconstruction.synthetic")
    if real is None or back is None or not len(real):
        return None
    n = _tiles(show)
    rows = [
        PlateRow(label="Real", note="held out", picture=image_strip(real[:n], show, "Real holdout images.")),
        PlateRow(
            label="Reconstructed", note="encoded and decoded", picture=image_strip(back[:n], show, "The same images after the autoencoder.")
        ),
    ]
    error = recipe.gallery.get("reconstruction.error")
    caption = text("reconstruction")
    if error is not None:
        rows.append(_difference(error[:n], show))
        caption += f" {text('difference')}"
    return Plate(title="Through the autoencoder and back", caption=caption, rows=tuple(rows))


def neighbours(recipe: RecipeEvidence, show: Presentation | None) -> Block:
    """Return synthetic images above their nearest training images: what one can see for or against copying."""
    g, name = recipe.gallery, recipe.plan.name
    made, train = g.get("nearest.synthetic"), g.get("nearest.train")
    if show is None or made is None or train is None or not len(made):
        return Missing(what=f"nearest training images ({name})", why=_why(recipe))
    n = _tiles(show)
    alt = f"Synthetic images of {name} that are closest to a training image, closest first."
    rows = [
        PlateRow(label=f"Synthetic: {name}", note="closest to training", picture=image_strip(made[:n], show, alt)),
        PlateRow(
            label="Nearest training image",
            note=_distances(g.get("nearest.distance"), n),
            picture=image_strip(train[:n], show, "The training image nearest to each."),
        ),
    ]
    caption = text("neighbours")
    held, held_train = g.get("nearest.holdout"), g.get("nearest.holdout-train")
    if held is not None and held_train is not None and len(held):
        rows += [
            PlateRow(
                label="Real, never trained on", note="closest to training", picture=image_strip(held[:n], show, "Real holdout images.")
            ),
            PlateRow(
                label="Nearest training image",
                note=_distances(g.get("nearest.holdout-distance"), n),
                picture=image_strip(held_train[:n], show, "The training image nearest to each."),
            ),
        ]
        caption += f" {text('neighbours-real')}"
    return Plate(title=f"Nearest neighbours: {name}", caption=caption, rows=tuple(rows))


def _distances(values: Array | None, n: int) -> str:
    return "" if values is None else "distance " + ", ".join(number(float(v), 2) for v in np.asarray(values, dtype=np.float64)[:n])


def _tiles(show: Presentation) -> int:
    return TILES[len(show.spacing.values)]


def _why(recipe: RecipeEvidence) -> str:
    return next((a.why for a in recipe.absent if "pictures" in a.what), "The validation stage left no such pictures.")
