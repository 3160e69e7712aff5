"""How often the judges of memory are right: real sets judged as synthetic ones, generators that copy eight images, splits that leak.

Every trial divides real images of one kind at random into training, holdout and a third part. *Honest* trials judge the third part as if it
were synthetic. *Canary* trials put disguised copies of eight training images among it. *Leak* trials put copies of a tenth of the training
images into the holdout. A set is flagged when the lower end of the exact 95 % interval of its copy rate is above 1 %, as a gate
``copy-rate at_most 0.01`` would refuse it. The gates of the bundled studies (``copy-rate at_most 0.05``; ``leaked-holdout at_most 0``,
judged on its value) meet growing numbers of copies too.

An image is searched for once, in all images of its kind; a trial then looks at its training part alone.

Run ``python tests/benchmarks/judges_memory.py [--trials N] [--images N] [--out FILE.json]``.
"""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.validation.disguises import DISGUISES, disguised, shifted, span_of
from sciimg.validation.memorisation import extreme
from sciimg.validation.nearness import Match, Training, standing
from sciimg.validation.resampling import proportion_interval

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SIDE = 64
RIM = 6  # around a patch, so that a shifted copy shows what is really there
CANARIES = 8
FLAGGED = 0.01
ALLOWED = 0.05  # copies, by the gate of the bundled studies
COPIES = (0, 1, 2, 4, 8, 16)
VERSIONS = ("sciimg", "numpy", "scipy", "scikit-image", "imagecodecs")
SHIPPED = ("brick", "grass", "gravel", "moon", "cell", "coins", "camera", "immunohistochemistry")


def shipped(count: int) -> NDArray[Any]:
    """Return patches of the images that ship in scikit-image, that do not overlap, with their rims; shape (N, 1, Y, X)."""
    from skimage import color, data

    patches = []
    for name in SHIPPED:
        image = getattr(data, name)()
        grey = color.rgb2gray(image) * 255 if image.ndim == 3 else image.astype(np.float64)
        patches += _chosen(_grid(grey), count // len(SHIPPED), name)
    return np.stack(patches)[:, None].astype(np.float32)


def nuclei(count: int) -> NDArray[Any]:
    """Return one patch of each of some fluorescence fields, where they lie beside the repository; images of one field may overlap."""
    import pandas as pd
    from skimage.io import imread

    fields = pd.read_csv(DATA / "dsb2018_nuclei" / "metadata.csv").drop_duplicates("field_id")
    patches = []
    for name in fields["image_id"]:
        image = imread(DATA / "dsb2018_nuclei" / "images" / f"{name}.png")
        grey = image[..., :3].mean(axis=2) if image.ndim == 3 else image.astype(np.float64)
        patches += _chosen([p for p in _grid(grey) if p.std() > 3], 1, str(name))
    return np.stack(_chosen(patches, count, "nuclei"))[:, None].astype(np.float32)


def volumes(count: int) -> NDArray[Any]:
    """Return the middle of some T1 volumes, where they lie beside the repository."""
    import nibabel

    files = sorted((DATA / "hippocampus_mri").rglob("images*/*.nii*"))
    read = [np.asarray(nibabel.load(f).dataobj, np.float32) for f in files]
    whole = [v for v in read if all(n >= 28 for n in v.shape)]
    cut = [v[tuple(slice((n - 28) // 2, (n - 28) // 2 + 28) for n in v.shape)] for v in whole]
    return np.stack([v / v.mean() for v in _chosen(cut, count, "volumes")])[:, None]


KINDS = {"shipped": (shipped, 2 * RIM), "nuclei": (nuclei, 2 * RIM), "volumes": (volumes, 4)}


def _grid(image: NDArray[Any]) -> list[NDArray[Any]]:
    side = SIDE + 2 * RIM
    starts = ([*range(0, n - side + 1, SIDE)] for n in image.shape)
    return [image[y : y + side, x : x + side] for y, x in product(*starts)]


def _chosen(items: Sequence[Any], count: int, name: str) -> list[Any]:
    return [items[i] for i in np.sort(generator("judges-memory", name).permutation(len(items))[:count])]


def measure(images: NDArray[Any], rim: int, *, trials: int, key: str) -> dict[str, Any]:
    """Return the rates of one kind of images (N, 1, [Z,] Y, X) with rims of ``rim`` pixels in all along each axis."""
    inner = (slice(None), *(slice(rim // 2, n - rim // 2) for n in images.shape[2:]))
    core = np.stack([image[inner] for image in images])
    training = Training(list(core), core.shape[2:])
    alone = training.search(core)
    scale = span_of(core)
    made = {}
    for name in DISGUISES:
        copies = [_copy(image, inner, name, scale, (key, n)) for n, image in enumerate(images)]
        made[name] = training.search(np.stack(copies))
    told = [i for i, found in enumerate(alone) if found]
    tally = [_trial(alone, made, told, generator("judges-memory", key, t)) for t in range(trials)]
    third = len(told) // 3
    return {
        "images": len(core),
        "shape": list(core.shape[2:]),
        "told": len(told),
        "each_part": third,
        "honest_images_called_copies": _mean(t["false"] for t in tally),
        "honest_sets_flagged": _rate(t["honest"] for t in tally),
        "canary_sets_flagged": _rate(t["canary"] for t in tally),
        "canaries_found": _mean(t["canaries"] for t in tally),
        "copies_found": {name: _mean(t["found"][name] for t in tally) for name in DISGUISES},
        "holdout_images_called_leaked": _mean(t["false_leak"] for t in tally),
        "leaking_splits_found": _rate(t["leak"] for t in tally),
        "leaks_found": {name: _mean(t["leaked"][name] for t in tally) for name in DISGUISES},
        "gates": {
            "copy-rate": {str(c): _outcomes([t["copy-rate"][c] for t in tally]) for c in COPIES},
            "leaked-holdout": {str(c): _outcomes([t["leaked-holdout"][c] for t in tally]) for c in COPIES},
        },
    }


def _copy(image: NDArray[Any], inner: Any, name: str, scale: Any, key: tuple[str | int, ...]) -> NDArray[np.float32]:
    """Return a copy in one disguise; a shifted one shows what lies beside the patch."""
    rng = generator("judges-memory", name, *key)
    if name != shifted.__name__:
        return disguised(image[inner], name, scale, rng)
    first = [int(rng.integers(0, s.start * 2 + 1)) for s in inner[1:]]
    return np.asarray(image[(slice(None), *(slice(f, f + s.stop - s.start) for f, s in zip(first, inner[1:], strict=True)))], np.float32)


def _trial(alone: list[list[Match]], made: dict[str, list[list[Match]]], told: list[int], rng: np.random.Generator) -> dict[str, Any]:
    train, holdout, third = np.array_split(rng.permutation(told), 3)
    inside = set(train.tolist())

    def score(found: list[Match]) -> float:
        near = [m.correlation for m in found if m.piece in inside]
        return standing(near) if near else -np.inf

    held, other = (np.array([s for i in part if np.isfinite(s := score(alone[i]))]) for part in (holdout, third))
    copies = {name: np.array([score(found[i]) for i in train]) for name, found in made.items()}
    bar, leak_bar = extreme(held), extreme(other)
    names = list(copies)
    canaries = np.array([copies[names[int(rng.integers(len(names)))]][int(c)] for c in rng.permutation(len(train))[:CANARIES]])
    leaks = [copies[names[int(rng.integers(len(names)))]][int(c)] for c in rng.permutation(len(train))[: max(1, len(train) // 10)]]
    mixed = np.array([copies[names[int(rng.integers(len(names)))]][int(c)] for c in rng.permutation(len(train))[: max(COPIES)]])
    return {
        "copy-rate": {c: _by_gate(np.concatenate([mixed[:c], other[c:]]) > bar) for c in COPIES},
        "leaked-holdout": {c: _none(np.concatenate([mixed[:c], held[c:]]) > leak_bar) for c in COPIES},
        "false": float((other > bar).mean()),
        "honest": _flagged(other > bar),
        "canary": _flagged(np.concatenate([canaries, other[CANARIES:]]) > bar),
        "canaries": float((canaries > bar).mean()),
        "found": {name: float((found > bar).mean()) for name, found in copies.items()},
        "false_leak": float((held > leak_bar).mean()),
        "leak": bool((np.array(leaks) > leak_bar).any()),
        "leaked": {name: float((found > leak_bar).mean()) for name, found in copies.items()},
    }


def _flagged(found: NDArray[np.bool_]) -> bool:
    return proportion_interval(int(found.sum()), len(found))[0] > FLAGGED


def _by_gate(found: NDArray[np.bool_]) -> str:
    """Return what ``copy-rate at_most 0.05``, judged on the interval, says."""
    low, high = proportion_interval(int(found.sum()), len(found))
    return "accepted" if high <= ALLOWED else "refused" if low > ALLOWED else "inconclusive"


def _none(found: NDArray[np.bool_]) -> str:
    """Return what ``leaked-holdout at_most 0``, judged on the value, says."""
    return "refused" if found.any() else "accepted"


def _outcomes(seen: Sequence[str]) -> dict[str, float]:
    return {name: round(seen.count(name) / len(seen), 4) for name in ("accepted", "inconclusive", "refused")}


def _mean(values: Any) -> float:
    return round(float(np.mean(list(values))), 4)


def _rate(values: Any) -> dict[str, Any]:
    seen = list(values)
    low, high = proportion_interval(sum(seen), len(seen))
    return {"rate": sum(seen) / len(seen), "ci95": [round(low, 4), round(high, 4)], "trials": len(seen)}


def judges_memory(*, trials: int = 200, images: int = 150, kinds: Sequence[str] = tuple(KINDS)) -> dict[str, Any]:
    """Return the calibration of the judges of memory on every kind of real images that is there."""
    found: dict[str, Any] = {}
    for kind in kinds:
        read, rim = KINDS[kind]
        if kind == "shipped" or DATA.exists():
            found[kind] = measure(read(images), rim, trials=trials, key=kind)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: version(name) for name in VERSIONS},
        "rule": f"flagged: lower end of the exact 95 % interval of copy-rate above {FLAGGED}; {CANARIES} canaries",
        "kinds": found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result = judges_memory(trials=given.trials, images=given.images, kinds=given.kinds.split(","))
    text = json.dumps(result, indent=1) + "\n"
    if given.out:
        given.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
