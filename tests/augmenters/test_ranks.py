"""Which of several processes this one is, as srun and torchrun tell it."""

import pytest

from sciimg.augmenters.ranks import Rank, rank_of
from sciimg.errors import InputError

MET = {"MASTER_ADDR": "n1", "MASTER_PORT": "2345"}
TASK = {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "1"}
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
STEP = TASK | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "2"}


@pytest.mark.parametrize(
    "environment",
    [MET | TASK, MET | TORCHRUN, MET | TASK | TORCHRUN],
    ids=["srun", "torchrun", "torchrun inside srun"],
)
def test_both_ways_to_be_told(environment: dict[str, str]) -> None:
    assert rank_of(environment) == Rank(3, 4, 1, "n1", 2345)


@pytest.mark.parametrize(
    "environment",
    [{}, TASK, {"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_LOCALID": "0"} | MET, MET],
    ids=["nothing", "a batch script, which is one process", "a step of one task", "a port alone"],
)
def test_alone(environment: dict[str, str]) -> None:
    assert rank_of(environment) is None


@pytest.mark.parametrize(
    ("nodes", "first"),
    [("n1", "n1"), ("n[03-05,9],m1", "n03"), ("a,b", "a"), ("r[1-2]n[4,6]", "r1n4"), ("gpu-7", "gpu-7"), ("n[1,3]-ib,x", "n1-ib")],
)
def test_ranks_meet_on_the_first_node_of_a_step(nodes: str, first: str) -> None:
    rank = rank_of(STEP | {"SLURM_STEP_NODELIST": nodes})
    assert rank is not None and rank.address == first and 20000 <= rank.port < 32768


def test_steps_of_one_job_meet_at_ports_of_their_own() -> None:
    ports = set()
    for step in ("0", "1", "2"):
        rank = rank_of(STEP | {"SLURM_STEP_NODELIST": "n1", "SLURM_STEP_ID": step})
        assert rank is not None
        ports.add(rank.port)
    assert len(ports) == 3


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        (MET | TASK | {"SLURM_PROCID": "4"}, "SLURM_PROCID"),
        (MET | TASK | {"SLURM_LOCALID": "x"}, "SLURM_LOCALID"),
        (MET | {"RANK": "0", "LOCAL_RANK": "0"}, "WORLD_SIZE"),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "n1"}, "MASTER_PORT"),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_PORT": "2345"}, "MASTER_ADDR"),
        (MET | TASK | {"MASTER_PORT": "-1"}, "MASTER_PORT"),
    ],
)
def test_contradictions_are_said(environment: dict[str, str], where: str) -> None:
    with pytest.raises(InputError, match="srun -n N") as caught:
        rank_of(environment)
    assert [p.where for p in caught.value.problems] == [where]
