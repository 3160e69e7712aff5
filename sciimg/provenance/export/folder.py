"""A plain folder: ``images/``, ``masks/``, a table, a list for MONAI, and a page that says what this is and how to check it."""

from pathlib import Path
from typing import Protocol

from sciimg.errors import Problem
from sciimg.files import write_json, write_text
from sciimg.provenance.export import table
from sciimg.provenance.export.content import Content, Picture
from sciimg.provenance.export.page import page
from sciimg.records import pretty_json


class Format(Protocol):
    """A module that makes files of one format."""

    NAME: str
    SUFFIX: str

    def together(self, content: Content) -> bool: ...

    def obstacles(self, content: Content) -> list[Problem]: ...

    def encode(self, picture: Picture) -> bytes: ...


def write(content: Content, format: Format, out: Path) -> None:
    """Write the export into an empty folder.

    ::

        images/<id>.<suffix>   or images/<id>_<channel>.<suffix>
        masks/<id>.<suffix>
        images.csv  monai.json  synthetic.json  README.md
    """
    rows = []
    together = format.together(content)
    for item in content.items():
        files: dict[str, list[str]] = {"image": [], "mask": []}
        for picture in content.pictures(item, together=together):
            name = f"{picture.part}s/{picture.name}{format.SUFFIX}"
            put(out / name, format.encode(picture))
            if format.NAME == "nifti":
                put((out / name).with_name(f"{picture.name}.json"), pretty_json(dict(picture.about)).encode())
            files[picture.part].append(name)
        rows.append(table.row_of(content, item, files["image"], next(iter(files["mask"]), None)))
    write_text(out / "images.csv", table.csv_of(rows))
    write_json(out / "monai.json", table.monai_list(content, rows))
    write_json(out / "synthetic.json", content.about())
    write_text(out / "README.md", page(content, format.NAME, table.file_columns(rows[0]), bool(rows[0]["mask"])))


def put(path: Path, data: bytes) -> None:
    """Write a file of a folder that gets its name when it is whole: thousands of files need not reach the disk one by one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
