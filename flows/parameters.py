"""What was typed into a deployment, checked before anything is done: every mistake at once, in full, for Prefect has the values already."""

import os
from collections.abc import Iterator
from pathlib import Path

from flows.told import veiled
from sciimg.errors import InputError, Problem, SciimgError
from sciimg.protocol import Study, load_study


def check_study_parameters(study_file: str, workdir: str, slots: int, engine_name: str, cluster: str | None = None) -> Study:
    """Return the study that is meant.

    Raises
    ------
    InputError
        Every parameter that cannot be used.
    ToldError
        Faults of the study itself, its recipes, or the key that is to sign: told by place and kind.
    """
    from sciimg.provenance.keys import unlock
    from sciimg.stages.launch import check_engine, check_recipes

    refuse([*_study_problems(study_file), *writable_folder("workdir", workdir), *_slots_problems(slots), *_engine_problems(engine_name)])
    with veiled(f"The study {study_file} cannot be run", f"`sciimg run {study_file} --dry-run` says them in full."):
        study = load_study(Path(study_file)).study
        check_engine(engine_name, Path(study_file), Path(workdir), Path(cluster) if cluster else None)
        check_recipes(Path(study_file))
        unlock()
    return study


def refuse(problems: list[Problem]) -> None:
    """Raise what there is to raise."""
    if problems:
        raise InputError(problems)


def text(name: str, value: object) -> list[Problem]:
    """Return what is wrong with a parameter that has to be text."""
    if isinstance(value, str) and value.strip():
        return []
    return [Problem(name, "bad-parameter", f"It is a text that is not empty; got {value!r}. Set it in the deployment.")]


def whole_number(name: str, value: object, least: int) -> list[Problem]:
    """Return what is wrong with a parameter that has to be a whole number."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return []
    return [Problem(name, "bad-parameter", f"It is a whole number from {least}; got {value!r}. Set it in the deployment.")]


def writable_folder(name: str, value: str) -> Iterator[Problem]:
    """Yield what is wrong with a folder that has to be there, or be made."""
    if wrong := text(name, value):
        yield from wrong
        return
    place = Path(value).absolute()
    there = next(p for p in (place, *place.parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        message = f"It is a folder that can be written to, or can be made; {there} is not. Set another one in the deployment, or free it."
        yield Problem(name, "bad-parameter", message)


def _study_problems(study_file: str) -> Iterator[Problem]:
    if wrong := text("study_file", study_file):
        yield from wrong
        return
    try:
        load_study(Path(study_file))
    except SciimgError as error:  # whether there is a file is told in full; what is wrong inside it may quote names
        yield from (
            Problem("study_file", p.kind, f"{p.message} It was looked for at {Path(study_file).absolute()}.")
            for p in error.problems
            if p.kind in ("not-found", "not-a-file")
        )


def _slots_problems(slots: int) -> list[Problem]:
    return whole_number("slots", slots, 1)


def _engine_problems(engine_name: str) -> Iterator[Problem]:
    from sciimg.stages.launch import ENGINES

    if engine_name not in ENGINES:
        yield Problem("engine_name", "unknown-engine", f"It is one of {', '.join(ENGINES)}; got {engine_name!r}. Set it in the deployment.")
