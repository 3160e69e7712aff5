"""YAML text → plain data, with the line of every key path, and every fault of the text itself.

Scalars follow the YAML 1.2 core schema, as JSON Schema editors read them: ``1e-3`` is a number, ``no`` and ``2026-11-21`` are text, and
``1:30`` is not ninety. Keys are text, a key stands once in a mapping, and each value stands where it is read: anchors, aliases and tags are
refused.
"""

import math
import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from sciimg.errors import Problem

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1 << 20  # a study is written by hand; the longest of ours has 4 kB
MAX_DEPTH = 40

_STANDARD = "tag:yaml.org,2002:"


class _CoreLoader(yaml.SafeLoader):
    """A SafeLoader whose untagged scalars follow the YAML 1.2 core schema (section 10.3.2)."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - as in the base class; empty, so that no rule of YAML 1.1 is inherited


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    ("float", r"^(?:[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", list("-+.0123456789")),
):
    _CoreLoader.add_implicit_resolver(_STANDARD + _tag, re.compile(_pattern), _first)


@dataclass
class Tree:
    """What a YAML text says, and where it says it."""

    file: str
    what: str = "study"  # what the file is, in messages
    value: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    noted: list[tuple[int, Problem]] = field(default_factory=list)  # line, problem

    @property
    def problems(self) -> list[Problem]:
        """Every problem once, in the order of the file."""
        return [problem for _, problem in sorted(dict.fromkeys(self.noted), key=lambda entry: entry[0])]

    def report(self, path: KeyPath, kind: str, message: str) -> None:
        """Note a problem at a key path, with the line of the nearest key that is there."""
        line = next((self.lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in self.lines), 0)
        self.report_at(line, kind, message, path)

    def report_at(self, line: int, kind: str, message: str, path: KeyPath = ()) -> None:
        """Note a problem at a line (from 1; 0 when unknown) as ``file:line: key.path``."""
        place = f"{self.file}:{line}" if line else self.file
        self.noted.append((line, Problem(f"{place}: {dotted(path)}" if path else place, kind, message)))


def dotted(path: KeyPath) -> str:
    """Return a key path as people write it, e.g. ``sources[0].spacing``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def read_tree(data: bytes, file: str, what: str = "study") -> Tree:
    """Read YAML bytes; faults are collected in the tree's ``problems``, and its ``value`` holds whatever could be read."""
    tree = Tree(file, what)
    if len(data) > MAX_BYTES:
        tree.report((), "too-large", f"A {what} has at most {MAX_BYTES} bytes; this file has {len(data)}. Is it the right file?")
        return tree
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"A {what} is UTF-8 text; byte {error.start} (0x{data[error.start]:02x}) is not. Save the file as UTF-8."
        tree.report_at(line, "not-utf-8", message)
        return tree
    try:
        _refuse_early(text, tree)
        if not tree.noted and (root := yaml.compose(text, Loader=_CoreLoader)) is not None:
            tree.value = _plain(root, (), tree)
    except yaml.MarkedYAMLError as error:
        _report_syntax(error, tree)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        message = f"YAML has no control characters; came U+{ord(str(error.character)):04X}. Remove it."
        tree.report_at(line, "yaml-syntax", message)
    return tree


def _report_syntax(error: yaml.MarkedYAMLError, tree: Tree) -> None:
    mark = error.problem_mark or error.context_mark
    column = f" at column {mark.column + 1}" if mark else ""
    context = f" ({error.context})" if error.context else ""
    tab = "\\t" in str(error.problem)
    hint = "Indent with spaces, never tabs." if tab else "Check indentation, colons, quotes and brackets here and on the line before."
    tree.report_at(mark.line + 1 if mark else 0, "yaml-syntax", f"Not valid YAML{column}: {error.problem}{context}. {hint}")


def _refuse_early(text: str, tree: Tree) -> None:
    """Refuse what must not be built: nesting without end, and aliases, which can grow without end."""
    depth = 0
    for event in yaml.parse(text, Loader=_CoreLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            message = f"A {tree.what} nests at most {MAX_DEPTH} levels; this file nests deeper. Is it the right file?"
            tree.report_at(_line(event), "too-deep", message)
            return
        if name := getattr(event, "anchor", None):
            message = f"In a {tree.what} each value stands where it is read; came the anchor or alias {name!r}. Write the value out."
            tree.report_at(_line(event), "yaml-alias", message)


def _line(thing: yaml.Event | yaml.Node) -> int:
    return 0 if thing.start_mark is None else thing.start_mark.line + 1


def _plain(node: yaml.Node, path: KeyPath, tree: Tree) -> Any:
    tree.lines.setdefault(path, _line(node))
    match node:
        case yaml.MappingNode():
            return _mapping(node, path, tree)
        case yaml.SequenceNode():
            return [_plain(child, (*path, i), tree) for i, child in enumerate(node.value)]
        case _:
            return _scalar(node, path, tree)


def _mapping(node: yaml.MappingNode, path: KeyPath, tree: Tree) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, child in node.value:
        line = _line(key)
        if not isinstance(key, yaml.ScalarNode):
            tree.report_at(line, "key-not-text", "A key is plain text; came a list or a mapping. Remove the brackets.", path)
            continue
        name = str(key.value)
        place = (*path, name)
        if name in out:
            first = tree.lines[place]
            message = f"A key stands once; {name!r} stands on line {first} and again on line {line}. Remove one."
            tree.report_at(line, "duplicate-key", message, place)
            continue
        tree.lines[place] = line
        out[name] = _plain(child, place, tree)
    return out


def _scalar(node: yaml.Node, path: KeyPath, tree: Tree) -> Any:
    text = str(node.value)
    match node.tag.removeprefix(_STANDARD):
        case "str":
            return text
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        case "float":
            number = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if not math.isfinite(number):
                tree.report(path, "not-finite", f"Every number of a {tree.what} is finite; got {text}. Change {dotted(path)}.")
                return 0.0
            return number
        case _:
            tree.report(path, "yaml-tag", f"A {tree.what} has no YAML tags; got {node.tag!r}. Remove it.")
            return text
