"""Which process of several this one is, where somebody else started them: ``srun`` or ``torchrun``, on one node or on many."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sciimg.errors import InputError, Problem

LOST = ("process-lost", "no-meeting")  # kinds of problems that each process that is left may have to say
VARIABLES = ("RANK", "SLURM_PROCID")  # what makes a process one of several; a process that it starts is none of them
_PORTS = range(20000, 32768)  # where processes meet if nobody says: below those that Linux gives away by itself


@dataclass(frozen=True, slots=True)
class Rank:
    """One process of several that train together.

    Parameters
    ----------
    number, count : int
        From 0, which is the one that writes, and of how many.
    local : int
        Number among those of the same node.
    address, port
        Where rank 0 is met.
    """

    number: int
    count: int
    local: int
    address: str
    port: int

    @property
    def first(self) -> bool:
        return self.number == 0


def rank_of(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """Return which rank this process is; None for a process that is alone.

    RANK, WORLD_SIZE and LOCAL_RANK (torchrun) go before SLURM_PROCID, SLURM_NTASKS and SLURM_LOCALID. A Slurm batch script has these too,
    though it is one process: it is a rank only inside ``srun``, or where MASTER_ADDR says so. Without MASTER_ADDR and MASTER_PORT ranks
    meet on the step's first node, at a port made of the numbers of job and step.

    Raises
    ------
    InputError
        Kind ``rank``: the variables contradict one another, or some are missing.
    """
    if "RANK" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    elif "SLURM_PROCID" in environment and ("SLURM_STEP_NUM_TASKS" in environment or "MASTER_ADDR" in environment):
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS" if "SLURM_STEP_NUM_TASKS" in environment else "SLURM_NTASKS", "SLURM_LOCALID")
    else:
        return None
    number, count, local = (_whole(environment, name) for name in names)
    if not 0 <= number < count or not 0 <= local < count:
        told = ", ".join(f"{name}={environment[name]}" for name in names)
        raise _wrong(names[0], f"Ranks are numbered from 0 to one less than there are; got {told}.")
    if count == 1:
        return None
    return Rank(number, count, local, environment.get("MASTER_ADDR") or _first_node(environment), _port(environment))


def quieten() -> None:
    """Keep torch from printing its stack for every connection that breaks; of use before torch is imported."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _whole(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isascii() or not value.isdigit():
        raise _wrong(name, f"Processes that train together are each told a whole number; got {value!r}.")
    return int(value)


def _port(environment: Mapping[str, str]) -> int:
    if "MASTER_PORT" in environment:
        return _whole(environment, "MASTER_PORT")
    if "SLURM_JOB_ID" not in environment:
        raise _wrong("MASTER_PORT", "Processes that train together meet at a port of the first one's node, and none is named.")
    step = environment.get("SLURM_STEP_ID", "0")
    return _PORTS[(7 * _whole(environment, "SLURM_JOB_ID") + (int(step) if step.isdigit() else 0)) % len(_PORTS)]


def _first_node(environment: Mapping[str, str]) -> str:
    """Return the first of the step's nodes, e.g. ``n03`` of ``n[03-05,9],m1``."""
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST")
    if not nodes:
        raise _wrong("MASTER_ADDR", "Processes that train together meet on the first one's node, and none is named.")
    (first,) = re.findall(r"^(?:\[[^\]]*\]|[^,\[])*", nodes)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)


def _wrong(name: str, message: str) -> InputError:
    advice = "Start them by `srun -n N` or torchrun, or unset RANK and SLURM_PROCID for a process that is alone."
    return InputError(Problem(name, "rank", f"{message} {advice}"))
