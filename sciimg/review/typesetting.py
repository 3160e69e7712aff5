"""Pages for people: HTML by Jinja2 and PDF by typst, from one JSON value, with the same bytes every time.

Templates are data: ``reports/templates`` in a clone, ``sciimg/report/templates`` in the installed package.
"""

import base64
import datetime
import io
import json
import tempfile
from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import jinja2

PDF_STANDARD = "ua-1"  # tagged, titled, with alternative texts: PDF for universal access
_NO_DATE = datetime.date(2000, 1, 1)


@cache
def templates() -> Path:
    """Return the folder of templates, in a clone or installed."""
    with as_file(files("sciimg")) as package:
        for place in (package / "report" / "templates", package.parent / "reports" / "templates"):
            if place.is_dir():
                return place
    raise FileNotFoundError("The report templates are missing from this installation of sciimg; install it again.")


@cache
def _environment() -> "jinja2.Environment":
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates()),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def render_html(template: str, **context: Any) -> bytes:
    """Render an HTML template; everything interpolated is escaped unless it is marked safe."""
    return _environment().get_template(template).render(**context).encode()


def compile_pdf(template: str, value: Any, pictures: Mapping[str, bytes], date: datetime.date | None = None) -> bytes:
    """Typeset a typst template.

    Parameters
    ----------
    template : str
        File name; it reads ``data.json`` and the pictures beside it.
    value : JSON
        What the template lays out. Text stays text: nothing in it is interpreted as markup.
    pictures : mapping of str to bytes
        PNG or SVG files by name.
    date : date, optional
        The only date in the file; never the clock's.

    Returns
    -------
    bytes
        Tagged PDF; equal input gives equal bytes. Only the fonts that come with typst are used unless a text needs a letter that they
        lack, in which case this machine's fonts may supply it.
    """
    import typst

    moment = datetime.datetime.combine(date or _NO_DATE, datetime.time(), tzinfo=datetime.UTC)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for source in templates().glob("*.typ"):
            (root / source.name).write_bytes(source.read_bytes())
        (root / "data.json").write_text(json.dumps(value, ensure_ascii=False, allow_nan=False), encoding="utf-8")
        for name, data in pictures.items():
            (root / name).write_bytes(data)
        return _compiled(typst, root, template, int(moment.timestamp()))


def _compiled(typst: Any, root: Path, template: str, timestamp: int) -> bytes:
    attempts: tuple[dict[str, Any], ...] = (
        {"ignore_system_fonts": True, "pdf_standards": [PDF_STANDARD]},
        {"ignore_system_fonts": False, "pdf_standards": [PDF_STANDARD]},
        {"ignore_system_fonts": False},
    )
    failure: Exception | None = None
    for options in attempts:
        try:
            return bytes(typst.compile(str(root / template), root=str(root), format="pdf", timestamp=timestamp, **options))
        except typst.TypstError as error:
            if "could not be displayed with font" not in str(error):
                raise
            failure = error
    assert failure is not None
    raise failure


# ---------------------------------------------------------------- pictures


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG of (H, W, 3) or (H, W, 4) pixels without any metadata."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, format="PNG", compress_level=6)
    return stream.getvalue()


def data_uri(data: bytes, kind: str = "image/png") -> str:
    """Return bytes as an address that needs no second file."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def enlarged(pixels: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    """Enlarge (H, W, 3) pixels by a whole factor, bicubic: blocks of repeated pixels would hide fine structure from the eye."""
    from PIL import Image

    if times == 1:
        return pixels
    height, width = pixels.shape[:2]
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize((width * times, height * times), Image.Resampling.BICUBIC))
