"""Every text that a file may hold, however it is packed: what a search for names must look through to mean something."""

import base64
import gzip
import io
import re
import shutil
import subprocess
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

_ZLIB = re.compile(rb"\x78[\x01\x5e\x9c\xda]")
_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")
_DEEPEST = 4


def views(path: Path) -> Iterator[bytes]:
    """Yield the name and the bytes of a file, and everything that can be unpacked from them."""
    yield path.name.encode()
    data = path.read_bytes()
    yield from unpacked(data)
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        yield repr((table.to_pydict(), table.schema.metadata)).encode()
    if path.suffix == ".pdf" and shutil.which("pdftotext"):  # letters of embedded fonts have numbers of their own
        yield subprocess.run(["pdftotext", str(path), "-"], capture_output=True, check=True, timeout=60).stdout
    if path.name == "zarr.json" and b'"node_type":"array"' in data.replace(b" ", b""):
        import zarr

        pixels = zarr.open_array(path.parent, mode="r")[...]
        yield pixels.tobytes()  # what a shuffle and a codec keep from being read in the chunks themselves


def unpacked(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """Yield bytes, and what streams of zlib, gzip, zip and base64 in them hold, streams in streams too."""
    yield data
    if depth == _DEEPEST:
        return
    inner: list[bytes] = []
    for start in _ZLIB.finditer(data):
        stream = zlib.decompressobj()
        try:
            inner.append(stream.decompress(data[start.start() :], 1 << 24))
        except zlib.error:
            continue
    for start in re.finditer(rb"\x1f\x8b\x08", data):
        try:
            inner.append(gzip.GzipFile(fileobj=io.BytesIO(data[start.start() :])).read(1 << 24))
        except (OSError, EOFError, zlib.error):
            continue
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            inner += [name.encode() + b"\0" + archive.read(name) for name in archive.namelist()]
    for run in _BASE64.finditer(data):
        text = run.group().rstrip(b"=")
        text = text[: len(text) - (len(text) % 4 == 1)]
        inner.append(base64.b64decode(text + b"=" * (-len(text) % 4)))
    for part in inner:
        yield from unpacked(part, depth + 1)


def found(paths: Iterable[Path], secrets: Iterable[str]) -> list[tuple[str, str]]:
    """Return where a secret stands, in any case of its letters, in UTF-8, Latin-1 or UTF-16."""
    wanted = [(s, form.lower()) for s in secrets for form in {s.encode(), s.encode("utf-16-le"), s.encode("latin-1", "ignore")}]
    hits = set()
    for path in paths:
        for view in views(path):
            lower = view.lower()
            hits |= {(str(path), secret) for secret, form in wanted if form in lower}
    return sorted(hits)
