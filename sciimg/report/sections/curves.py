"""Curves that physics checks leave for drawing: the real holdout in ink, each recipe in its own colour and dash."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.report.evidence import Evidence
from sciimg.report.figures import Curve, Panel, draw, finite
from sciimg.report.model import Block, Plot
from sciimg.report.palette import series
from sciimg.report.words import caption

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Kind:
    """How to draw one kind of curve: ``y`` ends the key of the values, ``x`` that of their axis."""

    y: str
    x: str
    title: str
    x_label: str
    y_label: str
    step: bool = False
    relative: bool = False


KINDS: Mapping[str, tuple[Kind, ...]] = {
    "intensity-law": (Kind("density", "edges", "Intensities", "pixel value", "share of the most frequent", step=True, relative=True),),
    "noise-law": (Kind("sigma", "level-edges", "Noise", "class of local intensity", "standard deviation"),),
    "power-spectrum": (Kind("power-db", "frequency", "Power", "cycles per pixel", "decibel"),),
    "object-morphology": (
        Kind("ln-size", "ln-size-edges", "Object size", "ln pixels", "share of objects", step=True),
        Kind("eccentricity", "eccentricity-edges", "Elongation", "eccentricity", "share of objects", step=True),
    ),
}


def physics_plots(evidence: Evidence) -> Iterator[Block]:
    """Return one figure a check that left curves."""
    for check, kinds in KINDS.items():
        panels = [panel for kind in kinds for panel in _panels(evidence, check, kind)]
        if not panels:
            continue
        key = (("ink", "real holdout"), *((series(i), r.plan.name) for i, r in enumerate(evidence.recipes)))
        yield Plot(title=caption(check).title, caption=caption(check).says, panels=tuple(draw(p) for p in panels), key=key)


def _panels(evidence: Evidence, check: str, kind: Kind) -> Iterator[Panel]:
    sets = [_curves_of(recipe.gallery, check) for recipe in evidence.recipes]
    channels = dict.fromkeys(channel for arrays in sets for key in arrays if (channel := _channel(key, kind.y)) is not None)
    for channel in channels:
        lines: list[Curve] = []
        for i, arrays in enumerate(sets):
            for part, colour in (("real", "ink"), ("synthetic", series(i))):
                y = arrays.get(f"{part}-{channel}{kind.y}")
                x = _axis(arrays, part, channel, kind, 0 if y is None else len(y))
                drawn_before = part == "real" and any(line.colour == "ink" for line in lines)
                if y is None or x is None or drawn_before:
                    continue
                top = float(np.nanmax(finite(y))) if kind.relative else 1.0
                lines.append(Curve(finite(x), finite(y) / (top or 1.0), colour, step=kind.step))
        if lines:
            name = channel.rstrip("-")
            title = f"{name}: {kind.title.lower()}" if name else kind.title
            alt = f"{title}: real holdout and {len(lines) - 1} synthetic sets over {kind.x_label}."
            yield Panel(title, kind.x_label, kind.y_label, lines, alt)


def _curves_of(gallery: Arrays, check: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays of one check by the names that the check gave them (``real-…``, ``synthetic-…``)."""
    prefix = f"physics.{check}."
    return {key.removeprefix(prefix): array for key, array in gallery.items() if key.startswith(prefix)}


def _channel(key: str, ending: str) -> str | None:
    name = key.removeprefix("real-")
    if name == key or not name.endswith(ending):
        return None
    channel = name.removesuffix(ending)
    return channel if channel == "" or channel.endswith("-") else None


def _axis(arrays: Arrays, part: str, channel: str, kind: Kind, n: int) -> NDArray[np.generic] | None:
    """Return the x values that belong to ``n`` y values: bin edges for steps, centres otherwise, class numbers for open classes."""
    x = arrays.get(f"{part}-{channel}{kind.x}", arrays.get(f"{part}-{kind.x}"))
    if x is None:
        return None
    if len(x) == n + int(kind.step):
        return x
    if not kind.step and len(x) == n - 1:  # inner edges of classes that are open at both ends
        return np.arange(1, n + 1)
    return None
