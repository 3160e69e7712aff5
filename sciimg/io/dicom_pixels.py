"""The stored pixels of a DICOM file, with imagecodecs for the compressions that pydicom leaves to plug-ins."""

import struct
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from sciimg.io.faults import decoding, refuse

# Transfer syntax (PS3.6, annex A) → imagecodecs decoder.
_CODECS = {
    "1.2.840.10008.1.2.4.57": "ljpeg_decode",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "ljpeg_decode",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "jpegls_decode",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "jpegls_decode",  # JPEG-LS near-lossless
}


class StoredFrames:
    """The frames of one file: its header is parsed once, and each frame is read from its own place, never the others.

    A deflated file has no such places: it is inflated once and kept.

    Parameters
    ----------
    path : Path
    compressed : bool
        Encapsulated or deflated.
    count : int
        How many frames the file holds.

    Raises
    ------
    InputError
        When a frame is asked for: kinds ``truncated``, ``corrupt``, ``compression``.
    """

    def __init__(self, path: Path, compressed: bool, count: int) -> None:
        self.path, self._count = path, count
        self._kind = "corrupt" if compressed else "truncated"

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Return the pixels of a frame as stored, rows x columns [x samples]."""
        with decoding(self.path, self._kind, "The pixels cannot be decoded"):
            header, place, options = self._opened
            if place is None:
                return self._decoded(header, header, index, {})
            with self.path.open("rb") as stream:
                stream.seek(place)
                return self._decoded(header, stream, index, options)

    @cached_property
    def _opened(self) -> tuple[Any, int | None, dict[str, Any]]:
        """Return the header, where the value of the pixel data begins in the file, and what pydicom needs to decode it."""
        import pydicom
        from pydicom.pixels.utils import as_pixel_options

        with self.path.open("rb") as stream:
            if self._count == 1:  # one frame is all there is: one read of the whole is the fastest
                return pydicom.dcmread(stream), None, {}
            header = pydicom.dcmread(stream, stop_before_pixels=True)
            syntax = header.file_meta.TransferSyntaxUID
            if syntax.is_deflated:
                stream.seek(0)
                return pydicom.dcmread(stream), None, {}
            order = "<" if syntax.is_little_endian else ">"
            element, vr, _ = struct.unpack(f"{order}4s2sH", stream.read(8))
            if element != struct.pack(f"{order}HH", 0x7FE0, 0x0010):
                raise ValueError("there are no integer pixels where the header ends")
            if syntax.is_implicit_VR:
                options = as_pixel_options(header, pixel_keyword="PixelData")
            else:
                stream.read(4)
                options = as_pixel_options(header, pixel_keyword="PixelData", pixel_vr=vr.decode("ascii"))
            place = stream.tell()
            if syntax.is_encapsulated and "extended_offsets" not in options and (found := _offsets(stream, self._count)):
                options["extended_offsets"] = found
            return header, place, options

    def _decoded(self, header: Any, source: Any, index: int, options: dict[str, Any]) -> NDArray[Any]:
        from pydicom.pixels.decoders.base import get_decoder

        syntax = header.file_meta.TransferSyntaxUID
        if str(syntax) in _CODECS:
            from pydicom.encaps import get_frame

            data = header.PixelData if source is header else source
            table = options.get("extended_offsets")
            return _by_imagecodecs(
                get_frame(data, index, number_of_frames=self._count, extended_offsets=table), _CODECS[str(syntax)], header
            )
        decoder = get_decoder(syntax)
        if not decoder.is_available:
            raise refuse(
                self.path, "compression", f"The compression {syntax.name} cannot be read. Convert the file to explicit little-endian."
            )
        if self._count == 1:
            pixels: NDArray[Any] = header.pixel_array
            return pixels
        frame: NDArray[Any] = decoder.as_array(source, index=index, **options)[0]
        return frame


def _offsets(stream: BinaryIO, count: int) -> tuple[list[int], list[int]] | None:
    """Return where each frame begins behind the basic offset table, and its length, when that table is empty and a frame is one fragment.

    Otherwise None: pydicom follows the table, or looks through the fragments for the ends of frames.
    """
    from pydicom.encaps import parse_basic_offsets, parse_fragments

    if parse_basic_offsets(stream):
        return None
    first = stream.tell()
    found, places = parse_fragments(stream)
    if found != count:
        return None
    lengths = []
    for place in places:
        stream.seek(place + 4)
        lengths.append(struct.unpack("<L", stream.read(4))[0])
    return [place - first for place in places], lengths


def _by_imagecodecs(data: bytes, name: str, header: Any) -> NDArray[Any]:
    import imagecodecs

    decode: Callable[[bytes], NDArray[Any]] = getattr(imagecodecs, name)
    pixels = decode(data)
    signed = bool(header.get("PixelRepresentation") or 0)
    stored = pixels.view(pixels.dtype.str.replace("u", "i")) if signed else pixels
    if signed and header.BitsStored < 8 * stored.itemsize:  # sign-extend
        shift = 8 * stored.itemsize - header.BitsStored
        stored = (stored << shift) >> shift
    return stored
