"""Regions: which box of which image belongs to which part. The one shape in which every kind of split is told."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from sciimg.errors import InputError, Problem
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


def refuse_short(regions: Sequence[Region], shape: tuple[int, ...], where: str) -> None:
    """Refuse regions that do not hold a patch: beyond them a patch is mirrored, and no judge may look at mirrored pixels.

    Parameters
    ----------
    shape : tuple of int
        Of a patch, along the last spatial axes of the images.
    where : str
        What the regions belong to, for the message.

    Raises
    ------
    InputError
        Kind ``too-small``.
    """
    sizes = [(r.image, r.extent[-len(shape) :]) for r in regions if len(r.extent) >= len(shape)]
    short: dict[str, tuple[int, ...]] = {}
    for image, size in sizes:
        if any(n < needed for n, needed in zip(size, shape, strict=True)):
            short.setdefault(image, size)
    if short:
        name, size = next(iter(short.items()))
        message = (
            f"What is judged is cut into patches of {_sides(shape)} px; {len(short)} of {len({r.image for r in regions})} images have no "
            f"room for one, first {name} with {_sides(size)}. Leave such images out, or choose a smaller patches.shape."
        )
        raise InputError(Problem(where, "too-small", message))


def _sides(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


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
