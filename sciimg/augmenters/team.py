"""Several processes that train one model: each takes its share of every batch and moves by the mean gradient of all.

They are started here, one for each device of ``cuda:0,cuda:1``, or by somebody else, on one node or on many (:mod:`.ranks`). What is random
belongs to places in the whole batch (:mod:`.draws`), so that the model is that of one process up to the order of sums, and training may go
on with another number of processes. torch's own data-parallel wrapper would not do here: players move in turn, on losses that are no
forward pass of one module.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context

import torch
import torch.distributed as dist
from torch import Tensor

from sciimg.augmenters.device import place_of, team_of
from sciimg.augmenters.meeting import Meeting, one_end, patience
from sciimg.augmenters.ranks import Rank
from sciimg.errors import InputError, Problem, SciimgError

_HERE = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Team:
    """One process of a team, and how it talks to the others; alone, every call is the identity.

    Parameters
    ----------
    rank : int
        0 is the one that writes.
    places : tuple of device
        Of all; each of its own node.

    Attributes
    ----------
    waited_s : list of float
        Seconds that this process has waited for the others, the exchange itself included, in its one entry.
    """

    rank: int
    places: tuple[torch.device, ...]
    waited_s: list[float] = field(default_factory=lambda: [0.0], compare=False)

    @property
    def first(self) -> bool:
        return self.rank == 0

    @property
    def alone(self) -> bool:
        return len(self.places) == 1

    @property
    def place(self) -> torch.device:
        return self.places[self.rank]

    @property
    def ranks(self) -> range:
        return range(len(self.places))

    def share(self, size: int, rank: int | None = None) -> range:
        """Return which samples of a batch, or of the part of one that a loss looks at, are this process's (or another one's).

        Raises
        ------
        InputError
            Kind ``small-batch``: fewer samples than processes.
        """
        n, own = len(self.places), self.rank if rank is None else rank
        if size < n:
            message = (
                f"A batch of {size} cannot be shared by {n} devices (some losses use half of a batch, or penalty_batch of it). "
                "Raise training.batch (and that of other phases), or use fewer."
            )
            raise InputError(Problem("--device", "small-batch", message))
        return range(own * size // n, (own + 1) * size // n)

    @contextmanager
    def _exchange(self) -> Iterator[None]:
        if self.place.type == "cuda":
            torch.cuda.synchronize(self.place)  # own work is not waiting
        begun = time.perf_counter()
        try:
            yield
        finally:
            if self.place.type == "cuda":
                torch.cuda.synchronize(self.place)
            self.waited_s[0] += time.perf_counter() - begun

    @torch.no_grad()
    def average_gradients(self, parameters: Sequence[Tensor], weight: float) -> None:
        """Replace gradients by the sum of all processes' times their weights; what nobody has a gradient for stays without."""
        if self.alone:
            return
        known = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=self.place)
        with self._exchange():
            dist.all_reduce(known, dist.ReduceOp.MAX)
        moved = [p for p, some in zip(parameters, known.tolist(), strict=True) if some]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in moved]) * weight
        with self._exchange():
            dist.all_reduce(flat)
        for p, own in zip(moved, flat.split([p.numel() for p in moved]), strict=True):
            p.grad = torch.empty_like(p).copy_(own.view_as(p))

    def average(self, values: dict[str, float], weight: float) -> dict[str, float]:
        """Return the weighted mean over processes; NaN anywhere is NaN everywhere."""
        if self.alone or not values:
            return values
        found = torch.tensor(list(values.values()), dtype=torch.float64, device=self.place) * weight
        with self._exchange():
            dist.all_reduce(found)
        return dict(zip(values, found.tolist(), strict=True))

    def said(self, value: float) -> float:
        """Return the first process's value."""
        if self.alone:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.place)
        with self._exchange():
            dist.broadcast(told, 0)
        return float(told)

    def anybody(self, value: bool) -> bool:
        """Return whether it holds for any process."""
        if self.alone:
            return value
        told = torch.tensor([value], dtype=torch.int32, device=self.place)
        with self._exchange():
            dist.all_reduce(told, dist.ReduceOp.MAX)
        return bool(told)

    def told(self, data: bytes | None) -> bytes | None:
        """Return the first process's bytes, or None."""
        if self.alone:
            return data
        size = int(self.said(-1 if data is None else len(data)))
        if size < 0:
            return None
        whole = torch.empty(size, dtype=torch.uint8, device=self.place)
        if data is not None and self.first:
            whole.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
        dist.broadcast(whole, 0)
        return whole.cpu().numpy().tobytes()

    def gathered(self, values: Tensor, counts: Sequence[int]) -> list[Tensor]:
        """Return every process's values (its count, ...), in order of rank."""
        if self.alone:
            return [values]
        flat = values.contiguous().reshape(len(values), -1)
        if not flat.shape[1]:
            return [values.new_empty((n, *values.shape[1:])) for n in counts]
        sent = torch.zeros((max(counts), flat.shape[1] * flat.element_size()), dtype=torch.uint8, device=self.place)
        sent[: len(flat)] = flat.view(torch.uint8)
        got = [torch.empty_like(sent) for _ in counts]
        with self._exchange():
            dist.all_gather(got, sent)
        return [part[:n].view(values.dtype).reshape(n, *values.shape[1:]) for part, n in zip(got, counts, strict=True)]

    @torch.no_grad()
    def align(self, tensors: Sequence[Tensor]) -> None:
        """Give every process the first one's values; a buffer that grows has the first one's size."""
        if self.alone or not tensors:
            return
        with self._exchange():
            shapes = [[tuple(own.shape) for own in tensors]]
            dist.broadcast_object_list(shapes, 0)
            for own, shape in zip(tensors, shapes[0], strict=True):
                whole = own.contiguous() if own.shape == shape else own.new_empty(shape)
                dist.broadcast(whole, 0)
                if own.data_ptr() != whole.data_ptr():
                    own.resize_(shape).copy_(whole)

    def wait(self) -> None:
        """Wait for all."""
        self.said(0.0)


# ---------------------------------------------------------------- processes that somebody else started


@dataclass(frozen=True, slots=True)
class _Joined:
    team: Team
    meeting: Meeting


_joined: list[_Joined] = []  # the team that this process is of, from its start to its end: torch's process group is one for a process too


@contextmanager
def joined(rank: Rank, stop: Callable[[SciimgError], int]) -> Iterator[Meeting]:
    """Be one of the processes that somebody else started, for the length of the block; :func:`together` then works with all of them.

    Parameters
    ----------
    rank : Rank
    stop : callable
        ``stop(error)`` says the last words of this process and returns its exit code, where another one failed while this one was waiting
        for it in vain, so that nothing could be raised.

    Raises
    ------
    SciimgError
        What stops any of them stops all; it is raised in each.
    """
    meeting = Meeting(rank)
    try:
        meeting.watch(stop)
        with one_end(meeting):
            place = place_of(rank)
            with _connected(meeting, place):
                told: list[str] = [""] * rank.count
                dist.all_gather_object(told, str(place))
                _joined.append(_Joined(Team(rank.number, tuple(map(torch.device, told))), meeting))
                try:
                    yield meeting
                finally:
                    _joined.pop()
    finally:
        meeting.leave()


@contextmanager
def _connected(meeting: Meeting, place: torch.device) -> Iterator[None]:
    rank = meeting.rank
    if place.type == "cuda":
        torch.cuda.set_device(place)
    elif sys.platform == "linux" and rank.address in (_HERE, "localhost"):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine, whatever its network
    backend, store = "nccl" if place.type == "cuda" else "gloo", meeting.part("group")
    with one_end(meeting):
        dist.init_process_group(backend, store=store, rank=rank.number, world_size=rank.count, timeout=patience())
        try:
            with one_end(meeting):  # said before the connections are closed, which the others notice
                yield
        finally:
            dist.destroy_process_group()


# ---------------------------------------------------------------- work for all


def together(
    work: Callable[[Team], None], places: Sequence[torch.device] | None = None, first: Callable[[Team], None] | None = None
) -> None:
    """Run ``work(team)`` in every process at the same time: in those that this one has joined, else in one for each device.

    Parameters
    ----------
    work : callable
        Picklable, where there are several devices.
    places : sequence of device, optional
        Those that the environment names, when left out (:func:`.device.team_of`).
    first : callable, optional
        What the first process does instead: the same work, with someone to tell of its progress.

    Raises
    ------
    SciimgError
        What ``work`` raises here, or the clear message of another process that stopped first.
    """
    mine = first or work
    if _joined:
        if _joined[-1].meeting.call():
            (mine if _joined[-1].team.first else work)(_joined[-1].team)
        return
    places = team_of() if places is None else tuple(places)
    if len(places) == 1:
        mine(Team(0, places))
        return
    meeting = Meeting(Rank(0, len(places), 0, _HERE, 0))
    context = get_context("spawn")
    others = [context.Process(target=_member, args=(work, meeting.port, number, places), daemon=True) for number in range(1, len(places))]
    try:
        for process in others:
            process.start()
        with _connected(meeting, places[0]):
            mine(Team(0, places))
    finally:
        meeting.leave()
        for process in others:
            process.join(30)
            process.kill()


def _member(work: Callable[[Team], None], port: int, number: int, places: tuple[torch.device, ...]) -> None:
    for told in (signal.SIGTERM, signal.SIGUSR1):  # the first process notes them for all
        signal.signal(told, signal.SIG_IGN)
    with suppress(Exception, KeyboardInterrupt):  # the first process raises what was told, and got the interrupt too
        meeting = Meeting(Rank(number, len(places), number, _HERE, port))
        try:
            with _connected(meeting, places[number]):
                work(Team(number, places))
        finally:
            meeting.leave()
