"""What TIFF, PNG and JPEG say beside their pixels that is not kept: names of tags, text chunks and elements of OME-XML, never a value."""

import struct
from collections.abc import Iterator
from pathlib import Path

from sciimg.io.xml import name, parse

# TIFF 6.0 and its supplements: tags that describe how the pixels are stored, their size and resolution.
_STORAGE = frozenset({
    *range(254, 260), 262, 263, 264, 265, 266, 273, 274, *range(277, 285), *range(286, 289), 290, 291, 292, 293, 296, 297, 301, 317, 318,
    319, 320, *range(321, 326), 330, 332, 334, 336, 338, 339, 340, 341, 343, 347, *range(512, 522), *range(529, 533), 32996, 32997, 32998,
})  # fmt: skip
_EXIF_POINTERS = frozenset((34665, 34853, 40965))
_EXIF_SIZE = frozenset((*_STORAGE, 40960, 40961, 40962, 40963))
# Keywords of PNG (ISO 15948, 11.3.4.2) and of programs that everybody has; others may be anything.
_KEYWORDS = frozenset({
    "Title", "Author", "Description", "Copyright", "Creation Time", "Software", "Disclaimer", "Warning", "Source", "Comment",
    "XML:com.adobe.xmp", "Raw profile type exif", "Raw profile type iptc", "date:create", "date:modify", "date:timestamp",
})  # fmt: skip
# Elements of OME-XML (schema 2016-06) that say who, when, what for, or anything.
_OME = frozenset({
    "AcquisitionDate", "BooleanAnnotation", "CommentAnnotation", "Dataset", "Description", "DoubleAnnotation", "Experiment",
    "Experimenter", "ExperimenterGroup", "FileAnnotation", "Folder", "ImagingEnvironment", "ListAnnotation", "LongAnnotation",
    "MapAnnotation", "Microscope", "Plate", "Project", "ROI", "Rights", "Screen", "TagAnnotation", "TermAnnotation",
    "TimestampAnnotation", "XMLAnnotation",
})  # fmt: skip
_OME_NAMED = frozenset(("Image", "Instrument"))


def from_tiff(path: Path) -> Iterator[str]:
    """Yield the tags of the first page of every series, and of OME-XML its elements; a companion has only these."""
    import tifffile

    with path.open("rb") as stream:
        start = stream.read(64)
    if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        yield from _from_ome(path.read_text("utf-8", "replace"), path)
        return
    with tifffile.TiffFile(path) as tif:
        for page in {id(s.keyframe): s.keyframe for s in tif.series}.values():
            for tag in page.tags.values():
                if tag.code not in _STORAGE and tag.value not in ("", b"", None):
                    yield f"TIFF tag {tag.code}" if tag.name.isdigit() else f"TIFF {tag.name}"
        if tif.is_ome and tif.ome_metadata:
            yield from _from_ome(tif.ome_metadata, path)


def _from_ome(text: str, path: Path) -> Iterator[str]:
    for element in parse(text, path).iter():
        called = name(element)
        if called in _OME:
            yield f"OME {called}"
        elif called in _OME_NAMED and element.get("Name"):
            yield f"OME {called} Name"


def from_png(data: bytes) -> Iterator[str]:
    """Yield text chunks by keyword, the time chunk, and Exif."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        content = data[at + 8 : at + 8 + length]
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            keyword = content.partition(b"\0")[0].decode("latin-1")
            yield f"PNG text {keyword}" if keyword in _KEYWORDS else "PNG text (other keyword)"
        elif kind == b"tIME":
            yield "PNG time"
        elif kind == b"eXIf":
            yield from _from_exif(content)
        elif kind == b"IEND":
            return
        at += 12 + length


def from_jpeg(data: bytes) -> Iterator[str]:
    """Yield comments, Exif, XMP and IPTC of the segments before the first scan (ITU T.81, B.1.1.3)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, at + 2)
        content = data[at + 4 : at + 2 + length]
        match data[at + 1]:
            case 0xFE:
                yield "JPEG comment"
            case 0xE1 if content.startswith(b"Exif\0\0"):
                yield from _from_exif(content[6:])
            case 0xE1:
                yield "JPEG XMP"
            case 0xED:
                yield "JPEG IPTC"
            case _:
                pass
        at += 2 + length


def _from_exif(content: bytes) -> Iterator[str]:
    from PIL import ExifTags, Image

    exif = Image.Exif()
    exif.load(content)
    for tag in exif:
        if tag not in _EXIF_POINTERS | _EXIF_SIZE:
            yield f"Exif {ExifTags.TAGS.get(tag, tag)}"
    yield from (f"Exif {ExifTags.TAGS.get(tag, tag)}" for tag in exif.get_ifd(34665) if tag not in _EXIF_POINTERS | _EXIF_SIZE)
    yield from (f"Exif {ExifTags.GPSTAGS.get(tag, tag)}" for tag in exif.get_ifd(34853))
