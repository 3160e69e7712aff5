"""Every judge meets every bad input: a number that means something, an outcome with a reason, or one readable refusal.

A row of ``CASES`` writes a folder of images and says what the judges make of it; a new judge of folders is a row of ``JUDGES``.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaml
from scipy import ndimage
from typer.testing import CliRunner

from sciimg.cli import app

N, SHAPE = 10, (32, 32)


def texture(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(0.8, 2))
    return np.clip(2000 + 400 * smooth / smooth.std() + 40 * rng.normal(size=shape), 0, 4095).astype(np.uint16)


def many(change: Callable[[np.ndarray], np.ndarray] = lambda x: x, shape: tuple[int, ...] = SHAPE, seed: int = 100) -> list[np.ndarray]:
    return [change(texture(seed + i, shape)) for i in range(N)]


def holed(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(image: np.ndarray) -> np.ndarray:
        out = image.astype(np.float32)
        out[3, 4] = value
        return out

    return change


@dataclass(frozen=True)
class Case:
    """Images of one folder (``names`` of the files where it matters), and what a judge may make of them.

    Parameters
    ----------
    refused : bool
        The folder cannot be read as one set: exit code 2.
    pairs, sets : bool
        Whether a number may come of comparing pairs, or sets, when one side is such a folder and the other is good.
    """

    images: list[np.ndarray | bytes]
    refused: bool = False
    pairs: bool = False
    sets: bool = False
    name: str = "{:02d}.tif"


CASES: dict[str, Case] = {
    "good": Case(many(), pairs=True, sets=True),
    "unicode names": Case(many(), pairs=True, sets=True, name="Zelle é 漢字 {:02d}.tif"),
    "NaN": Case(many(holed(np.nan)), refused=True),
    "infinity": Case(many(holed(np.inf)), refused=True),
    "empty folder": Case([], refused=True),
    "unreadable": Case([*many()[1:], b"II*\x00 no picture"], refused=True),
    "single": Case(many()[:1], refused=True),  # of pairs: the others have no partner
    "constant": Case(many(lambda x: np.full_like(x, 7)), pairs=True),
    "all-zero": Case(many(np.zeros_like), pairs=True),
    "other shape": Case(many(shape=(32, 40))),
    "mixed shapes": Case([*many()[1:], texture(5, (20, 20))], refused=True),
    "smaller than a window": Case(many(shape=(5, 5))),
    "volumes": Case(many(shape=(12, 32, 32))),
    "other dtype": Case(many(lambda x: x.astype(np.float32)), pairs=True),
    "mixed dtypes": Case([*many()[1:], texture(5).astype(np.uint8)], refused=True),
    "squares beyond float64": Case(many(lambda x: x * 1e200)),
    "differing by rounding": Case(many(lambda x: 5 + (x % 4) * 2.0**-50), pairs=True),
}
FILES_LEFT_OUT = {"NaN", "infinity", "unreadable"}  # by `validate`, which judges the rest where some is left
CUT = {"other shape", "mixed shapes"}  # by `validate`, into the study's shape


def write(folder: Path, case: Case) -> Path:
    folder.mkdir()
    for i, image in enumerate(case.images):
        path = folder / case.name.format(i)
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            tifffile.imwrite(path, image, photometric="minisblack")
    return folder


def call(*words: object) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(app, [*(str(w) for w in words), "--json"])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    value: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, value


def checked(code: int, value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the metrics of a reply, each a finite number or a reason; of a refusal none, for its problems are told."""
    assert code in (0, 1, 2, 3)
    if code == 2:
        assert value["problems"] and all(p["kind"] and p["message"].endswith((".", ")")) for p in value["problems"])
        return
    assert value["metrics"]
    for metric in value["metrics"]:
        if metric["status"] == "ok":
            numbers = [metric["value"], *(metric["ci95"] or ())]
            assert all(math.isfinite(n) for n in numbers), metric
        else:
            assert metric["value"] is None and len(metric["reason"]) > 10, metric
        yield metric


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("bad")
    made = {name: write(base / f"{i:02d}", case) for i, (name, case) in enumerate(CASES.items())}
    return made | {"reference": write(base / "reference", Case(many(seed=0)))}


PAIR = "ssim,ssim-uniform,ms-ssim,psnr,nrmse,ncc,mutual-information,dice,object-f1,hausdorff,hausdorff-95,frc-resolution"


@pytest.mark.parametrize("bad_first", [False, True], ids=["test", "reference"])
@pytest.mark.parametrize("name", CASES)
def test_metrics_of_pairs(folders: dict[str, Path], name: str, bad_first: bool) -> None:
    case = CASES[name]
    sides = (folders[name], folders["reference"])
    code, value = call("metrics", "pair", *(sides if bad_first else sides[::-1]), "--metric", PAIR, "--data-range", 4095)
    metrics = {m["name"]: m for m in checked(code, value)}
    if name == "unicode names":  # no partner of that name
        assert code == 2
        code, value = call("metrics", "pair", folders[name], folders[name], "--metric", PAIR)
        metrics = {m["name"]: m for m in checked(code, value)}
    assert (code == 2) == case.refused
    if not case.refused:
        assert (metrics["nrmse"]["status"] == "ok") == (case.pairs and not (bad_first and name == "all-zero"))
        assert metrics["ssim"]["status"] == ("ok" if case.pairs else "undefined")
        assert all(metrics[n]["status"] == "undefined" for n in ("object_f1", "hausdorff", "hausdorff_95"))


@pytest.mark.parametrize("name", CASES)
def test_pairs_of_the_same_bad_folder(folders: dict[str, Path], name: str) -> None:
    """Identical images agree perfectly or nothing is said of them, and the scale is not guessed from images that do not show it."""
    perfect = {
        "ssim": 1,
        "ssim_uniform": 1,
        "ms_ssim": 1,
        "nrmse": 0,
        "ncc": 1,
        "dice": 1,
        "object_f1": 1,
        "hausdorff": 0,
        "hausdorff_95": 0,
    }
    code, value = call("metrics", "pair", folders[name], folders[name], "--metric", PAIR)
    for metric in checked(code, value):
        if metric["name"] in perfect and metric["status"] == "ok":
            assert metric["value"] == pytest.approx(perfect[metric["name"]], abs=1e-9), metric
        if metric["name"] == "psnr" or (name in ("constant", "all-zero") and "ssim" in metric["name"]):
            assert metric["status"] == "undefined", metric


@pytest.mark.parametrize("bad_first", [False, True], ids=["synthetic", "real"])
@pytest.mark.parametrize("name", CASES)
def test_metrics_of_sets(folders: dict[str, Path], name: str, bad_first: bool) -> None:
    case = CASES[name]
    sides = (folders[name], folders["reference"])
    code, value = call("metrics", "set", *(sides if bad_first else sides[::-1]), "--metric", "kid,prdc")
    metrics = [m for m in checked(code, value) if not m["name"].startswith("control_")]
    assert (code == 2) == (case.refused and name != "single")
    if code == 0:
        assert {m["status"] for m in metrics} <= {"ok", "undefined"} if case.sets else {"undefined"}
        assert [m["name"] for m in metrics] == [m["name"] for m in value["metrics"]][: len(metrics)]  # what was asked for stands first


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    value = {
        "sciimg": 1,
        "name": "bad-inputs",
        "sources": [{"name": "s", "modality": "fluorescence", "spacing": [1, 1], "unit": "pixel"}],
        "patches": {"shape": list(SHAPE)},
        "validation": {"samples": 12, "bootstrap": 50, "physics": ["intensity-law"]},
        "gates": [{"name": "g", "metric": "intensity-law_effect", "at_most": 2, "why": "Fixed before any result."}],
    }
    path.write_text(yaml.safe_dump(value))
    return path


@pytest.mark.parametrize("bad_first", [False, True], ids=["synthetic", "real"])
@pytest.mark.parametrize("name", CASES)
def test_validate(folders: dict[str, Path], study: Path, tmp_path: Path, name: str, bad_first: bool) -> None:
    real, synthetic = (folders[name], folders["reference"]) if bad_first else (folders["reference"], folders[name])
    code, value = call("validate", study, "--real", real, "--synthetic", synthetic, "--out", tmp_path / "out")
    metrics = {m["name"]: m for m in checked(code, value)}
    if code == 2:
        return
    assert bool(value["rejected"]) == (name in FILES_LEFT_OUT) and (code == 3) <= bool(value["rejected"])
    gate = metrics["intensity-law_effect"]
    may_judge = CASES[name].sets or name in FILES_LEFT_OUT | CUT
    assert gate["status"] == "undefined" or may_judge or name in ("constant", "all-zero"), gate
    assert (value["decision"] == "refused") == (code == 1)
    short = "shortage" in gate  # one real image is no fault of the synthetic ones, and no proof of anything
    if gate["status"] == "undefined":
        assert value["decision"] == ("inconclusive" if short else "refused") and gate["reason"] in value["gates"][0]["reason"]
    if not may_judge:
        assert code == 1 or short, gate
