"""NIfTI-1 and NIfTI-2, plain or gzipped: the array as ``[t][c]zyx``, the affine (voxel x, y, z → RAS mm) as the file has it.

A gzipped file is always read to its end, so that the CRC over all of it is checked; nibabel stops early and does not notice damage.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import Problem
from sciimg.io.faults import decoding, note_longer, refuse
from sciimg.io.gz import GZIP, inflate, inflate_start
from sciimg.io.image import Image, Load, accepted_dtype, default_channels, too_large
from sciimg.io.personal import note_personal
from sciimg.io.spacing import AGREE, Stated, Wishes, settle
from sciimg.records import digest_file

EXTENSIONS = (".nii", ".nii.gz")
_SPACE, _TIME = 0x07, 0x38  # the bits of xyzt_units
_UNITS = {1: "m", 2: "mm", 3: "µm"}
_IN_MM = {1: 1000.0, 3: 0.001}
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}
_LETTERS = "xyztc"  # NIfTI dimensions 1 to 5, fastest first
Header = Any  # nibabel's Nifti1Header or Nifti2Header, which carry no types
_HEAD = 552  # NIfTI-2 header, extension flag, and size and code of the first extension
_NIFTI1 = 348
_PERSON = re.compile(rb"\^|\b(name|patient|subject|birth|dob)\b", re.IGNORECASE)  # DICOM writes persons as Family^Given
_MAX_RATIO = 1100  # deflate


def sniff(head: bytes, path: Path) -> bool:
    """Whether the first bytes (of the content, when gzipped) are those of a NIfTI file."""
    start = inflate_start(head, _HEAD) if head.startswith(GZIP) else head
    return start[344:348] in (b"n+1\0", b"ni1\0") or start[4:8] in (b"n+2\0", b"ni2\0")


def open(path: Path, wishes: Wishes) -> Image:  # the registry's verb
    """Return the volume as a lazy image.

    Raises
    ------
    InputError
        Kinds ``corrupt``, ``truncated``, ``absurd-size``, ``too-large``, ``complex``, ``dtype``, ``axes``, ``singular-affine``,
        ``spacing-contradiction``, ``unknown-spacing``.
    """
    header, zipped, start = _read_header(path)
    voxels = _Voxels.declared(path, header, zipped, wishes.memory_limit)
    affine = _affine(header, path)
    stated, notes = _stated(header, affine, wishes, path)
    axes, shape, order = _axes(voxels, wishes, path)
    spacing, more = settle(axes, stated, wishes, path)
    more += _note_header(header, start, affine, path)
    if not zipped:
        more += note_longer(path, voxels.offset + voxels.size, path.stat().st_size)
    step = float(header["pixdim"][4]) * _SECONDS.get(int(header["xyzt_units"]) & _TIME, 0.0)
    return Image(
        load=_loader(voxels, order),
        axes=axes,
        shape=shape,
        dtype=voxels.final,
        spacing=spacing,
        channels=default_channels(shape[axes.index("c")] if "c" in axes else 1, colour=voxels.samples > 1),
        source=path.name,
        hash=lambda: digest_file(path),
        affine=None if affine is None else _in_mm(affine, header),
        acquisition={"time_step_s": step} if "t" in axes and step > 0 else {},
        problems=(*notes, *more),
        memory_limit=wishes.memory_limit,
    )


@dataclass(frozen=True)
class _Voxels:
    """Where the voxels lie and what they mean.

    ``shape`` is in C order, slowest first: the reverse of NIfTI's. ``samples`` is 3 or 4 for colour voxels.
    """

    path: Path
    zipped: bool
    offset: int
    shape: tuple[int, ...]
    letters: str
    samples: int
    stored: np.dtype[Any]
    slope: float
    intercept: float
    final: np.dtype[Any]

    @property
    def size(self) -> int:
        return math.prod(self.shape) * self.stored.itemsize

    @classmethod
    def declared(cls, path: Path, header: Header, zipped: bool, limit: int) -> "_Voxels":
        with decoding(path, what="The NIfTI header cannot be read"):
            dims = [int(n) for n in header.get_data_shape()]
            dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
            slope, intercept = header.get_slope_inter()
        if len(dims) < 2 or min(dims, default=0) < 1:
            raise refuse(path, "empty-image", f"An image has two axes or more, with a sample or more; the header declares {tuple(dims)}.")
        if offset < 0:
            raise refuse(path, "corrupt", f"Voxels must lie behind the header; vox_offset is {offset}. Get a fresh copy.")
        letters = list(_LETTERS[: len(dims)])
        if math.prod(dims[5:]) > 1:
            raise refuse(path, "axes", f"An image may have x, y, z, time and one more axis; the header declares {tuple(dims)}.")
        samples = len(dtype.names) if dtype.names else 1
        stored = np.dtype(np.uint8) if samples > 1 else dtype
        kept = [(a, n) for a, n in zip(letters, dims, strict=False) if a in "xyz" or n > 1]
        if samples > 1 and any(a == "c" for a, _ in kept):
            raise refuse(path, "axes", "Voxels may be colours or vectors, not vectors of colours.")
        pairs = ([("c", samples)] if samples > 1 else []) + kept
        accepted = accepted_dtype(stored, str(path))
        scaled = slope is not None and (float(slope), float(intercept or 0)) != (1.0, 0.0)
        final = accepted if not scaled else np.dtype(np.float64 if accepted.itemsize > 2 and accepted != np.float32 else np.float32)
        voxels = cls(
            path,
            zipped,
            offset,
            tuple(n for _, n in reversed(pairs)),
            "".join(a for a, _ in reversed(pairs)),
            samples,
            stored,
            float(slope) if scaled else 1.0,
            float(intercept or 0) if scaled else 0.0,
            final,
        )
        voxels._check_size(limit)
        return voxels

    def _check_size(self, limit: int) -> None:
        there = self.path.stat().st_size
        needed = self.offset + self.size
        if not self.zipped and needed > there:
            message = f"The header declares {self.shape} voxels, {needed} bytes; the file has {there}. Get a fresh copy."
            raise refuse(self.path, "absurd-size" if needed > _MAX_RATIO * there else "truncated", message)
        if self.zipped and needed > _MAX_RATIO * there:
            message = f"The header declares {self.shape} voxels, {needed / 2**30:.1f} GiB; {there} gzipped bytes cannot hold that."
            raise refuse(self.path, "absurd-size", message)
        if self.zipped and max(self.size, there) > limit:
            raise too_large(str(self.path), self.shape, max(self.size, there), limit)


def _loader(voxels: _Voxels, order: tuple[int, ...]) -> Load:
    @lru_cache(maxsize=1)  # a gzipped volume is inflated once for as long as its image lives
    def inflated() -> NDArray[Any]:
        content = inflate(voxels.path, voxels.offset + voxels.size)
        return np.frombuffer(content, voxels.stored, math.prod(voxels.shape), voxels.offset).reshape(voxels.shape)

    def stored() -> NDArray[Any]:
        if voxels.zipped:
            return inflated()
        # Mapped anew for each box: pages of a mapping that is kept count as memory of the process, up to the size of the file.
        return np.memmap(voxels.path, voxels.stored, "r", voxels.offset, voxels.shape)

    def load(box: tuple[slice, ...]) -> NDArray[Any]:
        raw = stored().transpose(order)[box]
        if (voxels.slope, voxels.intercept) == (1.0, 0.0):
            return raw.astype(voxels.final)
        with np.errstate(over="ignore", invalid="ignore"):  # what becomes infinite is refused by Image.read
            scaled: NDArray[Any] = (raw.astype(np.float64) * voxels.slope + voxels.intercept).astype(voxels.final)
        return scaled

    return load


def _read_header(path: Path) -> tuple[Header, bool, bytes]:
    import nibabel

    with path.open("rb") as stream:
        head = stream.read(1 << 16)
    zipped = head.startswith(GZIP)
    start = inflate_start(head, _HEAD) if zipped else head[:_HEAD]
    kind: Any = nibabel.Nifti2Header if start[4:8] in (b"n+2\0", b"ni2\0") else nibabel.Nifti1Header
    size = kind.template_dtype.itemsize
    if b"ni" in (start[344:346], start[4:6]):
        raise refuse(path, "header-only", "The voxels must be in the same file; this is one half of a .hdr/.img pair. Convert it to .nii.")
    with decoding(path, "corrupt", "The NIfTI header cannot be read"):
        header = kind(start[:size], check=False)
        if int(header["sizeof_hdr"]) != size:
            raise ValueError(f"sizeof_hdr is {int(header['sizeof_hdr'])}, not {size}")
    return header, zipped, start


def _affine(header: Header, path: Path) -> NDArray[np.float64] | None:
    """Return the best affine the file declares (sform, else qform) in its own unit; None where it declares none."""
    with decoding(path, what="The affine cannot be read"):
        name = next((n for n in ("sform", "qform") if int(header[f"{n}_code"]) > 0), None)
        if name is None:
            return None
        affine = np.asarray(header.get_sform() if name == "sform" else header.get_qform(), np.float64)
    turn = affine[:3, :3]
    with np.errstate(over="ignore", invalid="ignore"):
        columns = np.linalg.norm(turn, axis=0)
        sound = np.all(np.isfinite(columns)) and columns.all() and abs(np.linalg.det(turn)) > 1e-6 * np.prod(columns)
    if not sound or not np.all(np.isfinite(affine)):
        message = (
            f"The {name} must place voxels in space; its matrix {turn.tolist()} is singular. Repair the header, or set both form codes to "
            "0 if the orientation is unknown."
        )
        raise refuse(path, "singular-affine", message)
    return affine


def _note_header(header: Header, start: bytes, affine: NDArray[np.float64] | None, path: Path) -> tuple[Problem, ...]:
    """Return notes on what the header leaves open, contradicts, or says of persons."""
    notes: tuple[Problem, ...] = ()
    if affine is None:
        message = "The header does not say how the volume lies in the body (both form codes are 0); left and right are not known."
        notes += (Problem(path.name, "no-orientation", message),)
    elif int(header["sform_code"]) > 0 and int(header["qform_code"]) > 0:
        with decoding(path, what="The affine cannot be read"):
            other = np.asarray(header.get_qform(), np.float64)
        turned = np.sign(np.linalg.det(other[:3, :3])) != np.sign(np.linalg.det(affine[:3, :3]))
        if turned or not np.allclose(other[:3, :3], affine[:3, :3], atol=0.1 * np.linalg.norm(affine[:3, :3], axis=0).min()):
            message = "The header places the volume twice, and sform and qform differ by more than a tenth of a voxel; the sform is used."
            notes += (Problem(path.name, "two-orientations", message),)
    size = int(header["sizeof_hdr"])
    texts = ("db_name", "descrip", "intent_name") if size == _NIFTI1 else ("descrip", "intent_name")
    fields = [f for f in texts if _PERSON.search(bytes(header[f].tobytes()))]
    if len(start) >= size + 12 and start[size] and int(header["vox_offset"]) > size + 4:
        code = int(np.frombuffer(start, header.endianness + "i4", 2, size + 4)[1])
        fields.append(f"header extension {code}")
    return notes + note_personal(path, fields)


def _in_mm(affine: NDArray[np.float64], header: Header) -> NDArray[np.float64]:
    factor = _IN_MM.get(int(header["xyzt_units"]) & _SPACE, 1.0)
    return np.diag([factor, factor, factor, 1.0]) @ affine


def _stated(header: Header, affine: NDArray[np.float64] | None, wishes: Wishes, path: Path) -> tuple[Stated, tuple[Problem, ...]]:
    """Return the spacing the header declares. A placed volume without a unit is in mm, as every reader of NIfTI takes it: noted."""
    sizes = np.abs([float(str(size)) for size in header["pixdim"][1:4]])  # 2.2, not the 2.2000000477 of a float32
    unit = _UNITS.get(int(header["xyzt_units"]) & _SPACE)
    notes: tuple[Problem, ...] = ()
    if unit is None and affine is not None:
        unit = "mm"
        message = "The header names no unit but places the volume in space, which readers of NIfTI take as mm; so does sciimg."
        notes = (Problem(path.name, "unit-not-stated", message),)
    if unit is None:
        return Stated(), ()
    if affine is not None and not wishes.override:
        _refuse_disagreement(header, sizes, np.linalg.norm(affine[:3, :3], axis=0), path)
    return Stated.of({axis: (float(size), unit) for axis, size in zip("xyz", sizes, strict=True)}), notes


def _refuse_disagreement(header: Header, sizes: NDArray[np.float64], steps: NDArray[np.float64], path: Path) -> None:
    used = [i for i in range(3) if int(header["dim"][0]) > i and header["dim"][i + 1] > 1]
    if any(abs(sizes[i] / steps[i] - 1) > AGREE for i in used):
        message = (
            f"pixdim and affine must agree on the voxel size; they say {sizes.round(4).tolist()} and {steps.round(4).tolist()}. "
            "Repair the header, or give the spacing and --override-spacing."
        )
        raise refuse(path, "spacing-contradiction", message)


def _axes(voxels: _Voxels, wishes: Wishes, path: Path) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Return axes, shape and the transposition that brings the stored array there; ``wishes.axes`` may call time a channel."""
    letters = voxels.letters
    if wishes.axes is not None and "t" in letters and "t" not in wishes.axes and "c" in wishes.axes and "c" not in letters:
        letters = letters.replace("t", "c")
    ordered = "".join(a for a in "tczyx" if a in letters)
    order = tuple(letters.index(a) for a in ordered)
    return ordered, tuple(voxels.shape[i] for i in order), order
