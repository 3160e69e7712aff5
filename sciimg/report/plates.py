"""Strips of images: tiles in a row, rendered alike for real and synthetic, with outlines of masks and maps of error."""

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sciimg.report.model import Picture
from sciimg.review.presentation import Presentation, Rgb, mid_planes
from sciimg.review.typesetting import png

TILE_PX = 128  # tiles beyond this are reduced: a page of evidence stays within a few megabytes
MAP_PX = 256
GAP_SHARE = 0.06  # of a tile
PLANE_GAP = 2  # pixels between the planes of a volume
_HEAT = np.array([(0, 0, 4), (60, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191)], float)  # magma


def image_strip(images: NDArray[np.generic], show: Presentation, alt: str) -> Picture:
    """Return samples (N, C, [Z,] Y, X) side by side; the planes of a volume stand below one another."""
    return _strip([_stack([show.render(plane[i]) for plane in show.planes(images)]) for i in range(len(images))], alt)


def channel_strip(images: NDArray[np.generic], channel: int, show: Presentation, alt: str) -> Picture:
    """Return one channel of samples (N, C, [Z,] Y, X) side by side."""
    return _strip([_stack([show.channel(plane[i], channel) for plane in show.planes(images)]) for i in range(len(images))], alt)


def tinted_strip(images: NDArray[np.generic], parts: NDArray[np.int32], show: Presentation, alt: str) -> Picture:
    """Return whole images (N, C, [Z,] Y, X) under tints for parts (N, [Z,] Y, X): 0 darkened, 1 clear, 2 amber, 3 blue."""
    planes, masks = show.planes(images), mid_planes(parts[:, None], show.spacing)
    tiles = []
    for i in range(len(images)):
        rendered = [show.render(plane[i]) for plane in planes]
        tiles.append(_stack([_tinted(r, np.asarray(m[i, 0], np.int64)) for r, m in zip(rendered, masks, strict=True)]))
    return _strip(tiles, alt, limit=MAP_PX)


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


def stacked(shapes: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """Return the size (H, W) of planes of these shapes below one another, and the place (y, x) of each; narrower ones are centred."""
    width = max(w for _, w in shapes)
    places, y = [], 0
    for height, w in shapes:
        places.append((y, (width - w) // 2))
        y += height + PLANE_GAP
    return (y - PLANE_GAP, width), places


def gap_of(width: int) -> int:
    """Return the gap between tiles of this width."""
    return max(1, round(GAP_SHARE * width))


def reduction(width: int, limit: int = TILE_PX) -> int:
    """Return by which whole number tiles of this width are reduced."""
    return -(-width // limit)


def _stack(planes: Sequence[Rgb]) -> Rgb:
    """Return planes below one another, on black."""
    if len(planes) == 1:
        return planes[0]
    size, places = stacked([p.shape[:2] for p in planes])
    out = np.zeros((*size, 3), np.uint8)
    for (y, x), plane in zip(places, planes, strict=True):
        out[y : y + plane.shape[0], x : x + plane.shape[1]] = plane
    return out


def _strip(tiles: Sequence[Rgb], alt: str, limit: int = TILE_PX) -> Picture:
    """Return tiles of one size in a row, with see-through gaps, as a PNG."""
    small = [_reduced(tile, reduction(tile.shape[1], limit)) for tile in tiles]
    height, width = small[0].shape[:2]
    step = width + gap_of(width)
    canvas = np.zeros((height, len(small) * step - gap_of(width), 4), np.uint8)
    for i, tile in enumerate(small):
        canvas[:, i * step : i * step + width, :3] = tile
        canvas[:, i * step : i * step + width, 3] = 255
    data = base64.b64encode(png(canvas)).decode()
    return Picture(kind="png", data=data, width=canvas.shape[1], height=height, alt=alt)


def _reduced(tile: Rgb, times: int) -> Rgb:
    from PIL import Image

    return tile if times == 1 else np.asarray(Image.fromarray(np.ascontiguousarray(tile)).reduce(times))
