"""DICOM: one file, or a folder that holds one series. Files are put in order by their place in the patient, never by name.

De-identification: only the elements named in :mod:`sciimg.io.dicom_header` are ever parsed, and only acquisition parameters are kept.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.dicom_header import Frame, frames_of
from sciimg.io.dicom_pixels import StoredFrames
from sciimg.io.dicom_series import Geometry, arrange
from sciimg.io.faults import refuse
from sciimg.io.image import Box, Image, Load, accepted_dtype, default_channels
from sciimg.io.spacing import Stated, Wishes, settle
from sciimg.records import Digest, digest_file, digest_of

EXTENSIONS = (".dcm", ".dicom", ".ima")


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes are those of a DICOM file (PS3.10, 7.1: a preamble of 128 bytes, then ``DICM``)."""
    return head[128:132] == b"DICM"


_CLEAN = ("MR", "CT", "PT", "NM")  # modalities whose scanners burn nothing in


def members(folder: Path) -> list[Path]:
    """Return the DICOM files directly inside a folder, by content; an index file (DICOMDIR) is none."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != "DICOMDIR":
            with path.open("rb") as stream:
                if sniff(stream.read(132), path):
                    found.append(path)
    return found


def digest_series(folder: Path) -> Digest:
    """Return one digest over the names and digests of the files of a series."""
    return digest_of({file.name: digest_file(file) for file in members(folder)})


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return a file or a series as a lazy image: ``[t][c][z]yx``.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``mixed-series``, ``slice-gap``, ``duplicate-slices``, ``missing-slices``, ``no-position``,
        ``multi-frame``, ``too-large``, ``burned-in``, ``no-pixels``, ``dtype``, ``unknown-spacing``, ``spacing-contradiction``.
    """
    files = members(path) if path.is_dir() else [path]
    frames = [frame for file in files for frame in frames_of(file, wishes.memory_limit)]
    _refuse_burned_in(frames, wishes, path)
    stack, geometry, notes = arrange(frames, path)
    first = stack[0][0]
    axes = ("t" if len(stack) > 1 else "") + ("c" if first.samples > 1 else "") + ("z" if len(stack[0]) > 1 else "") + "yx"
    lengths = {"t": len(stack), "c": first.samples, "z": len(stack[0]), "y": first.rows, "x": first.columns}
    spacing, more = settle(axes, _stated(geometry), wishes, path)
    return Image(
        load=_loader(stack, axes),
        axes=axes,
        shape=tuple(lengths[a] for a in axes),
        dtype=_final_dtype(stack),
        spacing=spacing,
        channels=default_channels(first.samples, colour=True),
        source=path.name,
        hash=lambda: digest_series(path) if path.is_dir() else digest_file(path),
        affine=geometry.affine,
        acquisition=_acquisition(stack),
        problems=(*notes, *more, *_note_inverted(first, path), *_note_burned_in(frames, path)),
        memory_limit=wishes.memory_limit,
    )


def _refuse_burned_in(frames: Sequence[Frame], wishes: Wishes, path: Path) -> None:
    """Pixels that carry a name cannot be cleaned by dropping tags (PS3.15, E.3.1)."""
    if not wishes.burned_in and any(f.acquisition.get("BurnedInAnnotation") == "YES" for f in frames):
        message = (
            "Pixels must not name the patient; BurnedInAnnotation says YES. Remove the text from the pixels and correct the element, or "
            "if it names nobody, set `burned_in: accepted` for the source in a study."
        )
        raise refuse(path, "burned-in", message)


def _note_burned_in(frames: Sequence[Frame], path: Path) -> tuple[Problem, ...]:
    """Where names are burned in by habit, a file that does not speak of them is not believed to have none."""
    first = frames[0].acquisition
    if first.get("Modality") in _CLEAN or all(f.acquisition.get("BurnedInAnnotation") for f in frames):
        return ()
    message = "The file does not say whether text is burned into its pixels (BurnedInAnnotation). Look at the images before they go on."
    return (Problem(path.name, "burned-in-unknown", message),)


def _acquisition(stack: list[list[Frame]]) -> dict[str, Any]:
    """Return what holds for the whole stack; b-values, which change along t, as a list in the order of t."""
    found = dict(stack[0][0].acquisition)
    weights = [row[0].acquisition.get("DiffusionBValue") for row in stack]
    if len(set(map(str, weights))) > 1:
        found.pop("DiffusionBValue", None)
        found["DiffusionBValues"] = weights
    return found


def _loader(stack: list[list[Frame]], axes: str) -> Load:
    final = _final_dtype(stack)
    opened: dict[Path, StoredFrames] = {}  # files of several frames, whose headers are long

    def load(box: Box) -> NDArray[Any]:
        part = dict(zip(axes, box, strict=True))
        times = stack[part.get("t", slice(0, 1))]

        @lru_cache(maxsize=1)  # the tiles of a mosaic follow one another
        def stored(path: Path, compressed: bool, index: int, count: int) -> NDArray[Any]:
            if count == 1:
                return StoredFrames(path, compressed, count)[index]
            return opened.setdefault(path, StoredFrames(path, compressed, count))[index]

        def plane(frame: Frame) -> NDArray[Any]:
            return _in_units(frame, stored(frame.path, frame.compressed, frame.index, frame.count), final)[:, part["y"], part["x"]]

        size = {a: s.stop - s.start for a, s in part.items()}
        whole = np.empty((len(times), stack[0][0].samples, size.get("z", 1), size["y"], size["x"]), final)
        for t, row in enumerate(times):
            for z, frame in enumerate(row[part.get("z", slice(0, 1))]):
                whole[t, :, z] = plane(frame)
        return whole[:, part.get("c", slice(None))].reshape(list(size.values()))

    return load


def _in_units(frame: Frame, stored: NDArray[Any], final: np.dtype[Any]) -> NDArray[Any]:
    """Return the pixels of one frame, cyx, in the units of the series."""
    if stored.dtype.kind not in "iu":
        raise refuse(frame.path, "dtype", f"Pixels must be integers; these are {stored.dtype}.")
    colours = np.moveaxis(stored, -1, 0) if frame.samples > 1 else stored[np.newaxis]
    top, left = frame.corner
    pixels = colours[:, top : top + frame.rows, left : left + frame.columns]
    if pixels.shape != (frame.samples, frame.rows, frame.columns):
        raise refuse(frame.path, "corrupt", f"{(frame.rows, frame.columns)} pixels are declared; {stored.shape} are there.")
    if (frame.slope, frame.intercept) == (1.0, 0.0):
        return pixels.astype(final)
    real = pixels.astype(np.float64) * frame.slope + frame.intercept
    if final.kind != "f" and not np.iinfo(final).min <= real.min() <= real.max() <= np.iinfo(final).max:
        message = f"Pixels must fit into the {frame.bits_stored} bits that BitsStored declares; these do not. Correct the element."
        raise refuse(frame.path, "corrupt", message)
    return real.astype(final)


def _final_dtype(stack: list[list[Frame]]) -> np.dtype[Any]:
    """Return the stored dtype, an integer dtype with room for whole-number intercepts (CT: -1024), or float32 for real slopes."""
    frames = [frame for row in stack for frame in row]
    first = frames[0]
    stored = accepted_dtype(np.dtype(f"{'i' if first.signed else 'u'}{first.bits // 8}"), str(first.path))
    if any(f.slope != 1.0 or not f.intercept.is_integer() for f in frames):
        return np.dtype(np.float32)
    # BitsStored is often 12 of 16, so that a CT stays within 16 bits.
    lowest = (-(2 ** (first.bits_stored - 1)) if first.signed else 0) + min(f.intercept for f in frames)
    highest = 2 ** (first.bits_stored - first.signed) - 1 + max(f.intercept for f in frames)
    for dtype in (stored, np.dtype(np.uint16), np.dtype(np.int16), np.dtype(np.int32)):
        if np.iinfo(dtype).min <= lowest and highest <= np.iinfo(dtype).max:
            return dtype
    return np.dtype(np.int64)


def _stated(geometry: Geometry) -> Stated:
    return Stated.of({axis: (value, "mm") for axis, value in geometry.spacing_mm.items()})


def _note_inverted(frame: Frame, path: Path) -> tuple[Problem, ...]:
    if frame.photometric != "MONOCHROME1":
        return ()
    return (Problem(path.name, "min-is-white", "Small values mean white in this series (MONOCHROME1); the stored values are kept."),)
