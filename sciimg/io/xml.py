"""XML out of image files, which is never trusted: no document type, so no entities that grow or lead elsewhere."""

import re
from pathlib import Path
from xml.etree import ElementTree

from sciimg.io.faults import refuse

_DOCTYPE = re.compile(r"<!\s*(DOCTYPE|ENTITY)", re.IGNORECASE)


def parse(text: str, where: str | Path) -> ElementTree.Element:
    """Return the root element.

    Raises
    ------
    InputError
        Kind ``xml-entities`` for text that declares a document type (an entity may grow to any size or read another file), ``corrupt``
        for what is no XML.
    """
    if _DOCTYPE.search(text):
        message = "XML in an image must not declare a document type or entities, which can grow without bound; this one does. Remove them."
        raise refuse(where, "xml-entities", message)
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise refuse(where, "corrupt", f"The XML cannot be read: {error}. Get a fresh copy.") from error


def name(element: ElementTree.Element) -> str:
    """Return an element's name without its namespace, which changes from version to version."""
    return element.tag.rpartition("}")[2]


def children(element: ElementTree.Element, *names: str) -> list[ElementTree.Element]:
    """Return the elements down a path of names."""
    found = [element]
    for wanted in names:
        found = [child for parent in found for child in parent if name(child) == wanted]
    return found


def first(element: ElementTree.Element, *names: str) -> ElementTree.Element | None:
    return next(iter(children(element, *names)), None)


def number(text: str | None) -> float:
    """Return a number as XML attributes give it, 0 where there is none."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
