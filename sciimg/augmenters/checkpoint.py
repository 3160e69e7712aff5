"""The state of an unfinished training as one safetensors file: weights, optimisers, averages, best weights, curves. No pickles."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from sciimg.files import write_bytes
from sciimg.records import canonical_json

NAME = "checkpoint.safetensors"
Curves = dict[str, dict[str, list[float]]]  # phase → quantity → one value a step (held-out: one a look)


@dataclass
class State:
    """Where a training stands.

    Parameters
    ----------
    identity : str
        Digest of all that the result depends on; a checkpoint of anything else is ignored.
    phase, step : int
        Number of the phase, and how many of its steps are done.
    best, stale
        Lowest held-out loss of the phase so far, and looks since then.
    """

    identity: str
    phase: int = 0
    step: int = 0
    best: float | None = None
    stale: int = 0
    curves: Curves = field(default_factory=dict)
    done: dict[str, int] = field(default_factory=dict)  # phase → steps it took
    devices: list[str] = field(default_factory=list)  # what it was trained on, one after another
    seconds: dict[str, float] = field(default_factory=dict)  # of training, and of these what it waited for data and for other processes


def save(folder: Path, state: State, tensors: dict[str, Tensor]) -> None:
    """Replace the checkpoint in one rename."""
    write_bytes(folder / NAME, packed(state, tensors))


def packed(state: State, tensors: dict[str, Tensor]) -> bytes:
    """Return the checkpoint as the bytes of its file."""
    from safetensors.torch import save as to_bytes

    info = {"state": canonical_json(vars(state)).decode()}
    return to_bytes({name: value.detach().contiguous() for name, value in tensors.items()}, info)


def unpacked(data: bytes) -> tuple[State, dict[str, Tensor]]:
    """Undo :func:`packed`."""
    from safetensors.torch import load as from_bytes

    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return State(**json.loads(header["__metadata__"]["state"])), from_bytes(data)


def load(folder: Path, identity: str) -> tuple[State, dict[str, Tensor]] | None:
    """Return the checkpoint of this very training, or None."""
    from safetensors import SafetensorError, safe_open

    path = folder / NAME
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stream:
            info: dict[str, Any] = json.loads(stream.metadata()["state"])
            if info["identity"] != identity:
                return None
            return State(**info), {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 — not a dict
    except (SafetensorError, KeyError, TypeError, ValueError):
        return None  # of another version, or damaged: train anew


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors below a prefix, without it."""
    return {name[len(prefix) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{prefix}.")}


def prefixed(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in tensors.items()}
