"""Random patches of a collection that does not fit in memory: decoded once an epoch, window by window, ahead of their use.

Patch ``index`` is a function of (key, index) alone, as for :meth:`PatchSource.draw`, so that training resumes with the very same batches.
What differs is that neighbouring indices share blocks: a mean over a few patches is one over few places. Measure a collection with
``PatchSource.draw``, and feed training from here.
"""

from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.patches.blocks import BlockOrder, Epoch, Floats, Key
from sciimg.patches.cache import CACHE_BYTES
from sciimg.patches.location import PatchLocation
from sciimg.patches.places import Place
from sciimg.patches.source import PatchSource
from sciimg.patches.window import Window, WindowReader
from sciimg.types import SPATIAL, PatchSet

WINDOW_BYTES = 128 * 2**20
LABELS = "labels"
_WINDOWS = 3  # held at once: two that a batch may straddle, and the one that is decoded ahead
_EPOCHS = 2  # plans kept
_CUT_BYTES = 2**20  # smaller batches cost less than handing halves of them to threads
_THREADS = 2


def feeding(source: PatchSource, balance: str | None = None) -> "PatchSource | PatchStream":
    """Return what to feed training from: the source itself where it fits in its cache and all places are alike, else a stream of it."""
    free = balance is None and source.decoded_bytes <= CACHE_BYTES
    return source if free else PatchStream(source, balance=balance)


class PatchStream:
    """Random patches in block order. Safe to use from several threads; fastest when indices rise.

    Parameters
    ----------
    source : PatchSource
        Its part, patch shape, conditions and least foreground hold here, the latter inside a window.
    reuse : float
        How many times an epoch shows as many pixels as there are.
    balance : str, optional
        Column of the catalogue, or ``group``, each of whose values gives equally many patches; or ``labels``: inside a window, the pixel in
        the middle of a patch has each label class equally often (instances: an object or none), and no least foreground is asked for.
    window_bytes : int
        Bound of the decoded pixels of a window; three are held at most. Patches depend on it, as they do on the key.

    Attributes
    ----------
    length : int
        Patches an epoch.

    Raises
    ------
    InputError
        Kinds ``unknown-column``, ``no-value``, ``no-labels``.
    """

    def __init__(self, source: PatchSource, *, reuse: float = 1.0, balance: str | None = None, window_bytes: int = WINDOW_BYTES) -> None:
        if balance == LABELS and source.label_kind is None:
            message = "Balancing labels needs label images; the collection has none. Balance by a column of the catalogue."
            raise InputError(Problem("balance", "no-labels", message))
        self.source = source
        sizes = np.array([np.prod(r.extent, dtype=np.float64) for r in source.regions])
        shares = sizes if balance in (None, LABELS) else _even(source, sizes, balance)
        self.length = max(1, round(reuse * float(sizes.sum()) / float(np.prod(source.image_shape, dtype=np.float64))))
        self._order = BlockOrder(source.regions, source.image_shape, _chunks(source), shares, self.length, source.pixel_bytes, window_bytes)
        self._windows = WindowReader(source, self._order, balanced=balance == LABELS)
        self._plans: dict[tuple[Key, int], Epoch] = {}
        self._held: dict[tuple[Key, int, int], Future[Window]] = {}
        self._lock = Lock()

    @property
    def decoded(self) -> int:
        """Pixels (of one channel) decoded so far."""
        return self._windows.decoded

    def draw(self, seed_key: Key, indices: Sequence[int]) -> PatchSet:
        """Return random patches with what is known of them, as :meth:`PatchSource.draw`."""
        return self.source.described(*self.arrays(seed_key, indices), self.places(seed_key, indices))

    def arrays(self, seed_key: Key, indices: Sequence[int]) -> tuple[NDArray[Any], NDArray[np.int32] | None]:
        """Return new C-contiguous arrays (N, C, [Z,] Y, X) and (N, [Z,] Y, X), as :func:`torch.from_numpy` takes them."""
        n, shape = len(indices), self.source.image_shape
        images = np.empty((n, len(self.source.channels), *shape), self.source.dtype)
        labels = np.empty((n, *shape), np.int32) if self.source.label_kind else None
        where = self._find(seed_key, indices)

        def cut(start: int, stop: int) -> None:
            for i in range(start, stop):
                window, number = where[i]
                pixels, mask = window.pixels[window.blocks[number]]
                box = tuple([slice(o, o + n) for o, n in zip(window.offsets[number], shape)])  # noqa: B905 (a third of the time)
                images[i] = pixels[(slice(None), *box)]
                if labels is not None and mask is not None:
                    labels[i] = mask[box]

        if images.nbytes < _CUT_BYTES:
            cut(0, n)
        else:
            list(self._cutters.map(cut, [0, n // 2], [n // 2, n]))
        images = images.reshape(n, images.shape[1], *self.source.patch_shape)
        return images, None if labels is None else labels.reshape(n, *self.source.patch_shape)

    def places(self, seed_key: Key, indices: Sequence[int]) -> list[Place]:
        """Return where patches lie."""
        found = []
        for window, number in self._find(seed_key, indices):
            block = window.blocks[number]
            region = window.regions[block]
            origin = tuple(c + o for c, o in zip(window.corners[block], window.offsets[number], strict=True))
            found.append((region, PatchLocation(self.source.regions[region].image, origin, self.source.image_shape)))
        return found

    def _find(self, key: Key, indices: Sequence[int]) -> list[tuple[Window, int]]:
        """Return the window of each patch and its number there."""
        found: list[tuple[Window, int]] = []
        first = stop = 0
        window: Window | None = None
        for index in map(int, indices):
            if window is None or not first <= index < stop:
                number, within = divmod(index, self.length)
                plan = self._plan(key, number)
                turn = bisect_right(plan.firsts, within) - 1
                first, stop = (number * self.length + int(plan.firsts[turn + i]) for i in (0, 1))
                window = self._ask(key, number, turn, len(plan.windows) - 1).result()
            found.append((window, index - first))
        return found

    def _ask(self, key: Key, number: int, turn: int, count: int) -> "Future[Window]":
        """Return a window to be, and have the one after it decoded as well."""
        wanted = (key, number, turn)
        after = (key, number, turn + 1) if turn + 1 < count else (key, number + 1, 0)
        with self._lock:
            for name in (wanted, after):  # the last asked for stand last
                self._held[name] = self._held.pop(name) if name in self._held else self._reader.submit(self._read, *name)
            while len(self._held) > _WINDOWS:
                self._held.pop(next(iter(self._held)))
            return self._held[wanted]

    def _read(self, key: Key, number: int, turn: int) -> Window:
        return self._windows.read(key, number, self._plan(key, number), turn)

    def _plan(self, key: Key, number: int) -> Epoch:
        with self._lock:
            plan = self._plans.get((key, number))
        if plan is None:
            plan = self._order.epoch(key, number)
            with self._lock:
                self._plans[key, number] = plan
                while len(self._plans) > _EPOCHS:
                    self._plans.pop(next(iter(self._plans)))
        return plan

    @cached_property
    def _reader(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="sciimg-window")

    @cached_property
    def _cutters(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_THREADS, thread_name_prefix="sciimg-cut")


def _chunks(source: PatchSource) -> list[tuple[int, ...]]:
    chunks = {}
    for name in dict.fromkeys(r.image for r in source.regions):
        volume = source.collection.volume(name)
        chunks[name] = tuple(c for a, c in zip(volume.axes, volume.chunk, strict=True) if a in SPATIAL)
    return [chunks[r.image] for r in source.regions]


def _even(source: PatchSource, sizes: Floats, balance: str | None) -> Floats:
    """Return how much each region gives where every value of a column gives as much, and inside a value by size."""
    rows = source.collection.columns("id", str(balance)).set_index("id")
    if balance not in rows:
        known = ", ".join(source.collection.select().columns)
        message = f"There is no column {balance!r}; the catalogue has {known}. Balance by one, or by labels."
        raise InputError(Problem("balance", "unknown-column", message))
    values = rows[balance].loc[[r.image for r in source.regions]]
    if values.isna().any():
        raise InputError(Problem("balance", "no-value", f"Column {balance!r} must hold a value for every image; it does not. Fill it in."))
    _, inverse = np.unique(values.astype(str).to_numpy(), return_inverse=True)
    return np.asarray(sizes / np.bincount(inverse, sizes)[inverse])
