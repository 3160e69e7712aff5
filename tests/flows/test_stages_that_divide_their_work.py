"""A stage on a Dask worker may hand tasks to the same cluster, even where this worker is the only one."""

import os
from pathlib import Path
from typing import Any

import pytest

from flows import engines
from sciimg.workers import ADDRESS, open_workers


def dividing(stage: str, folder: Path, log_file: Path) -> int:
    with open_workers() as workers:
        return sum(workers.map(abs, range(-3, 0)))


def test_a_stage_and_its_tasks_share_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import Client, LocalCluster

    page: dict[str, Any] = {"dashboard_address": "127.0.0.1:0", "scheduler_kwargs": {"dashboard": False}}
    monkeypatch.setattr(engines, "run_stage", dividing)
    with LocalCluster(1, threads_per_worker=1, processes=False, **page) as cluster, Client(cluster, set_as_default=False):
        monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
        with engines.engine("dask", 1) as run:
            assert run("ingest", Path(), Path()) == 6 and os.environ[ADDRESS] == cluster.scheduler_address
