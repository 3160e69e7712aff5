"""SHA-256 of a great many files, by the workers of the environment where it names a cluster: one process would be at it for hours."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from sciimg.records import Digest, digest_file
from sciimg.workers import ADDRESS, open_workers

_CHUNK_BYTES = 2**30  # of files that are one task
_CHUNK_FILES = 256
_FEW = 1000  # files that no cluster is asked for


def digests_of(files: Sequence[Path]) -> list[Digest]:
    """Return the digest of each file, in their order."""
    if len(files) <= _FEW or not os.environ.get(ADDRESS):
        return [digest_file(path) for path in files]
    with open_workers() as workers:
        return [digest for some in workers.map(_digests, _chunks(files)) for digest in some]


def _digests(files: Sequence[Path]) -> list[Digest]:
    return [digest_file(path) for path in files]


def _chunks(files: Sequence[Path]) -> Iterator[list[Path]]:
    chunk, size = list[Path](), 0
    for path in files:
        chunk.append(path)
        size += path.stat().st_size
        if size >= _CHUNK_BYTES or len(chunk) == _CHUNK_FILES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
