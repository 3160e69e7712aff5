"""Where the processes of a team meet, and how the end of one becomes the end of all: with one message, and with nobody left waiting."""

import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch.distributed as dist

import sciimg.errors
from sciimg.augmenters.ranks import Rank
from sciimg.errors import InputError, Problem, SciimgError, TrainingFailedError

_stores: Any = dist  # has kinds of stores that it does not declare
PATIENCE = "SCIIMG_RANK_PATIENCE_S"  # how long a process waits for the others before it calls them lost
_PATIENCE_S = 600.0
_POLL_S = 0.2
_GRACE_S = 5.0  # to hear why another process ended, or to end by itself
_END, _CALLED, _LEFT = "end", "called", "left"


def patience() -> timedelta:
    """Return how long a process waits for the others.

    Raises
    ------
    InputError
        Kind ``rank``: the environment variable SCIIMG_RANK_PATIENCE_S is no number of seconds.
    """
    told = os.environ.get(PATIENCE)
    try:
        seconds = _PATIENCE_S if told is None else float(told)
        if seconds > 0:
            return timedelta(seconds=seconds)
    except ValueError:
        pass
    raise InputError(Problem(PATIENCE, "rank", f"It is a number of seconds above 0; got {told!r}."))


class Meeting:
    """A store that every process of a team can reach, in the first one's hands.

    Parameters
    ----------
    rank : Rank
        A port of 0 lets the first process choose; :attr:`port` says which one.
    """

    def __init__(self, rank: Rank) -> None:
        self.rank, self._timeout = rank, patience()
        given = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"  # torchrun serves the store itself
        try:
            served = self._server(rank.port, rank.first and not given)
        except RuntimeError as error:
            message = f"Rank {rank.number} of {rank.count} could not reach rank 0 at {rank.address}:{rank.port} ({_line(error)}). "
            message += "Check that all ranks were started, and MASTER_ADDR and MASTER_PORT."
            raise TrainingFailedError(Problem("ranks", "no-meeting", message)) from error
        self.port: int = served.port
        self.store = _named(served)
        self._left = threading.Event()

    def _server(self, port: int, serves: bool) -> Any:
        return _stores.TCPStore(self.rank.address, port, self.rank.count, serves, self._timeout, wait_for_workers=False)

    def part(self, name: str) -> Any:
        """Return a store of its own for torch's process group."""
        return _stores.PrefixStore(name, self.store)

    # ---------------------------------------------------------------- how it ends

    def tell(self, error: SciimgError | None) -> None:
        """Say how it ends; whoever says it first is believed. None is a good end."""
        said: dict[str, Any] = {"by": self.rank.number, "kind": "", "exit_code": 0, "problems": []}
        if error is not None:
            said |= {"kind": type(error).__name__, "exit_code": error.exit_code, "problems": [p.as_dict() for p in error.problems]}
        with suppress(RuntimeError):  # nobody is left to hear it
            self.store.compare_set(_END, "", json.dumps(said))

    def ended(self, within_s: float = 0.0) -> dict[str, Any] | None:
        """Return how it ended, waiting a while; None where nobody has said anything."""
        deadline = time.monotonic() + within_s
        while not self.store.check([_END]):
            if time.monotonic() >= deadline:
                return None
            time.sleep(_POLL_S)
        found: dict[str, Any] = json.loads(self.store.get(_END))
        return found

    def reason(self, error: BaseException) -> SciimgError:
        """Return why this process could not go on: what another one said, or that it was lost."""
        said = None
        with suppress(RuntimeError):  # the first process is gone, and the store with it
            said = self.ended(_GRACE_S)
        if said is not None and said["by"] != self.rank.number and said["kind"]:
            return _error(said)
        message = f"A process that trains along was lost ({_line(error)}). The same command goes on from the last checkpoint."
        return TrainingFailedError(Problem("ranks", "process-lost", message))

    # ---------------------------------------------------------------- whether there is anything to do

    def call(self) -> bool:
        """The first process calls the others to work, once it knows that there is some; the others wait for it.

        Returns False where it ended without any. Raises what the first process ended with.
        """
        if self.rank.first:
            self.store.set(_CALLED, "")
            return True
        while not self.store.check([_CALLED]):
            if self.ended() is not None:
                self.outcome()
                return False
            time.sleep(_POLL_S)
        return True

    def outcome(self) -> None:
        """Wait for the end that the first process says; raise what it ended with."""
        while (said := self.ended(_GRACE_S)) is None:
            pass
        if said["exit_code"]:
            raise _error(said)

    # ---------------------------------------------------------------- leaving

    def watch(self, stop: Callable[[SciimgError], int]) -> None:
        """End this process when another one failed and this one still waits for it: ``stop(error)`` returns the exit code."""
        own = _named(self._server(self.port, False))

        def run() -> None:
            error: SciimgError | None = None
            while error is None:
                if self._left.wait(_POLL_S):
                    return
                try:
                    if own.check([_END]):
                        said = json.loads(own.get(_END))
                        if not said["exit_code"]:
                            return
                        error = _error(said)
                except RuntimeError:
                    message = "Rank 0 was lost. The same command goes on from the last checkpoint."
                    error = TrainingFailedError(Problem("ranks", "process-lost", message))
            if not self._left.wait(2 * _GRACE_S):
                code = stop(error)
                sys.stderr.flush()
                os._exit(code)

        threading.Thread(target=run, name="watch-ranks", daemon=True).start()

    def leave(self) -> None:
        """Say good-bye; the first process goes last, because the others ask it how it ended."""
        self._left.set()
        with suppress(RuntimeError):
            if not self.rank.first:
                self.store.add(_LEFT, 1)
                return
            deadline = time.monotonic() + _GRACE_S
            while self.store.add(_LEFT, 0) < self.rank.count - 1 and time.monotonic() < deadline:
                time.sleep(_POLL_S / 10)


def _named(store: Any) -> Any:
    """Return the part of a store that belongs to this attempt: torchrun keeps one store for all."""
    return _stores.PrefixStore(f"sciimg-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


@contextmanager
def one_end(meeting: Meeting) -> Iterator[None]:
    """What stops the block stops all, and is said by whom it happened to."""
    try:
        yield
    except SciimgError as error:
        meeting.tell(error)
        raise
    except KeyboardInterrupt:
        raise  # all got it, and the first process speaks for them
    except RuntimeError as error:
        if _of_the_others(error):
            raise meeting.reason(error) from error
        meeting.tell(_told(error))
        raise
    except Exception as error:
        meeting.tell(_told(error))
        raise


def _of_the_others(error: RuntimeError) -> bool:
    """Whether a connection broke or nobody answered, rather than this process's own work."""
    if isinstance(error, dist.DistError):
        return True
    text = str(error).lower()
    return "gloo" in text or "connection closed" in text or "timed out" in text


def _told(error: BaseException) -> SciimgError:
    text = "".join(traceback.format_exception(error))
    return TrainingFailedError(Problem("ranks", "process-lost", f"A process that trains along stopped:\n{text}"))


def _error(said: dict[str, Any]) -> SciimgError:
    kind = getattr(sciimg.errors, said["kind"], SciimgError)
    error: SciimgError = kind([Problem(**p) for p in said["problems"]])
    error.exit_code = said["exit_code"]
    return error


def _line(error: BaseException) -> str:
    """Return the first sentence of an error, without the place in torch's own sources that it may begin with."""
    first = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0]
    return re.sub(r"^\[\S+:\d+\] ", "", first)
