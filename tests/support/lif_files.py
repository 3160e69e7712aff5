"""LIF files as Leica's programs lay them out: an XML header and blocks of numbers."""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

_DIMENSIONS = {"x": 1, "y": 2, "z": 3, "t": 4, "r": 6, "m": 10}


def write_lif(path: Path, *images: str, blocks: Mapping[str, bytes] | None = None, version: int = 2, attributes: str = "") -> None:
    """Write a file of the elements that :func:`element` gives, and their blocks."""
    inner = "".join(images)
    xml = (
        f'<LMSDataContainerHeader Version="{version}"><Element Name="project" {attributes}><Children>{inner}</Children></Element>'
        "</LMSDataContainerHeader>"
    )
    with path.open("wb") as file:
        file.write(_block(xml))
        for label, data in (blocks or {}).items():
            name = label.encode("utf-16-le")
            item = struct.pack("<BQBI" if version == 2 else "<BIBI", 0x2A, len(data), 0x2A, len(label)) + name
            file.write(struct.pack("<II", 0x70, len(item)) + item + data)


def element(
    array: np.ndarray, axes: str, spacing: Mapping[str, float] | None = None, *, name: str = "first", label: str = "MemBlock_1",
    tags: Sequence[int] = (), names: Sequence[str] = (), bits: int = 0, more: str = "",
) -> str:  # fmt: skip
    """Describe an array that lies in its block as it lies in memory; ``axes`` of one letter each, ``c`` for channels.

    ``spacing`` is in metres (seconds for t).
    """
    steps = dict(zip(axes, array.strides, strict=True))
    counts = dict(zip(axes, array.shape, strict=True))
    said = spacing or {}
    unit = {a: "" if a not in said else "s" if a == "t" else "m" for a in axes}
    dimensions = "".join(
        f'<DimensionDescription DimID="{_DIMENSIONS[a]}" NumberOfElements="{counts[a]}" Origin="0" '
        f'Length="{said.get(a, 0.0) * (counts[a] - 1)!r}" Unit="{unit[a]}" BitInc="0" BytesInc="{steps[a]}"/>'
        for a in sorted(counts, key=lambda a: steps[a])
        if a != "c"
    )
    channels = "".join(
        f'<ChannelDescription DataType="{int(array.dtype.kind == "f")}" ChannelTag="{tags[i] if tags else 0}" '
        f'Resolution="{bits or 8 * array.dtype.itemsize}" NameOfMeasuredQuantity="" Min="0" Max="1" Unit="" LUTName="Gray" '
        f'IsLUTInverted="0" BytesInc="{i * steps.get("c", 0)}" BitInc="0">'
        + (f"<ChannelProperty><Key>DyeName</Key><Value>{names[i]}</Value></ChannelProperty>" if names else "")
        + "</ChannelDescription>"
        for i in range(counts.get("c", 1))
    )
    return (
        f'<Element Name="{name}" UniqueID="{name}"><Data><Image TextDescription=""><ImageDescription><Channels>{channels}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription>{more}</Image></Data>"
        f'<Memory Size="{array.nbytes}" MemoryBlockID="{label}"/><Children/></Element>'
    )


def _block(text: str) -> bytes:
    data = text.encode("utf-16-le")
    return struct.pack("<IIBI", 0x70, len(data) + 5, 0x2A, len(data) // 2) + data
