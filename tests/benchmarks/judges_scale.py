"""`sciimg metrics set --train` on folders of many patches: processor time and memory as the training folder grows.

Every size runs in a process of its own, whose largest resident memory is read at the end; reading the folder is part of it, writing it is
not. The patches are textures of 16 x 16 pixels, so that one hundred thousand of them fit on any disk; real and synthetic folders hold 256.

Run ``python tests/benchmarks/judges_scale.py [--sizes 20000,100000] [--out reports/benchmarks/judges-scale.json]``.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

SIDE, OTHERS = 16, 256
_CHILD = """
import json, resource, sys, time
from pathlib import Path
from sciimg.stages.metrics import compare_sets
import sciimg.validation.distribution, sciimg.validation.nearness, sciimg.validation.membership, sciimg.validation.folders
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begun = time.process_time()
real, synthetic, train = map(Path, sys.argv[1:])
found = compare_sets(real, synthetic, train=train, metrics=["kid", "ct"], features=["texture"])["metrics"]
print(json.dumps({
    "seconds": round(time.process_time() - begun, 1),
    "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "before_mb": round(before / 1024),
    "values": {m["name"]: m["value"] for m in found if not m["name"].startswith("control")},
}))
"""


def write(folder: Path, count: int, seed: int) -> Path:
    """Write smooth textures as TIFF files."""
    import numpy as np
    import tifffile
    from scipy.ndimage import gaussian_filter

    folder.mkdir()
    rng = np.random.default_rng(seed)
    for first in range(0, count, 1000):
        n = min(1000, count - first)
        images = gaussian_filter(rng.standard_normal((n, SIDE, SIDE)), (0, 1.2, 1.2)) * rng.uniform(300, 900, (n, 1, 1))
        for i, image in enumerate(np.clip(2000 + images, 0, 4095).astype(np.uint16)):
            tifffile.imwrite(folder / f"p{first + i:06d}.tif", image)
    return folder


def measured(size: int, root: Path) -> dict[str, Any]:
    train = write(root / f"train-{size}", size, size)
    command = [sys.executable, "-c", _CHILD, str(root / "real"), str(root / "synthetic"), str(train)]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}).stdout
    return {"training_images": size, **json.loads(out)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--sizes", default="20000,100000")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, seed in (("real", 1), ("synthetic", 2)):
            write(root / name, OTHERS, seed)
        rows = []
        for size in map(int, given.sizes.split(",")):
            rows.append(measured(size, root))
            print(json.dumps(rows[-1]), flush=True)
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("sciimg", "numpy", "scipy")},
        "patch": [SIDE, SIDE],
        "real_and_synthetic_images": OTHERS,
        "rows": rows,
    }
    if given.out:
        given.out.write_text(json.dumps(about, indent=1) + "\n")


if __name__ == "__main__":
    main()
