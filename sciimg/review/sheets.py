"""Blinded sheets: one folder a reader with pages to look at and a form to fill in, and a key that is kept apart.

A reader's folder holds nothing but pictures, numbered in an order of that reader's own: real, synthetic, repeated and catch items have
passed through the same window, the same size and the same encoder, and carry the same kind of name.
"""

import csv
import datetime
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.files import new_folder, write_bytes
from sciimg.protocol.validation import ReviewPlan
from sciimg.records import Digest, pretty_json
from sciimg.review import forms
from sciimg.review.items import check_readers, draw_session
from sciimg.review.key import KeyItem, ReviewKey
from sciimg.review.presentation import Presentation
from sciimg.review.questions import CONFIDENCE, Question, questions
from sciimg.review.typesetting import compile_pdf, data_uri, enlarged, png, render_html
from sciimg.types import PatchSet

PICTURE_PX = 224  # height that small pictures are enlarged to, about 4 cm on paper at 140 dots per inch
GAP_PX = 2


def write_sheets(
    real: PatchSet,
    synthetic: PatchSet,
    show: Presentation,
    plan: ReviewPlan,
    *,
    out: Path,
    key_file: Path,
    readers: Sequence[str],
    seed_key: tuple[str, ...],
    title: str,
    study: Digest | None = None,
    recipe: str | None = None,
    date: datetime.date | None = None,
) -> ReviewKey:
    """Write the sheets of a reader study.

    Parameters
    ----------
    real, synthetic : PatchSet
        Real holdout images and synthetic ones; items are drawn from both at random.
    show : Presentation
        How images are shown, fixed on real images.
    plan : ReviewPlan
        Task, items, repeats, catch pairs and questions.
    out : Path
        New folder, one subfolder a reader.
    key_file : Path
        New file, outside ``out``.
    readers : sequence of str
        Names to print; sheets are numbered in this order.
    seed_key : tuple of str
        Seeds every draw, normally (study digest, recipe).
    title : str
        Printed at the top; must not tell real from synthetic.
    study, recipe
        Recorded in the key only.
    date : date, optional
        Date of the PDF.

    Raises
    ------
    InputError
        For too few images, an existing output, another key in the way, or a key inside the readers' folder.
    """
    _check_places(out, key_file, readers)
    session = draw_session(real, synthetic, plan, readers, seed_key, study=study, recipe=recipe)
    key = session.key
    pictures = {name: png(_picture(image, show)) for name, image in session.pictures.items()}
    _keep(key, key_file)
    with new_folder(out) as folder:
        for number, reader in enumerate(readers, start=1):
            _write_reader(folder / f"reader-{number}", reader, key.of(reader), pictures, show, plan, title, date)
    return key


def _check_places(out: Path, key_file: Path, readers: Sequence[str]) -> None:
    problems = []
    if out.exists():
        problems.append(Problem(str(out), "exists", "Sheets are written into a new folder; this one exists. Choose another --out."))
    if key_file.resolve().is_relative_to(out.resolve()):
        problems.append(Problem(str(key_file), "key-inside", "The key must lie outside the folder that readers are given."))
    problems += check_readers(readers)
    if problems:
        raise InputError(problems)


def _keep(key: ReviewKey, path: Path) -> None:
    """Write the key, or find it written before; another key is never overwritten, because filled sheets may depend on it."""
    if path.exists() and path.read_text(encoding="utf-8") != pretty_json(key.as_json()):
        message = "Another key lies here and filled sheets may depend on it. Move it away, or choose another place."
        raise InputError(Problem(str(path), "exists", message))
    key.write(path)


def _picture(image: NDArray[Any], show: Presentation) -> NDArray[np.uint8]:
    """Return one sample as pixels to look at; the three planes of a volume stand side by side on black."""
    planes = [show.render(plane)[0] for plane in show.planes(image[None])]
    height = max(p.shape[0] for p in planes)
    padded = [np.pad(p, ((0, height - p.shape[0]), (0, GAP_PX if len(planes) > 1 else 0), (0, 0))) for p in planes]
    joined = np.concatenate(padded, axis=1)
    return enlarged(joined, max(1, round(PICTURE_PX / height)))


def _write_reader(
    folder: Path,
    reader: str,
    lines: Sequence[KeyItem],
    pictures: dict[str, bytes],
    show: Presentation,
    plan: ReviewPlan,
    title: str,
    date: datetime.date | None,
) -> None:
    asked = questions(plan)
    names = {line.item: [f"{line.item}-{side}.png" for side, _ in zip("ab", line.pictures, strict=False)] for line in lines}
    files = {name: pictures[p] for line in lines for name, p in zip(names[line.item], line.pictures, strict=True)}
    context = {
        "title": title,
        "reader": reader,
        "items": [
            {"item": line.item, "files": [f"{line.item}-{s}.png" for s, _ in zip("ab", line.pictures, strict=False)]} for line in lines
        ],
        "pair": plan.task == "2afc",
        "asks": asked[0].asks,
        "answers": list(asked[0].choices),
        "confidence": list(CONFIDENCE) if plan.confidence else [],
        "criteria": [{"name": c.name, "asks": c.question, "anchors": list(c.anchors)} for c in plan.criteria],
        "artefacts": list(plan.artefacts),
        "shown": show.words,
        "volume": len(show.spacing.values) == 3,
    }
    write_bytes(folder / "sheet.html", render_html("sheet.html.j2", **context, pictures={n: data_uri(p) for n, p in files.items()}))
    write_bytes(folder / "sheet.pdf", compile_pdf("sheet.typ", context, files, date))
    write_bytes(folder / "answers.xlsx", forms.workbook(reader, list(names), asked))
    write_bytes(folder / "answers.csv", _csv(reader, list(names), asked))


def _csv(reader: str, items: Sequence[str], asked: Sequence[Question]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("reader", "item", *(q.column for q in asked)))
    writer.writerows((reader, item, *("" for _ in asked)) for item in items)
    return stream.getvalue().encode()
