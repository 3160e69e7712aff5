"""YAML file → study, or every problem at once.

Order of work: the text (syntax, duplicate keys), each part by its model (unknown keys, missing keys, values), then the rules that join
parts, over all parts that are sound. So five mistakes in five places are five problems of one message.
"""

from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from sciimg.errors import Problem, StudyError
from sciimg.protocol.explain import closest, explain
from sciimg.protocol.judging import completed, only_judges
from sciimg.protocol.models import Study
from sciimg.protocol.rules import Parts, blanks, faults
from sciimg.protocol.yaml_tree import KeyPath, Tree, read_tree
from sciimg.records import canonical_json

M = TypeVar("M", bound=BaseModel)

_SINGLE = ("split", "patches", "generate", "validation", "review", "registered", "release")
_LISTS = ("sources", "conditions", "recipes", "gates")


@dataclass(frozen=True)
class LoadedStudy:
    """A sound study, the folder against which its relative uris resolve, and its text as it was written."""

    study: Study
    folder: Path
    text: str
    only_judges: bool = False


def load_study(path: Path, *, folder: Path | None = None, judging: bool = False) -> LoadedStudy:
    """Read and check a study.

    Parameters
    ----------
    path : Path
        A YAML file. Where there is none, the studies that ship with sciimg are looked up by file name (``protocols/tissue-demo.yaml``).
    folder : Path, optional
        Where relative uris resolve; default: the folder of the file.
    judging : bool
        Also accept a study that only judges (:mod:`sciimg.protocol.judging`).

    Raises
    ------
    StudyError
        With every problem: file, line and key path, the rule, what came and what to do next.
    """
    found = _find(path)
    loaded = parse_study(found.read_bytes(), str(path), judging=judging)
    return replace(loaded, folder=(folder or found.parent).resolve())


def parse_study(data: bytes, name: str, *, judging: bool = False) -> LoadedStudy:
    """Check the text of a study that lies elsewhere, e.g. inside a release; ``name`` stands in messages, ``folder`` is ``.``."""
    tree = read_tree(data, name)
    judging = judging and only_judges(tree.value)
    if judging:
        if isinstance(plan := tree.value.get("validation"), dict) and "cross_validation" in plan:
            message = "A cross-validation trains recipes again; a study that only judges has none. Remove it."
            tree.report(("validation", "cross_validation"), "nothing-to-train", message)
        tree.value = completed(tree.value)
    study = None if tree.problems and tree.value is None else _validated(tree)
    if tree.problems or study is None:
        raise StudyError(tree.problems)
    return LoadedStudy(study, Path(), data.decode("utf-8-sig"), judging)


def built_in_studies() -> dict[str, Path]:
    """Return the studies that ship with sciimg by file name: inside the wheel, or beside the package in a clone."""
    package = Path(str(files("sciimg")))
    for folder in (package / "protocols", package.parent / "protocols"):
        if found := {p.name: p for p in sorted(folder.glob("*.yaml"))}:
            return found
    return {}


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    known = built_in_studies()
    if not path.exists() and path.parent in (Path(), Path("protocols")) and (shipped := known.get(path.with_suffix(".yaml").name)):
        return shipped
    if path.is_dir():
        message = "A study is a YAML file; this is a folder. Name the file in it."
        raise StudyError(Problem(str(path), "not-a-file", message))
    hint = closest(path.name, known)
    message = f"There is no such file.{hint} Studies that ship with sciimg: {', '.join(f'protocols/{n}' for n in known)}."
    raise StudyError(Problem(str(path), "not-found", message))


def _validated(tree: Tree) -> Study | None:
    if not isinstance(tree.value, dict):
        came = "nothing" if tree.value is None else type(tree.value).__name__
        message = f"A study is a mapping of keys to values; came {came}. `sciimg schema` lists the keys; protocols/ has examples."
        tree.report((), "not-a-study", message)
        return None
    study = check_part(Study, tree.value, (), tree)
    parts = _whole(study) if study else _sound_parts(tree.value)
    for path, kind, message in (*faults(parts), *blanks(tree.value)):
        tree.report(path, kind, message)
    return study


def check_part(model: type[M], value: Any, base: KeyPath, tree: Tree) -> M | None:
    """Return a part of a file as its model, or report every error of it in the tree."""
    try:
        return cast(M, _strict(model, value))
    except ValidationError as error:
        explain(error, model, base, tree)
        return None


def _strict(annotation: Any, value: Any) -> Any:
    # JSON mode of strict validation: lists are tuples and text is a date, but "3" is no number and `yes` is no 1.0
    return TypeAdapter(annotation).validate_json(canonical_json(value), strict=True)


def _whole(study: Study) -> Parts:
    parts: dict[str, Any] = {name: getattr(study, name) for name in _SINGLE}
    return Parts(**parts | {name: tuple(enumerate(getattr(study, name))) for name in _LISTS})


def _sound_parts(value: dict[str, Any]) -> Parts:
    """Return what validates by itself; the faults of the rest are reported already."""
    parts: dict[str, Any] = {name: sound_part(Study.__annotations__[name], value.get(name)) for name in _SINGLE}
    faulty = set()
    for name in _LISTS:
        items = value.get(name)
        member = get_args(Study.model_fields[name].annotation)[0]
        sound = [(i, sound_part(member, item)) for i, item in enumerate(items if isinstance(items, list) else [])]
        parts[name] = tuple((i, item) for i, item in sound if item is not None)
        if not isinstance(items, list) or len(parts[name]) < len(items):
            faulty.add(name)
    return Parts(**parts, faulty=frozenset(faulty))


def sound_part(annotation: Any, value: Any) -> Any:
    """Return a value as what it should be, or None where it is not that."""
    try:
        return _strict(annotation, value)
    except ValidationError:
        return None
