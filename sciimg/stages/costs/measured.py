"""What a stage costs, measured while it works and kept however it ends: time, processor, GPU, memory, bytes, energy.

    .<stage>.partial/.costs/<n>.json    one file an attempt, rewritten every few seconds, gone when the stage is whole

The costs of a stage are those of its attempts together. An attempt that was killed is known up to the last time its file was written: its
last ``unseen_s`` seconds at most are not counted, nor is an attempt that began with other inputs and whose remains were thrown away. Costs
enter the ledger and nothing else: no digest, no release.
"""

import json
import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sciimg.records import pretty_json
from sciimg.stages.costs.energy import Energy, energy_meter

COSTS = ".costs"
WRITTEN_EVERY_S = 5.0  # how much of a killed attempt may stay unknown
_LOOK_EVERY_S = 1.0  # memory that is held for less may be missed, except by the kernel, which keeps the peak of one process itself
_MIB = 1024**2
_PAGE, _TICK = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
_MAXRSS = 1 if sys.platform == "darwin" else 1024  # what getrusage counts memory in, bytes

SUMS = ("wall_s", "cpu_s", "gpu_s", "read_bytes", "written_bytes", "energy_wh")
PEAKS = ("peak_mb", "peak_tree_mb", "peak_gpu_mb")


@contextmanager
def measured(folder: Path, *, beside: bool = False) -> Iterator["Meter"]:
    """Measure what this process and its children cost for the length of the block, which may end in any way.

    Parameters
    ----------
    folder : Path
        The stage's working folder.
    beside : bool
        Whether another process carries out the stage, and this one helps it, maybe on another machine: its wall time is no more of the
        stage's, and it is no attempt of its own.
    """
    meter = Meter(_claimed(folder), beside)
    meter.look()
    meter.write()
    thread = threading.Thread(target=meter.watch, name="costs", daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        meter.done.set()
        thread.join()
        meter.look()
        meter.energy.stop()
        meter.write(ended=True)


def attempts(folder: Path) -> list[dict[str, Any]]:
    """Return what is known of the attempts at a stage that is not whole, in the order in which they began."""
    return [record for _, record in _files(folder)]


def _files(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    found = []
    for path in sorted((folder / COSTS).glob("*.json"), key=lambda p: p.stem.zfill(9)):
        with suppress(OSError, ValueError):  # a power cut may leave an empty file: that attempt cannot be known
            found.append((path, json.loads(path.read_text(encoding="utf-8"))))
    return found


def total(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the costs of all attempts together, as the ledger keeps them.

    Sums where costs add up, None where a part of one is not known (``unknown`` says why); of peaks the largest that is known.
    """
    own = [record for record in records if not record.get("beside")] or list(records)
    found: dict[str, Any] = {"started": own[0]["started"], "attempts": len(own)}
    unknown: dict[str, str] = {}
    for record in records:
        unknown |= record["unknown"]
    for name in (*SUMS, *PEAKS):
        values = [record[name] for record in (own if name == "wall_s" else records)]
        known = [value for value in values if value is not None]
        if name in PEAKS:
            found[name] = max(known, default=None)
        else:
            found[name] = round(sum(known), 6) if len(known) == len(values) else None
    found["unseen_s"] = sum(WRITTEN_EVERY_S for record in records if not record["ended"])
    last = own[-1]
    return found | {"gpu": last["gpu"], "energy_from": last["energy_from"], "machine": last["machine"], "unknown": unknown}


class Meter:
    """The costs of one attempt so far."""

    def __init__(self, path: Path, beside: bool) -> None:
        self.path, self.beside, self.done = path, beside, threading.Event()
        self.energy: Energy = energy_meter()
        self._started, self._clock = time.time(), time.monotonic()
        self._last = self._clock
        self._before = _used()
        self._tree = self._largest = self._gpu_s = 0.0
        self._gpu: str | None = None
        self._gpu_mb = 0.0
        self._machine = machine()

    def watch(self) -> None:
        """Look and write now and then until the work is done."""
        written = time.monotonic()
        while not self.done.wait(_LOOK_EVERY_S):
            self.look()
            if time.monotonic() - written >= WRITTEN_EVERY_S:
                written = time.monotonic()
                self.write()

    def look(self) -> None:
        """See how much memory is held now, and whether a GPU is."""
        now = time.monotonic()
        own, others = _resident(os.getpid()), descendants()
        self._tree = max(self._tree, own + sum(map(_share, others)))
        self._largest = max(self._largest, own, *map(_peak, (os.getpid(), *others)))
        held, name, peak_mb = gpus(len(others))
        self._gpu_s += held * (now - self._last)
        self._gpu, self._gpu_mb = name or self._gpu, max(self._gpu_mb, peak_mb)
        self._last = now

    def total(self) -> dict[str, Any]:
        """Return the costs of this attempt and of those before it."""
        others = [record for path, record in _files(self.path.parents[1]) if path != self.path]
        return total([*others, self.record])

    def write(self, *, ended: bool = False) -> None:
        """Keep what is known so far; a disk that is full, or a folder that is gone, costs no more than the knowledge."""
        used = _used()
        spent: dict[str, float | None] = {
            key: None if value is None or (before := self._before[key]) is None else value - before for key, value in used.items()
        }
        energy_wh, unknown_energy = self.energy.wh(used["cpu_s"] or 0.0)
        unknown = {"energy_wh": unknown_energy} if energy_wh is None else {}
        unknown |= {name: "this system does not count what a process reads and writes" for name, value in spent.items() if value is None}
        unknown |= {} if self._tree else {"peak_tree_mb": "this system does not say which processes are whose children"}
        self.record: dict[str, Any] = {
            "started": _stamp(self._started),
            "seen": _stamp(time.time()),
            "ended": ended,
            "beside": self.beside,
            "wall_s": round(time.monotonic() - self._clock, 3),
            "cpu_s": round(spent["cpu_s"] or 0.0, 3),
            "gpu_s": round(self._gpu_s, 3),
            "gpu": self._gpu,
            "peak_mb": round(max(self._largest, _kernel_peak()) / _MIB, 1),
            "peak_tree_mb": round(max(self._tree, 0.0) / _MIB, 1) if self._tree else None,
            "peak_gpu_mb": round(self._gpu_mb, 1),
            "read_bytes": spent["read_bytes"],
            "written_bytes": spent["written_bytes"],
            "energy_wh": None if energy_wh is None else round(energy_wh, 6),
            "energy_from": self.energy.name,
            "machine": self._machine,
            "unknown": unknown,
        }
        beside = self.path.with_suffix(".new")
        with suppress(OSError):
            beside.write_text(pretty_json(self.record), encoding="utf-8")
            beside.replace(self.path)


def _claimed(folder: Path) -> Path:
    """Return the file of a new attempt; two that begin at the same time get two."""
    place = folder / COSTS
    place.mkdir(exist_ok=True)
    number = len(list(place.glob("*.json"))) + 1
    while True:
        with suppress(FileExistsError):
            (path := place / f"{number}.json").touch(exist_ok=False)
            return path
        number += 1


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def machine() -> dict[str, Any]:
    """Return of what kind this machine is, by nothing that names it: processor, cores that this process may use, memory in GiB."""
    processor = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        processor = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), processor)
    memory = os.sysconf("SC_PHYS_PAGES") * _PAGE / 2**30
    return {"processor": processor, "cores": cores(), "memory_gb": round(memory, 1)}


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# ---------------------------------------------------------------- what the system counts


def _used() -> dict[str, float | None]:
    """Return processor seconds and bytes of this process, of the children that it has waited for, and of those that live."""
    others = descendants()
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    cpu_s = sum(u.ru_utime + u.ru_stime for u in own) + sum(map(_cpu_s, others))
    read, written = _bytes(os.getpid())
    for pid in others:
        more = _bytes(pid)
        read, written = (a if a is None or b is None else a + b for a, b in zip((read, written), more, strict=True))
    return {"cpu_s": cpu_s, "read_bytes": read, "written_bytes": written}


def descendants() -> list[int]:
    """Return the processes that live below this one; none where the system does not say (no ``/proc``)."""
    if hasattr(os, "waitid"):
        try:  # most stages have no children: this asks without looking through all processes, and takes nothing from who waits
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return []
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        if fields := _stat(int(path.name)):
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found, below = list[int](), [os.getpid()]
    while below:
        below = [child for pid in below for child in children.get(pid, ())]
        found += below
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/PID/stat`` after the name, which may hold anything; see proc(5)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:  # it has just ended
        return []


def _cpu_s(pid: int) -> float:
    return sum(map(int, fields[11:15])) / _TICK if (fields := _stat(pid)) else 0.0  # own and waited-for, user and system


def _bytes(pid: int) -> tuple[float | None, float | None]:
    """Return what a process and the children that it has waited for read and wrote through the system, from disk or from memory."""
    try:
        lines = Path(f"/proc/{pid}/io").read_text(encoding="ascii").splitlines()
    except OSError:
        return (None, None) if pid == os.getpid() else (0.0, 0.0)
    counts = dict(line.split(": ") for line in lines)
    return int(counts["rchar"]), int(counts["wchar"])


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0.0


def _share(pid: int) -> float:
    """Return the memory of a process, pages that it shares divided by those who share them; all of them where that is not said."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024.0
    return _resident(pid)


def _peak(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024.0
    return 0.0


def peak_mb() -> float:
    """Return the most memory in MiB that this process, or a child that it has waited for, ever held."""
    return round(_kernel_peak() / _MIB, 1)


def _kernel_peak() -> float:
    """Return the most that this process or a child that it has waited for ever held, where ``/proc`` does not say it better.

    A process that another one starts inherits the peak of its parent in getrusage, so its own word is the last resort.
    """
    children = float(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * _MAXRSS
    return max(children, _peak(os.getpid()) or float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * _MAXRSS)


def gpus(children: int = 0) -> tuple[int, str | None, float]:
    """Return how many GPUs are held now, of which kind, and the most memory in MiB that one had; torch is asked only if it is there.

    Parameters
    ----------
    children : int
        Processes below this one: devices that train together have one each, of which this process sees its own alone.
    """
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_initialized():
        return 0, None, 0.0
    own = [i for i in range(cuda.device_count()) if cuda.memory_reserved(i) > 0]
    if not own:
        return 0, None, 0.0
    asked = os.environ.get("SCIIMG_DEVICE", "")
    team = cuda.device_count() if asked == "cuda:all" else len(asked.split(","))
    held = team if 1 < team <= children + 1 else len(own)
    return held, str(cuda.get_device_name(own[0])), max(cuda.max_memory_allocated(i) for i in own) / _MIB
