"""PNG, JPEG and BMP: one 2-D image, grey or colour. They do not know physical sizes, except for a fine pHYs chunk of a PNG.

The size is read from the header before anything is decoded. A JPEG is walked to its end marker, because its decoder silently paints
what is missing grey.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.io.exif import note_turned, read_exif
from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Image, default_channels, too_large
from sciimg.io.personal import note_personal
from sciimg.io.spacing import Stated, Wishes, calibrated, settle
from sciimg.records import digest_file

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".dib")
_PNG = b"\x89PNG\r\n\x1a\n"
_MAX_RATIO = 5000  # a blank JPEG or RLE BMP packs far better than deflate; beyond this the header is wrong
_PERSONAL = ("Author", "Comment", "Copyright", "Description", "Title", "Source", "XML:com.adobe.xmp", "Raw profile type exif")
_STAND_ALONE = {0x01, *range(0xD0, 0xD8)}  # JPEG markers without a length (T.81, B.1.1.3)
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}  # T.81, table B.1


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes are those of a PNG, JPEG or BMP file."""
    return head.startswith((_PNG, b"\xff\xd8\xff")) or (head[:2] == b"BM" and head[6:10] == b"\0\0\0\0")


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the picture as a lazy image, colours as the ``c`` axis.

    Raises
    ------
    InputError
        Kinds ``truncated``, ``corrupt``, ``absurd-size``, ``too-large``, ``unknown-spacing``.
    """
    there = path.stat().st_size
    if there > wishes.memory_limit:
        raise too_large(str(path), (there,), there, wishes.memory_limit)
    data = path.read_bytes()
    with decoding(path, "truncated", "The header cannot be read"):
        shape, dtype, stated = _header(data, path)
        orientation, personal = _said(data)
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > _MAX_RATIO * len(data):
        message = f"The header declares {shape} {dtype}, {size / 2**30:.1f} GiB; the file has {len(data)} bytes. Get a fresh copy."
        raise refuse(path, "absurd-size", message)
    if size > wishes.memory_limit:
        raise too_large(str(path), shape, size, wishes.memory_limit)
    if data.startswith(b"BM"):
        shape = _decode(path).shape  # a BMP's palette decides whether it is grey
    axes = "cyx" if len(shape) == 3 else "yx"
    spacing, notes = settle(axes, stated, wishes, path)
    return Image(
        load=lambda box: _decode(path, shape)[box],
        axes=axes,
        shape=shape,
        dtype=dtype,
        spacing=spacing,
        channels=default_channels(shape[0] if axes == "cyx" else 1, colour=True),
        source=path.name,
        hash=lambda: digest_file(path),
        problems=(*notes, *note_turned(path, orientation), *note_personal(path, personal)),
        memory_limit=wishes.memory_limit,
    )


def _header(data: bytes, path: Path) -> tuple[tuple[int, ...], np.dtype[Any], Stated]:
    """Return the shape ([c]yx), dtype and spacing that the header declares."""
    if data.startswith(_PNG):
        return _png_header(data, path)
    if data.startswith(b"BM"):
        return _bmp_header(data)
    return _jpeg_header(data, path)


def _png_header(data: bytes, path: Path) -> tuple[tuple[int, ...], np.dtype[Any], Stated]:
    """PNG (ISO 15948), 11.2.2 IHDR and 11.3.4.3 pHYs; palettes are expanded to colours, a transparent colour to alpha."""
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    transparent, stated, name, at = False, Stated(), b"", 8
    while name != b"IEND":
        if at + 12 > len(data):
            raise refuse(path, "truncated", "A PNG must end with its end chunk; the file ends before it. Get a fresh copy.")
        length, name = struct.unpack(">I4s", data[at : at + 8])
        transparent |= name == b"tRNS"
        if name == b"pHYs" and length == 9 and data[at + 16] == 1:  # unit 1: pixels per metre
            per_metre = struct.unpack(">II", data[at + 8 : at + 16])
            sizes = {axis: (1e6 / n, "µm") for axis, n in zip("xy", per_metre, strict=True) if n}
            stated = Stated.of({a: s for a, s in sizes.items() if calibrated(s[0])})
        at += 12 + length
    channels = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}[colour] + (transparent and colour in (0, 2, 3))
    return _shape(channels, height, width), np.dtype(np.uint16 if depth == 16 else np.uint8), stated


def _bmp_header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any], Stated]:
    width, height = struct.unpack("<ii", data[18:26])
    if struct.unpack("<I", data[14:18])[0] == 12:  # the OS/2 header
        width, height = struct.unpack("<HH", data[18:22])
    return _shape(3, abs(height), width), np.dtype(np.uint8), Stated()


def _jpeg_header(data: bytes, path: Path) -> tuple[tuple[int, ...], np.dtype[Any], Stated]:
    """JPEG (ITU T.81): walk the segments to the end-of-image marker; the frame header gives size, precision and components."""
    frame: tuple[int, ...] | None = None
    at = 2
    while True:
        at = data.find(b"\xff", at)
        marker = data[at + 1] if 0 <= at < len(data) - 1 else None
        if marker is None:
            raise refuse(path, "truncated", "A JPEG must end with its end marker; the file ends before it. Get a fresh copy.")
        if marker == 0xD9:
            break
        if marker in (0x00, 0xFF) or marker in _STAND_ALONE:
            at += 1 if marker == 0xFF else 2
            continue
        if marker in _FRAMES:
            frame = struct.unpack(">BHHB", data[at + 4 : at + 10])
        at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    if frame is None:
        raise refuse(path, "corrupt", "A JPEG must have a frame header; there is none. Get a fresh copy.")
    if frame[3] not in (1, 3):
        raise refuse(path, "colour-space", f"A JPEG must be grey or RGB; this one has {frame[3]} components (CMYK?). Save it as RGB.")
    precision, height, width, components = frame
    return _shape(components, height, width), np.dtype(np.uint8 if precision <= 8 else np.uint16), Stated()


def _said(data: bytes) -> tuple[int, tuple[str, ...]]:
    """Return the orientation, and the names of fields that may identify somebody."""
    orientation, fields = 1, list[str]()
    for name, content in _png_chunks(data) if data.startswith(_PNG) else _jpeg_segments(data) if data.startswith(b"\xff\xd8") else ():
        if name in ("eXIf", "APP1") and (exif := content.removeprefix(b"Exif\0\0"))[:2] in (b"II", b"MM"):
            orientation, found = read_exif(exif)
            fields += found
        elif name == "APP1" and content.startswith(b"http://ns.adobe.com/xap"):
            fields.append("XMP")
        elif name in ("tEXt", "zTXt", "iTXt") and (keyword := content[:80].partition(b"\0")[0].decode("latin-1")) in _PERSONAL:
            fields.append(keyword)
    return orientation, tuple(fields)


def _png_chunks(data: bytes) -> Iterator[tuple[str, bytes]]:
    at = 8
    while at + 12 <= len(data):
        length, name = struct.unpack(">I4s", data[at : at + 8])
        yield name.decode("latin-1"), data[at + 8 : at + 8 + length]
        at += 12 + length


def _jpeg_segments(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the application segments before the first frame (T.81, B.2.4)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (0xD9, 0xDA):
        length = struct.unpack(">H", data[at + 2 : at + 4])[0]
        yield f"APP{data[at + 1] - 0xE0}", data[at + 4 : at + 2 + length]
        at += 2 + length


def _shape(channels: int, height: int, width: int) -> tuple[int, ...]:
    return (height, width) if channels == 1 else (channels, height, width)


def _decode(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """Return all pixels, ``[c]yx``."""
    import imagecodecs

    data = path.read_bytes()
    decoder: Callable[[bytes], NDArray[Any]] = imagecodecs.jpeg_decode
    if data.startswith(_PNG):
        decoder = imagecodecs.png_decode
    elif data.startswith(b"BM"):
        decoder = imagecodecs.bmp_decode
    cut = data.startswith(b"BM") and struct.unpack("<I", data[2:6])[0] > len(data)
    with decoding(path, "truncated" if cut else "corrupt"):
        pixels = decoder(data)
    planes = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels
    if shape is not None and planes.shape != shape:
        raise refuse(path, "corrupt", f"The header declares {shape}; {planes.shape} were decoded. Get a fresh copy.")
    return planes
