"""What signing and auditing cost: beside the hash itself, beside writing, and, in the same run, beside other programs.

Rates are of cached files with two threads. CPU seconds hold on a busy machine, wall seconds only on an idle one: the load is printed, and
``gb_per_s_two_idle_cores`` is what the CPU seconds come to on two cores that have nothing else to do.

Run ``python tests/benchmarks/bench_audit.py [--out FILE.json] [--megabytes 512] [--repeats 5]``.
"""

import argparse
import hashlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import releases

from sciimg.io.image import Image
from sciimg.provenance.audit import audit
from sciimg.provenance.keys import make_key
from sciimg.provenance.oms import THREADS, copy_files, hash_folder, sign_folder
from sciimg.provenance.policy import TrustPolicy
from sciimg.randomness import generator
from sciimg.records import Digest, Lineage, digest_of
from sciimg.store import CollectionWriter
from sciimg.types import Spacing

LIMITS = {"gb_per_s_two_idle_cores_at_least": 1.0, "signing_share_of_writing_at_most": 0.05}
VERSIONS = ("sciimg", "cryptography", "model-signing", "zarr", "numpy")
GB = 1e9
IMAGES = 8


def measured(work: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return the least wall and CPU seconds of several runs, children's included."""
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), _cpu()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(_cpu() - cpu)
    return {"wall_s": round(min(walls), 4), "cpu_s": round(min(cpus), 4)}


def _cpu() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def rate(seconds: dict[str, float], size: int) -> dict[str, float]:
    ideal = size / GB / seconds["cpu_s"] * THREADS
    return seconds | {
        "gb": round(size / GB, 3),
        "gb_per_s": round(size / GB / seconds["wall_s"], 3),
        "gb_per_s_two_idle_cores": round(ideal, 3),
    }


# ---------------------------------------------------------------- what is measured


def the_hash_itself(megabytes: int, repeats: int) -> dict[str, Any]:
    """SHA-256 of memory, one block of 1 MiB again and again: nothing that reads files can be faster."""
    block = os.urandom(1 << 20)

    def hashed(count: int) -> None:
        digest = hashlib.sha256()
        for _ in range(count):
            digest.update(block)

    def both() -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(hashed, [megabytes // THREADS] * THREADS))

    size = (megabytes // THREADS) * THREADS << 20
    return {"row": "hash", "title": "SHA-256 of memory, two threads (hashlib)"} | rate(measured(both, repeats), size)


def pixels_of(megabytes: int) -> NDArray[np.uint16]:
    """Return photon counts with a camera's offset and read noise, czyx: they compress about as well as real images."""
    side = 512
    depth = max(1, megabytes * (1 << 20) // IMAGES // (2 * side * side))
    rng = generator("benchmark", "audit")
    photons = rng.poisson(rng.gamma(2.0, 20.0, (1, depth, side // 32, side // 32)).repeat(32, 2).repeat(32, 3))
    return np.clip(100 + 2.2 * photons + rng.normal(0, 3.5, photons.shape), 0, 65535).astype(np.uint16)


def volumes(path: Path, study: Digest, pixels: NDArray[np.uint16]) -> Path:
    """Write the images; each has other pixels."""
    with CollectionWriter(path, synthetic=True, study=study) as writer:
        for i in range(IMAGES):
            about = Lineage(study=study, model=digest_of("m"), recipe="ldm", sampler="heun", steps=2, seed=0, index=i, condition={})
            image = Image.from_array(pixels + np.uint16(i), "czyx", Spacing((1.0, 1.0, 1.0), "pixel"), channels=("dna",), source=f"ldm-{i}")
            writer.add(f"ldm-{i}", image, group=f"g{i}", lineage=about)
    return path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        value = rows(Path(folder), given.megabytes, given.repeats)
    for row in value["rows"]:
        print({k: v for k, v in row.items() if k != "title"}, "#", row["title"])
    print({k: v for k, v in value.items() if k != "rows"})
    if given.out:
        given.out.write_text(json.dumps(value, indent=1) + "\n")


def rows(folder: Path, megabytes: int, repeats: int) -> dict[str, Any]:
    key = make_key("Ada Example", folder / "keys", "")
    policy = TrustPolicy(keys=(releases.trusted(key),))
    load = os.getloadavg()[0]

    pixels = pixels_of(megabytes)
    writing = {"wall_s": float("inf"), "cpu_s": float("inf")}
    for attempt in range(2):
        collection = folder / f"collection-{attempt}"
        made = measured(lambda: volumes(collection, releases.loaded().study.digest, pixels), 1)  # noqa: B023
        writing = {k: min(writing[k], made[k]) for k in made}
    releases.synthetic_collection = lambda path, study, images=2, synthetic=True: collection
    release = releases.release(folder, key)
    dataset = release / "dataset"
    contents = hash_folder(dataset)
    names = sorted(n for n in contents.digests if n.startswith("images/"))

    hashing = the_hash_itself(megabytes, repeats)
    whole = rate(measured(lambda: _must(audit(release, policy, now=releases.TIME).verified), repeats), contents.size)
    result = [hashing, {"row": "audit", "title": f"sciimg audit, all steps, {len(contents.digests)} files"} | whole]
    small = many_small(folder / "small")
    found = hash_folder(small)
    said = rate(measured(lambda: hash_folder(small), repeats), found.size)
    result.append({"row": "small", "title": f"the hashing step, {len(found.digests)} files of 4 KiB"} | said)
    result += peers(release, key.path.with_suffix(".pub"), contents.size, repeats)

    copying = measured(lambda: plain_copy(collection, folder / "copy", names), repeats)
    hashed_copy = measured(lambda: fresh(folder / "copy", lambda: copy_files(collection, folder / "copy", names)), repeats)
    known = contents.digests
    bundle = folder / "b.json"
    signing = measured(lambda: sign_folder(dataset, key, bundle, "small@1.2.0", known), repeats)

    def share(kind: str) -> float:
        extra = max(0.0, hashed_copy[kind] - copying[kind]) + signing[kind]
        return round(extra / (writing[kind] + copying[kind]), 4)

    result += [
        {"row": "write", "title": "the store writes these images (encoded, checksummed, digests of pixels)"} | writing,
        {"row": "copy", "title": "they are copied into a release, not hashed"} | copying,
        {"row": "hashed-copy", "title": "they are copied and hashed in one pass"} | hashed_copy,
        {"row": "sign", "title": "the statement is made and signed; digests are known"} | signing,
    ]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load": round(load, 2),
        "versions": {name: _version(name) for name in VERSIONS},
        "limits": LIMITS,
        "audit_over_hash": round(whole["cpu_s"] / whole["gb"] / (hashing["cpu_s"] / hashing["gb"]), 3),
        "signing_share_of_writing": {"wall": share("wall_s"), "cpu": share("cpu_s")},
        "rows": result,
    }


def plain_copy(source: Path, target: Path, names: list[str]) -> None:
    def copy() -> None:
        for name in names:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target / name)

    fresh(target, copy)


def fresh(target: Path, work: Callable[[], object]) -> None:
    shutil.rmtree(target, ignore_errors=True)
    work()


def many_small(folder: Path, count: int = 5000) -> Path:
    folder.mkdir()
    for i in range(count):
        (folder / f"{i:05d}").write_bytes(i.to_bytes(4, "big") * 1024)
    return folder


def peers(release: Path, public: Path, size: int, repeats: int) -> list[dict[str, Any]]:
    """Return what other programs need for the same bytes; a program's start counts, as it does for whoever calls it."""
    words = ("verify", "key", "dataset", "--signature", "dataset.sigstore.json", "--public_key", str(public), "--no-ignore-git-paths")
    files = sorted(str(p.relative_to(release)) for p in (release / "dataset").rglob("*") if p.is_file())
    commands = {
        "model_signing verify": [shutil.which("model_signing") or str(Path(sys.executable).parent / "model_signing"), *words],
        "sha256sum": ["sha256sum", *files],
        "openssl dgst -sha256": ["openssl", "dgst", "-sha256", *files],
    }
    found = []
    for name, command in commands.items():
        if shutil.which(command[0]) is None:
            continue

        def call(command: list[str] = command) -> None:
            subprocess.run(command, cwd=release, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        found.append({"row": "peer", "title": name} | rate(measured(call, repeats), size))
    return found


def _must(holds: bool) -> None:
    if not holds:
        raise SystemExit("The release of the benchmark does not verify.")


def _version(name: str) -> str:
    try:
        return version(name)
    except Exception:
        return "not installed"


if __name__ == "__main__":
    main()
