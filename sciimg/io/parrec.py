"""Philips PAR/REC: a text header (``.PAR``, versions 3 to 4.2) and the pixels beside it (``.REC``), rescaled slice by slice.

nibabel reads the table of the header, sorts the slices and works out the affine. Only geometry and parameters of the sequence leave it:
names, dates and protocol are never kept.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.io.beside import digest_files
from sciimg.io.faults import decoding, refuse
from sciimg.io.image import Box, Image, Load, accepted_dtype, default_channels
from sciimg.io.orientation import placed
from sciimg.io.raw import Numbers
from sciimg.io.spacing import Stated, Wishes, settle
from sciimg.types import Channel

EXTENSIONS = (".par",)
_TIMES = ("dynamic scan number", "cardiac phase number")
_KINDS = {0: "magnitude", 1: "real", 2: "imaginary", 3: "phase"}
Header = Any  # nibabel's PARRECHeader, which carries no types


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes are those of a PAR header, which names the tool that wrote it."""
    return b"Research image export tool" in head


def parts(path: Path) -> list[Path]:
    """Return the header and its pixels."""
    return [path, _rec(path)]


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the scan: ``[t][c]zyx``, float32 in the units of the scanner's display ("DV" in the header).

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``data-file-missing``, ``size-mismatch``, ``mixed-series``, ``singular-affine``,
        ``spacing-contradiction``, ``unknown-spacing``.
    """
    rec = _rec(path)
    header = _read_header(path)
    with decoding(path, what="The PAR header cannot be read"):
        columns, rows, slices, *more_dims = (int(n) for n in header.get_data_shape())
        stored = np.dtype(header.get_data_dtype()).newbyteorder("<")
        order = np.asarray(header.get_sorted_slice_indices(), int)
        slopes, intercepts = (np.asarray(v, np.float64).reshape(-1, order="F") for v in header.get_data_scaling("dv"))
        affine = np.asarray(header.get_affine("scanner"), np.float64)
        places = len(header.image_defs)
    volumes = int(np.prod(more_dims, dtype=int)) if more_dims else 1
    if min(columns, rows, slices, volumes) < 1 or volumes * slices != len(order) or not len(order) == len(slopes) == len(intercepts):
        message = f"Every volume must have all {slices} slices; the header lists {len(order)} for {volumes} volumes. Export the scan again."
        raise refuse(path, "corrupt", message)
    numbers = Numbers(rec, 0, (places, rows, columns), stored)
    notes = numbers.check(wishes.memory_limit)
    grid, channels = _grid(header, volumes, path)
    axes = ("t" if len(grid) > 1 else "") + ("c" if len(channels) > 1 else "") + ("z" if slices > 1 else "") + "yx"
    lengths = {"t": len(grid), "c": len(channels), "z": slices, "y": rows, "x": columns}
    affine, affine_notes = placed(affine[:3, :3], affine[:3, 3], path)
    steps = [float(f"{step:.9g}") for step in np.linalg.norm(affine[:3, :3], axis=0)]  # 3.0, not 3.0000000000000004
    spacing, more = settle(axes, Stated.of({a: (s, "mm") for a, s in zip("xyz", steps, strict=True)}), wishes, path)
    accepted = accepted_dtype(stored, str(path))
    plain = bool(np.all(slopes == 1) and np.all(intercepts == 0))
    final = accepted if plain else np.dtype(np.float32)
    order, slopes, intercepts = (v.reshape(volumes, slices)[grid] for v in (order, slopes, intercepts))  # t, c, z
    return Image(
        load=_loader(numbers, order, slopes, intercepts, axes, final),
        axes=axes,
        shape=tuple(lengths[a] for a in axes),
        dtype=final,
        spacing=spacing,
        channels=channels,
        source=path.name,
        hash=lambda: digest_files([path, rec]),
        affine=affine,
        acquisition=_acquisition(header),
        problems=(*notes, *affine_notes, *more),
        memory_limit=wishes.memory_limit,
    )


def _loader(
    numbers: Numbers,
    order: NDArray[Any],
    slopes: NDArray[np.float64],
    intercepts: NDArray[np.float64],
    axes: str,
    final: np.dtype[Any],
) -> Load:
    """``order``, ``slopes`` and ``intercepts`` have axes t, c, z; the file has the slices in the order of its header."""

    @lru_cache(maxsize=1)
    def stored() -> NDArray[Any]:
        return numbers.read()

    def load(box: Box) -> NDArray[Any]:
        part = dict(zip(axes, box, strict=True))
        planes = tuple(part.get(axis, slice(0, 1)) for axis in "tcz")
        raw = stored()[order[planes]][..., part["y"], part["x"]]
        if final.kind == "f":
            raw = raw * slopes[planes][..., None, None] + intercepts[planes][..., None, None]
        pixels: NDArray[Any] = raw.astype(final).reshape([s.stop - s.start for s in box])
        return pixels

    return load


def _rec(path: Path) -> Path:
    for suffix in (".REC", ".rec", ".Rec"):
        if (found := path.with_suffix(suffix)).is_file():
            return found
    message = f"The pixels must lie beside the header, in {path.with_suffix('.REC').name!r}; there is no such file. Copy it there."
    raise refuse(path, "data-file-missing", message)


def _read_header(path: Path) -> Header:
    import nibabel.parrec

    with decoding(path, what="The PAR header cannot be read"), path.open("r", encoding="utf-8", errors="replace") as stream:
        # strict: volumes are sorted by what distinguishes them, not by where they stand; incomplete volumes are an error
        return nibabel.parrec.PARRECHeader.from_fileobj(stream, permit_truncated=False, strict_sort=True)


def _grid(header: Header, volumes: int, path: Path) -> tuple[NDArray[np.int64], tuple[Channel, ...]]:
    """Return the volumes by time and channel (echoes, directions, kinds of image), and names for the channels."""
    with decoding(path, what="The PAR header cannot be read"):
        labels = (
            {name: np.asarray(values).reshape(-1).tolist() for name, values in header.get_volume_labels().items()} if volumes > 1 else {}
        )
    times = [tuple(values[v] for name, values in labels.items() if name in _TIMES) for v in range(volumes)]
    kinds = [tuple((name, values[v]) for name, values in labels.items() if name not in _TIMES) for v in range(volumes)]
    rows, columns = sorted(set(times)), list(dict.fromkeys(kinds))
    if len(rows) == len(columns) == 1:  # older headers do not say what distinguishes the volumes (diffusion in 4.0)
        return np.arange(volumes)[np.newaxis], default_channels(volumes)
    place = {(t, k): v for v, (t, k) in enumerate(zip(times, kinds, strict=True))}
    if len(place) != volumes or volumes != len(rows) * len(columns):
        message = (
            f"Every time point must have the same images (echoes, directions, magnitude or phase); there are {volumes} volumes for "
            f"{len(rows)} times and {len(columns)} kinds. Export the scans one by one."
        )
        raise refuse(path, "mixed-series", message)
    grid = np.array([[place[t, k] for k in columns] for t in rows])
    if len(columns) == 1:
        return grid, default_channels(1)
    return grid, tuple(Channel(" ".join(_label(name, value) for name, value in kind)) for kind in columns)


def _label(name: str, value: float) -> str:
    if name == "image_type_mr":
        return _KINDS.get(int(value), f"type-{value}")
    return f"{name.removesuffix(' number').replace(' ', '-')}-{value}"


def _acquisition(header: Header) -> dict[str, Any]:
    """Return numbers of the sequence under their DICOM keywords; what differs between slices is left out."""
    found: dict[str, Any] = {"Modality": "MR", "Manufacturer": "Philips"}
    defs, general = header.image_defs, header.general_info
    for keyword, name in (("EchoTime", "echo_time"), ("FlipAngle", "image_flip_angle"), ("SliceThickness", "slice thickness")):
        values = np.unique(defs[name]) if name in defs.dtype.names else np.array([])
        if len(values) == 1 and np.isfinite(values[0]) and values[0] > 0:
            found[keyword] = float(values[0])
    times = np.unique(np.atleast_1d(np.asarray(general.get("repetition_time", np.nan), np.float64)))
    if len(times) == 1 and np.isfinite(times[0]) and times[0] > 0:
        found["RepetitionTime"] = float(times[0])
    return found
