"""Outlines of masks as lines over a strip of images: sharp at any size, and a few kilobytes where pixels would take hundreds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sciimg.report.model import Picture
from sciimg.report.plates import TILE_PX, gap_of, reduction, stacked
from sciimg.review.presentation import COLOURS, Presentation, mid_planes
from sciimg.types import LabelKind

_SVG = "http://www.w3.org/2000/svg"
_TOLERANCE = 0.35  # pixels by which a line may leave the border that it simplifies
_HALO = "#101010"


@dataclass(frozen=True)
class Layer:
    """Masks of one meaning: ``labels`` (N, [Z,] Y, X), drawn in one colour (objects) or one a class, solid or dashed."""

    labels: NDArray[np.int32]
    colour: str
    dashed: bool = False


ASKED, FOUND = "#00e896", "#ff5cf0"  # green and magenta: apart in every common colour-vision deficiency, and one of them is dashed


def outlines(layers: Sequence[Layer], show: Presentation, kind: LabelKind | None, alt: str) -> Picture:
    """Return the borders of masks as a drawing that covers the strip of the same images (:mod:`sciimg.report.plates`)."""
    first = mid_planes(layers[0].labels[:, None], show.spacing)
    (height, width), places = stacked([(p.shape[-2], p.shape[-1]) for p in first])
    times = reduction(width, TILE_PX)
    tile = width // times + (width % times > 0)
    step = tile + gap_of(tile)
    count = len(layers[0].labels)
    size = (count * step - gap_of(tile), height // times + (height % times > 0))
    parts = []
    for layer in layers:
        planes = mid_planes(layer.labels[:, None], show.spacing)
        for i in range(count):
            offsets = [(x / times + i * step, y / times) for y, x in places]
            masks = [np.asarray(p[i, 0]) for p in planes]
            parts += [
                _path(layer, mask, number, kind, o, times) for mask, o in zip(masks, offsets, strict=True) for number in _numbers(mask)
            ]
    svg = f'<svg xmlns="{_SVG}" viewBox="0 0 {size[0]} {size[1]}" fill="none" stroke-linejoin="round">{"".join(parts)}</svg>'
    return Picture(kind="svg", data=svg, width=size[0], height=size[1], alt=alt)


def _numbers(mask: NDArray[np.generic]) -> list[int]:
    return [int(n) for n in np.unique(mask) if n > 0]


def _path(layer: Layer, mask: NDArray[np.generic], number: int, kind: LabelKind | None, offset: tuple[float, float], times: int) -> str:
    from skimage.measure import approximate_polygon, find_contours

    lines = []
    for contour in find_contours(np.pad(mask == number, 1).astype(float), 0.5):
        points = approximate_polygon(contour, _TOLERANCE) - 0.5  # centre of pixel (i, j) of the padded mask is (i - 0.5, j - 0.5)
        lines.append("M" + "L".join(f"{x / times + offset[0]:.1f} {y / times + offset[1]:.1f}" for y, x in points) + "Z")
    colour = layer.colour
    if kind == "classes":
        colour = "#" + "".join(f"{round(255 * c):02x}" for c in COLOURS[(number - 1) % len(COLOURS)])
    dash = ' stroke-dasharray="2.2 1.6"' if layer.dashed else ""
    shape = "".join(lines)
    halo = f'<path d="{shape}" stroke="{_HALO}" stroke-opacity="0.45" stroke-width="1.3"/>'
    return f'{halo}<path d="{shape}" stroke="{colour}" stroke-width="0.7"{dash}/>'
