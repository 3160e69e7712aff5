"""LIF, the files of Leica's confocal and wide-field microscopes: an XML header and blocks of plain numbers, no library needed.

A block's numbers are mapped by the distances in bytes that the header gives for each axis and channel, so that colours that lie pixel
by pixel, padded rows and sections x-z need no case of their own. A file is a project of several images as a rule; one with more than one
is refused with the list of them, because nothing here can say which is meant.
"""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Box, Image, Load, accepted_dtype, default_channels, too_large
from sciimg.io.ome import immersion
from sciimg.io.personal import named_people, note_personal
from sciimg.io.spacing import Stated, Wishes, settle
from sciimg.io.xml import children, first, name, number, parse
from sciimg.records import digest_file
from sciimg.types import AXES, Channel

EXTENSIONS = (".lif",)
_BLOCK, _ITEM = 0x70, 0x2A
# DimID → axis; those in words are no axis of an image here.
_LETTERS = {
    1: "x", 2: "y", 3: "z", 4: "t", 5: "emission wavelength", 6: "rotation", 7: "x-t section", 8: "t section",
    9: "excitation wavelength", 10: "stage position", 11: "loop",
}  # fmt: skip
_COLOURS = {1: "red", 2: "green", 3: "blue"}  # ChannelTag
_SETTINGS = ("ATLConfocalSettingDefinition", "ATLCameraSettingDefinition")
_OBJECTIVE = {
    "magnification": "Magnification", "numerical_aperture": "NumericalAperture", "refractive_index": "RefractionIndex",
}  # fmt: skip
_SHOWN = 20


@dataclass(frozen=True)
class _Dimension:
    axis: str
    count: int
    length: float
    unit: str
    step: int  # bytes

    @property
    def spacing(self) -> float:
        """Distance of neighbours: ``Length`` runs from the first sample to the last."""
        return abs(self.length) / (self.count - 1) if self.count > 1 else 0.0


@dataclass(frozen=True)
class _Plane:
    """What the header says of one channel."""

    dtype: np.dtype[Any]
    bits: int
    tag: int
    offset: int  # bytes
    name: str


def sniff(head: bytes, path: Path) -> bool:
    """Whether the file begins with the block of an XML header in UTF-16."""
    return len(head) > 16 and head[:4] == b"\x70\0\0\0" and head[8] == _ITEM and head[13:15] == b"<\0"


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the one image of the file as a lazy image: ``[t][c][z]yx``; a section x-z gives its rows as y.

    Raises
    ------
    InputError
        Kinds ``truncated``, ``corrupt``, ``too-large``, ``xml-entities``, ``several-images``, ``no-image``, ``absurd-size``, ``axes``,
        ``dtype``, ``unknown-spacing``, ``spacing-contradiction``.
    """
    root, after = _header(path, wishes.memory_limit)
    blocks = _blocks(path, int(number(root.get("Version"))), after)
    element = _only_image(root, path)
    with decoding(path, what="The description of the image cannot be read"):
        dimensions, planes = _described(element)
    dtype = _dtype(planes, path)
    along, notes = _axes(dimensions, path)
    start = _start(element, blocks, list(along.values()), planes, path)
    axes = "".join(a for a in AXES if a in along or (a == "c" and len(planes) > 1))
    stated = Stated.of({a: (d.spacing * 1e6, "µm") for a, d in along.items() if d.unit == "m"})
    spacing, more = settle(axes, stated, wishes, path)
    return Image(
        load=_loader(path, start, axes, along, planes, dtype),
        axes=axes,
        shape=tuple(len(planes) if a == "c" else along[a].count for a in axes),
        dtype=accepted_dtype(dtype, str(path)),
        spacing=spacing,
        channels=_channels(planes),
        source=path.name,
        hash=lambda: digest_file(path),
        acquisition=_acquisition(element, along, planes),
        problems=(*notes, *more, *note_personal(path, named_people(root))),
        memory_limit=wishes.memory_limit,
    )


def _header(path: Path, limit: int) -> tuple[Element, int]:
    """Return the XML and the place behind it."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        letters = struct.unpack("<IIBI", stream.read(13))[3]
        after = 13 + 2 * letters
        if after > size:
            raise refuse(path, "truncated", f"The XML header should reach to byte {after}; the file ends at {size}. Get a fresh copy.")
        if after > limit:
            raise too_large(str(path), (after,), after, limit)
        text = stream.read(2 * letters).decode("utf-16-le", errors="replace")
    return parse(text.rstrip("\0"), path), after


def _blocks(path: Path, version: int, at: int) -> dict[str, tuple[int, int]]:
    """Return name → (place, size) of the blocks of numbers, all of which must lie in the file."""
    if version not in (1, 2):
        raise refuse(path, "corrupt", f"The version of a LIF must be 1 or 2; the header says {version}. Get a fresh copy.")
    head = struct.Struct("<IIBIBI" if version == 1 else "<IIBQBI")
    found: dict[str, tuple[int, int]] = {}
    end = path.stat().st_size
    with path.open("rb") as stream:
        while at < end:
            stream.seek(at)
            start = stream.read(head.size)
            if len(start) < head.size:
                raise _cut(path, at + head.size, end)
            mark, _, first_item, size, second_item, letters = head.unpack(start)
            if (mark, first_item, second_item) != (_BLOCK, _ITEM, _ITEM):
                raise refuse(path, "corrupt", f"A block must begin at byte {at} with its marks; something else is there. Get a fresh copy.")
            begin = at + head.size + 2 * letters
            if begin + size > end:
                raise _cut(path, begin + size, end)
            found[stream.read(2 * letters).decode("utf-16-le", errors="replace")] = (begin, size)
            at = begin + size
    return found


def _cut(path: Path, needed: int, end: int) -> Exception:
    message = f"The header is intact, but a block should reach to byte {needed} and the file ends at {end}. Get a fresh copy."
    return refuse(path, "truncated", message)


def _only_image(root: Element, path: Path) -> Element:
    """Return the element of the image; a file of several is refused with the list of them."""
    images = list(_images(root, ""))
    if not images:
        raise refuse(path, "no-image", "The file must hold an image; its header describes none. Was nothing but settings saved?")
    if len(images) > 1:
        shown = "; ".join(f"{title} ({_size(element)})" for title, element in images[:_SHOWN]) + (" …" if len(images) > _SHOWN else "")
        message = (
            f"A file must hold one image; this one holds {len(images)}: {shown}. Which one is meant cannot be said here: export those that "
            "you want as OME-TIFF (LAS X, Fiji), or save each as a LIF of its own (LAS X)."
        )
        raise refuse(path, "several-images", message)
    return images[0][1]


def _images(parent: Element, above: str) -> Iterator[tuple[str, Element]]:
    for element in (*children(parent, "Element"), *children(parent, "Children", "Element")):
        title = f"{above}/{element.get('Name') or ''}".strip("/")
        if first(element, "Data", "Image") is not None:
            yield title, element
        yield from _images(element, title)


def _size(element: Element) -> str:
    try:
        dimensions, planes = _described(element)
    except (LookupError, TypeError, ValueError):
        return "not readable"
    return " ".join([*(f"{d.axis}={d.count}" for d in dimensions), f"c={len(planes)}"])


def _described(element: Element) -> tuple[list[_Dimension], list[_Plane]]:
    """Return what ImageDescription says; channels red, green, blue where they have such tags, else as they are listed."""
    description = ("Data", "Image", "ImageDescription")
    dimensions = [
        _Dimension(
            _LETTERS.get(int(d.attrib["DimID"]), f"axis {d.attrib['DimID']}"), int(d.attrib["NumberOfElements"]), number(d.get("Length")),
            d.get("Unit") or "", int(d.attrib["BytesInc"]),
        )
        for d in children(element, *description, "Dimensions", "DimensionDescription")
    ]  # fmt: skip
    planes = []
    for channel in children(element, *description, "Channels", "ChannelDescription"):
        bits, kind = int(channel.attrib["Resolution"]), int(channel.attrib["DataType"])
        size = next((s for s in (1, 2, 4, 8) if bits <= 8 * s), 0)
        said = {p.findtext("Key"): p.findtext("Value") or "" for p in children(channel, "ChannelProperty")}
        dtype = np.dtype(f"<{'uf'[kind]}{size}")
        planes.append(_Plane(dtype, bits, int(channel.get("ChannelTag") or 0), int(channel.attrib["BytesInc"]), said.get("DyeName", "")))
    if {p.tag for p in planes} == set(_COLOURS) and len(planes) == len(_COLOURS):
        planes.sort(key=lambda p: p.tag)
    return dimensions, planes


def _dtype(planes: Sequence[_Plane], path: Path) -> np.dtype[Any]:
    found = {p.dtype for p in planes}
    if len(found) != 1:
        names = ", ".join(sorted(str(d) for d in found)) or "none"
        raise refuse(path, "dtype", f"All channels must have one kind of number; these have {names}. Export them apart.")
    return found.pop()


def _axes(dimensions: Sequence[_Dimension], path: Path) -> tuple[dict[str, _Dimension], tuple[Problem, ...]]:
    """Return axis → dimension. Of a section x-z the rows are y from now on: noted."""
    if strange := [f"{d.axis} ({d.count})" for d in dimensions if d.axis not in AXES and d.count != 1]:
        message = (
            f"Axes may be t, c, z, y, x; the image also has {', '.join(strange)}. Split it (stage positions: merge the tiles) in LAS X."
        )
        raise refuse(path, "axes", message)
    listed = [d for d in dimensions if d.axis in AXES and (d.count != 1 or d.axis in "yx")]
    along = {d.axis: d for d in listed}
    if len(along) < len(listed):
        raise refuse(
            path, "axes", f"Every axis must be there once; listed are {', '.join(d.axis for d in listed)}. Export the image again."
        )
    notes: tuple[Problem, ...] = ()
    if "y" not in along and "z" in along:
        along["y"] = along.pop("z")
        message = "The image is a section x-z; its rows run along z and are taken as y. Do not mix it with images of the plane x-y."
        notes = (Problem(path.name, "section", message),)
    if not {"y", "x"} <= along.keys():
        raise refuse(
            path, "axes", f"An image must have rows and columns; this one has the axes {', '.join(along) or 'none'}. Leave it out."
        )
    return along, notes


def _start(
    element: Element, blocks: Mapping[str, tuple[int, int]], dimensions: Sequence[_Dimension], planes: Sequence[_Plane], path: Path
) -> int:
    """Return where the numbers begin; refuse sizes that do not fit the block before anything is allocated."""
    memory = first(element, "Memory")
    label = (memory.get("MemoryBlockID") or "") if memory is not None else ""
    start, size = blocks.get(label, (0, 0))
    if not size:
        message = f"The image's numbers must be in a block {label!r} of the file; there is none, or it is empty. Get a fresh copy."
        raise refuse(path, "truncated", message)
    counts = [d.count for d in dimensions]
    if min(counts) < 1 or min(d.step for d in dimensions) < 1 or min(p.offset for p in planes) < 0:
        raise refuse(path, "corrupt", f"Sizes and distances must be positive; the header says {counts} samples. Get a fresh copy.")
    item = planes[0].dtype.itemsize
    needed = math.prod(counts) * len(planes) * item
    reach = max(p.offset for p in planes) + sum((d.count - 1) * d.step for d in dimensions) + item
    if max(needed, reach) > size:
        message = (
            f"The header declares {'x'.join(map(str, counts))} samples in {len(planes)} channel(s), {max(needed, reach)} bytes; the block "
            f"{label!r} has {size}. Get a fresh copy."
        )
        raise refuse(path, "absurd-size" if needed > 1000 * max(size, 1) else "truncated", message)
    return start


def _loader(path: Path, start: int, axes: str, along: Mapping[str, _Dimension], planes: Sequence[_Plane], dtype: np.dtype[Any]) -> Load:
    letters = axes.replace("c", "")
    shape, steps = tuple(along[a].count for a in letters), tuple(along[a].step for a in letters)

    def load(box: Box) -> NDArray[Any]:
        bytes_ = np.memmap(path, np.uint8, "r")
        place = tuple(box[axes.index(a)] for a in letters)
        wanted = planes[box[axes.index("c")]] if "c" in axes else planes
        parts = [np.ndarray(shape, dtype, bytes_, start + p.offset, steps)[place].astype(dtype.newbyteorder("=")) for p in wanted]
        return np.stack(parts, axes.index("c")) if "c" in axes else parts[0]

    return load


def _channels(planes: Sequence[_Plane]) -> tuple[Channel, ...]:
    if [p.tag for p in planes] == list(_COLOURS):
        return tuple(Channel(name) for name in _COLOURS.values())
    if all(p.name for p in planes):
        return tuple(Channel(p.name) for p in planes)
    return default_channels(len(planes))


def _acquisition(element: Element, along: Mapping[str, _Dimension], planes: Sequence[_Plane]) -> dict[str, Any]:
    """Return how the image was taken, in the words of OME-XML; bands of emission one a channel where detectors and channels match."""
    found: dict[str, Any] = {}
    if "t" in along and along["t"].unit == "s":
        found["time_step_s"] = along["t"].spacing
    if (bits := {p.bits for p in planes}) and len(bits) == 1:
        found["significant_bits"] = bits.pop()
    settings = next((e for e in element.iter() if name(e) in _SETTINGS), None)
    if settings is None:
        return {k: v for k, v in found.items() if v}
    found |= {ours: number(settings.get(theirs)) for ours, theirs in _OBJECTIVE.items()}
    found["immersion"] = immersion(settings.get("Immersion"))
    active = [d for d in children(settings, "DetectorList", "Detector") if d.get("IsActive") == "1"]
    if len(active) == len(planes):
        bands = {b.get("Channel"): b for b in children(settings, "Spectro", "MultiBand")}
        found["gain"] = [number(d.get("Gain")) or None for d in active]
        found["emission_band_nm"] = [_band(bands.get(d.get("Channel"))) for d in active]
    lines = [e for e in settings.iter() if name(e) == "LaserLineSetting" and number(e.get("IntensityDev")) > 0]
    found["laser_lines_nm"] = sorted({number(e.get("LaserLine")) for e in lines} - {0.0})
    return {k: v for k, v in found.items() if (any(e is not None for e in v) if isinstance(v, list) else v)}


def _band(band: Element | None) -> list[float] | None:
    if band is None:
        return None
    ends = [number(band.get("TargetWaveLengthBegin")), number(band.get("TargetWaveLengthEnd"))]
    return [round(e, 3) for e in ends] if 0 < ends[0] < ends[1] else None
