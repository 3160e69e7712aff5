"""The stored pixels of a DICOM file, with imagecodecs for the compressions that pydicom leaves to plug-ins."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sciimg.io.faults import decoding, refuse

# Transfer syntax (PS3.6, annex A) → imagecodecs decoder.
_CODECS = {
    "1.2.840.10008.1.2.4.57": "ljpeg_decode",  # JPEG lossless
    "1.2.840.10008.1.2.4.70": "ljpeg_decode",  # JPEG lossless, first-order prediction
    "1.2.840.10008.1.2.4.80": "jpegls_decode",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81": "jpegls_decode",  # JPEG-LS near-lossless
}


def stored_pixels(path: Path, compressed: bool, index: int = 0, count: int = 1) -> NDArray[Any]:
    """Return the pixels of frame ``index`` of ``count`` as stored, rows x columns [x samples].

    Raises
    ------
    InputError
        Kinds ``truncated``, ``corrupt``, ``compression``.
    """
    import pydicom
    from pydicom.pixels.decoders.base import get_decoder

    with decoding(path, "corrupt" if compressed else "truncated", "The pixels cannot be decoded"):
        header = pydicom.dcmread(path)
        syntax = header.file_meta.TransferSyntaxUID
        if compressed and str(syntax) in _CODECS:
            return _by_imagecodecs(header, _CODECS[str(syntax)], index, count)
        if compressed and not get_decoder(syntax).is_available:
            raise refuse(path, "compression", f"The compression {syntax.name} cannot be read. Convert the file to explicit little-endian.")
        if count > 1:
            from pydicom.pixels.utils import pixel_array

            frame: NDArray[Any] = pixel_array(header, index=index)  # never the other frames
            return frame
        pixels: NDArray[Any] = header.pixel_array
        return pixels


def _by_imagecodecs(header: Any, name: str, index: int, count: int) -> NDArray[Any]:
    import imagecodecs
    from pydicom.encaps import get_frame

    decode: Callable[[bytes], NDArray[Any]] = getattr(imagecodecs, name)
    pixels = decode(get_frame(header.PixelData, index, number_of_frames=count))
    signed = bool(header.get("PixelRepresentation") or 0)
    stored = pixels.view(pixels.dtype.str.replace("u", "i")) if signed else pixels
    if signed and header.BitsStored < 8 * stored.itemsize:  # sign-extend
        shift = 8 * stored.itemsize - header.BitsStored
        stored = (stored << shift) >> shift
    return stored
