"""HDF5 as microscopy uses it: one array is the image, found by what is alone, by its name or by its attributes; never guessed.

Only hard links are followed, so that nothing outside the file is opened; voxels that were never written are refused, since HDF5 would
hand out fill values for them. Of the attributes only axes and sizes are looked at. Imaris and MINC 2 share the helpers here.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.io.faults import decoding, refuse, refusing
from sciimg.io.image import Box, Image, accepted_dtype, check_axes, default_channels, too_large
from sciimg.io.personal import note_personal
from sciimg.io.spacing import Stated, Wishes, settle
from sciimg.records import digest_file
from sciimg.types import AXES, SPATIAL

EXTENSIONS = (".h5", ".hdf5")
SIGNATURE = b"\x89HDF\r\n\x1a\n"
NAMES = ("raw", "image", "images", "data", "volume", "exported_data")  # of the image, the first that is there; the last is ilastik's
LABEL_NAMES = ("label", "labels", "segmentation", "seg", "mask", "masks", "gt", "ground_truth", "instances")
_SIZES, _UNITS = ("voxel_size", "resolution", "spacing", "pixel_size"), ("unit", "units")
_MATLAB = "MATLAB_class"
_SAID = (_MATLAB, "axistags", "DIMENSION_LABELS", "element_size_um", *_SIZES, *_UNITS)
_LETTER = {**{a: a for a in AXES}, "time": "t", "channel": "c", "channels": "c", "depth": "z", "height": "y", "width": "x"}
_PERSONAL = ("user", "operator", "author", "experimenter", "patient", "subject", "creator", "owner")
_LARGEST_BLOCK = 2**26  # a user block goes before the signature; its length is 0 or a power of two from 512 up
_MOST_OBJECTS = 100_000
_PACKING = 4096  # bytes by which headers and checksums of a filter may lengthen a chunk that cannot be packed
_LONGEST_ATTRIBUTE = 2**20  # values
_SHOWN = 12
Content = Any  # h5py's File, Group and Dataset, which carry no types


class _Found(NamedTuple):
    """An array of two dimensions or more, or a link out of the file that may stand for one (then without shape)."""

    name: str
    shape: tuple[int, ...] | None
    numeric: bool
    described: bool

    @property
    def last(self) -> str:
        return self.name.rsplit("/", 1)[-1].lower()

    def __str__(self) -> str:
        return f"{self.name} {self.shape if self.shape is not None else '(a link to another file)'}"


def sniff(head: bytes, path: Path) -> bool:
    """Whether the signature of HDF5 stands at the start, or behind a user block."""
    if head.startswith(SIGNATURE):
        return True
    place = 512
    with path.open("rb") as stream:
        size = path.stat().st_size
        while place < min(size, _LARGEST_BLOCK):
            stream.seek(place)
            if stream.read(len(SIGNATURE)) == SIGNATURE:
                return True
            place *= 2
    return False


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the image: ``[t][c][z]yx``.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``locked``, ``extra-missing``, ``layout``, ``no-dataset``, ``which-dataset``,
        ``external-link``, ``external-data``, ``missing-chunks``, ``unknown-filter``, ``too-large``, ``complex``, ``dtype``,
        ``unknown-axes``, ``axes``, ``unknown-spacing``, ``spacing-contradiction``.
    """
    with decoding(path, what="The HDF5 file cannot be read"), opened(path, "hdf5", "HDF5") as file:
        for group in ("minc-2.0", "DataSetInfo"):  # behind a user block, where their own readers do not look
            if member(file, group, path) is not None:
                message = (
                    f"There is a group {group!r} of another format, but its reader cannot find all it needs. Export without user block."
                )
                raise refuse(path, "layout", message)
        name = _chosen(_arrays(file, path), wishes.label, path)
        array = file[name]
        final = accepted_dtype(array.dtype, str(path))
        check_stored(array, path, wishes.memory_limit)
        shape = tuple(int(n) for n in array.shape)
        said = attributes(file, _SAID) | attributes(array, _SAID)
        personal = sorted({str(k) for k in (*file.attrs, *array.attrs) if any(p in str(k).lower() for p in _PERSONAL)})
    letters, axis_notes = _letters(said, shape, wishes, path)
    axes = "".join(a for a in AXES if a in letters)
    check_axes(axes, str(path))
    order = tuple(letters.index(a) for a in axes)
    spacing, notes = settle(axes, _stated(said, letters), wishes, path)

    def load(box: Box) -> NDArray[Any]:
        stored = tuple(box[axes.index(a)] for a in letters)
        with refusing(path, what=f"{name} cannot be decoded"), opened(path, "hdf5", "HDF5") as file:
            return np.ascontiguousarray(file[name][stored].transpose(order), final)

    return Image(
        load=load,
        axes=axes,
        shape=tuple(shape[i] for i in order),
        dtype=final,
        spacing=spacing,
        channels=default_channels(shape[letters.index("c")] if "c" in letters else 1),
        source=path.name,
        hash=lambda: digest_file(path),
        problems=(*axis_notes, *notes, *note_personal(path, personal)),
        memory_limit=wishes.memory_limit,
    )


@contextmanager
def opened(path: Path, extra: str, what: str) -> Iterator[Content]:
    """Open a file for reading.

    Raises
    ------
    InputError
        Kinds ``extra-missing``, ``truncated``, ``locked``, ``corrupt``.
    """
    try:
        import h5py
    except ImportError as error:
        message = f"Reading {what} needs h5py, which is not installed. Run `pip install 'sciimg[{extra}]'`, or convert the file."
        raise refuse(path, "extra-missing", message) from error
    try:
        file = h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        said = str(error)
        if "truncated" in said or "eof" in said:
            message = "The file ends before what its header declares. Was a copy interrupted? Get a fresh one."
            raise refuse(path, "truncated", message) from error
        if "lock" in said or "already open for" in said:
            message = "Another program has the file open for writing, or ended without closing it. Close it there (or run `h5clear -s`)."
            raise refuse(path, "locked", message) from error
        raise refuse(path, "corrupt", f"The file cannot be opened as HDF5: {said[:160]}. Get a fresh copy.") from error
    with file:
        yield file


def member(group: Content, name: str, path: Path) -> Content | None:
    """Return what ``name`` leads to inside the file, by hard links only; None where there is nothing.

    Raises
    ------
    InputError
        Kind ``external-link``.
    """
    import h5py

    for part in name.split("/"):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            return None
        if not isinstance(link, h5py.HardLink):
            raise refuse(path, "external-link", f"{part} must lie in the file itself; it is a link, which is not followed. Copy it in.")
        group = group[part]
    return group


def check_stored(array: Content, path: Path, limit: int) -> None:
    """Refuse voxels that lie elsewhere, were never written, are cut off, cannot be unpacked, or come in pieces beyond the memory limit.

    Raises
    ------
    InputError
        Kinds ``external-data``, ``missing-chunks``, ``truncated``, ``unknown-filter``, ``too-large``.
    """
    import h5py

    if array.is_virtual or array.external:
        raise refuse(path, "external-data", "The voxels must lie in the file itself; they are elsewhere. Save the volume as one file.")
    plan = array.id.get_create_plist()
    for i in range(plan.get_nfilters()):
        code, _, _, named = plan.get_filter(i)
        if not h5py.h5z.filter_avail(code):
            text = named.decode("latin-1") if isinstance(named, bytes) else str(named)
            message = f"The voxels are packed by filter {code} ({text[:60]}), which this HDF5 lacks. Repack: `h5repack -f GZIP=4 IN OUT`."
            raise refuse(path, "unknown-filter", message)
    size, there = array.size * array.dtype.itemsize, path.stat().st_size
    if array.chunks is None:
        compact = plan.get_layout() == h5py.h5d.COMPACT
        offset = array.id.get_offset()
        absent = not compact and offset is None and size > 0
        if not compact and offset is not None and offset + size > there:
            raise refuse(path, "truncated", f"The header declares {size} bytes of voxels; the file has {there} in all. Get a fresh copy.")
    else:
        if (piece := math.prod(array.chunks) * array.dtype.itemsize) > limit:
            raise too_large(str(path), array.chunks, piece, limit)
        needed = math.prod(-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True))
        absent = array.id.get_num_chunks() < needed
        stored: list[tuple[int, int]] = []
        array.id.chunk_iter(lambda chunk: stored.append((chunk.byte_offset, chunk.size)))
        if any(offset + length > there for offset, length in stored):
            raise refuse(path, "truncated", f"A chunk should lie behind the {there} bytes of the file. Get a fresh copy.")
        if (longest := max((length for _, length in stored), default=0)) > piece + piece // 8 + _PACKING:
            message = f"A packed chunk takes no more than its {piece} bytes of voxels; one takes {longest}. It holds something else."
            raise refuse(path, "corrupt", message)
    if absent:
        raise refuse(path, "missing-chunks", "Every voxel must have been written; parts of this volume never were. Write it again.")


def holds(path: Path, *names: str) -> bool:
    """Whether a file can be opened and all of the names are hard links at its root."""
    try:
        with refusing(path), opened(path, "hdf5", "HDF5") as file:
            return all(member(file, name, path) is not None for name in names)
    except InputError:  # said when the file is opened by its reader
        return False


def attributes(thing: Content, wanted: Iterable[str] | None = None) -> dict[str, Any]:
    """Return attributes (of ``wanted``, those that are there); what is of an unknown type, or too large to be any of ours, is left out."""
    found: dict[str, Any] = {}
    for key in thing.attrs if wanted is None else wanted:
        if key not in thing.attrs:
            continue
        try:
            if math.prod(thing.attrs.get_id(key).shape or ()) <= _LONGEST_ATTRIBUTE:
                found[str(key)] = thing.attrs[key]
        except (OSError, TypeError, ValueError):
            continue
    return found


def text(value: Any) -> str:
    """Return an attribute as text: bytes, a string, or an array of single characters as Imaris writes them."""
    if isinstance(value, np.ndarray):
        value = b"".join(value.reshape(-1).tolist()) if value.dtype.kind == "S" else " ".join(str(v) for v in value.reshape(-1))
    return (value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)).strip().strip("\0").strip()


def _arrays(file: Content, path: Path) -> list[_Found]:
    """Return arrays of two dimensions or more, each once, and links to other files; soft links lead to nothing new or out of the file."""
    import h5py

    found: list[_Found] = []
    seen, todo = set(), [("", file)]
    while todo:
        prefix, group = todo.pop()
        for key in group:
            name = f"{prefix}/{key}"
            link = group.get(key, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                found.append(_Found(name, None, True, False))
            if not isinstance(link, h5py.HardLink):
                continue
            thing = group[key]
            address = h5py.h5o.get_info(thing.id).addr
            if address in seen:
                continue
            seen.add(address)
            if len(seen) > _MOST_OBJECTS:
                raise refuse(
                    path, "which-dataset", f"The file holds more than {_MOST_OBJECTS} objects. Save the image into a file of its own."
                )
            if isinstance(thing, h5py.Group):
                todo.append((name, thing))
            elif isinstance(thing, h5py.Dataset) and thing.shape is not None and len(thing.shape) >= 2:
                described = any(a in thing.attrs for a in ("axistags", "element_size_um", "DIMENSION_LABELS"))
                found.append(_Found(name, tuple(thing.shape), _numeric(thing), described))
    return sorted(found, key=lambda a: a.name)


def _numeric(array: Content) -> bool:
    try:
        return array.dtype.kind in "uifb"
    except (TypeError, ValueError):  # a type that NumPy has no word for
        return False


def _chosen(arrays: list[_Found], label: bool, path: Path) -> str:
    """Return the name of the dataset that is the image (or the labels of one)."""
    candidates = [a for a in arrays if a.numeric] or arrays
    if not candidates:
        raise refuse(path, "no-dataset", "An image is an array of two dimensions or more; the file holds none. Is it the right file?")
    labels = [a for a in candidates if a.last in LABEL_NAMES]
    preferred = labels if label else [a for a in candidates if a not in labels]
    left = preferred or candidates
    named = next((same for n in NAMES if (same := [a for a in left if a.last == n])), [])
    described = [a for a in left if a.described] if not named else []
    ways = (left,) if label else (left, named, described)  # what is named as an image is no label, though no label is there
    one = next((few[0] for few in ways if len(few) == 1), None)
    if one is None:
        shown = ", ".join(str(a) for a in left[:_SHOWN]) + (f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else "")
        meant = ("label", LABEL_NAMES) if label else ("image", NAMES)
        message = (
            f"It must be clear which dataset is the {meant[0]}; there are {shown}. Name one of them {', '.join(meant[1][:4])}, or save it "
            "into a file of its own."
        )
        raise refuse(path, "which-dataset", message)
    if one.shape is None:
        raise refuse(path, "external-link", f"{one.name} leads to another file, which is not followed. Copy the dataset into this file.")
    return one.name


def _letters(said: Mapping[str, Any], shape: tuple[int, ...], wishes: Wishes, path: Path) -> tuple[str, tuple[Problem, ...]]:
    """Return a letter for each dimension as stored: the user's, the file's, or by rank (noted where it is a guess)."""
    words = _axis_words(said, path)
    taken = wishes.axes or "".join(_LETTER.get(w.strip().lower(), "?") for w in words)
    notes: tuple[Problem, ...] = ()
    if not taken and _MATLAB in said:
        message = f"MATLAB stores the last dimension first, so that the axes of {shape} cannot be known. Set `axes`: 'xy', or often 'zxy'."
        raise refuse(path, "unknown-axes", message)
    if not taken and len(shape) in (2, 3):
        taken = "zyx"[-len(shape) :]
        if len(shape) == 3 and len(_numbers(said.get("element_size_um"))) != 3:
            message = f"The file holds {shape[0]} planes and does not say of what; taken as depth ('zyx'). Set `axes` if that is wrong."
            notes = (Problem(path.name, "axis-not-named", message),)
    if len(taken) != len(shape) or len(set(taken)) != len(taken) or not set(taken) <= set(AXES):
        message = f"Every one of the dimensions {shape} must be one of t, c, z, y, x; known is {taken or 'nothing'!r}. Set `axes`."
        raise refuse(path, "unknown-axes", message)
    return taken, notes


def _axis_words(said: Mapping[str, Any], path: Path) -> list[str]:
    """Return the names of axes from vigra's and ilastik's ``axistags`` (JSON), else from HDF5's own dimension labels."""
    if "axistags" in said:
        with decoding(path, what="The attribute axistags cannot be read"):
            return [str(a["key"]) for a in json.loads(text(said["axistags"]))["axes"]]
    words = [text(w) for w in np.atleast_1d(said.get("DIMENSION_LABELS", []))]
    return words if all(words) else []


def _stated(said: Mapping[str, Any], letters: str) -> Stated:
    """Return sizes along z, y, x: ``element_size_um``, else a size whose unit stands beside it. Numbers without a unit are silence."""
    spatial = [a for a in letters if a in SPATIAL]
    if sizes := _numbers(said.get("element_size_um")):  # always z, y, x, also of a plane
        return Stated.of({a: (v, "µm") for a, v in zip(reversed(SPATIAL), reversed(sizes), strict=False) if a in spatial})
    unit = next((said[k] for k in _UNITS if k in said), None)
    for key in _SIZES:
        sizes = _numbers(said.get(key))
        if unit is None or len(sizes) not in (len(spatial), len(letters)):
            continue
        units = [text(u) for u in unit] if isinstance(unit, np.ndarray) and unit.size == len(sizes) else [text(unit)] * len(sizes)
        places = spatial if len(sizes) == len(spatial) else letters
        return Stated.of({a: (v, u) for a, v, u in zip(places, sizes, units, strict=True) if a in SPATIAL})
    return Stated()


def _numbers(value: Any) -> list[float]:
    array = np.asarray([] if value is None else value).reshape(-1)
    return [float(v) for v in array] if array.dtype.kind in "uif" else []
