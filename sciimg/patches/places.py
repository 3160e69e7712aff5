"""Where patches go: random places that depend on (key, index) alone, and regular grids."""

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, product

from sciimg.patches.location import PatchLocation
from sciimg.patches.regions import Region
from sciimg.randomness import generator, seed_of

Key = tuple[str | int, ...]
Place = tuple[int, PatchLocation]  # number of the region, and the place inside it
Foreground = Callable[[Place], float]

TRIES = 16  # random places looked at for one patch with enough foreground; the fullest wins where none has enough


class Places:
    """The places that patches of one shape can take in some regions.

    Parameters
    ----------
    regions : sequence of Region
    shape : tuple of int
        Of a patch, along the spatial axes of the images. Where a region is shorter, the patch is centred on it and reaches beyond.
    foreground : callable, optional
        Fraction of labelled pixels at a place.
    least : float
        Least fraction asked for.
    """

    def __init__(self, regions: Sequence[Region], shape: tuple[int, ...], foreground: Foreground | None = None, least: float = 0.0) -> None:
        self.regions, self.shape, self._foreground, self._least = regions, shape, foreground, least
        self._room = [tuple(max(0, e - p) + 1 for e, p in zip(r.extent, shape, strict=True)) for r in regions]
        self._first = [tuple(s - max(0, p - e) // 2 for s, e, p in zip(r.start, r.extent, shape, strict=True)) for r in regions]
        self._volumes = list(accumulate(math.prod(r.extent) for r in regions))
        self._seeds: dict[Key, bytes] = {}

    def random(self, key: Key, index: int) -> Place:
        """Return random place ``index``: a region in proportion to its size, then any position in it with equal chance.

        With a least foreground, up to 16 places are tried, and the fullest is taken where none has enough.
        """
        seed = self._seeds.get(key)
        if seed is None:  # remembered because a sampler asks for the same key many thousand times
            seed = self._seeds.setdefault(key, seed_of(*key).to_bytes(8, "little"))
        if not self._filtered:
            return self._nth(seed, index, 0)
        best: tuple[float, Place] | None = None
        for attempt in range(TRIES):
            place = self._nth(seed, index, attempt)
            found = self._full(place)
            if found >= self._least:
                return place
            if best is None or found > best[0]:
                best = found, place
        assert best is not None
        return best[1]

    def grid(self, stride: tuple[int, ...]) -> list[Place]:
        """Return the places of a grid in each region, centred in it, that have enough foreground."""
        found = []
        for number in range(len(self.regions)):
            starts = [self._ticks(number, axis, step) for axis, step in enumerate(stride)]
            places = ((number, self._at(number, corner)) for corner in product(*starts))
            found += [place for place in places if not self._filtered or self._full(place) >= self._least]
        return found

    def group(self, place: Place) -> str:
        """Return the statistical group of a place."""
        return self.regions[place[0]].group_of(place[1])

    def evenly(self, places: Sequence[Place], limit: int, key: Key) -> list[Place]:
        """Return ``limit`` of the places, one a group in turn, chosen inside a group by the key."""
        members: dict[str, list[int]] = {}
        for i, place in enumerate(places):
            members.setdefault(self.group(place), []).append(i)
        queues = [[m[j] for j in generator(*key, "places", name).permutation(len(m))] for name, m in sorted(members.items())]
        chosen: list[int] = []
        for depth in range(max(map(len, queues), default=0)):
            layer = [queue[depth] for queue in queues if depth < len(queue)]
            order = generator(*key, "groups", depth).permutation(len(layer))  # which groups give one more where not all can
            chosen += [layer[j] for j in order]
        return [places[i] for i in sorted(chosen[:limit])]

    @property
    def _filtered(self) -> bool:
        return self._least > 0 and self._foreground is not None

    def _full(self, place: Place) -> float:
        assert self._foreground is not None
        return self._foreground(place)

    def _nth(self, seed: bytes, index: int, attempt: int) -> Place:
        # A hash of the counter, not a generator: it costs a microsecond. 64 bits over a few million places are even to 1e-12.
        words = hashlib.sha256(seed + index.to_bytes(8, "little") + attempt.to_bytes(8, "little")).digest()
        number = bisect_right(self._volumes, int.from_bytes(words[:8], "little") % self._volumes[-1])
        position = int.from_bytes(words[8:16], "little") % math.prod(self._room[number])
        corner = []
        for first, room in zip(reversed(self._first[number]), reversed(self._room[number]), strict=True):
            position, offset = divmod(position, room)
            corner.append(first + offset)
        return number, self._at(number, tuple(reversed(corner)))

    def _at(self, number: int, origin: tuple[int, ...]) -> PatchLocation:
        return PatchLocation(self.regions[number].image, origin, self.shape)

    def _ticks(self, number: int, axis: int, step: int) -> range:
        first, last = self._first[number][axis], self._room[number][axis] - 1
        slack = last % step
        return range(first + slack // 2, first + last + 1, step)
