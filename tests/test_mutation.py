"""The mutation driver changes one place at a time and leaves alone what no test should have to notice."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "benchmarks"))
from mutation import EQUIVALENT, MODULES, mutants_of, mutated  # noqa: E402

SOURCE = '''
"""Words 1 + 1."""
from dataclasses import dataclass

@dataclass(frozen=True)
class Pair:
    first: "int | 3" = 2

def f(x: float, *, wide: bool = True) -> float:
    """Return 7."""
    if not x <= 0.5 and wide:
        raise ValueError(f"{x + 1} is above")
    return -x * 3 if wide else x
'''


def test_each_place_is_changed_once() -> None:
    changes = {(m.was, m.now) for m in mutants_of(SOURCE)}
    assert changes == {
        ("2", "3"),
        ("True", "False"),
        ("not x <= 0.5 and wide", "not x <= 0.5 or wide"),
        ("not x <= 0.5", "x <= 0.5"),
        ("x <= 0.5", "x < 0.5"),
        ("0.5", "0.75"),
        ("return -x * 3 if wide else x", "return None"),
        ("-x * 3 if wide else x", "-x * 3 if not wide else x"),
        ("-x * 3", "-x / 3"),
        ("-x", "x"),
        ("3", "4"),
    }


def test_a_mutant_is_the_module_with_one_other_line() -> None:
    sound = ast.unparse(ast.parse(SOURCE)).splitlines()
    for mutant in mutants_of(SOURCE):
        lines = mutated(SOURCE, mutant).splitlines()
        assert len(lines) == len(sound) and sum(a != b for a, b in zip(lines, sound, strict=True)) == 1, mutant


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_their_tests_are_there_and_equivalents_are_still_mutants(module: str) -> None:
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    found, lines = mutants_of(source), source.splitlines()
    assert found and all((ROOT / test).is_file() for test in MODULES[module])
    named = {key[1:] for key in EQUIVALENT if key[0] == module.rsplit(".", 1)[-1]}
    assert named <= {(lines[m.line - 1].strip(), m.was, m.now) for m in found}
