"""ND2 files of versions 3 and 2 as Nikon's programs lay them out: named chunks, metadata as typed values or as XML, a map at the end."""

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

MARK = 0x0ABECEDA
_NAME = 4072  # bytes kept for the name of a chunk
END = b"ND2 CHUNK MAP SIGNATURE 0000001!"


def write_nd2(
    path: Path, frames: np.ndarray, loops: Sequence[tuple[str, int]] = (), *, calibration: float = 0.0, z_step: float = 0.0,
    period_ms: float = 0.0, names: Sequence[str] = (), compress: bool = False, author: str = "", pad: int = 0,
    attributes: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None, without: Sequence[int] = (), samples: int = 1,
    change: Callable[[dict[bytes, tuple[int, int]]], None] | None = None, extra: Mapping[bytes, bytes] | None = None,
    version: int = 3,
) -> None:  # fmt: skip
    """Write frames, shape (n, y, x, c), recorded along ``loops`` (t, z, p or k with their lengths, outermost first).

    ``pad`` is what a row has in bytes behind its pixels, ``without`` the numbers of frames that are left out.
    """
    count, height, width, channels = frames.shape
    bits, row = 8 * frames.dtype.itemsize, width * channels * frames.dtype.itemsize + pad
    said = {
        "uiWidth": width, "uiWidthBytes": row, "uiHeight": height, "uiComp": channels, "uiBpcInMemory": bits, "uiBpcSignificant": bits,
        "uiSequenceCount": count, "eCompression": 0 if compress else 2, **(attributes or {}),
    }  # fmt: skip
    planes = {
        f"a{i}": {
            "uiCompCount": samples, "sDescription": names[i] if names else "", "uiColor": 255,
            "pFluorescentProbe": {
                "m_EmissionSpectrum": {"pPoint": {"Point0": {"eType": 1, "dTValue": 1.0, "dWavelength": 520.0 + i}}},
                "m_ExcitationSpectrum": {"pPoint": {"Point0": {"eType": 1, "dTValue": 1.0, "dWavelength": 488.0 + i}}},
            },
        }
        for i in range(channels // samples)
    }  # fmt: skip
    picture = {
        "bCalibrated": calibration > 0, "dCalibration": calibration, "dObjectiveMag": 60.0, "dObjectiveNA": 1.4, "dRefractIndex1": 1.515,
        "sPicturePlanes": {"uiCount": channels // samples, "sPlaneNew": planes}, **(metadata or {}),
    }  # fmt: skip
    trees = {"ImageAttributes": said, "ImageMetadataSeq|0": picture, "ImageTextInfo": {"TextInfoItem_4": author}}
    if loops:
        trees["ImageMetadata"] = _experiment(list(loops), z_step, period_ms)
    chunks = dict(_metadata(name, tree, version) for name, tree in trees.items()) | dict(extra or {})
    for i, frame in enumerate(frames):
        if i not in without:
            rows = np.zeros((height, row), np.uint8)
            rows[:, : row - pad] = np.ascontiguousarray(frame).reshape(height, -1).view(np.uint8)
            plain = rows.tobytes()
            chunks[b"ImageDataSeq|%d!" % i] = struct.pack("<d", 0.0) + (zlib.compress(plain) if compress else plain)
    with path.open("wb") as file:
        file.write(struct.pack("<IIQ", MARK, 32, 64) + b"ND2 FILE SIGNATURE CHUNK NAME01!" + (b"Ver%d.0" % version).ljust(64, b"\0"))
        places = {}
        for name, data in chunks.items():
            places[name] = (file.tell(), len(data))
            file.write(_chunk(name, data))
        if change:
            change(places)
        listing = b"".join(name + struct.pack("<QQ", *place) for name, place in places.items())
        at = file.tell()
        file.write(_chunk(b"ND2 FILEMAP SIGNATURE NAME 0001!", listing + END + struct.pack("<Q", at)))


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack("<IIQ", MARK, _NAME, len(data)) + name.ljust(_NAME, b"\0") + data


def _metadata(name: str, tree: Mapping[str, Any], version: int) -> tuple[bytes, bytes]:
    if version == 2:
        return f"{name}!".encode(), b'<variant version="1.0"><no_name runtype="CLxListVariant">' + _xml(
            tree
        ).encode() + b"</no_name></variant>"
    outer = {"ImageAttributes": "SLxImageAttributes", "ImageMetadata": "SLxExperiment", "ImageTextInfo": "SLxImageTextInfo"}
    label = name.replace("|", "LV|") if "|" in name else f"{name}LV"
    return f"{label}!".encode(), _tree({outer.get(name, "SLxPictureMetadata"): tree})


def _xml(values: Mapping[str, Any]) -> str:
    kinds = {bool: "bool", int: "lx_uint32", float: "double", str: "CLxStringW"}
    return "".join(
        f'<{name} runtype="CLxListVariant">{_xml(value)}</{name}>'
        if isinstance(value, dict)
        else f'<{name} runtype="{kinds[type(value)]}" value="{value}"/>'
        for name, value in values.items()
    )


def _experiment(loops: list[tuple[str, int]], z_step: float, period_ms: float) -> dict[str, Any]:
    (axis, count), *inner = loops
    points = range(count if axis == "p" else 0)
    kind, parameters = {
        "t": (1, {"uiCount": count, "dStart": 0.0, "dPeriod": period_ms, "dDuration": period_ms * count}),
        "p": (2, {"Points": {f"i{i:010}": {"dPosX": 0.0, "dPosY": 0.0, "dPosName": f"at {i}"} for i in points}}),
        "z": (4, {"uiCount": count, "dZStep": z_step, "dZLow": 0.0, "dZHigh": z_step * (count - 1), "iType": 0}),
        "k": (7, {"uiCount": count}),
    }[axis]
    found = {"eType": kind, "uLoopPars": parameters}
    return found | ({"ppNextLevelEx": {"i0000000000": _experiment(inner, z_step, period_ms)}} if inner else {})


def _tree(values: Mapping[str, Any]) -> bytes:
    """Return values as typed entries: kind, length of the name, name, value."""
    return b"".join(_entry(name, value) for name, value in values.items())


def _entry(name: str, value: Any) -> bytes:
    kind = {bool: 1, int: 3, float: 6, str: 8, dict: 11}[type(value)]
    head = bytes([kind, len(name) + 1]) + (name + "\0").encode("utf-16-le")
    if isinstance(value, dict):
        inner = _tree(value)
        return head + struct.pack("<IQ", len(value), len(head) + 12 + len(inner)) + inner + bytes(8 * len(value))
    if isinstance(value, str):
        return head + (value + "\0").encode("utf-16-le")
    return head + struct.pack({1: "<B", 3: "<I", 6: "<d"}[kind], value)
