"""Images of an ingest that workers read and write, apart from one another; who is called what, and what is refused, is decided by one.

A worker does what goes well. Where it meets a problem, or its image turns out to be damaged, to have the name of another or to be unlike
the first, the image is read once more by the process that keeps the collection, which then says the same as if it had worked alone.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from sciimg.errors import SciimgError, printable
from sciimg.files import checksum
from sciimg.io.channel_names import CHANNEL_NAME, plain_channels
from sciimg.io.derive import LabelImage
from sciimg.io.image import Image
from sciimg.io.pseudonyms import pseudonym
from sciimg.records import Digest, digest_of
from sciimg.stages.items import Item
from sciimg.store import CollectionWriter, Volume
from sciimg.store.apart import Made, held, intact
from sciimg.store.stream import Progress
from sciimg.store.writer import Images
from sciimg.workers import Workers

_CHUNK_BYTES = 32 * 2**20  # of sources that are one task: a task costs about a millisecond, a small image as much
_CHUNK_IMAGES = 32

Numbered = tuple[int, Item]


@dataclass(frozen=True)
class Apart:
    """An image that a worker has written, whole, under the id that it has if no other has it."""

    number: int  # of the item
    id: str
    place: Path
    sha256: Digest
    nbytes: int
    channels: tuple[str, ...]
    dtype: str


def written_apart(writer: CollectionWriter, items: Sequence[Item], workers: Workers) -> Iterator[tuple[Item, Apart | None]]:
    """Yield every item, in order, with what a worker made of it; None where there is nothing, for whatever reason."""
    if not workers.several:
        yield from zip(items, repeat(None), strict=False)
        return
    if not writer.fresh:  # what is there already is known by its content
        digests = [digest for some in workers.map(_digested, _chunks(list(enumerate(items)))) for digest in some]
        items = [item if d is None else replace(item, digest=partial(str, d)) for item, d in zip(items, digests, strict=True)]
    wanted = [(n, item) for n, item in enumerate(items) if writer.fresh or not _there(writer, item)]
    coming = workers.map(intact, workers.map(partial(_write, writer.work), _chunks(wanted)))
    done: dict[int, Apart] = {}
    asked, last = {n for n, _ in wanted}, -1
    for number, item in enumerate(items):
        while number in asked and last < number:
            (last, found), places = next(coming)
            done |= {apart.number: apart for apart, (_, whole) in zip(found, places, strict=True) if whole}
        own = done.pop(number, None)
        yield (item, None) if own is None else (replace(item, digest=partial(str, own.sha256)), own)


def _there(writer: CollectionWriter, item: Item) -> bool:
    """Whether the collection seems to hold an image already: then nothing is read but what is needed to say so."""
    if writer.source_of(item.digest):
        return True
    return writer.holds(item.id or pseudonym(item.kind, item.digest()))


def _chunks(items: Sequence[Numbered]) -> Iterator[list[Numbered]]:
    chunk: list[Numbered] = []
    for number, item in items:
        chunk.append((number, item))
        if len(chunk) == _CHUNK_IMAGES or sum(i.weight for _, i in chunk) >= _CHUNK_BYTES:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


# ---------------------------------------------------------------- on a worker


def _digested(chunk: Sequence[Numbered]) -> list[Digest | None]:
    return [_digest(item) for _, item in chunk]


def _digest(item: Item) -> Digest | None:
    try:
        return item.digest()
    except (OSError, SciimgError):
        return None


def _write(work: Images, chunk: Sequence[Numbered]) -> Made[tuple[int, list[Apart]]]:
    """Write what goes well of some images, in a folder of their own, and find again what an earlier attempt has left there."""
    own, found = work.apart(digest_of(chunk[0][1].shown).removeprefix("sha256:")[:20]), []
    with held(own.folder):
        left = [Volume(place) for place in own.folder.glob("*.zarr")]
        before = {str(volume.attributes.get("sha256")): volume for volume in left}
        for number, item in chunk:
            try:
                volume = before.get(item.digest()) if before else None
                found.append(_as_apart(number, volume or _written(own, item), item))
            except (OSError, SciimgError):
                continue  # it is looked at again where it can be said
        return (chunk[-1][0], found), [(apart.place, checksum(apart.place)) for apart in found]


def _written(own: Images, item: Item) -> Volume:
    image, labels = item.make()
    id = item.id or unnamed(item)

    def name() -> str:
        nonlocal id
        if item.id is None:
            id = pseudonym(item.kind, item.digest())
        return id

    put(own.write, item, image, labels, id, name)
    return Volume(own.folder / f"{id}.zarr")


def _as_apart(number: int, volume: Volume, item: Item) -> Apart:
    nbytes = math.prod(volume.shape) * volume.dtype.itemsize
    names = tuple(channel.name for channel in volume.channels)
    return Apart(number, str(volume.attributes["id"]), volume.path, item.digest(), nbytes, names, volume.dtype.name)


# ---------------------------------------------------------------- on either


def unnamed(item: Item) -> str:
    """Return what an image is called until its content, which names it, has been read."""
    return pseudonym("unnamed", digest_of(printable(item.shown)))  # a name may be no UTF-8


def put(
    add: Callable[..., object],
    item: Item,
    image: Image,
    labels: LabelImage | None,
    place: str,
    name: Callable[[], str],
    progress: Progress | None = None,
) -> None:
    """Hand an image, with all that is kept of its source, to what writes it.

    Parameters
    ----------
    add : callable
        As :meth:`sciimg.store.CollectionWriter.add`.
    place : str
        What it is called until ``name`` is asked, when its pixels are written.
    """
    hidden = item.veil
    channels, unnamed_channels = (image.channels, 0) if hidden is None else plain_channels(image.channels, item.channels)

    def extra(id: str) -> dict[str, Any]:
        more = dict(item.extra)
        if image.problems:
            more["problems"] = [(p if hidden is None else hidden.problem(p, id)).as_dict() for p in image.problems]
        if removed := {**item.removed(), **({CHANNEL_NAME: unnamed_channels} if unnamed_channels else {})}:
            more["removed"] = removed
        if labels is not None:
            more["labels"] = {k: v for k, v in labels.parameters.items() if hidden is None or k != "file"}
        return more

    add(
        place,
        replace(image, channels=channels, source=item.shown, hash=item.digest),
        group=item.group if item.group not in (None, item.id) else None,
        conditions=item.conditions,
        labels=None if labels is None else labels.pixels,
        label_kind=None if labels is None else labels.kind,
        extra=extra,
        progress=progress,
        named=None if hidden is None else name,
    )
