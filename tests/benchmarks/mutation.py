"""Mutation testing: are the tests of the metrics and samplers sharp enough to notice one changed operator, constant or result?

    python tests/benchmarks/mutation.py [--sample 40] [--modules similarity solvers] [--again] [--out reports/benchmarks/mutation.json]

Every mutant changes one place of one module: an arithmetic operator, a comparison, a Boolean, a number, a sign, a returned value. It is
loaded in place of the module in a forked process, which runs the module's own tests and stops at the first that fails. A mutant is killed
when a test fails, the module cannot be imported, or ten times the processor time of the sound module has gone by. Numbers inside messages,
annotations, decorators and docstrings are not mutated. Survivors are listed in the report; those that no test can tell from the original
are named in ``EQUIVALENT`` with the reason, and do not count.

The choice of mutants is seeded by the module's name, so that two runs judge the same ones.
"""

import argparse
import ast
import copy
import gc
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
PAIRS, SETS = "tests/validation/test_pair.py", "tests/validation/test_distance.py"
SINGLE = "tests/validation/test_physics_outliers.py"
DRAWS, STEPS, SAMPLERS = (f"tests/augmenters/test_{name}.py" for name in ("draws", "solver_steps", "samplers"))
MODULES: dict[str, tuple[str, ...]] = {
    "sciimg.validation.similarity": ("tests/validation/test_similarity.py", PAIRS),
    "sciimg.validation.distance": (SETS,),
    "sciimg.validation.scores": ("tests/validation/test_scores.py",),
    "sciimg.validation.pair": (PAIRS,),
    "sciimg.validation.resampling": ("tests/validation/test_resampling.py",),
    "sciimg.validation.masks": ("tests/validation/test_mask_metrics.py",),
    "sciimg.validation.nearest": ("tests/validation/test_nearest.py",),
    "sciimg.validation.perceptual": ("tests/validation/test_perceptual.py",),
    "sciimg.validation.pooling": ("tests/validation/test_pooling.py",),
    "sciimg.validation.ring_correlation": ("tests/validation/test_ring_correlation.py",),
    "sciimg.validation.obedience": ("tests/validation/test_obedience.py",),
    "sciimg.validation.inception": ("tests/validation/test_inception.py",),
    "sciimg.validation.membership": ("tests/validation/test_membership.py",),
    "sciimg.validation.physics.typical": (SINGLE,),
    "sciimg.validation.physics.outliers": (SINGLE,),
    "sciimg.validation.physics.per_sample": ("tests/validation/test_physics_per_sample.py",),
    "sciimg.validation.physics.object_morphology": ("tests/validation/test_physics_estimators.py",),
    "sciimg.validation.physics.point_pattern": ("tests/validation/test_physics_point_pattern.py",),
    "sciimg.validation.physics.noise_whiteness": ("tests/validation/test_physics_noise_whiteness.py",),
    "sciimg.validation.physics.optical_cutoff": ("tests/validation/test_physics_optical_cutoff.py",),
    "sciimg.validation.physics.dose_linearity": ("tests/validation/test_physics_dose_linearity.py",),
    "sciimg.verification.bands": ("tests/verification/test_short_trainings.py",),
    "sciimg.augmenters.samplers.inverse_cdf": (DRAWS,),
    "sciimg.augmenters.samplers.inversion": (DRAWS, STEPS),
    "sciimg.augmenters.samplers.likelihood": (STEPS,),
    "sciimg.augmenters.samplers.multistep": (STEPS,),
    "sciimg.augmenters.samplers.solvers": (STEPS, SAMPLERS),
    "sciimg.augmenters.samplers.times": (STEPS,),
}
PRELOADED = (
    "numpy",
    "scipy.stats",
    "scipy.ndimage",
    "scipy.linalg",
    "skimage.metrics",
    "skimage.data",
    "sklearn.metrics",
    "pandas",
    "pydantic",
    "torch",
    "hypothesis",
    "pytest",
)
_OF_A_MATRIX = "of a matrix, axis 1 is the last"
_SEARCH = (
    'best = minimize(loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", '
    'options={"maxiter": 500, "gtol": 1e-4, "ftol": 1e-12})'
)
_RATIOS = "[np.where(np.isfinite(distances[p]), distances[p] / scales[p], 0.0 if p in often else np.inf) for p in parts], axis=-1"
_BEYOND = 'detail["beyond"] = dict(Counter(part for part, beyond in zip(parts, outside, strict=True) if beyond))'
_ROUNDING = "no result differs by more than rounding"
EQUIVALENT: dict[tuple[str, str, str, str], str] = {  # module, line, what stood there, what stands there now
    ("pair", 'return ""', "return ''", "return None"): "the caller asks whether there is a reason; both say no",
    ("pair", "return float(np.clip(np.sum(x * y) / norm, -1, 1))", "1", "2"): _ROUNDING,
    (
        "scores",
        "counts = [np.stack([(p & t).sum(axes), (p & ~t).sum(axes), (~p & t).sum(axes)], axis=-1) for p, t in pairs]",
        "-1",
        "1",
    ): "of vectors, the new axis 1 is the last",
    (
        "inverse_cdf",
        "if top_k is not None and top_k < scaled.shape[-1]:",
        "top_k < scaled.shape[-1]",
        "top_k <= scaled.shape[-1]",
    ): "among all codes the least likely masks none",
    ("inversion", "flat = angle.sin() < 1e-6  # one direction: a straight line", "angle.sin() < 1e-06", "angle.sin() <= 1e-06"): _ROUNDING,
    ("inversion", "flat = angle.sin() < 1e-6  # one direction: a straight line", "1e-06", "1.5e-06"): _ROUNDING,
    (
        "inception",
        "spread = np.where(spread > 0, spread, 1.0)",
        "1.0",
        "1.5",
    ): "a feature without spread is 0 in training, so its weight stays 0",
    ("inception", _SEARCH, "500", "501"): "the search ends long before",
    ("inception", _SEARCH, "1e-12", "1.5e-12"): _ROUNDING,
    (
        "inception",
        "drawn = len(np.unique(group_index(setting.synthetic.groups)[1][splits[0].synthetic]))",
        "0",
        "1",
    ): "the second split is drawn by the law of the first",
    ("inception", '"samples_at_a_time": len(splits[0].synthetic),', "0", "1"): "all splits have one size",
    (
        "typical",
        "_BLOCK = 256  # samples compared at once: memory stays that of a few statistics",
        "256",
        "257",
    ): "blocks bound memory alone",
    ("typical", _RATIOS, "-1", "1"): _OF_A_MATRIX,
    ("typical", "return ratios.max(axis=-1), [parts[k] for k in ratios.argmax(axis=-1)]", "-1", "1"): _OF_A_MATRIX,
    ("outliers", "_SPLITS = 200", "200", "201"): "a random split more is as right as one less",
    ("outliers", _BEYOND, "True", "False"): "both have one entry a sample",
    (
        "per_sample",
        "out = np.zeros((len(patches), len(frame.edges), width + 1))",
        "1",
        "2",
    ): "a column more, between bins and number of samples, that nobody reads",
    (
        "per_sample",
        'out[f"{name}:missing"] = np.abs(a.sum(axis=-1) / _samples(first) - b.sum(axis=-1) / _samples(second))',
        "-1",
        "1",
    ): _OF_A_MATRIX,
    ("object_morphology", "box = np.array(region.bbox).reshape(2, -1)", "1", "2"): "numpy takes any negative length for the one that fits",
    ("point_pattern", '"l-function": np.abs(a[0] - b[0]).max(axis=-1) / frame.edges[-1],', "-1", "1"): _OF_A_MATRIX,
    (
        "membership",
        'order = np.argsort(rng.permutation(units.max() + 1)[units], kind="stable")',
        "1",
        "2",
    ): "with a number more that no unit has, the order of the units is as random",
}
_FAST = "not unit_of_the_bootstrap and not ideal_generator and not interval_of_kid and not patches_of_one_group and not unbiased"
_QUIET = "ignore::pytest.PytestAssertRewriteWarning"  # hypothesis is there before pytest could rewrite it
_PATIENCE = 10  # times the processor time of the sound module


Place = tuple[tuple[str, int | None], ...]  # the way from the module to a node: fields, with the number in a list


@dataclass(frozen=True)
class Mutant:
    """One changed place: its line and column, what stood there and what stands there now."""

    line: int
    column: int
    was: str
    now: str
    path: Place
    which: int  # of the changes that are possible there


# ---------------------------------------------------------------- mutants

_OPERATORS: dict[type[ast.AST], type[Any]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_UNTOUCHED = (ast.JoinedStr, ast.Import, ast.ImportFrom)
_ANNOTATIONS = frozenset({"annotation", "returns", "decorator_list", "type_params"})


def mutants_of(source: str) -> list[Mutant]:
    """Return every mutant of a module's source, in the order of its syntax tree."""
    tree = ast.parse(source)
    found = []
    for path in _places(tree, ()):
        node = _at(tree, path)
        for which, change in enumerate(_changes(node)):
            now = ast.unparse(change(copy.deepcopy(node)))
            found.append(Mutant(node.lineno, node.col_offset, ast.unparse(node), now, path, which))
    return found


def mutated(source: str, mutant: Mutant) -> str:
    """Return the source of a module with the one change."""
    tree = ast.parse(source)
    node = _at(tree, mutant.path)
    _put(tree, mutant.path, _changes(node)[mutant.which](node))
    return ast.unparse(ast.fix_missing_locations(tree))


def _places(node: ast.AST, path: Place) -> Iterator[Place]:
    """Yield the way to every node that may be changed."""
    if isinstance(node, _UNTOUCHED):
        return
    if path:
        yield path
    for name, value in ast.iter_fields(node):
        if name in _ANNOTATIONS:
            continue
        if isinstance(value, ast.AST):
            yield from _places(value, (*path, (name, None)))
        elif isinstance(value, list):
            for i, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from _places(item, (*path, (name, i)))


def _at(node: Any, path: Place) -> Any:
    for name, index in path:
        node = getattr(node, name) if index is None else getattr(node, name)[index]
    return node


def _put(tree: ast.AST, path: Place, value: ast.AST) -> None:
    parent, (name, index) = _at(tree, path[:-1]), path[-1]
    if index is None:
        setattr(parent, name, value)
    else:
        getattr(parent, name)[index] = value


def _changes(node: ast.AST) -> list[Any]:
    """Return functions that change a node in place and return it, or return another."""
    match node:
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in _OPERATORS:
            return [_with_operator]
        case ast.Compare():
            return [_with_comparison(i) for i, operator in enumerate(node.ops) if type(operator) in _OPERATORS]
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert()):
            return [lambda n: n.operand]
        case ast.Constant(value=bool()):
            return [lambda n: ast.Constant(not n.value)]
        case ast.Constant(value=int() | float()):
            return [lambda n: ast.Constant(n.value + 1 if isinstance(n.value, int) else n.value * 1.5 or 1.0)]
        case ast.IfExp():
            return [lambda n: ast.IfExp(ast.UnaryOp(ast.Not(), n.test), n.body, n.orelse)]
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            return [lambda n: ast.Return(ast.Constant(None))]
        case _:
            return []


def _with_operator(node: Any) -> Any:
    node.op = _OPERATORS[type(node.op)]()
    return node


def _with_comparison(index: int) -> Any:
    def change(node: Any) -> Any:
        node.ops[index] = _OPERATORS[type(node.ops[index])]()
        return node

    return change


# ---------------------------------------------------------------- running


class _InPlaceOf(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from a source of ours."""

    def __init__(self, module: str, source: str) -> None:
        self._module, self._source = module, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == self._module else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, f"<{self._module}, mutated>", "exec"), module.__dict__)


def attempt(module: str, source: str, tests: Sequence[str], seconds: float | None) -> tuple[int, float]:
    """Run tests on a module with another source in a process of its own; return the exit code (negative: a signal) and seconds of CPU."""
    child = os.fork()
    if child == 0:
        code = 70
        try:
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            if seconds is not None:
                used = resource.getrusage(resource.RUSAGE_SELF)
                resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime + seconds) + 1, resource.RLIM_INFINITY))
            sys.meta_path.insert(0, _InPlaceOf(module, source))
            import pytest

            code = int(
                pytest.main(
                    [
                        *tests,
                        "-x",
                        "-q",
                        "-k",
                        _FAST,
                        "-p",
                        "no:cacheprovider",
                        "-p",
                        "pytest_timeout",
                        "-p",
                        "_hypothesis_pytestplugin",
                        "-W",
                        _QUIET,
                    ]
                )
            )
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime


def judge(module: str, tests: Sequence[str], sample: int, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the tally of one module; with the tally of an earlier run, only its survivors are attempted again."""
    source = (ROOT / f"{module.replace('.', '/')}.py").read_text()
    code, spent = attempt(module, ast.unparse(ast.parse(source)), tests, None)
    if code != 0:
        raise SystemExit(f"The tests of {module} must pass before it is mutated; pytest ended with {code}: {' '.join(tests)}")
    every = mutants_of(source)
    order = np.random.default_rng(list(module.encode())).permutation(len(every))
    chosen = sorted((every[i] for i in order[: before["sampled"] if before else sample]), key=lambda m: m.line)
    survived = [about(m) for m in chosen] if before is None else [*before["survivors"], *map(without_reason, before["equivalent"])]
    attempted = [m for m in chosen if about(m) in survived]
    if len(attempted) != len(survived):
        raise SystemExit(f"{module} has changed since the report was written; mutate it anew, without --again")
    left = [m for m in attempted if _survives(module, source, m, tests, _PATIENCE * spent + 5)]
    lines = source.splitlines()
    reasons = [EQUIVALENT.get((module.rsplit(".", 1)[-1], lines[m.line - 1].strip(), m.was, m.now)) for m in left]
    alive = [about(m) for m in left]
    equivalent = [m | {"reason": reason} for m, reason in zip(alive, reasons, strict=True) if reason]
    counted, killed = len(chosen) - len(equivalent), len(chosen) - len(alive)
    return {
        "mutants": len(every),
        "sampled": len(chosen),
        "killed": killed,
        "share": round(killed / counted, 4) if counted else None,
        "survivors": [m for m, reason in zip(alive, reasons, strict=True) if not reason],
        "equivalent": equivalent,
        "tests": list(tests),
    }


def about(mutant: Mutant) -> dict[str, int | str]:
    """Return what the report says of a mutant."""
    return {"line": mutant.line, "column": mutant.column, "was": mutant.was, "now": mutant.now}


def without_reason(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in entry.items() if k != "reason"}


def _survives(module: str, source: str, mutant: Mutant, tests: Sequence[str], patience: float) -> bool:
    code, _ = attempt(module, mutated(source, mutant), tests, patience)
    if code in (1, 2) or code == -signal.SIGXCPU:  # a test failed; the module could not be collected; it did not end
        return False
    if code == 0:
        return True
    raise SystemExit(f"pytest ended with {code} on line {mutant.line} of {module}: {mutant.was} -> {mutant.now}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=40, help="Mutants of each module; 0 takes all.")
    parser.add_argument("--modules", nargs="*", help="Last parts of module names; all where left out.")
    parser.add_argument("--again", action="store_true", help="Attempt only the survivors in the report once more.")
    parser.add_argument("--out", type=Path, default=ROOT / "reports/benchmarks/mutation.json")
    asked = parser.parse_args()
    os.chdir(ROOT)
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    for name in PRELOADED:
        importlib.import_module(name)
    import hypothesis
    import torch

    torch.set_num_threads(1)
    hypothesis.settings.register_profile("mutation", database=None, deadline=None, derandomize=True, max_examples=20)
    hypothesis.settings.load_profile("mutation")
    if loaded := sorted(set(MODULES) & set(sys.modules)):
        raise SystemExit(f"Mutants must be imported fresh; loaded already: {', '.join(loaded)}")
    gc.freeze()
    report = json.loads(asked.out.read_text()) if asked.out.exists() else {"modules": {}}
    for module, tests in MODULES.items():
        if asked.modules and module.rsplit(".", 1)[-1] not in asked.modules:
            continue
        started = time.monotonic()
        report["modules"][module] = found = judge(
            module, tests, asked.sample or 10**9, report["modules"].get(module) if asked.again else None
        )
        left = [f"line {m['line']}: {m['was']} -> {m['now']}" for m in found["survivors"]]
        tally = f"{found['killed']} of {found['sampled']} killed, {len(found['equivalent'])} equivalent"
        print(f"{module}: {tally}, {time.monotonic() - started:.0f} s")
        print("".join(f"    {line}\n" for line in left), end="", flush=True)
        modules = [own for name, own in report["modules"].items() if name in MODULES]
        counted = sum(own["sampled"] - len(own["equivalent"]) for own in modules)
        report["killed"], report["counted"] = sum(own["killed"] for own in modules), counted
        report["share"] = round(report["killed"] / counted, 4) if counted else None
        asked.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
