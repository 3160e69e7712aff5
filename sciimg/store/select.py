"""Some rows and columns of a catalogue of any size, found without reading the others.

Parquet keeps columns apart, and Arrow reads, filters and joins them in pieces by all cores. Memory holds the columns that are asked for, of
the rows that are wanted, and for a sample one number a row.
"""

import operator
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sciimg.errors import InputError, Problem
from sciimg.objects import ObjectPath, brought
from sciimg.randomness import generator

if TYPE_CHECKING:
    import pandas as pd

_OPERATORS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CONDITION = re.compile(r"\s*(?P<name>.+?)\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>.*?)\s*")
_BATCH = 2**17  # rows


def _file(path: Path) -> Path:
    """Return a file of this machine, which Arrow reads in pieces; an object is fetched."""
    return brought(path) if isinstance(path, ObjectPath) else path


class Selection:
    """The rows of a catalogue that fulfil conditions.

    Parameters
    ----------
    catalogue : Path
    where : sequence of str
        ``NAME=VALUE``, and likewise ``!=``, ``<``, ``<=``, ``>``, ``>=``; all must hold. An image without a value fulfils none.
    regions, part : Path and str, optional
        A split (``regions.parquet``), and the part of it that an image must have a region in.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``bad-condition``, ``unknown-column``.
    """

    def __init__(self, catalogue: Path, where: Sequence[str] = (), *, regions: Path | None = None, part: str | None = None) -> None:
        import pyarrow.dataset as ds

        self._path = catalogue
        try:
            self._dataset = ds.dataset(_file(catalogue), format="parquet")
        except (OSError, ValueError) as error:
            message = f"The catalogue must be a parquet file; {str(error).splitlines()[0]} Rebuild it from the images."
            raise InputError(Problem(str(catalogue), "corrupt", message)) from error
        self._filter = self._expression(where)
        if part is not None and regions is not None:
            split = ds.dataset(_file(regions), format="parquet")
            ids = split.to_table(columns=["image"], filter=ds.field("part") == part)["image"].unique()
            own = ds.field("id").isin(ids)
            self._filter = own if self._filter is None else self._filter & own

    @property
    def columns(self) -> list[str]:
        """All that the catalogue has."""
        return list(self._dataset.schema.names)

    def __len__(self) -> int:
        return int(self._dataset.count_rows(filter=self._filter))

    def read(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """Return the rows, in their order."""
        table: pd.DataFrame = self._dataset.to_table(columns=self._known(columns), filter=self._filter).to_pandas()
        return table

    def values(self, column: str) -> dict[Any, int]:
        """Return how many rows have each value of a column, by value."""
        import pyarrow.compute as pc

        (name,) = self._known([column])
        counted = pc.value_counts(self._dataset.to_table(columns=[name], filter=self._filter)[name])
        pairs = ((entry["values"], int(entry["counts"])) for entry in counted.to_pylist())
        return dict(sorted(pairs, key=lambda pair: (pair[0] is None, str(pair[0]))))

    def sample(
        self, count: int, key: tuple[str | int, ...], columns: Sequence[str] | None = None, *, each: str | None = None
    ) -> "pd.DataFrame":
        """Return at most so many rows, drawn by the key without replacement, in their order.

        Parameters
        ----------
        each : str, optional
            At most so many rows of each value of this column instead, e.g. of each group.
        """
        import pyarrow as pa

        rng = generator(*key)
        if each is None:
            total = len(self)
            places = np.sort(rng.choice(total, min(count, total), replace=False))
        else:
            (name,) = self._known([each])
            column = self._dataset.to_table(columns=[name], filter=self._filter)[name].dictionary_encode().combine_chunks()
            column = column.unify_dictionaries() if isinstance(column, pa.ChunkedArray) else column
            places = _of_each(column.indices.to_numpy(zero_copy_only=False), column.dictionary.to_pylist(), count, rng)
        return self._at(places, columns)

    def _at(self, places: Any, columns: Sequence[str] | None) -> "pd.DataFrame":
        """Return the rows at some ascending places among those that are selected."""
        import pyarrow as pa

        names, parts, first = self._known(columns), [], 0
        for batch in self._dataset.to_batches(columns=names, filter=self._filter, batch_size=_BATCH):
            low, high = np.searchsorted(places, (first, first + len(batch)))
            if high > low:
                parts.append(batch.take(pa.array(places[low:high] - first)))
            first += len(batch)
        schema = pa.schema([self._dataset.schema.field(name) for name in names])
        found: pd.DataFrame = pa.Table.from_batches(parts, schema).to_pandas()
        return found

    def _known(self, columns: Sequence[str] | None) -> list[str]:
        wanted = self.columns if columns is None else list(columns)
        self._refuse_unknown(wanted)
        return wanted

    def _refuse_unknown(self, names: Sequence[str]) -> None:
        if unknown := sorted(set(names) - set(self.columns)):
            message = f"The catalogue has the columns {', '.join(self.columns)}; there is no {', '.join(map(repr, unknown))}."
            raise InputError(Problem(str(self._path), "unknown-column", message))

    def _expression(self, where: Sequence[str]) -> Any:
        import pyarrow as pa
        import pyarrow.dataset as ds

        whole, problems = None, []
        for text in where:
            if (found := _CONDITION.fullmatch(text)) is None:
                problems.append(Problem(text, "bad-condition", "A condition is NAME=VALUE, or with !=, <, <=, > or >= in place of =."))
                continue
            self._refuse_unknown([found["name"]])
            kind = self._dataset.schema.field(found["name"]).type
            try:
                value = pa.scalar(found["value"]).cast(kind)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                problems.append(Problem(text, "bad-condition", f"Column {found['name']!r} holds {kind}; {found['value']!r} is none."))
                continue
            own = _OPERATORS[found["sign"]](ds.field(found["name"]), value)
            whole = own if whole is None else whole & own
        if problems:
            raise InputError(problems)
        return whole


def _of_each(codes: Any, values: Sequence[Any], count: int, rng: np.random.Generator) -> Any:
    """Return the ascending places of at most ``count`` rows of each value: those of the smallest of one random number a row."""
    rank = np.empty(len(values), np.int64)  # the order of values, not that in which they are met
    rank[sorted(range(len(values)), key=lambda i: (values[i] is None, str(values[i])))] = np.arange(len(values))
    drawn = rng.random(len(codes), dtype=np.float32)
    order = np.lexsort((drawn, rank[codes]))
    starts = np.r_[0, np.flatnonzero(np.diff(rank[codes][order])) + 1] if len(codes) else np.empty(0, np.int64)
    within = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    return np.sort(order[within < count])
