"""ND2, the files of Nikon's microscopes (format 2 and 3): frames in named chunks, found by a map at the end of the file.

The chunks' many kinds of metadata are read by the nd2 library, an extra. Map and frames are read here, because the library gives zeros
for a frame that is not in the file, or only in part.
"""

import math
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Box, Image, Load, default_channels, too_large
from sciimg.io.personal import note_personal
from sciimg.io.spacing import Stated, Wishes, settle
from sciimg.records import digest_file
from sciimg.types import AXES, Channel

if TYPE_CHECKING:
    from nd2 import ND2File

EXTENSIONS = (".nd2",)
_CHUNK = struct.Struct("<IIQ")  # mark, length of the name, length of the data
_MARK = 0x0ABECEDA
_SIGNATURE, _MAP, _END = b"ND2 FILE SIGNATURE CHUNK NAME01!", b"ND2 FILEMAP SIGNATURE NAME 0001!", b"ND2 CHUNK MAP SIGNATURE 0000001!"
_FRAME = b"ImageDataSeq|"
_STAMP = 8  # bytes of a time stamp before the pixels of a frame
_LOOPS = {"TimeLoop": "t", "NETimeLoop": "t", "ZStackLoop": "z", "XYPosLoop": "p"}
_DTYPES: Mapping[int, np.dtype[Any]] = {8: np.dtype("<u1"), 16: np.dtype("<u2"), 32: np.dtype("<f4")}
_PERSONAL = ("author", "location", "sampleId")
_LONGEST = 64 * 2**20


def sniff(head: bytes, path: Path) -> bool:
    """Whether the file begins with the signature chunk of ND2. The format before it is JPEG 2000 and not read."""
    return len(head) > 48 and head[:4] == _MARK.to_bytes(4, "little") and head[16:48] == _SIGNATURE


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the image as a lazy one: ``[t][c][z]yx``.

    Raises
    ------
    InputError
        Kinds ``extra-missing``, ``truncated``, ``corrupt``, ``absurd-size``, ``too-large``, ``several-images``, ``plane-missing``,
        ``axes``, ``colour-order``, ``dtype``, ``compression``, ``xml-entities``, ``unknown-spacing``, ``spacing-contradiction``.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        chunks = _chunk_map(stream, size, path)
        _refuse_metadata(stream, chunks, size, path)
    said = _described(path)
    _refuse_kind(said, path)
    loops = _loops(said, path)
    frames = _frames(path, chunks, size, said, loops, wishes.memory_limit)
    lengths = dict(loops) | {"c": said.channels, "y": said.height, "x": said.width}
    axes = "".join(a for a in AXES if a in "yx" or lengths.get(a, 1) > 1)
    spacing, notes = settle(axes, Stated.of({a: (v, "µm") for a, v in said.spacing_um.items() if a in axes}), wishes, path)
    return Image(
        load=_loader(path, frames, said, loops, axes),
        axes=axes,
        shape=tuple(lengths[a] for a in axes),
        dtype=said.dtype.newbyteorder("="),
        spacing=spacing,
        channels=said.named or default_channels(said.channels),
        source=path.name,
        hash=lambda: digest_file(path),
        acquisition=said.acquisition,
        problems=(*notes, *note_personal(path, said.people)),
        memory_limit=wishes.memory_limit,
    )


@dataclass(frozen=True)
class _Said:
    """What the library reads out of the metadata."""

    height: int
    width: int
    row: int  # bytes of a row
    channels: int
    samples: int  # of a pixel, over all channels
    bits: int  # of a sample in the file
    compression: str | None
    announced: int  # frames
    loops: tuple[tuple[str, int], ...]  # outermost first
    spacing_um: Mapping[str, float]
    named: tuple[Channel, ...]
    acquisition: Mapping[str, Any]
    people: tuple[str, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        return _DTYPES[self.bits]


def _chunk_map(stream: BufferedReader, size: int, path: Path) -> dict[bytes, tuple[int, int]]:
    """Return name → (place, size of the data) of the chunks; the map stands at the end, so that a cut file has none."""
    tail = struct.Struct("<32sQ")
    stream.seek(max(0, size - tail.size))
    end = stream.read(tail.size)
    if len(end) < tail.size or not end.startswith(_END):
        raise refuse(path, "truncated", "The file must end with the map of its chunks; it ends without. Get a fresh copy of the file.")
    data = _chunk(stream, tail.unpack(end)[1], size, _MAP, path)
    found: dict[bytes, tuple[int, int]] = {}
    at = 0
    while (stop := data.find(b"!", at) + 1) and data[at:stop] != _END and stop + 16 <= len(data):
        found[data[at:stop]] = struct.unpack_from("<QQ", data, stop)
        at = stop + 16
    if not stop or data[at:stop] != _END:
        raise refuse(path, "corrupt", "The map of the file's chunks must end with its mark; it does not. Get a fresh copy of the file.")
    return found


def _chunk(stream: BufferedReader, at: int, size: int, name: bytes, path: Path) -> bytes:
    start, length = _place(stream, at, size, name, path)
    if length > _LONGEST:
        raise refuse(path, "corrupt", f"A chunk of metadata must be smaller than {_LONGEST >> 20} MiB; one has {length} bytes.")
    stream.seek(start)
    return stream.read(length)


def _place(stream: BufferedReader, at: int, size: int, name: bytes, path: Path) -> tuple[int, int]:
    """Return where the data of a chunk begin and how long they are; they must lie in the file."""
    title = name.rstrip(b"!").decode("latin-1")
    stream.seek(at if at <= size else size)
    head = stream.read(_CHUNK.size + len(name))
    if len(head) < _CHUNK.size + len(name):
        raise refuse(path, "truncated", f"The chunk {title} should begin at byte {at}; the file ends at {size}. Get a fresh copy.")
    mark, letters, length = _CHUNK.unpack_from(head)
    if mark != _MARK or head[_CHUNK.size :] != name:
        raise refuse(path, "corrupt", f"The chunk {title} must begin at byte {at}; something else is there. Get a fresh copy of the file.")
    start = at + _CHUNK.size + letters
    if start + length > size:
        message = f"The chunk {title} should reach to byte {start + length}; the file ends at {size}. Get a fresh copy."
        raise refuse(path, "truncated", message)
    return start, length


def _refuse_metadata(stream: BufferedReader, chunks: Mapping[bytes, tuple[int, int]], size: int, path: Path) -> None:
    """Look at the metadata before the library does: their places and sizes, and document types in those that are XML."""
    for name, (at, _) in chunks.items():
        if name.startswith(b"Image") and not name.startswith(_FRAME):
            data = _chunk(stream, at, size, name, path)
            text = data.replace(b"\0", b"").upper() if data.startswith(b"<") else b""  # of either width of letters
            if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
                message = "XML in an image must not declare a document type or entities, which can grow without bound; this one does."
                raise refuse(path, "xml-entities", message)


def _described(path: Path) -> _Said:
    try:
        import nd2
    except ImportError:
        raise refuse(path, "extra-missing", "ND2 needs the package nd2: pip install 'sciimg[nd2]'.") from None
    with decoding(path, what="The ND2 metadata cannot be read"), nd2.ND2File(path) as file:
        return _read(file)


def _read(file: "ND2File") -> _Said:
    about, listed = file.attributes, getattr(file.metadata, "channels", None) or []
    channels = int(about.channelCount or 1)
    loops = tuple((str(loop.type), int(loop.count)) for loop in file.experiment)
    step = next((loop.parameters for loop in file.experiment if loop.type == "TimeLoop"), None)
    found: dict[str, Any] = {"significant_bits": int(about.bitsPerComponentSignificant or 0)}
    if step is not None:
        found["time_step_s"] = float(step.periodMs or getattr(step.periodDiff, "avg", 0) or 0) / 1000
    spacing: dict[str, float] = {}
    named: tuple[Channel, ...] = ()
    if listed:
        volume, microscope = listed[0].volume, listed[0].microscope
        spacing = dict.fromkeys("xy", _pixel_size(file))
        if volume.axesCalibrated[2]:
            spacing["z"] = float(volume.axesCalibration[2])
        found |= {
            "magnification": microscope.objectiveMagnification,
            "numerical_aperture": microscope.objectiveNumericalAperture,
            "refractive_index": microscope.immersionRefractiveIndex,
        }
    if len(listed) == channels:
        own = [c.channel for c in listed]
        plain = default_channels(channels)
        named = tuple(Channel(c.name or known.name, c.emissionLambdaNm or None) for c, known in zip(own, plain, strict=True))
        found["excitation_nm"] = [c.excitationLambdaNm or None for c in own]
        found["emission_nm"] = [c.emissionLambdaNm or None for c in own]
    kept = {k: v for k, v in found.items() if (any(e is not None for e in v) if isinstance(v, list) else v)}
    people = tuple(key for key in _PERSONAL if str(file.text_info.get(key) or "").strip())
    return _Said(
        int(about.heightPx), int(about.widthPx or 0), int(about.widthBytes or 0), channels, int(about.componentCount),
        int(about.bitsPerComponentInMemory), about.compressionType, int(about.sequenceCount), loops, spacing, named, kept, people,
    )  # fmt: skip


def _pixel_size(file: "ND2File") -> float:
    """Return the pixel size in µm, 0 where none is known; the library's own calibration says 1 then."""
    name = "ImageMetadataSeqLV|0" if file.version >= (3, 0) else "ImageMetadataSeq|0"
    found = file.unstructured_metadata(strip_prefix=False, include={name}).get(name, {})
    found = found.get("SLxPictureMetadata", found)
    return float(found.get("dCalibration", 0.0)) if found.get("bCalibrated") else 0.0


def _refuse_kind(said: _Said, path: Path) -> None:
    if said.bits not in _DTYPES:
        raise refuse(path, "dtype", f"Samples must have 8 or 16 bits or be float32; these have {said.bits} bits. Export as OME-TIFF.")
    if said.compression not in (None, "none", "lossless"):
        raise refuse(path, "compression", f"Frames may be uncompressed or lossless; their compression is {said.compression}. Export them.")
    if said.samples != said.channels:
        message = (
            f"Channels must have one sample a pixel; {said.channels} channel(s) have {said.samples}. ND2 does not document the order of "
            "its colours, and programs differ on it: export the image as TIFF."
        )
        raise refuse(path, "colour-order", message)


def _loops(said: _Said, path: Path) -> tuple[tuple[str, int], ...]:
    """Return axis and length of the loops of frames, outermost first, without those of one step."""
    found = [(_LOOPS.get(kind, kind), count) for kind, count in said.loops if count != 1]
    positions = [count for axis, count in found if axis == "p"]
    if positions:
        message = (
            f"A file must hold one image; this one holds {math.prod(positions)} positions. Which one is meant cannot be said here: split "
            "the file (NIS-Elements: Split Multipoints) or export those that you want as OME-TIFF."
        )
        raise refuse(path, "several-images", message)
    if strange := [f"{axis} ({count})" for axis, count in found if axis not in ("t", "z")]:
        raise refuse(path, "axes", f"Axes may be t, c, z, y, x; the image also has {', '.join(strange)}. Split or export it.")
    if len(dict(found)) < len(found):
        raise refuse(path, "axes", f"Every axis must be there once; frames run along {', '.join(a for a, _ in found)}. Export the image.")
    return tuple(found)


def _frames(
    path: Path, chunks: Mapping[bytes, tuple[int, int]], size: int, said: _Said, loops: Sequence[tuple[str, int]], limit: int
) -> list[tuple[int, int]]:
    """Return place and length of the pixels of every frame, all of which must be there and long enough."""
    total = max(math.prod(count for _, count in loops), said.announced)
    item = said.dtype.itemsize * said.channels
    if min(said.height, said.width, said.channels) < 1 or said.row < said.width * item:
        message = (
            f"Sizes must be positive and rows hold their pixels; the header says {said.height} x {said.width}, rows of {said.row} bytes."
        )
        raise refuse(path, "corrupt", message)
    there = sum(name.startswith(_FRAME) for name in chunks)
    if total != math.prod(count for _, count in loops) or there < total:
        missing = (i for i in range(total) if _FRAME + b"%d!" % i not in chunks)
        place = next((f", the first that lacks is number {i}" for i in missing), "")
        shown = " x ".join(f"{a}={n}" for a, n in loops) or "1"
        message = (
            f"All frames must be there; the loops ({shown}) and the header announce {total}, the file holds {there}{place}. Nothing is put "
            "in their place. Was the recording stopped? Save the part that there is as an image of its own."
        )
        raise refuse(path, "plane-missing", message)
    plain = said.height * said.row
    if plain > limit:
        raise too_large(str(path), (said.height, said.width, said.channels), plain, limit)
    found = []
    with path.open("rb") as stream:
        for number in range(total):
            name = _FRAME + b"%d!" % number
            start, length = _place(stream, chunks[name][0], size, name, path) if name in chunks else (0, 0)
            least = plain - (said.row - said.width * item) if said.compression != "lossless" else 1
            if length - _STAMP < least:
                message = f"Frame {number} takes {length} bytes in the file; {said.height} x {said.width} pixels need {least + _STAMP}."
                raise refuse(path, "plane-missing" if not length else "truncated", message + " Get a fresh copy.")
            found.append((start + _STAMP, length - _STAMP))
    return found


def _loader(path: Path, frames: Sequence[tuple[int, int]], said: _Said, loops: Sequence[tuple[str, int]], axes: str) -> Load:
    lengths = [count for _, count in loops]

    def load(box: Box) -> NDArray[Any]:
        wanted = dict(zip(axes, box, strict=True))
        whole = {a: wanted.get(a, slice(0, 1)) for a in AXES}
        shape = [whole[a].stop - whole[a].start for a in "tzcyx"]
        out = np.empty(shape, said.dtype.newbyteorder("="))
        for t in range(whole["t"].start, whole["t"].stop):
            for z in range(whole["z"].start, whole["z"].stop):
                place = {"t": t, "z": z}
                number = int(np.ravel_multi_index([place[a] for a, _ in loops], lengths)) if lengths else 0
                frame = _frame(path, *frames[number], said, number)[whole["y"], whole["x"], whole["c"]]
                out[t - whole["t"].start, z - whole["z"].start] = np.moveaxis(frame, -1, 0)
        return out.swapaxes(1, 2).reshape(tuple(s.stop - s.start for s in box))

    return load


def _frame(path: Path, start: int, length: int, said: _Said, number: int) -> NDArray[Any]:
    """Return a frame, shape (y, x, c)."""
    shape, item = (said.height, said.width, said.channels), said.dtype.itemsize
    steps = (said.row, said.channels * item, item)
    if said.compression != "lossless":
        return np.ndarray(shape, said.dtype, np.memmap(path, np.uint8, "r", start, (length,)), 0, steps)
    least = (said.height - 1) * said.row + said.width * said.channels * item
    with path.open("rb") as stream:
        stream.seek(start)
        data = stream.read(length)
    with decoding(path, what=f"Frame {number} cannot be inflated"):
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(data, said.height * said.row + 1)  # one more, so that the stream's checksum is come to
        if len(plain) < least or not unpacker.eof:
            raise ValueError(f"it holds {len(plain)} bytes or more, {least} are needed, or has no end")
    return np.ndarray(shape, said.dtype, plain, 0, steps)
