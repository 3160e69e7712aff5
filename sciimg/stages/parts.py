"""Work cut into parts that are kept as soon as they are done, so that a killed stage goes on with the next one.

    parts/NAME.json   {"key": …, "value": …}
    parts/NAME.npz    the arrays that belong to it, where there are any (written first)

The key is the digest of everything that the parts depend on; a part with another key is made again.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.files import write_json
from sciimg.records import Digest, Metric, digest_file
from sciimg.stages.ledger import log

CATALOGUE = "catalogue.parquet"  # of a collection; it holds the content digest of every image

Arrays = Mapping[str, NDArray[Any]]


class Parts:
    """The parts of one stage."""

    def __init__(self, folder: Path, key: Digest) -> None:
        self.folder = folder / "parts"
        self.key = key
        self._arrays: dict[str, NDArray[Any]] = {}

    def value(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return a JSON value, computed unless it is there."""
        stored = self._stored(name)
        if stored is None:
            log(f"{name} …")
            stored = {"key": self.key, "value": compute()}
            write_json(self._path(name), stored)
        return stored["value"]

    def made(self, name: str) -> Any:
        """Return a JSON value that must be there: the parts of a finished stage are read, never made again.

        Raises
        ------
        InputError
            Kind ``stale`` when it is missing or belongs to other inputs.
        """
        stored = self._stored(name)
        if stored is None:
            message = f"Part {name!r} of this study and these real images is needed; it is missing or was made from others. Make it again."
            raise InputError(Problem(str(self.folder), "stale", message))
        return stored["value"]

    def metrics(self, name: str, compute: Callable[[], tuple[list[Metric], Arrays]]) -> list[Metric]:
        """Return metrics, computed with their arrays unless they are there; the arrays join :attr:`arrays`."""
        from sciimg.validation.gallery import read_arrays, write_arrays

        path = self.folder / f"{name}.npz"

        def both() -> list[dict[str, Any]]:
            metrics, arrays = compute()
            write_arrays(path, arrays)
            return [m.as_json() for m in metrics]

        value = self.value(name, both)
        self._arrays |= read_arrays(path)
        return [Metric.model_validate_json(json.dumps(m)) for m in value]

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _stored(self, name: str) -> dict[str, Any] | None:
        path = self._path(name)
        if not path.exists():
            return None
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return stored if stored["key"] == self.key else None

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All arrays of the parts that were asked for so far."""
        return self._arrays


def file_keys(*paths: Path | None) -> list[str | None]:
    """Return digests of files, None for those that are not there: what parts depend on."""
    return [digest_file(p) if p is not None and p.is_file() else None for p in paths]
