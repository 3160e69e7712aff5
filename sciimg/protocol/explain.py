"""From a validation error of the models to what a person can do about it: key path, what was expected, what came, what to do next."""

import difflib
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sciimg.protocol.yaml_tree import KeyPath, Tree, dotted

_SAID = {
    "Input should be": "Expected",
    "Tuple should have": "Expected",
    "Dictionary should have": "Expected",
    "String should": "The text should",
    "Field required": "This key is required",
}
_IN_WORDS = {  # patterns of sciimg.protocol.cluster
    r"^[A-Za-z0-9_][A-Za-z0-9_.,@+:-]*$": "A name has letters, digits and _ . , @ + : -",
    r"^[^\r\n\x00]+$": "A command is one line of text",
    r"^([0-9]+-)?[0-9]+:[0-5][0-9]:[0-5][0-9]$": "A time is H:MM:SS or D-HH:MM:SS, such as 4:00:00",
    r"^[1-9][0-9]*[MGT]$": "Memory is a whole number with M, G or T, such as 16G",
    r"^--[a-z][a-z-]*(=[^\r\n\x00]+)?$": "An option is --name or --name=value",
}
_TEXT_EXPECTED = {"string_type"}
_NUMBER_EXPECTED = {"int_type", "float_type", "int_from_float"}


def closest(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the most similar known word, or ``""``."""
    plain = {k.lower().replace("_", "-"): k for k in known}
    found = difflib.get_close_matches(word.lower().replace("_", "-"), plain, n=1, cutoff=0.6)
    return f" Did you mean {plain[found[0]]!r}?" if found else ""


def explain(error: ValidationError, root: Any, base: KeyPath, tree: Tree) -> None:
    """Report every error of one validation in the tree.

    Parameters
    ----------
    error : ValidationError
    root
        The annotation that was validated.
    base : tuple
        Key path in the file of what was validated.
    """
    details = error.errors(include_url=False)
    misspelt = set()
    for detail in details:
        if detail["type"] == "extra_forbidden":
            misspelt |= _report_unknown_key(detail, root, base, tree)
    for detail in details:
        path, annotation = _locate(detail["loc"], root)
        if detail["type"] == "extra_forbidden" or (detail["type"] == "missing" and path in misspelt) or _echoes(detail):
            continue
        tree.report((*base, *path), _kind(detail), _message(detail, (*base, *path), annotation))


def _report_unknown_key(detail: ErrorDetails, root: Any, base: KeyPath, tree: Tree) -> set[KeyPath]:
    """Report the key, and return the path of the required key that it was probably meant to be."""
    path, _ = _locate(detail["loc"], root)
    _, owner = _locate(detail["loc"][:-1], root)
    known = list(owner.model_fields) if isinstance(owner, type) and issubclass(owner, BaseModel) else []
    hint = closest(str(path[-1]), known)
    listed = f" Keys here: {', '.join(known)}." if known else ""
    tree.report((*base, *path), "unknown-key", f"Unknown key {path[-1]!r}.{hint}{listed}")
    meant = next((k for k in known if f"{k!r}?" in hint), None)
    return {(*path[:-1], meant)} if meant else set()


def _echoes(detail: ErrorDetails) -> bool:
    """Whether a list is called too short only because its items, which are reported themselves, were not counted."""
    least = detail.get("ctx", {}).get("min_length", 0)
    return detail["type"] == "too_short" and isinstance(detail["input"], list) and len(detail["input"]) >= least


def _kind(detail: ErrorDetails) -> str:
    match detail["type"]:
        case "missing" | "union_tag_not_found":
            return "missing-key"
        case "finite_number":
            return "not-finite"
        case "literal_error" | "union_tag_invalid":
            return "unknown-value"
        case _:
            return "bad-value"


def _message(detail: ErrorDetails, path: KeyPath, annotation: Any) -> str:
    came = _short(detail["input"])
    match detail["type"]:
        case "missing":
            return f"The key {path[-1]!r} is required and is missing. Add it."
        case "union_tag_not_found":
            key, tags = _discriminator(detail), ", ".join(_tags(annotation))
            return f"The key {key} is required here and is missing; it is one of {tags}. Add it."
        case "union_tag_invalid":
            tag = str(detail.get("ctx", {}).get("tag"))
            return f"{_discriminator(detail)} is one of {', '.join(_tags(annotation))}; got {tag!r}.{closest(tag, _tags(annotation))}"
        case "literal_error":
            expected = str(detail.get("ctx", {}).get("expected", ""))
            return f"Expected {expected}; got {came}.{closest(str(detail['input']), _literals(annotation))} Change {dotted(path)}."
        case "string_pattern_mismatch":
            pattern = detail.get("ctx", {}).get("pattern", "")
            return f"{_pattern_in_words(str(pattern))}; got {came}. Change {dotted(path)}."
        case kind:
            said = detail["msg"]
            for ours, theirs in _SAID.items():
                said = said.replace(ours, theirs)
            return f"{said}; got {came}.{_advice(kind, detail['input'])} Change {dotted(path)}."


def _advice(kind: str, came: Any) -> str:
    if kind in _TEXT_EXPECTED and isinstance(came, bool | int | float):
        return " Put it in quotes to make it text."
    if kind in _NUMBER_EXPECTED and isinstance(came, str):
        return " Write it as a number without quotes."
    if kind == "tuple_type":
        return " Write a list: [a, b]."
    return ""


def _pattern_in_words(pattern: str) -> str:
    if pattern in _IN_WORDS:
        return _IN_WORDS[pattern]
    if "a-z0-9" in pattern:
        return "A name has 1 to 64 characters of a-z, 0-9, dot, dash and underscore, and begins with a letter or digit"
    if r"\d+\.\d+\.\d+" in pattern:
        return "A version is three numbers with dots, such as 1.0.0"
    return f"The text must match {pattern}"


def _discriminator(detail: ErrorDetails) -> str:
    return str(detail.get("ctx", {}).get("discriminator", "'kind'"))


def _short(value: Any) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


# ---------------------------------------------------------------- where in the data, and which annotation stands there


def _locate(loc: tuple[int | str, ...], root: Any) -> tuple[KeyPath, Any]:
    """Return the key path of a pydantic location (which also names the chosen member of a union) and the annotation there."""
    path: list[str | int] = []
    annotation = _bare(root)
    for part in loc:
        if part == "[key]":
            break
        members = _members(annotation)
        if len(members) > 1 and part in _tags(annotation):
            annotation = next(m for m in members if part in _tag_of(m))
            continue
        path.append(part)
        annotation = _bare(_inside(annotation, part))
    return tuple(path), annotation


def _bare(annotation: Any) -> Any:
    """Strip ``Annotated`` and ``| None``."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kept = [a for a in get_args(annotation) if a is not type(None)]
        return _bare(kept[0]) if len(kept) == 1 else annotation
    return annotation


def _inside(annotation: Any, part: str | int) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        known = annotation.model_fields.get(str(part))
        return None if known is None else known.annotation
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is tuple:
            return arguments[0]
        case origin if origin is dict:
            return arguments[1]
        case _:
            return None


def _members(annotation: Any) -> list[Any]:
    return [_bare(a) for a in get_args(annotation)] if get_origin(annotation) in (Union, UnionType) else [annotation]


def _tag_of(member: Any) -> Iterator[str]:
    fields = member.model_fields if isinstance(member, type) and issubclass(member, BaseModel) else {}
    for key in ("kind", "by"):
        if key in fields and get_origin(fields[key].annotation) is Literal:
            yield from get_args(fields[key].annotation)


def _tags(annotation: Any) -> list[str]:
    return [tag for member in _members(annotation) for tag in _tag_of(member)]


def _literals(annotation: Any) -> list[str]:
    return [str(a) for a in get_args(annotation)] if get_origin(annotation) is Literal else []
