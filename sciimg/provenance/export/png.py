"""PNG: planes of 8 or 16 bits without a sign, grey, or RGB of 8 bits; the mark is an XMP packet, the pixel size ``pHYs`` where it fits.

References
----------
PNG (Third Edition), W3C 2025: chunks, section 5; pHYs, 11.3.4.3; XMP as an iTXt chunk, 11.3.3.4 and XMP part 3, 1.1.5.
"""

import struct
import zlib

import numpy as np

from sciimg.errors import Problem
from sciimg.provenance.export.content import Content, Picture, refused
from sciimg.provenance.export.xmp import packet
from sciimg.types import Spacing

NAME = "png"
SUFFIX = ".png"
_HELD = (np.dtype(np.uint8), np.dtype(np.uint16))
_RGB = ("red", "green", "blue")
_PER_METRE = {"nanometer": 1e9, "micrometer": 1e6, "millimeter": 1e3}
_AGREE = 1e-6  # pHYs holds whole pixels a metre; a spacing that they would change by more is told by the mark and the table alone


def together(content: Content) -> bool:
    """Whether the channels go into one file: three colours of 8 bits do; of 16 bits, common readers would drop half without a word."""
    return content.channels == _RGB and content.dtypes == {np.dtype(np.uint8)}


def obstacles(content: Content) -> list[Problem]:
    """Return what PNG cannot hold exactly."""
    found = []
    if odd := content.axes - {"yx"}:
        found.append(refused(NAME, "PNG holds planes (yx)", f"{', '.join(sorted(odd))}", "tiff, nifti or dicom"))
    if wide := [d.name for d in content.dtypes if d not in _HELD]:
        found.append(refused(NAME, "PNG holds whole numbers of 8 or 16 bits, 0 and above", f"{', '.join(wide)}", "tiff or nifti"))
    if content.mask_dtype.itemsize > 2:
        found.append(refused(NAME, "PNG numbers objects up to 65535", "larger labels", "tiff or nifti"))
    return found


def encode(picture: Picture) -> bytes:
    """Return the bytes of the file of a picture, axes yx, or cyx of three colours."""
    import imagecodecs

    pixels = picture.pixels if picture.axes == "yx" else np.moveaxis(picture.pixels, 0, -1)
    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels), level=6))
    start = 8 + 12 + 13  # the signature and IHDR, which comes first
    text = b"XML:com.adobe.xmp\0\0\0\0\0" + packet(picture.about)
    return data[:start] + _physical(picture.spacing) + _chunk(b"iTXt", text) + data[start:]


def _physical(spacing: Spacing) -> bytes:
    if spacing.unit == "pixel":
        return b""
    exact = [_PER_METRE[spacing.unit] / v for v in reversed(spacing.values)]  # x, then y
    whole = [round(v) for v in exact]
    if not all(0 < n < 2**31 and abs(n / v - 1) <= _AGREE for n, v in zip(whole, exact, strict=True)):
        return b""
    return _chunk(b"pHYs", struct.pack(">IIB", *whole, 1))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
