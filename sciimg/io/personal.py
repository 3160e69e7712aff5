"""Headers that may say who was imaged or who imaged: named in a note, their contents never."""

from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element

from sciimg.errors import Problem
from sciimg.io.xml import name

# Elements and attributes in which the programs of Zeiss, Leica and Nikon put people; their exact names, in lower case.
_PEOPLE = frozenset(
    {
        "username", "user", "userid", "useremail", "email", "firstname", "lastname", "fullname", "owner", "author", "operator",
        "experimenter", "institution", "institute", "patient", "patientname", "lastmodifiedby", "createdby", "displayname",
    }
)  # fmt: skip


def note_personal(path: Path, fields: Iterable[str]) -> tuple[Problem, ...]:
    """Return a note of kind ``personal-data`` that names header fields which are filled in and may identify a person."""
    found = list(dict.fromkeys(fields))
    if not found:
        return ()
    message = (
        f"The file's header may name a person ({', '.join(found)}). None of it is taken over into what sciimg writes; the file itself "
        "keeps it, so clean it before passing it on."
    )
    return (Problem(path.name, "personal-data", message),)


def named_people(root: Element) -> tuple[str, ...]:
    """Return the names of elements and attributes of a vendor's XML that are filled in and may say who took the image."""
    found = [name(e) for e in root.iter() if name(e).lower() in _PEOPLE and (e.text or "").strip()]
    found += [key for e in root.iter() for key, value in e.attrib.items() if key.lower() in _PEOPLE and value.strip()]
    return tuple(dict.fromkeys(found))
