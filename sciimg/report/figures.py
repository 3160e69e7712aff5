"""Line plots as small SVG drawings by matplotlib: same input, same bytes; no clock, no random ids, no font files.

One panel is one drawing, so that a phone can put panels below one another.
"""

import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.report.model import Picture
from sciimg.report.palette import DASHES, SIGNAL

WIDTH, HEIGHT = 300, 210  # CSS pixels of a panel
_SVG = "http://www.w3.org/2000/svg"
_NUMBER = re.compile(r"(\d+\.\d{2})\d+")  # coordinates are kept to hundredths of a pixel
_LINK = "{http://www.w3.org/1999/xlink}href"
Array = NDArray[Any]


@dataclass(frozen=True)
class Curve:
    """One line: ``colour`` is a name of the palette; ``step`` draws bins, ``x`` then holds one value more than ``y``."""

    x: Array
    y: Array
    colour: str
    step: bool = False
    dots: bool = False
    band: tuple[Array, Array] | None = None


@dataclass(frozen=True)
class Panel:
    """Axes with curves. Labels stand horizontally: ``y_label`` above the axis, ``x_label`` below."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    alt: str
    log_y: bool = False
    log_x: bool = False
    ticks: Sequence[tuple[float, str]] = field(default_factory=tuple)


def draw(panel: Panel) -> Picture:
    """Return a panel as a picture in signal colours (:mod:`sciimg.report.palette`)."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": panel.title,
        "font.family": "DejaVu Sans",
        "font.size": 10.5,
        "axes.linewidth": 0.7,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "path.simplify": True,
    }
    with mpl.rc_context():
        mpl.rcdefaults()  # the reader's own settings must not show
        mpl.rcParams.update(style)
        figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72))
        axes = figure.add_axes((0.15, 0.18, 0.80, 0.62))
        _plot(axes, panel)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return Picture(kind="svg", data=_tidy(stream.getvalue(), panel.alt), width=WIDTH, height=HEIGHT, alt=panel.alt)


def _plot(axes: Any, panel: Panel) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

    for curve in panel.curves:
        colour = SIGNAL[curve.colour]
        dash: Any = DASHES.get(curve.colour, "solid")
        width = 2.2 if curve.colour == "ink" else 1.5
        if curve.band is not None:
            axes.fill_between(curve.x, *curve.band, color=SIGNAL["band"], linewidth=0)
        if curve.step:
            axes.stairs(curve.y, curve.x, color=colour, linewidth=width, linestyle=dash, baseline=None)
        else:
            axes.plot(curve.x, curve.y, color=colour, linewidth=width, linestyle=dash, marker="o" if curve.dots else None, markersize=3.5)
    axes.set_title(panel.title, loc="left", x=-0.17, fontsize=11.5, color=SIGNAL["ink"], pad=19)
    axes.text(-0.17, 1.035, panel.y_label, transform=axes.transAxes, fontsize=10.5, color=SIGNAL["quiet"], va="bottom")
    axes.set_xlabel(panel.x_label, fontsize=10.5, color=SIGNAL["quiet"], labelpad=2, loc="right")
    for name, is_log in (("x", panel.log_x), ("y", panel.log_y)):
        axis = getattr(axes, f"{name}axis")
        if is_log:
            getattr(axes, f"set_{name}scale")("log")
            axis.set_major_locator(LogLocator(numticks=5))
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(MaxNLocator(4))
    if panel.ticks:
        axes.set_xticks([place for place, _ in panel.ticks], [name for _, name in panel.ticks])
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(SIGNAL["line"])
    axes.tick_params(colors=SIGNAL["line"], labelcolor=SIGNAL["quiet"], labelsize=10.5, which="both")


def _tidy(text: str, alt: str) -> str:
    """Return the drawing alone: no document type, metadata, style sheet or unused ids; ids that remain name the drawing they belong to."""
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(text)
    for parent in root.iter():
        for child in list(parent):
            if child.tag.rsplit("}")[-1] in ("metadata", "style"):
                parent.remove(child)
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r'xlink:href="#([^"]+)"', text))
    mark = _mark(alt)
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in used:
            element.set("id", f"{mark}{name}")
        if _LINK in element.attrib:
            element.set(_LINK, f"#{mark}{element.attrib[_LINK][1:]}")
        for key, value in element.attrib.items():
            element.set(key, _NUMBER.sub(r"\1", re.sub(r"url\(#([^)]+)\)", rf"url(#{mark}\1)", value)))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    return _compact(ElementTree.tostring(root, encoding="unicode"))


def _mark(alt: str) -> str:
    import hashlib

    return "f" + hashlib.sha256(alt.encode()).hexdigest()[:8]


def _compact(svg: str) -> str:
    """Return the drawing without white space and named fonts."""
    without_space = re.sub(r">\s+<", "><", svg.replace("\n", " "))
    return re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", re.sub(r" ?font-family: [^;\"]*;?", "", without_space))


# ---------------------------------------------------------------- rulers


@dataclass(frozen=True)
class Scale:
    """What a ruler shows, all in the unit of the metric. ``beside`` are values of other rulers that are read beside this one."""

    value: float
    interval: tuple[float, float] | None
    null: tuple[float, float] | None
    at_least: float | None
    at_most: float | None
    beside: tuple[float, ...] = ()

    @property
    def values(self) -> tuple[float, ...]:
        """Everything that the ruler itself shows."""
        bars = (bar for bar in (self.at_least, self.at_most) if bar is not None)
        return (self.value, *(self.interval or ()), *(self.null or ()), *bars)


RULER_WIDTH, RULER_HEIGHT = 260, 30


def ruler(scale: Scale, outcome: str, alt: str) -> Picture:
    """Draw an estimate with its interval against its bar: the allowed side is a thick line, what real data do is a grey band."""
    bars = [bar for bar in (scale.at_least, scale.at_most) if bar is not None]
    ends = [*scale.values, *scale.beside]
    low, high = min(ends), max(ends)
    pad = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    low, high = low - pad, high + pad

    def place(value: float) -> str:
        return f"{6 + (RULER_WIDTH - 12) * (value - low) / (high - low):.1f}"

    colour = SIGNAL[{"passed": "good", "failed": "bad"}.get(outcome, "open")]
    parts = [f'<line x1="0" x2="{RULER_WIDTH}" y1="22" y2="22" stroke="{SIGNAL["line"]}" stroke-width="1"/>']
    if scale.null is not None:
        left, right = (float(place(v)) for v in scale.null)
        parts.append(f'<rect x="{left:.1f}" y="5" width="{max(right - left, 1.5):.1f}" height="17" fill="{SIGNAL["band"]}"/>')
    allowed_from = scale.at_least if scale.at_least is not None else low
    allowed_to = scale.at_most if scale.at_most is not None else high
    if bars and allowed_from < allowed_to:
        x1, x2 = (place(v) for v in (allowed_from, allowed_to))
        parts.append(f'<line x1="{x1}" x2="{x2}" y1="22" y2="22" stroke="{SIGNAL["ink"]}" stroke-width="3"/>')
    parts += [f'<line x1="{place(b)}" x2="{place(b)}" y1="3" y2="26" stroke="{SIGNAL["ink"]}" stroke-width="1.5"/>' for b in bars]
    if scale.interval is not None:
        x1, x2 = (place(v) for v in scale.interval)
        parts.append(f'<line x1="{x1}" x2="{x2}" y1="13" y2="13" stroke="{colour}" stroke-width="2.5"/>')
    parts.append(f'<circle cx="{place(scale.value)}" cy="13" r="4.2" fill="{colour}"/>')
    svg = f'<svg xmlns="{_SVG}" viewBox="0 0 {RULER_WIDTH} {RULER_HEIGHT}">{"".join(parts)}</svg>'
    return Picture(kind="svg", data=svg, width=RULER_WIDTH, height=RULER_HEIGHT, alt=alt)


def finite(values: Array) -> Array:
    """Return values as float64 with everything that cannot be drawn as NaN."""
    out = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(out), out, np.nan)
