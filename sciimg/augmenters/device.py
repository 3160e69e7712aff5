"""Where networks run. The CPU is the default, because only its results are bit-identical everywhere; a GPU is asked for by name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from sciimg.augmenters.ranks import Rank
from sciimg.errors import InputError, Problem, TrainingFailedError

VARIABLE = "SCIIMG_DEVICE"  # the environment carries the choice to the stages of a run, on this machine or on a cluster's


def team_of(name: str | None = None) -> tuple[torch.device, ...]:
    """Return the devices that train one model together, e.g. of ``cuda:0,cuda:1``; all of the machine's GPUs of ``cuda:all``.

    Parameters
    ----------
    name : str, optional
        As for :func:`usable`, several with commas between them. ``cpu,cpu`` is two processes on the CPU.

    Raises
    ------
    InputError
        Kind ``no-device``: one of them is not there, a GPU is named twice, or CPU and GPU are mixed.
    """
    name = name or os.environ.get(VARIABLE) or "cpu"
    if name == "cuda:all":
        usable("cuda")
        return tuple(torch.device("cuda", i) for i in range(torch.cuda.device_count()))
    places = tuple(usable(part) for part in name.split(","))
    gpus = [place for place in places if place.type == "cuda"]
    if len(places) > 1 and gpus and (len(set(gpus)) < len(places) or any(place.index is None for place in gpus)):
        message = f"Several devices are GPUs by number, each once, as in cuda:0,cuda:1, or cpu,cpu; got {name!r}."
        raise InputError(Problem("--device", "no-device", message))
    return places


def place_of(rank: Rank, name: str | None = None) -> torch.device:
    """Return the device of one of several processes: the CPU, or of the GPUs that it sees that of its number on the node.

    Parameters
    ----------
    rank : Rank
    name : str, optional
        ``cpu`` or ``cuda``; what SCIIMG_DEVICE says when left out. Of a list the first names the kind.

    Raises
    ------
    InputError
        Kind ``no-device``.
    """
    name = (name or os.environ.get(VARIABLE) or "cpu").split(",")[0]
    if not name.startswith("cuda"):
        return usable(name)
    usable("cuda")
    count = torch.cuda.device_count()
    return usable(f"cuda:{0 if count == 1 else rank.local}")  # a scheduler may show each process its own GPU alone


def usable(name: str | None = None) -> torch.device:
    """Return a device that this machine has.

    Parameters
    ----------
    name : str, optional
        ``cpu``, ``cuda`` or ``cuda:N``; what the environment variable SCIIMG_DEVICE says when left out (the first, if it names several),
        and the CPU when that is not set.

    Raises
    ------
    InputError
        Kind ``no-device``: there is no such device, or this build of torch cannot use it.
    """
    if name is None:
        return team_of()[0]
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(Problem("--device", "no-device", f"A device is cpu, cuda or cuda:N; got {name!r}.")) from None
    if device.type == "cpu":
        return device
    if device.type != "cuda" or not torch.cuda.is_available():
        why = "torch finds no GPU that it can use"
        if torch.version.cuda is None:
            why = f"this build of torch ({torch.__version__}) has no CUDA"
        message = f"{name!r} was asked for, and {why}. Leave --device out to run on the CPU, or install torch for your GPU."
        raise InputError(Problem("--device", "no-device", message))
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise InputError(Problem("--device", "no-device", f"{name!r} was asked for; the machine has {count}, numbered from 0."))
    return device


def require_cpu(option: str) -> None:
    """Refuse another device for what is computed on the CPU alone.

    Parameters
    ----------
    option : str
        What asks for it, e.g. ``--shape``.

    Raises
    ------
    InputError
        Kind ``no-device``.
    """
    if (device := usable()).type != "cpu":
        message = f"{option} draws on the CPU, whose bits repeat; {str(device)!r} was asked for. Leave out --device, or unset {VARIABLE}."
        raise InputError(Problem("--device", "no-device", message))


@contextmanager
def enough_memory(what: str, advice: str) -> Iterator[None]:
    """Turn a failed allocation into a message that says what to change.

    Raises
    ------
    TrainingFailedError
        Kind ``no-memory``.
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise TrainingFailedError(Problem("memory", "no-memory", f"There was not enough memory for {what}. {advice}")) from error
    except RuntimeError as error:
        if "alloc" not in str(error).lower() or "memory" not in str(error).lower():
            raise
        raise TrainingFailedError(Problem("memory", "no-memory", f"There was not enough memory for {what}. {advice}")) from error


def described(*places: torch.device) -> str:
    """Return what a model records of the devices that it was trained on."""
    device = places[0]
    one = "cpu" if device.type == "cpu" else f"{device.type}: {torch.cuda.get_device_name(device)}"
    return one if len(places) == 1 else f"{len(places)} x {one}"
