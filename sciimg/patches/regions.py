"""Regions: which box of which image belongs to which part. The one shape in which every kind of split is told."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from sciimg.patches.location import PatchLocation
from sciimg.types import Part


@dataclass(frozen=True, slots=True)
class Region:
    """A box of an image that belongs to one part.

    Parameters
    ----------
    image : str
    part : {"train", "calibration", "holdout"}
    group : str
        The independent unit. Where ``cell`` makes the groups: what tells this box from others of the same image and part, or empty.
    start, stop : tuple of int
        Along the spatial axes, in pixels.
    cell : tuple of int or None
        Size of a statistical group inside the region; a remainder joins the last cell.
    """

    image: str
    part: Part
    group: str
    start: tuple[int, ...]
    stop: tuple[int, ...]
    cell: tuple[int, ...] | None = None

    @property
    def extent(self) -> tuple[int, ...]:
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether a patch of this shape fits."""
        return all(n <= e for n, e in zip(shape, self.extent, strict=True))

    def group_of(self, location: PatchLocation) -> str:
        """Return the statistical group of a patch: the region's own, or the cell that holds the patch's centre."""
        if self.cell is None:
            return self.group
        index = [
            min(int((c - s) // n), max(1, e // n) - 1)
            for c, s, n, e in zip(location.centre, self.start, self.cell, self.extent, strict=True)
        ]
        where = f"{self.group}/" if self.group else ""
        return f"{self.image}/{self.part}/{where}" + ".".join(str(max(0, i)) for i in index)


def to_table(regions: Iterable[Region]) -> pd.DataFrame:
    """Return regions as a table with columns image, part, group, start, stop, cell (the last three as JSON)."""
    rows = [
        {
            "image": r.image,
            "part": r.part,
            "group": r.group,
            "start": json.dumps(r.start),
            "stop": json.dumps(r.stop),
            "cell": None if r.cell is None else json.dumps(r.cell),
        }
        for r in regions
    ]
    return pd.DataFrame(rows, columns=["image", "part", "group", "start", "stop", "cell"])


def from_table(table: pd.DataFrame, part: Part | None = None) -> list[Region]:
    """Return the regions of a table, of one part or of all."""
    rows = table if part is None else table[table["part"] == part]
    return [
        Region(
            r["image"],
            r["part"],
            r["group"],
            tuple(json.loads(r["start"])),
            tuple(json.loads(r["stop"])),
            tuple(json.loads(r["cell"])) if isinstance(r["cell"], str) else None,
        )
        for r in rows.to_dict("records")
    ]


def table_bytes(table: pd.DataFrame) -> bytes:
    """Return the table as parquet; equal tables give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: pa.array([v if isinstance(v, str) else None for v in table[name]], type="string") for name in table.columns}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())
