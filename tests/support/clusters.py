"""A Dask cluster inside the process of the tests, so that faults can be planted in its tasks."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sciimg.files import checksum
from sciimg.workers import Cluster


@contextmanager
def threads(count: int = 2) -> Iterator[Cluster]:
    """Yield workers that are threads."""
    from distributed import Client, LocalCluster

    page = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
    about: dict[str, Any] = {"threads_per_worker": 1, "processes": False, "memory_limit": 0, **page}
    with LocalCluster(count, **about) as made, Client(made, set_as_default=False) as client:
        yield Cluster(client)


class Damaging:
    """Takes the checksum of what a worker wrote and then harms it, once.

    Parameters
    ----------
    fault : {"flipped", "missing", "cut"}
    """

    def __init__(self, fault: str = "flipped") -> None:
        self.fault, self.harmed = fault, list[Path]()

    def __call__(self, place: Path) -> str:
        told = checksum(place)
        if not self.harmed:
            files = [place] if place.is_file() else [p for p in place.rglob("*") if p.is_file()]
            file = max(files, key=lambda p: p.stat().st_size)
            self.harmed.append(file)
            data = file.read_bytes()
            if self.fault == "missing":
                file.unlink()
            else:
                file.write_bytes(data[:-9] if self.fault == "cut" else data[:5] + bytes([data[5] ^ 1]) + data[6:])
        return told
