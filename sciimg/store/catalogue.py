"""The catalogue of a collection: one row an image, made from what the images say of themselves, in bytes that repeat."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sciimg.errors import InputError, Problem
from sciimg.files import write_bytes
from sciimg.records import canonical_json
from sciimg.store.volume import Volume

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

COLUMNS = (
    "id",
    "path",
    "group",
    "source",
    "sha256",
    "digest",
    "axes",
    "shape",
    "dtype",
    "spacing",
    "unit",
    "channels",
    "label_kind",
    "label_max",
    "synthetic",
    "lineage",
)
_OWN_ATTRIBUTES = ("id", "group", "source", "sha256", "synthetic", "study", "lineage", "conditions")
RESERVED = frozenset(COLUMNS) | frozenset(_OWN_ATTRIBUTES)
_TYPED = {"label_max": "int64", "synthetic": "bool"}


def read_rows(images: Path) -> list[dict[str, Any]]:
    """Return the rows of all images in a folder, sorted by id."""
    return sorted((row_of(Volume(path)) for path in images.glob("*.zarr")), key=lambda row: str(row["id"]))


def row_of(volume: Volume) -> dict[str, Any]:
    """Return the row of one image.

    Raises
    ------
    InputError
        Kind ``no-record`` for an image that no collection writer has written.
    """
    about = volume.attributes
    if "id" not in about or volume.spacing is None:
        message = "An image of a collection carries its own record in its zarr.json; this one has none. Ingest it instead."
        raise InputError(Problem(str(volume.path), "no-record", message))
    lineage = about["lineage"]
    return {
        "id": about["id"],
        "path": f"images/{volume.path.name}",
        "group": about["group"],
        "source": about["source"],
        "sha256": about["sha256"],
        "digest": volume.digest,
        "axes": volume.axes,
        "shape": json.dumps(list(volume.shape)),
        "dtype": volume.dtype.name,
        "spacing": json.dumps(list(volume.spacing.values)),
        "unit": volume.spacing.unit,
        "channels": json.dumps([c.name for c in volume.channels], ensure_ascii=False),
        "label_kind": volume.label_kind,
        "label_max": volume.label_max,
        "synthetic": about["synthetic"],
        "lineage": None if lineage is None else canonical_json(lineage).decode(),
        **{name: _cell(value) for name, value in sorted(extra_of(about).items())},
    }


def extra_of(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns that the caller added: conditions and everything else that is not the writer's own."""
    return {k: v for k, v in attributes.items() if k not in _OWN_ATTRIBUTES} | dict(attributes.get("conditions", {}))


def removed_in(rows: Iterable[Mapping[Any, Any]]) -> dict[str, int]:
    """Return, for each element that files had and no image keeps, in how many images of a catalogue it was; the most frequent first."""
    found: Counter[str] = Counter()
    for row in rows:
        cell = row.get("removed")
        found.update(json.loads(cell).keys() if isinstance(cell, str) else ())
    return dict(sorted(found.items(), key=lambda entry: (-entry[1], entry[0])))


def _cell(value: Any) -> Any:
    return canonical_json(value).decode() if isinstance(value, list | dict) else value


def write_catalogue(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write rows as parquet; equal rows give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(_table(list(rows)), sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


def read_catalogue(path: Path, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Return the catalogue as a table; with ``columns``, only those, as far as it has them: no more is read.

    Raises
    ------
    InputError
        Kind ``corrupt``.
    """
    import pandas as pd

    try:
        if columns is not None:
            there = set(column_names(path))
            columns = [name for name in dict.fromkeys(columns) if name in there]
        with path.open("rb") as stream:  # of a file or an object
            table: pd.DataFrame = pd.read_parquet(stream, columns=columns)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors and OSErrors
        message = f"The catalogue must be a parquet file; {str(error).splitlines()[0]} Rebuild it from the images."
        raise InputError(Problem(str(path), "corrupt", message)) from error
    return table


def column_names(path: Path) -> list[str]:
    """Return the names of all columns; reads the end of the file."""
    import pyarrow.parquet as pq

    with path.open("rb") as stream:  # of a file or an object
        return list(pq.read_schema(stream).names)


def _table(rows: list[Mapping[str, Any]]) -> "pa.Table":
    """Return an Arrow table: fixed columns first, then the others by name, text where a column mixes kinds."""
    import pyarrow as pa

    others = sorted({name for row in rows for name in row} - set(COLUMNS))
    arrays = [_column(name, [row.get(name) for row in rows]) for name in (*COLUMNS, *others)]
    return pa.Table.from_arrays(arrays, names=[*COLUMNS, *others])


def _column(name: str, values: list[Any]) -> "pa.Array":
    import pyarrow as pa

    if name in COLUMNS:
        return pa.array(values, type=_TYPED.get(name, "string"))
    kinds = {type(v) for v in values if v is not None}
    if kinds == {bool}:
        return pa.array(values, type="bool")
    if kinds and kinds <= {int, float}:
        return pa.array(values, type="int64" if kinds == {int} else "float64")
    return pa.array([v if v is None or isinstance(v, str) else canonical_json(v).decode() for v in values], type="string")
