"""Zarr 3 arrays as files: chunks compressed by Blosc inside shards, written and read without a framework in between.

A shard file holds its compressed chunks in C order, then an index of (offset, length) pairs of uint64 and its CRC-32C (Zarr
``sharding_indexed``, index at the end). Chunks of zeros only are left out. Blosc is zstd-1 with byte shuffle and one block a chunk, several
times faster to read and write than Zarr's default at a better ratio. Any Zarr 3 reader reads these files; arrays with other codecs are
read here through zarr-python.
"""

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import cache, partial
from itertools import product
from pathlib import Path
from threading import local
from typing import Any, TypeVar, cast

import google_crc32c
import imagecodecs
import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.files import read_part
from sciimg.objects import THREADS, ObjectPath, asking, zarr_place
from sciimg.records import canonical_json
from sciimg.store.layout import Layout, Shape, tiles
from sciimg.workers import on_worker

Box = tuple[slice, ...]
_T = TypeVar("_T")
_R = TypeVar("_R")
_MISSING = 2**64 - 1  # offset and length of a chunk that is not stored
_CRC_BYTES = 4
_LITTLE = sys.byteorder == "little"
_LOCAL = local()
THREADED_BYTES = 4 * 2**20  # smaller pieces cost less than handing them to threads


def array_metadata(axes: str, shape: Shape, dtype: np.dtype[Any], layout: Layout) -> dict[str, Any]:
    """Return the ``zarr.json`` of an array."""
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(shape),
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(layout.shard)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0.0 if dtype.kind == "f" else 0,
        "codecs": [_sharding(layout.chunk, dtype)],
        "attributes": {},
        "dimension_names": list(axes),
    }


def _sharding(chunk: Shape, dtype: np.dtype[Any]) -> dict[str, Any]:
    blosc = {
        "cname": "zstd",
        "clevel": 1,
        "shuffle": "shuffle",
        "typesize": dtype.itemsize,
        "blocksize": math.prod(chunk) * dtype.itemsize,
    }
    little = {"name": "bytes", "configuration": {"endian": "little"}} if dtype.itemsize > 1 else {"name": "bytes"}
    return {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": list(chunk),
            "codecs": [little, {"name": "blosc", "configuration": blosc}],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
            "index_location": "end",
        },
    }


class ArrayWriter:
    """Writes an array, whole shards at a time; a shard is renamed into its place, so that one which is there is whole.

    Parameters
    ----------
    path : Path
        Folder of the array; made here, with its ``zarr.json``, or continued when it is there.

    Attributes
    ----------
    several : bool
        Whether the array has more than one shard; then a shard that is there is whole, and is not written again.
    """

    def __init__(self, path: Path, axes: str, shape: Shape, dtype: np.dtype[Any], layout: Layout) -> None:
        self.path, self.shape, self.dtype, self.layout = path, shape, dtype, layout
        self.several = any(n > s for n, s in zip(shape, layout.shard, strict=True))
        make_folders(path)
        (path / "zarr.json").write_bytes(canonical_json(array_metadata(axes, shape, dtype, layout)))

    def write(self, origin: Shape, block: NDArray[Any]) -> None:
        """Write a block whose origin lies on the shard grid and which ends on it or at the end of the array; done when it returns."""
        shards = [(self._file(origin, box), block[box]) for box in tiles(block.shape, self.layout.shard)]
        shards = [(file, pixels) for file, pixels in shards if not (self.several and file.exists())]
        rows = [list(self._rows(pixels)) for _, pixels in shards]
        encoded = iter(in_order(partial(_encode_row, chunk=self.layout.chunk), [r for some in rows for r in some], block.nbytes))
        for (file, pixels), some in zip(shards, rows, strict=True):
            self._write_shard(file, pixels.shape, [data for _ in some for data in next(encoded)])

    def files(self, box: Box) -> list[Path]:
        """Return the shard files of a box on the shard grid; where a shard is all zeros there is none."""
        origin = tuple(s.start for s in box)
        return [self._file(origin, part) for part in tiles(tuple(s.stop - s.start for s in box), self.layout.shard)]

    def _file(self, origin: Shape, box: Box) -> Path:
        place = (str((o + s.start) // n) for o, s, n in zip(origin, box, self.layout.shard, strict=True))
        return self.path / "c" / "/".join(place)

    def _rows(self, block: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield the rows of chunks of a shard, which cross it along the last axis."""
        for box in tiles(block.shape, (*self.layout.chunk[:-1], block.shape[-1])):
            yield block[box]

    def _write_shard(self, file: Path, extent: Shape, chunks: list[bytes | None]) -> None:
        """Write the chunks of a shard, given in C order, and their index; nothing where all are zero. The last one may be cut."""
        stored = [c for c in chunks if c is not None]
        if not stored:
            return
        chunk, shard = self.layout.chunk, self.layout.shard
        grid = tuple(s // c for s, c in zip(shard, chunk, strict=True))
        there = tuple(-(-n // c) for n, c in zip(extent, chunk, strict=True))
        index = np.full((*grid, 2), _MISSING, dtype="<u8")
        offset = 0
        for place, data in zip(np.ndindex(*there), chunks, strict=True):
            if data is not None:
                index[place] = offset, len(data)
                offset += len(data)
        tail = index.tobytes()
        _write_new(file, [*stored, tail + _crc(tail)], beside=self.several)


def make_folders(path: Path) -> None:
    """Make a folder and what is missing above it; a folder whose parent is there costs one call to the system."""
    try:
        os.mkdir(path)  # noqa: PTH102 - half the time of Path.mkdir, and there are four a small image
    except FileExistsError:
        return
    except FileNotFoundError:
        make_folders(path.parent)
        with suppress(FileExistsError):
            os.mkdir(path)  # noqa: PTH102


def _write_new(file: Path, pieces: Sequence[bytes], *, beside: bool) -> None:
    """Write a file that is not there; ``beside`` its place and renamed into it where a half of it could be taken for whole."""
    target = file.with_name(f".{file.name}.partial") if beside else file
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    except FileNotFoundError:
        make_folders(file.parent)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    with os.fdopen(handle, "wb", buffering=0) as stream:
        for piece in pieces:
            left = memoryview(piece)
            while left:  # a disk that fills up takes a part before it fails
                left = left[stream.write(left) :]
    if beside:
        target.rename(file)


def _encode_row(row: NDArray[Any], chunk: Shape) -> list[bytes | None]:
    return [_encode_chunk(row[box], chunk) for box in tiles(row.shape, (*row.shape[:-1], chunk[-1]))]


def _encode_chunk(piece: NDArray[Any], chunk: Shape) -> bytes | None:
    if piece.shape == chunk:
        plain = np.ascontiguousarray(piece, dtype=piece.dtype.newbyteorder("<"))
    else:
        plain = np.zeros(chunk, piece.dtype.newbyteorder("<"))
        plain[tuple(slice(0, n) for n in piece.shape)] = piece
    if not plain.flat[0] and not plain.any() and not (plain.dtype.kind == "f" and np.signbit(plain).any()):
        return None
    settings = {"level": 1, "compressor": "zstd", "shuffle": "shuffle", "typesize": plain.itemsize, "blocksize": plain.nbytes}
    return bytes(imagecodecs.blosc_encode(plain.data, numthreads=1, **settings))  # type: ignore[arg-type]


class ArrayReader:
    """Reads boxes of an array on disk; safe to use from several threads.

    Raises
    ------
    InputError
        Kind ``not-zarr`` where there is no array, ``corrupt`` where a shard does not hold what its index says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            meta = json.loads((path / "zarr.json").read_bytes())
            self.shape: Shape = tuple(meta["shape"])
            self.dtype: np.dtype[Any] = np.dtype(meta["data_type"])
            self.axes: tuple[str, ...] = tuple(meta.get("dimension_names") or ())
            self._shard: Shape = tuple(meta["chunk_grid"]["configuration"]["chunk_shape"])
            self._chunk: Shape = _own_chunk(meta, self.dtype) or ()
            if not all(isinstance(n, int) and n > 0 for n in (*self.shape, *self._shard)) or len(self.shape) != len(self._shard):
                raise ValueError(f"shape {self.shape} and chunks {self._shard} do not make an array")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(Problem(str(path), "not-zarr", f"A Zarr 3 array has a readable zarr.json; {error}.")) from error
        self._indices: dict[Shape, NDArray[np.uint64] | None] = {}

    @property
    def chunk(self) -> Shape:
        """Shape of the smallest piece that is read at once."""
        return self._chunk or self._shard

    def read(self, box: Box | None = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return a box (everything by default) in native byte order: a new C-contiguous array, or ``out`` of its shape and dtype."""
        whole = _explicit(box, self.shape)
        shape = tuple(s.stop - s.start for s in whole)
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype:
            raise ValueError(f"The box has shape {shape} and dtype {self.dtype}; the memory has {out.shape} and {out.dtype}.")
        if not self._chunk:
            out[...] = self._read_foreign(whole)
        elif out.size:
            spans = (range(s.start // c, -(-s.stop // c)) for s, c in zip(whole, self._chunk, strict=True))
            places = list(product(*spans))
            fetched = self._fetch(places) if isinstance(self.path, ObjectPath) else None
            _each(lambda place: self._copy(place, whole, out, fetched), places, out.nbytes)
        return out

    def _fetch(self, places: list[Shape]) -> dict[Shape, bytes]:
        """Return the compressed chunks of an array in an object store: near ones of a shard by one request."""
        stored: dict[Shape, dict[Shape, tuple[int, int]]] = {}
        for place in places:
            shard, found = self._find(place)
            if found is not None:
                stored.setdefault(shard, {})[place] = found

        def ask(shard: Shape) -> list[bytes]:
            return cast("ObjectPath", self._file(shard)).parts_of(list(stored[shard].values()))

        with ThreadPoolExecutor(min(THREADS, max(1, len(stored)))) as pool:
            answers = pool.map(ask, stored)
            return {
                place: data for shard, some in zip(stored, answers, strict=True) for place, data in zip(stored[shard], some, strict=True)
            }

    def _copy(self, place: Shape, box: Box, out: NDArray[Any], fetched: Mapping[Shape, bytes] | None) -> None:
        """Decode one chunk and put what it shares with the box into the result."""
        starts = [i * c for i, c in zip(place, self._chunk, strict=True)]
        shared = [slice(max(b.start, s), min(b.stop, s + c)) for b, s, c in zip(box, starts, self._chunk, strict=True)]
        into = out[tuple(slice(s.start - b.start, s.stop - b.start) for s, b in zip(shared, box, strict=True))]
        whole = into.shape == self._chunk and into.flags.c_contiguous and _LITTLE
        chunk = into if whole else _scratch(self._chunk, self.dtype)
        if not self._decode(place, chunk, fetched):
            into[...] = 0
        elif not whole:
            into[...] = chunk[tuple(slice(s.start - a, s.stop - a) for s, a in zip(shared, starts, strict=True))]

    def _find(self, place: Shape) -> tuple[Shape, tuple[int, int] | None]:
        """Return the shard of a chunk, and offset and length in it; None where the chunk is not stored."""
        per_shard = [s // c for s, c in zip(self._shard, self._chunk, strict=True)]
        shard = tuple(i // n for i, n in zip(place, per_shard, strict=True))
        index = self._index(shard)
        if index is None:
            return shard, None
        offset, length = (int(v) for v in index[tuple(i % n for i, n in zip(place, per_shard, strict=True))])
        return shard, None if offset == _MISSING else (offset, length)

    def _decode(self, place: Shape, out: NDArray[Any], fetched: Mapping[Shape, bytes] | None) -> bool:
        """Decode a chunk into contiguous memory; False where it is not stored."""
        shard, found = self._find(place)
        if found is None:
            return False
        offset, length = found
        file = self._file(shard)
        try:
            data = read_part(file, length, offset) if fetched is None else fetched[place]
            given = imagecodecs.blosc_decode(data, numthreads=1, out=out.reshape(-1).view(np.uint8).data)
        except (OSError, ValueError, RuntimeError) as error:
            raise _corrupt(file, f"the chunk {place} cannot be decoded ({error})") from error
        if len(given) != out.nbytes:
            raise _corrupt(file, f"the chunk {place} holds {len(given)} bytes, not {out.nbytes}")
        return True

    def _index(self, shard: Shape) -> NDArray[np.uint64] | None:
        if shard not in self._indices:
            self._indices[shard] = self._read_index(shard)
        return self._indices[shard]

    def _read_index(self, shard: Shape) -> NDArray[np.uint64] | None:
        grid = [s // c for s, c in zip(self._shard, self._chunk, strict=True)]
        length = math.prod(grid) * 16
        file = self._file(shard)
        try:
            tail = read_part(file, length + _CRC_BYTES, -1)
        except FileNotFoundError:
            return None
        if len(tail) != length + _CRC_BYTES or _crc(tail[:-_CRC_BYTES]) != tail[-_CRC_BYTES:]:
            raise _corrupt(file, "its index does not match its checksum")
        return np.frombuffer(tail[:-_CRC_BYTES], "<u8").reshape(*grid, 2)

    def _file(self, shard: Shape) -> Path:
        return self.path / "c" / "/".join(map(str, shard))

    def _read_foreign(self, box: Box) -> NDArray[Any]:
        import zarr

        try:
            with asking(self.path) if isinstance(self.path, ObjectPath) else nullcontext():
                return np.ascontiguousarray(zarr.open_array(zarr_place(self.path), mode="r")[box])
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, NotImplementedError) as error:
            raise _corrupt(self.path, f"zarr cannot read it ({type(error).__name__}: {error})") from error


def _scratch(shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return memory of this thread for one chunk; what was in it is lost."""
    nbytes = math.prod(shape) * dtype.itemsize
    if getattr(_LOCAL, "memory", None) is None or _LOCAL.memory.nbytes < nbytes:
        _LOCAL.memory = np.empty(nbytes, np.uint8)
    return np.asarray(_LOCAL.memory[:nbytes].view(dtype.newbyteorder("<")).reshape(shape))


def _own_chunk(meta: dict[str, Any], dtype: np.dtype[Any]) -> Shape | None:
    """Return the chunk shape if the array is laid out as :class:`ArrayWriter` does it, else None."""
    codec = meta["codecs"][0]
    if codec.get("name") != "sharding_indexed":
        return None
    chunk = tuple(codec["configuration"]["chunk_shape"])
    shard = meta["chunk_grid"]["configuration"]["chunk_shape"]
    lay = Layout(chunk, tuple(shard))
    expected = array_metadata("".join(meta.get("dimension_names") or ()), tuple(meta["shape"]), dtype, lay)
    return chunk if all(meta.get(k) == v for k, v in expected.items() if k not in ("attributes", "dimension_names")) else None


def _explicit(box: Box | None, shape: Shape) -> Box:
    if box is None:
        return tuple(slice(0, n) for n in shape)
    if len(box) != len(shape) or any(s.step not in (None, 1) for s in box):
        raise ValueError(f"A box is one slice of step 1 for each axis of {shape}; got {box}.")
    ranges = [s.indices(n) for s, n in zip(box, shape, strict=True)]
    return tuple(slice(start, max(start, stop)) for start, stop, _ in ranges)


def _crc(data: bytes) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CRC_BYTES, "little")


def _corrupt(file: Path, what: str) -> InputError:
    return InputError(Problem(str(file), "corrupt", f"An array must hold the chunks that its metadata name; {what}. Get a fresh copy."))


@cache
def threads() -> ThreadPoolExecutor:
    """Return the pool that the store's work shares, one thread a core."""
    return ThreadPoolExecutor(min(32, os.cpu_count() or 1), "sciimg-store", initializer=setattr, initargs=(_LOCAL, "inside", True))


os.register_at_fork(after_in_child=threads.cache_clear)  # a forked child has no threads


def _each(work: Callable[[_T], _R], items: list[_T], nbytes: int) -> list[_R]:
    """Return the results in order."""
    return list(in_order(work, items, nbytes))


def in_order(work: Callable[[_T], _R], items: list[_T], nbytes: int) -> Iterable[_R]:
    """Yield the results in order; in threads where the piece is large (the codecs release the interpreter lock).

    One of these threads does all of its work itself: waiting for the others could be waiting for itself. So does a worker, which has one
    core.
    """
    if len(items) == 1 or nbytes < THREADED_BYTES or getattr(_LOCAL, "inside", False) or on_worker():
        return map(work, items)
    return threads().map(work, items)
