"""Several devices that train one model: a process each, which takes its share of every batch and moves by the mean gradient of all.

What is random in a share depends on the rank, so a model depends on how many trained it (its card says), as it depends on a GPU; with the
same devices the same bytes come out wherever the kernels themselves repeat. Buffers are those of the first process, as in torch's own
data-parallel wrapper, which would not do here: players move in turn, on losses that are no forward pass of one module.
"""

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
from torch import Tensor

from sciimg.errors import InputError, Problem, SciimgError, TrainingFailedError


@dataclass(frozen=True, slots=True)
class Team:
    """One process of a team, and how it talks to the others; alone, every call is the identity.

    Parameters
    ----------
    rank : int
        0 is the one that writes.
    places : tuple of device
        Of all.
    """

    rank: int
    places: tuple[torch.device, ...]

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
    def name(self) -> tuple[int, ...]:
        """What a random draw of this process is named by besides its step: nothing for the first, so that one device draws as ever."""
        return () if self.first else (self.rank,)

    def share(self, size: int) -> range:
        """Return which samples of a batch are this process's.

        Raises
        ------
        InputError
            Kind ``small-batch``: fewer samples than devices.
        """
        n = len(self.places)
        if size < n:
            message = f"A batch of {size} cannot be shared by {n} devices. Raise training.batch (and that of other phases), or use fewer."
            raise InputError(Problem("--device", "small-batch", message))
        return range(self.rank * size // n, (self.rank + 1) * size // n)

    @torch.no_grad()
    def average_gradients(self, parameters: Sequence[Tensor], weight: float) -> None:
        """Replace gradients by the sum of all processes' times their weights; what nobody has a gradient for stays without."""
        if self.alone:
            return
        known = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32, device=self.place)
        dist.all_reduce(known, dist.ReduceOp.MAX)
        moved = [p for p, some in zip(parameters, known.tolist(), strict=True) if some]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).float().flatten() for p in moved]) * weight
        dist.all_reduce(flat)
        for p, own in zip(moved, flat.split([p.numel() for p in moved]), strict=True):
            p.grad = torch.empty_like(p).copy_(own.view_as(p))

    def average(self, values: dict[str, float], weight: float) -> dict[str, float]:
        """Return the weighted mean over processes; NaN anywhere is NaN everywhere."""
        if self.alone or not values:
            return values
        found = torch.tensor(list(values.values()), dtype=torch.float64, device=self.place) * weight
        dist.all_reduce(found)
        return dict(zip(values, found.tolist(), strict=True))

    def said(self, value: float) -> float:
        """Return the first process's value."""
        if self.alone:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.place)
        dist.broadcast(told, 0)
        return float(told)

    @torch.no_grad()
    def align(self, tensors: Sequence[Tensor]) -> None:
        """Give every process the first one's values; a buffer that grows has the first one's size."""
        if self.alone or not tensors:
            return
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


def together(work: Callable[[Team], None], places: Sequence[torch.device], first: Callable[[Team], None] | None = None) -> None:
    """Run ``work(team)`` once for every device at the same time; this process is the first.

    Parameters
    ----------
    work : callable
        Picklable, where there are several devices.
    places : sequence of device
    first : callable, optional
        What this process does instead: the same work, with someone to tell of its progress.

    Raises
    ------
    SciimgError
        What ``work`` raises here, or the clear message of another process that stopped first.
    """
    places, mine = tuple(places), first or work
    if len(places) == 1:
        mine(Team(0, places))
        return
    context = get_context("spawn")
    with TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting"
        pipes, others = [], []
        for rank in range(1, len(places)):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_member, args=(work, meeting, rank, places, theirs), daemon=True)
            process.start()
            theirs.close()
            pipes.append(ours)
            others.append(process)
        try:
            _work(mine, meeting, 0, places)
        except SciimgError:
            raise
        except RuntimeError as error:  # a connection that another process closed
            raise _reason(pipes, error) from error
        finally:
            for process in others:
                process.join(30)
                process.kill()


def _reason(pipes: Sequence[Connection], error: RuntimeError) -> SciimgError:
    for pipe in pipes:
        try:
            told = pipe.recv() if pipe.poll(5) else None
        except EOFError:
            told = None
        if isinstance(told, tuple):
            kind, problems = told
            return kind(problems)  # type: ignore[no-any-return]
        if isinstance(told, str):
            return TrainingFailedError(Problem("--device", "process-lost", f"A process of another device stopped:\n{told}"))
    message = f"A process of another device was lost ({str(error).splitlines()[0]}). The same command goes on from the last checkpoint."
    return TrainingFailedError(Problem("--device", "process-lost", message))


def _member(work: Callable[[Team], None], meeting: Path, rank: int, places: tuple[torch.device, ...], say: Connection) -> None:
    try:
        _work(work, meeting, rank, places)
    except KeyboardInterrupt:
        return  # the first process got it too, and speaks for all
    except SciimgError as error:
        _tell(say, (type(error), error.problems))
    except RuntimeError as error:  # what the others did not survive either
        if "closed" not in str(error).lower():
            _tell(say, traceback.format_exc())
    except Exception:  # told to the first process, which raises it
        _tell(say, traceback.format_exc())


def _tell(say: Connection, what: object) -> None:
    with suppress(OSError):  # nobody is left to hear it
        say.send(what)


def _work(work: Callable[[Team], None], meeting: Path, rank: int, places: tuple[torch.device, ...]) -> None:
    own = places[rank]
    if own.type == "cuda":
        torch.cuda.set_device(own)
    elif sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all are on this machine, whatever its network
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo", init_method=f"file://{meeting}", rank=rank, world_size=len(places))
    try:
        work(Team(rank, places))
    finally:
        dist.destroy_process_group()
