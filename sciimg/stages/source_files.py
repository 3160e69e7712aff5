"""The files that a study's sources name, by content."""

from collections.abc import Iterator
from pathlib import Path

from sciimg.io.expand import expand, objects_of
from sciimg.io.open import files_of
from sciimg.objects import is_uri
from sciimg.protocol import LoadedStudy
from sciimg.protocol.data import LabelFiles, Source, TissueMaps
from sciimg.records import Digest, digest_of
from sciimg.stages.digests import digests_of


def source_digests(loaded: LoadedStudy) -> dict[str, Digest]:
    """Return one digest a source, over the names and bytes of its images, labels and table: changed files are other inputs."""
    digests = {}
    for source in loaded.study.sources:
        files: dict[str, Path] = {}
        objects: dict[str, str] = {}
        for uri in _uris(source):
            if is_uri(uri):  # what the store says tells whether they changed, without fetching them
                objects |= {str(place): place.version for place in objects_of(uri)[1]}
                continue
            for place in expand(uri, loaded.folder):
                root = place if place.is_dir() else place.parent
                for path in sorted(place.rglob("*")) if place.is_dir() else files_of(place):
                    if path.is_file():
                        files[f"{uri}:{path.relative_to(root).as_posix()}"] = path
        digests[source.name] = digest_of(objects | dict(zip(files, digests_of(list(files.values())), strict=True)))
    return digests


def _uris(source: Source) -> Iterator[str]:
    yield source.uri
    if source.table is not None:
        yield source.table.uri
    match source.labels:
        case LabelFiles(uri=uri):
            yield uri
        case TissueMaps(maps=maps):
            yield from maps.values()
        case _:
            return
