"""Curves of what judges found: the real holdout, or real images alone, in ink, each recipe in its own colour and dash."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sciimg.report.evidence import Evidence
from sciimg.report.figures import Curve, Panel, draw, finite
from sciimg.report.model import Block, Plot
from sciimg.report.palette import series
from sciimg.report.words import caption, text

Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Kind:
    """How to draw one kind of curve: ``y`` ends the key of the values, ``x`` that of their axis.

    ``cumulate`` turns a ``"density"`` or a ``"share"`` over bins into the share at or below each edge, where bins of unequal width
    cannot mislead.
    """

    y: str
    x: str
    title: str
    x_label: str
    y_label: str
    cumulate: Literal["density", "share"] | None = None


_BELOW = "share at or below"
KINDS: Mapping[str, tuple[Kind, ...]] = {
    "intensity-law": (Kind("density", "edges", "Intensities", "pixel value", _BELOW, "density"),),
    "noise-law": (Kind("sigma", "level-edges", "Noise", "class of local intensity", "standard deviation"),),
    "power-spectrum": (Kind("power-db", "frequency", "Power", "cycles per pixel", "decibel"),),
    "point-pattern": (
        Kind("l-minus-r", "l-distance", "Ripley's L", "distance r", "L(r) - r"),
        Kind("g", "g-distance", "Pair correlation", "distance r", "g(r)"),
    ),
    "resolution": (Kind("correlation", "frequency", "Resolution", "cycles per pixel", "correlation of the halves"),),
    "grey-level-comb": (Kind("comb", "octave", "Comb", "log2 of the period in grey levels", "share of the pixels"),),
    "bleed-through": (Kind("floor", "level", "Bleed-through", "giving channel, standard deviations", "floor of the receiving one"),),
    "photon-transfer": (Kind("variance", "mean", "Photon transfer", "mean intensity", "variance of noise"),),
    "noise-whiteness": tuple(Kind(f"{a}-colour", "lag", f"Noise along {a}", "pixels apart", "correlation") for a in "zyx"),
    "dose-linearity": (Kind("line", "dose", "Dose", "dose", "mean intensity"),),
    "object-morphology": (
        Kind("ln-size", "ln-size-edges", "Object size", "ln pixels", _BELOW, "share"),
        Kind("eccentricity", "eccentricity-edges", "Elongation", "eccentricity", _BELOW, "share"),
        Kind("roundness", "roundness-edges", "Roundness", "form factor or sphericity", _BELOW, "share"),
    ),
    "image-quality": (
        Kind("cjv", "cjv-edges", "Joint variation", "ln CJV", _BELOW, "share"),
        Kind("efc", "efc-edges", "Entropy focus", "EFC", _BELOW, "share"),
    ),
    "air-quality": (Kind("snrd", "snrd-edges", "Signal to noise", "ln SNRd", _BELOW, "share"),),
    "rician-noise": (
        Kind("sigma", "sigma-edges", "Noise", "ln sigma", _BELOW, "share"),
        Kind("law", "law-edges", "Law of air", "ln effective coils", _BELOW, "share"),
    ),
    "bias-field": (Kind("strength", "strength-edges", "Bias field", "ln strength", _BELOW, "share"),),
    "ghosting": tuple(Kind(axis, f"{axis}-edges", f"Ghost along {axis}", "ghost over signal", _BELOW, "share") for axis in "zyx"),
    "k-space-slope": (Kind("slope", "slope-edges", "Power law", "exponent", _BELOW, "share"),),
    "ringing": (Kind("oscillation", "oscillation-edges", "Ringing", "ln energy ratio", _BELOW, "share"),),
    "symmetry": (Kind("likeness", "likeness-edges", "Symmetry", "Fisher's z", _BELOW, "share"),),
}
TAIL = 0.002  # share of either end of a distribution that is not drawn: bins there are open-ended


def physics_plots(evidence: Evidence) -> Iterator[Block]:
    """Return one figure a check that left curves."""
    for check, kinds in KINDS.items():
        panels = [panel for kind in kinds for panel in _panels(evidence, check, kind)]
        if not panels:
            continue
        key = (("ink", "real holdout"), *((series(i), r.plan.name) for i, r in enumerate(evidence.recipes)))
        yield Plot(title=caption(check).title, caption=caption(check).says, panels=tuple(draw(p) for p in panels), key=key)


def ratio_curves(evidence: Evidence) -> Iterator[Block]:
    """Return how the gain over real images alone grows, or falls, with the number of synthetic images for each annotated one."""
    plan = evidence.study.validation.downstream
    ratios = sorted(plan.ratios or ()) if plan else []
    panels = [panel for score, name in (("", "Dice"), ("f1_", "Objects (F1)")) if (panel := _ratio_panel(evidence, ratios, score, name))]
    if panels:
        key = (("ink", "real annotated images alone"), *((series(i), r.plan.name) for i, r in enumerate(evidence.recipes)))
        yield Plot(title="Gain by number of synthetic images", caption=text("ratio-curve"), panels=tuple(draw(p) for p in panels), key=key)


def _ratio_panel(evidence: Evidence, ratios: Sequence[int], score: str, name: str) -> Panel | None:
    lines = []
    for i, recipe in enumerate(evidence.recipes):
        found = {m.name: m for m in recipe.metrics}
        gains = [(n, m) for n in ratios if (m := found.get(f"downstream_{score}gain_ratio-{n}_over_real")) and m.value is not None]
        if gains:
            x = np.array([0.0, *(n for n, _ in gains)])
            value, low, high = np.array([(0.0, 0.0, 0.0), *((m.value, *(m.ci95 or (m.value, m.value))) for _, m in gains)]).T
            lines.append(Curve(x, value, series(i), dots=True, band=(low, high)))
    if not lines:
        return None
    end = float(max(line.x[-1] for line in lines))
    alt = f"{name}: gain over real images alone by synthetic images for each annotated one, for {len(lines)} recipes."
    level = Curve(np.array([0.0, end]), np.zeros(2), "ink")
    return Panel(name, "synthetic images for each annotated one", "gain over real alone", [level, *lines], alt)


def _panels(evidence: Evidence, check: str, kind: Kind) -> Iterator[Panel]:
    sets = [_curves_of(recipe.gallery, check) for recipe in evidence.recipes]
    channels = dict.fromkeys(channel for arrays in sets for key in arrays if (channel := _channel(key, kind.y)) is not None)
    for channel in channels:
        lines: list[Curve] = []
        for i, arrays in enumerate(sets):
            for part, colour in (("real", "ink"), ("synthetic", series(i))):
                drawn_before = part == "real" and any(line.colour == "ink" for line in lines)
                curve = None if drawn_before else _curve(arrays, part, channel, kind, colour)
                lines += [curve] if curve is not None else []
        if lines:
            name = channel.rstrip("-")
            title = f"{name}: {kind.title.lower()}" if name else kind.title
            alt = f"{title}: {kind.y_label} over {kind.x_label}, for the real holdout and {len(lines) - 1} synthetic sets."
            yield Panel(title, kind.x_label, kind.y_label, lines, alt)


def _curve(arrays: Arrays, part: str, channel: str, kind: Kind, colour: str) -> Curve | None:
    y = arrays.get(f"{part}-{channel}{kind.y}")
    x = arrays.get(f"{part}-{channel}{kind.x}", arrays.get(f"{part}-{kind.x}"))
    if y is None or x is None:
        return None
    x, y = finite(x), finite(y)
    if kind.cumulate is not None and len(x) == len(y) + 1:
        mass = y * np.diff(x) if kind.cumulate == "density" else y
        below = np.concatenate([[0.0], np.nancumsum(mass)]) / (np.nansum(mass) or 1.0)
        inside = (below >= TAIL) & (below <= 1 - TAIL)
        return Curve(x[inside], below[inside], colour) if inside.sum() > 1 else None
    if len(x) == len(y) - 1:  # inner edges of classes that are open at both ends
        x = np.arange(1.0, len(y) + 1)
    return Curve(x, y, colour) if len(x) == len(y) else None


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
