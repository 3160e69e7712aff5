"""A flow outlives the worker that started it: output that nobody reads any more goes nowhere.

A worker reads what its flows print. Without it the next line would end the flow (rich, which Prefect logs with, raises ``SystemExit``
when a pipe breaks), though all that counts stands in files and on the server.
"""

import os
import select
import stat
import threading


def outlive_reader() -> None:
    """From now on, send what is printed to /dev/null as soon as the reader of a pipe of this process is gone."""
    pipes = [number for number in (1, 2) if _is_pipe(number)]
    if pipes:
        threading.Thread(target=_watch, args=(pipes,), name="outlive-reader", daemon=True).start()


def _watch(pipes: list[int]) -> None:
    ends = select.poll()
    for number in pipes:
        ends.register(number, 0)  # of a pipe without readers its error is told, asked or not
    while pipes:
        for number, _ in ends.poll():
            ends.unregister(number)
            pipes.remove(number)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def _is_pipe(number: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(number).st_mode)
    except OSError:
        return False
