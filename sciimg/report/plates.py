"""Strips of images: tiles in a row, rendered alike for real and synthetic, with outlines of masks and maps of error."""

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sciimg.report.model import Picture
from sciimg.review.presentation import COLOURS, Presentation, Rgb, mid_planes
from sciimg.review.typesetting import enlarged, png
from sciimg.types import LabelKind

TILE_PX = 128  # tiles beyond this are reduced: a page of evidence stays within a few megabytes
GAP_SHARE = 0.06  # of a tile, so that rows of different resolution align
OUTLINE_SCALE = 2  # outlines are drawn on an enlarged tile, so that they hide little
_OUTLINE = {"brightfield": (0, 232, 150), "grey": (255, 214, 10), "composite": (255, 255, 255)}
_HEAT = np.array([(0, 0, 4), (60, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191)], float)  # magma


def image_strip(images: NDArray[np.generic], show: Presentation, alt: str) -> Picture:
    """Return samples (N, C, [Z,] Y, X) side by side; the planes of a volume stand below one another."""
    return _strip([_stack([show.render(plane[i]) for plane in show.planes(images)]) for i in range(len(images))], alt)


def channel_strip(images: NDArray[np.generic], channel: int, show: Presentation, alt: str) -> Picture:
    """Return one channel of samples (N, C, [Z,] Y, X) side by side."""
    return _strip([_stack([show.channel(plane[i], channel) for plane in show.planes(images)]) for i in range(len(images))], alt)


def outlined_strip(
    images: NDArray[np.generic], labels: NDArray[np.int32], show: Presentation, label_kind: LabelKind | None, alt: str
) -> Picture:
    """Return samples (N, C, [Z,] Y, X) with the borders of their labels (N, [Z,] Y, X) drawn over them."""
    planes, masks = show.planes(images), mid_planes(labels[:, None], show.spacing)
    tiles = []
    for i in range(len(images)):
        parts = [_outlined(show.render(plane[i]), mask[i, 0], show, label_kind) for plane, mask in zip(planes, masks, strict=True)]
        tiles.append(_stack(parts))
    return _strip(tiles, alt, times=OUTLINE_SCALE)


def tinted_strip(images: NDArray[np.generic], parts: NDArray[np.int32], show: Presentation, alt: str) -> Picture:
    """Return whole images (N, C, [Z,] Y, X) under tints for parts (N, [Z,] Y, X): 0 darkened, 1 clear, 2 amber, 3 blue."""
    planes, masks = show.planes(images), mid_planes(parts[:, None], show.spacing)
    tiles = []
    for i in range(len(images)):
        rendered = [show.render(plane[i]) for plane in planes]
        tiles.append(_stack([_tinted(r, np.asarray(m[i, 0], np.int64)) for r, m in zip(rendered, masks, strict=True)]))
    return _strip(tiles, alt, times=4)


def _tinted(tile: Rgb, parts: NDArray[np.int64]) -> Rgb:
    colours = np.array([(20, 20, 20), (0, 0, 0), (235, 160, 0), (40, 95, 200)], float)[parts]
    share = np.array([0.75, 0.0, 0.38, 0.38])[parts][..., None]
    mixed: Rgb = np.rint(tile * (1 - share) + colours * share).astype(np.uint8)
    return mixed


def map_strip(maps: NDArray[np.generic], show: Presentation, alt: str, top: float = 1.0) -> Picture:
    """Return maps (N, [Z,] Y, X) in colours from black (0) over red to pale yellow (``top``)."""
    planes = mid_planes(np.asarray(maps, float)[:, None], show.spacing)
    return _strip([_stack([heat(plane[i, 0] / top) for plane in planes]) for i in range(len(maps))], alt)


def heat(values: NDArray[np.float64]) -> Rgb:
    """Return colours (H, W, 3) for values from 0 to 1; lighter is more, so that it also reads in grey."""
    place = np.clip(np.nan_to_num(values, nan=1.0), 0, 1) * (len(_HEAT) - 1)
    low = np.minimum(place.astype(int), len(_HEAT) - 2)
    share = (place - low)[..., None]
    colours: Rgb = np.rint(_HEAT[low] * (1 - share) + _HEAT[low + 1] * share).astype(np.uint8)
    return colours


def _outlined(tile: Rgb, labels: NDArray[np.generic], show: Presentation, kind: LabelKind | None) -> Rgb:
    from skimage.segmentation import find_boundaries

    out = np.array(enlarged(tile, OUTLINE_SCALE))
    large = np.asarray(labels).repeat(OUTLINE_SCALE, axis=0).repeat(OUTLINE_SCALE, axis=1)
    if kind == "classes":
        for number in np.unique(large[large > 0]):
            colour = np.rint(255 * COLOURS[(int(number) - 1) % len(COLOURS)]).astype(np.uint8)
            out[find_boundaries(large == number, mode="inner")] = colour
    else:
        out[find_boundaries(large, mode="inner")] = _OUTLINE[show.kind]
    return out


def _stack(planes: Sequence[Rgb]) -> Rgb:
    """Return planes below one another, centred on black."""
    if len(planes) == 1:
        return planes[0]
    width = max(p.shape[1] for p in planes)
    rows = []
    for plane in planes:
        left = (width - plane.shape[1]) // 2
        rows.append(np.pad(plane, ((0, 2), (left, width - plane.shape[1] - left), (0, 0))))
    return np.concatenate(rows)[:-2]


def _strip(tiles: Sequence[Rgb], alt: str, times: int = 1) -> Picture:
    """Return tiles of one size in a row, with see-through gaps, as a PNG; ``times`` is how much they were enlarged."""
    small = [_reduced(tile, TILE_PX * times) for tile in tiles]
    height, width = small[0].shape[:2]
    gap = max(1, round(GAP_SHARE * width))
    canvas = np.zeros((height, len(small) * (width + gap) - gap, 4), np.uint8)
    for i, tile in enumerate(small):
        left = i * (width + gap)
        canvas[:, left : left + width, :3] = tile
        canvas[:, left : left + width, 3] = 255
    data = base64.b64encode(png(canvas)).decode()
    return Picture(kind="png", data=data, width=canvas.shape[1], height=height, alt=alt)


def _reduced(tile: Rgb, limit: int) -> Rgb:
    from PIL import Image

    times = -(-tile.shape[1] // limit)
    return tile if times == 1 else np.asarray(Image.fromarray(np.ascontiguousarray(tile)).reduce(times))
