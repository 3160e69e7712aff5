"""OME-TIFF: which page of which file holds which plane, for one file and for sets of files with or without a companion.

Files of a set lie beside the one that is opened, under the name that the XML gives or, when renamed, under their UUID. A file or a plane
that is not there is refused; readers that put zeros in its place are why.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree.ElementTree import Element

from sciimg.errors import InputError
from sciimg.io.faults import decoding, refuse
from sciimg.io.xml import children, first, name, number, parse

COMPANION = ".companion.ome"
SETS = (".ome.tif", ".ome.tiff", ".ome.btf", COMPANION)  # by custom the names of files that may belong to a set
_TIFFS = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
_UUID = re.compile(rb"<(?:\w+:)?OME\b[^>]*?\bUUID\s*=\s*[\"']([^\"']+)[\"']")
_HEAD = 1 << 16
_SHOWN = 5


@dataclass(frozen=True)
class OmeSet:
    """One image of an OME-XML and where its planes are.

    Parameters
    ----------
    root, image, pixels : Element
    axes : str
        Over planes, slowest first, as letters of ``TCZ``.
    shape : tuple of int
        Along ``axes``; a channel of several samples counts once.
    samples : int
        Samples of a pixel.
    planes : tuple of (Path, int)
        File and number of the page, in the order of ``axes``.
    images : int
        How many images the XML describes.
    """

    root: Element
    image: Element
    pixels: Element
    axes: str
    shape: tuple[int, ...]
    samples: int
    planes: tuple[tuple[Path, int], ...]
    images: int

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(path for path, _ in self.planes))


def is_companion(head: bytes) -> bool:
    """Whether the first bytes are those of OME-XML that lies in a file of its own."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith((b"<?xml", b"<OME", b"<ome")) and re.search(rb"<(?:\w+:)?OME[\s>]", start) is not None


def ome_set(path: Path, xml: str, pages: int) -> OmeSet:
    """Return where the planes of the image are that ``path`` belongs to.

    Parameters
    ----------
    path : Path
        A TIFF or a companion file.
    xml : str
        Its OME-XML.
    pages : int
        How many pages the TIFF has; 0 for a companion.

    Raises
    ------
    InputError
        Kinds ``path-escape``, ``file-missing``, ``uuid-mismatch``, ``plane-missing``, ``plane-twice``, ``axes``, ``xml-entities``,
        ``corrupt``.
    """
    root, own_uuid = _root(path, xml)
    images = [i for i in children(root, "Image") if first(i, "Pixels") is not None]
    if not images:
        raise refuse(path, "corrupt", "OME-XML must describe an image; this one describes none. Export the file again.")
    files = _Files(path, own_uuid, pages)
    image = next((i for i in images if files.holds(i)), None) if pages else images[0]
    if image is None:
        raise refuse(
            path, "file-missing", "The OME-XML must say which planes are in this file; it names other files only. Open one of them."
        )
    pixels = first(image, "Pixels")
    assert pixels is not None
    axes, shape, samples = _order(root, pixels, path)
    return OmeSet(root, image, pixels, axes, shape, samples, _planes(pixels, axes, shape, files, path), len(images))


def one_a_set(paths: Sequence[Path]) -> list[Path]:
    """Return the paths without those that another one of them stands for: a companion, else the first file, for its whole set."""
    able = [p for p in paths if p.name.lower().endswith(SETS)]
    if len(able) < 2:
        return list(paths)
    taken: set[Path] = set()
    for path in sorted(able, key=lambda p: (not p.name.lower().endswith(COMPANION), p)):
        if path not in taken:
            taken |= _named_with(path) - {path}
    return [p for p in paths if p not in taken]


def _named_with(path: Path) -> set[Path]:
    """Return the files that the OME-XML names for the image that opening ``path`` gives; none where it cannot be read."""
    try:
        root, _ = _root(path, companion_text(path, path))
        sets = [{_named(block)[1] for block in children(i, "Pixels", "TiffData")} for i in children(root, "Image")]
        own = sets[:1] if path.name.lower().endswith(COMPANION) else [names for names in sets if path.name in names][:1]
        return {_beside(path, name) for names in own for name in names if name}
    except InputError:  # said when the file is opened
        return set()


def _root(path: Path, xml: str) -> tuple[Element, str | None]:
    """Return the root that describes the image, and the UUID of the file itself."""
    root = parse(xml, path)
    binary = first(root, "BinaryOnly")
    if binary is None:
        return root, root.get("UUID")
    master = _beside(path, binary.get("MetadataFile") or "")
    if not master.is_file():
        raise _missing(path, [master.name])
    return parse(companion_text(master, path), master), root.get("UUID")


def companion_text(master: Path, asked: Path) -> str:
    """Return OME-XML from a companion file, or from the TIFF of a set that holds it."""
    with master.open("rb") as stream:
        head = stream.read(_HEAD)
    if is_companion(head):
        return master.read_text(encoding="utf-8-sig")
    import tifffile

    with decoding(asked, what=f"The metadata file {master.name!r} cannot be read"), tifffile.TiffFile(master) as tif:
        return str(tif.ome_metadata)


def _order(root: Element, pixels: Element, path: Path) -> tuple[str, tuple[int, ...], int]:
    order = pixels.get("DimensionOrder") or "XYZCT"
    axes = order[:1:-1]
    if order[:2] != "XY" or sorted(axes) != ["C", "T", "Z"]:
        raise refuse(path, "axes", f"DimensionOrder must be XY and an order of Z, C and T; it is {order!r}.")
    if any(name(e).startswith("ModuloAlong") for e in root.iter()):
        message = "Axes may be t, c, z, y, x; the file hides another one in them (ModuloAlong…, e.g. lifetimes or angles). Split it."
        raise refuse(path, "axes", message)
    samples = {int(number(c.get("SamplesPerPixel", "1"))) or 1 for c in children(pixels, "Channel")} or {1}
    if len(samples) > 1:
        raise refuse(path, "inconsistent-pages", f"All channels must have as many samples a pixel; they have {sorted(samples)}. Split it.")
    (count,) = samples
    sizes = {a: int(number(pixels.get(f"Size{a}"))) for a in "XYZCT"}
    if min(sizes.values()) < 1 or sizes["C"] % count:
        raise refuse(path, "corrupt", f"Sizes must be whole numbers from 1 up; the OME-XML says {sizes} and {count} samples a pixel.")
    sizes["C"] //= count
    return axes, tuple(sizes[a] for a in axes), count


def _planes(pixels: Element, axes: str, shape: tuple[int, ...], files: "_Files", path: Path) -> tuple[tuple[Path, int], ...]:
    """Return the file and page of every plane, none left out and none twice."""
    total = math.prod(shape)
    found: dict[int, tuple[Path, int]] = {}
    blocks = children(pixels, "TiffData")
    missing: dict[str, None] = {}
    for block in blocks:
        first_plane = 0
        for axis, size in zip(axes, shape, strict=True):
            at = int(number(block.get(f"First{axis}")))
            if not 0 <= at < size:
                message = (
                    f"TiffData must begin inside the image; First{axis} is {at} of {size}. Was it cropped by a program that left the XML?"
                )
                raise refuse(path, "plane-missing", message)
            first_plane = first_plane * size + at
        file = files.of(block)
        if isinstance(file, str):
            missing[file] = None
            continue
        ifd = int(number(block.get("IFD")))
        given = block.get("PlaneCount") or block.get("NumPlanes")
        if given:
            count = int(number(given))
        elif block.get("IFD"):
            count = 1
        else:  # all of the file, as far as the image goes
            count = total if len(blocks) == 1 else min(files.pages_of(file), total - first_plane)
        for step in range(count):
            if found.setdefault(first_plane + step, (file, ifd + step)) != (file, ifd + step):
                raise refuse(path, "plane-twice", f"Every plane must have one page; plane {first_plane + step} of {total} has two.")
    if missing:
        raise _missing(path, list(missing))
    if not blocks:
        found = {i: (path, i) for i in range(total)}
    if lacking := [i for i in range(total) if i not in found]:
        message = (
            f"All {total} planes must be there; {len(lacking)} are not, the first at {_place(lacking[0], axes, shape)}. Nothing is put in "
            "their place. Get the whole set, or save the part that there is."
        )
        raise refuse(path, "plane-missing", message)
    if max(found) >= total:
        raise refuse(path, "plane-missing", f"The OME-XML declares {total} planes along {axes} and gives places to {max(found) + 1}.")
    return tuple(found[i] for i in range(total))


def _place(plane: int, axes: str, shape: tuple[int, ...]) -> str:
    parts = []
    for axis, size in reversed(list(zip(axes, shape, strict=True))):
        parts.append(f"{axis.lower()}={plane % size}")
        plane //= size
    return ", ".join(reversed(parts))


class _Files:
    """From what a TiffData element says to the file it means."""

    def __init__(self, path: Path, uuid: str | None, pages: int) -> None:
        self.path, self.uuid, self.pages = path, uuid, pages
        self.known: dict[tuple[str, str], Path | str] = {}

    def holds(self, image: Element) -> bool:
        """Whether some plane of the image is in the file that was opened."""
        blocks = children(image, "Pixels", "TiffData")
        return not blocks or any(self._is_own(*_named(block)) for block in blocks)

    def of(self, block: Element) -> Path | str:
        """Return the file of a TiffData element; what it is called, where it is not there."""
        key = _named(block)
        if key not in self.known:
            self.known[key] = self._find(*key)
        return self.known[key]

    def pages_of(self, file: Path) -> int:
        if file == self.path:
            return self.pages
        import tifffile

        with decoding(file, what="The TIFF structure cannot be read"), tifffile.TiffFile(file) as tif:
            return len(tif.pages)

    def _is_own(self, uuid: str, file: str) -> bool:
        if not uuid and not file:
            return True
        if self.uuid and uuid:
            return uuid == self.uuid
        return file == self.path.name

    def _find(self, uuid: str, file: str) -> Path | str:
        if self.pages and self._is_own(uuid, file):
            return self.path
        if not file and not uuid:
            raise refuse(self.path, "corrupt", "A companion file must name the files of its planes; a TiffData element names none.")
        named = _beside(self.path, file) if file else None
        if named is not None and named.is_file():
            theirs = uuid_of(named)
            if uuid and theirs and theirs != uuid:
                message = f"{named.name!r} must be the file that the set was saved with; its UUID is another. Was it replaced?"
                raise refuse(self.path, "uuid-mismatch", message)
            return named
        renamed = next((p for p in sorted(self.path.parent.iterdir()) if p.suffix.lower() in _TIFFS and uuid_of(p) == uuid), None)
        return renamed or file or uuid


def _named(block: Element) -> tuple[str, str]:
    """Return UUID and file name of a TiffData element, empty where it has none."""
    element = first(block, "UUID")
    if element is None:
        return "", ""
    return (element.text or "").strip(), element.get("FileName") or ""


def uuid_of(path: Path) -> str | None:
    """Return the UUID that a TIFF's OME-XML gives the file; None where it gives none."""
    import tifffile

    try:
        with decoding(path), tifffile.TiffFile(path) as tif:
            found = _UUID.search(tif.pages.first.description.encode()[:_HEAD])
    except Exception:  # whatever lies beside the set is not its business
        return None
    return found[1].decode() if found else None


def _beside(path: Path, file: str) -> Path:
    """Return the file of that name beside ``path``; names that lead elsewhere are refused."""
    parts = PurePosixPath(file).parts
    windows = PureWindowsPath(file)
    if not file or PurePosixPath(file).is_absolute() or windows.drive or windows.root or ".." in parts or ".." in windows.parts:
        message = (
            f"Files of a set must lie beside the one that is opened; the OME-XML names {file!r}, which leads elsewhere. Repair the XML."
        )
        raise refuse(path, "path-escape", message)
    return path.parent / file


def _missing(path: Path, files: list[str]) -> Exception:
    some = ", ".join(map(repr, sorted(files)[:_SHOWN])) + (" …" if len(files) > _SHOWN else "")
    message = f"All files of a set must lie beside the one that is opened; {len(files)} are not there ({some}). Copy them here."
    return refuse(path, "file-missing", message)
