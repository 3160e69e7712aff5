"""Where a stage's process runs: here, on a worker of a Dask cluster, or as a Slurm job. All run one command and return its exit code."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sciimg.stages.supervision import run_stage
from sciimg.workers import ADDRESS

Runner = Callable[[str, Path, Path], int]  # stage name, run folder, log file -> exit code


@contextmanager
def engine(name: str, slots: int, cluster: str | None = None) -> Iterator[Runner]:
    """Yield the function that runs one stage and waits for it.

    Parameters
    ----------
    name : {"local", "dask", "slurm"}
    slots : int
        Workers of a local Dask cluster; ignored where ``DASK_SCHEDULER_ADDRESS`` names a cluster that exists.
    cluster : str, optional
        For Slurm: the file that says what each stage asks for; default ``cluster.yaml``.
    """
    if name == "local":
        yield run_stage
        return
    if name == "slurm":
        from sciimg.protocol.cluster import DEFAULT_FILE, load_cluster
        from sciimg.stages.slurm.engine import Slurm

        yield Slurm(load_cluster(Path(cluster or DEFAULT_FILE)))
        return
    from distributed import Client, LocalCluster

    address = os.environ.get(ADDRESS)
    if address:
        with Client(address) as client:
            yield _on(client, partial(_beside_other_tasks, address))
        return
    with (
        LocalCluster(n_workers=slots, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield _on(client)


def _on(client: object, work: Runner = run_stage) -> Runner:
    def run(stage: str, folder: Path, log_file: Path) -> int:
        code: int = client.submit(work, stage, folder, log_file, pure=False).result()  # type: ignore[attr-defined]
        return code

    return run


def _beside_other_tasks(address: str, stage: str, folder: Path, log_file: Path) -> int:
    """Run a stage on a worker that goes on taking tasks: those into which this stage divides its work may be among them."""
    from distributed import secede

    secede()
    os.environ.setdefault(ADDRESS, address)
    return run_stage(stage, folder, log_file)
