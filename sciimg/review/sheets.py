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
from sciimg.protocol.models import ReviewPlan
from sciimg.randomness import generator
from sciimg.records import Digest, pretty_json
from sciimg.review import forms
from sciimg.review.items import choose, key_items, scramble, sheet_order
from sciimg.review.key import CONFIDENCE, DEFAULT_MARGIN, TRUTHS, KeyItem, ReviewKey, Role, Truth
from sciimg.review.presentation import Presentation
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
        Items, repeats and catch pairs.
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
    rows_real, rows_synthetic = choose(real, synthetic, plan, seed_key)
    stimuli, sources = _stimuli(real.take(rows_real), synthetic.take(rows_synthetic), plan, seed_key)
    pictures = {name: png(_picture(image, show)) for name, (image, _, _) in stimuli.items()}
    main: list[tuple[str, Truth, Role]] = [(n, truth, role) for n, (_, truth, role) in stimuli.items() if role == "main"]
    catches: list[tuple[str, Truth, Role]] = [(n, truth, role) for n, (_, truth, role) in stimuli.items() if role == "catch"]
    repeats = max(1, round(plan.repeats * plan.items))
    lines: list[KeyItem] = []
    for number, reader in enumerate(readers, start=1):
        lines += key_items(reader, f"r{number}", sheet_order(reader, main, catches, repeats, seed_key))
    key = ReviewKey(study=study, recipe=recipe, margin=DEFAULT_MARGIN, readers=tuple(readers), items=tuple(lines), sources=sources)
    _keep(key, key_file)
    with new_folder(out) as folder:
        for number, reader in enumerate(readers, start=1):
            own = [line for line in lines if line.reader == reader]
            _write_reader(folder / f"reader-{number}", reader, own, pictures, show, title, date)
    return key


def _check_places(out: Path, key_file: Path, readers: Sequence[str]) -> None:
    problems = []
    if out.exists():
        problems.append(Problem(str(out), "exists", "Sheets are written into a new folder; this one exists. Choose another --out."))
    if key_file.resolve().is_relative_to(out.resolve()):
        problems.append(Problem(str(key_file), "key-inside", "The key must lie outside the folder that readers are given."))
    if len(set(readers)) != len(readers) or not readers or not all(r.strip() for r in readers):
        problems.append(Problem("readers", "bad-readers", f"Readers need distinct names; got {list(readers)}."))
    if problems:
        raise InputError(problems)


def _keep(key: ReviewKey, path: Path) -> None:
    """Write the key, or find it written before; another key is never overwritten, because filled sheets may depend on it."""
    if path.exists() and path.read_text(encoding="utf-8") != pretty_json(key.as_json()):
        message = "Another key lies here and filled sheets may depend on it. Move it away, or choose another place."
        raise InputError(Problem(str(path), "exists", message))
    key.write(path)


def _stimuli(
    real: PatchSet, synthetic: PatchSet, plan: ReviewPlan, key: tuple[str, ...]
) -> tuple[dict[str, tuple[NDArray[Any], Truth, Role]], dict[str, dict[str, Any]]]:
    """Name every picture without hinting at its kind, and record where it comes from."""
    entries: list[tuple[NDArray[Any], Truth, Role, dict[str, Any]]] = []
    for truth, patches in zip(TRUTHS, (real, synthetic), strict=True):
        entries += [(image, truth, "main", _origin(patches, i)) for i, image in enumerate(patches.images)]
    for i in range(plan.catch_pairs):
        torn = scramble(real.images[i], generator(*key, "review", "scramble", i))
        entries.append((torn, "synthetic", "catch", {"scrambled": True, **_origin(real, i)}))
    order = generator(*key, "review", "names").permutation(len(entries))
    names = {int(i): f"s{place:03d}" for place, i in enumerate(order, start=1)}
    numbered = sorted((names[i], entry) for i, entry in enumerate(entries))
    return {n: e[:3] for n, e in numbered}, {n: {"truth": e[1], **e[3]} for n, e in numbered}


def _origin(patches: PatchSet, row: int) -> dict[str, Any]:
    table = patches.table
    return {name: str(table[name].iloc[row]) for name in ("image", "origin", "id") if name in table.columns}


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
    title: str,
    date: datetime.date | None,
) -> None:
    items = [line.item for line in lines]
    context = {
        "title": title,
        "reader": reader,
        "items": items,
        "answers": list(TRUTHS),
        "confidence": list(CONFIDENCE),
        "shown": show.words,
        "volume": len(show.spacing.values) == 3,
    }
    shown = {line.item: pictures[line.stimulus] for line in lines}
    write_bytes(folder / "sheet.html", render_html("sheet.html.j2", **context, pictures={i: data_uri(p) for i, p in shown.items()}))
    write_bytes(folder / "sheet.pdf", compile_pdf("sheet.typ", context, {f"{i}.png": p for i, p in shown.items()}, date))
    write_bytes(folder / "answers.xlsx", forms.workbook(reader, items))
    write_bytes(folder / "answers.csv", _csv(reader, items))


def _csv(reader: str, items: Sequence[str]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(forms.COLUMNS)
    writer.writerows([reader, item, "", "", ""] for item in items)
    return stream.getvalue().encode()
