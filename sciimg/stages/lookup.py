"""The private look-up beside a collection whose images have pseudonyms: which file is which. It stays where it was made.

``COLLECTION.names.csv`` has one row an input: ``id``, ``source`` (the path as it was typed), ``sha256``, and for an input that was left out
what was said of it in full. No digest, report or release covers it, and nothing depends on its being there.
"""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sciimg.files import write_bytes

ENDING = ".names.csv"
_WARNING = "# Private: this file says which file, and so perhaps which person, each image comes from. Never pass it on with the collection."


class Known(NamedTuple):
    """One input by its pseudonym."""

    id: str
    source: str
    sha256: str
    said: str = ""


def lookup_of(collection: Path) -> Path:
    """Return where the look-up of a collection lies."""
    return collection.with_name(collection.name + ENDING)


def write_lookup(collection: Path, known: Iterable[Known], *, extend: bool) -> None:
    """Write the look-up whole, readable by its owner only; with ``extend``, what is there already stays."""
    rows = {*known, *(read_lookup(collection) if extend else ())}
    if not rows:
        return
    text = io.StringIO()
    text.write(_WARNING + "\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Known._fields)
    writer.writerows(sorted(rows))
    write_bytes(lookup_of(collection), text.getvalue().encode(), mode=0o600)


def read_lookup(collection: Path) -> list[Known]:
    """Return the rows of a look-up; none where there is none, or none that can be read."""
    try:
        with lookup_of(collection).open(encoding="utf-8", newline="") as stream:
            stream.readline()
            rows = list(csv.reader(stream))[1:]
    except (OSError, ValueError, csv.Error):
        return []
    return [Known(*row) for row in rows if len(row) == len(Known._fields)]
