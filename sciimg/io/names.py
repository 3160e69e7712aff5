"""Names of images: the stem of a file, and ids that any file system, archive and database can hold."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

_PACKED = tuple(kind + packed for kind in (".mrc", ".map", ".mrcs", ".st", ".ccp4") for packed in (".gz", ".bz2"))
_EXTENSIONS = (".nii.gz", ".ome.tiff", ".ome.tif", ".ome.btf", ".ome.zarr", ".companion.ome", *_PACKED)
_LONGEST = 80
# Letters that Unicode does not take apart into an ASCII letter and a mark.
_SPELLED = str.maketrans({"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ð": "d", "þ": "th", "ł": "l", "đ": "d", "ı": "i", "µ": "u", "μ": "u"})


def stem(path: Path) -> str:
    """Return a file's name without its extension (``a.nii.gz`` and ``a.ome.tif`` are both ``a``); a folder's whole name."""
    name = path.name
    if path.is_dir() and not name.lower().endswith(".zarr"):
        return name
    double = next((e for e in _EXTENSIONS if name.lower().endswith(e)), None)
    return name[: -len(double)] if double and len(name) > len(double) else path.stem


def slug(text: str) -> str:
    """Return lower-case ASCII letters, digits, dots, underscores and hyphens for a text; never empty, never beginning with a dot.

    A name in a script that does not turn into ASCII becomes ``image-`` and the beginning of its hash.
    """
    spelled = unicodedata.normalize("NFKD", text.lower().translate(_SPELLED))
    plain = re.sub(r"[^a-z0-9._-]+", "-", spelled.encode("ascii", "ignore").decode()).strip("-._")
    if not re.search(r"[a-z0-9]", plain):
        return "image-" + _short(text.encode())
    return plain[:_LONGEST].rstrip("-._")


def unique_ids(paths: Sequence[Path], digest: Callable[[Path], str]) -> list[str]:
    """Return an id for each path from its stem; those that would be equal all get the beginning of their content's digest.

    Parameters
    ----------
    paths : sequence of Path
    digest : callable
        Gives the SHA-256 of a path's content; asked only where stems collide, so that an id depends on what else is ingested only then.
    """
    wanted = [slug(stem(path)) for path in paths]
    count = Counter(wanted)
    ids, taken = [], set()
    for path, name in zip(paths, wanted, strict=True):
        candidate = name if count[name] == 1 else f"{name}-{digest(path).removeprefix('sha256:')[:8]}"
        number = 2
        final = candidate
        while final in taken:  # the same content under the same stem
            final, number = f"{candidate}-{number}", number + 1
        taken.add(final)
        ids.append(final)
    return ids


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]
