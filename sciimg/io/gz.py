"""Gzip read to the end of the stream, so that its CRC speaks for every byte."""

import gzip
import zlib
from io import BytesIO
from pathlib import Path

from sciimg.io.faults import refuse

GZIP = b"\x1f\x8b"
_SURPLUS = 1 << 26  # bytes behind what the header declares: some padding is usual, and more is a bomb or another file


def inflate_start(head: bytes, count: int) -> bytes:
    """Return up to ``count`` bytes of the content from the first bytes of a gzip file; none when they are damaged."""
    try:
        return zlib.decompressobj(31).decompress(head, count)
    except zlib.error:
        return b""


def inflate(path: Path, expected: int, offset: int = 0) -> bytes | bytearray:
    """Return the content of the gzip stream from ``offset`` on, at least ``expected`` bytes of it, read to the end with every CRC checked.

    libdeflate is three times as fast as zlib but wants to know the exact length of a single member; anything else takes the long way.

    Raises
    ------
    InputError
        Kind ``corrupt`` (damaged, CRC), ``truncated``, or ``absurd-size`` for a stream that does not end where it should.
    """
    import imagecodecs

    with path.open("rb") as stream:
        stream.seek(offset)
        packed = stream.read()
    try:
        content: bytes | bytearray = imagecodecs.gzip_decode(packed, out=expected)
        if len(content) == expected:
            return content
    except (imagecodecs.DeflateError, ValueError):
        pass  # damaged, or of another length: the long way tells which
    return _inflate_members(path, packed, expected)


def _inflate_members(path: Path, packed: bytes, expected: int) -> bytearray:
    parts, total = bytearray(), 0
    try:
        with gzip.GzipFile(fileobj=BytesIO(packed)) as stream:
            while part := stream.read(1 << 20):
                total += len(part)
                if total > expected + _SURPLUS:
                    message = f"The header declares {expected} bytes; the gzip stream goes on for more than {total}. Is the shape right?"
                    raise refuse(path, "absurd-size", message)
                if len(parts) < expected:
                    parts += part
    except EOFError:
        raise refuse(path, "truncated", "The gzip stream ends before its end mark. Get a fresh copy.") from None
    except (OSError, zlib.error) as error:
        raise refuse(path, "corrupt", f"The gzip stream is damaged: {error}. Get a fresh copy.") from error
    if len(parts) < expected:
        raise refuse(path, "truncated", f"The header declares {expected} bytes; the stream holds {len(parts)}. Get a fresh copy.")
    return parts
