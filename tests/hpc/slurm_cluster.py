"""A real Slurm with two virtual nodes on this machine: no systemd, no accounting database, all state in one folder.

    python tests/hpc/slurm_cluster.py FOLDER        starts it, prints SLURM_CONF, and stops it when its input ends

The packages are Debian's; they are installed where they are missing and this is root.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from debian import install

PACKAGES = {"slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client", "munged": "munge"}
PATH = os.environ["PATH"] + ":/usr/sbin:/sbin"
NODES = ("n1", "n2")

CONFIGURATION = """
ClusterName=sciimg
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
# a requeued job waits for as long as its old credential could be replayed: two minutes unless told
AuthInfo=socket={folder}/munge.socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerNode=3000
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=100000,batch_sched_delay=0,bf_interval=5
ReturnToService=2
KillWait=3
MinJobAge=3600
SlurmctldTimeout=30
SlurmdTimeout=15
MessageTimeout=10
CompleteWait=0
PropagateResourceLimits=NONE
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=4 RealMemory=6000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=4 RealMemory=6000 State=UNKNOWN
PartitionName=cpu Nodes=n[1-2] Default=YES MaxTime=INFINITE DefaultTime=10 State=UP
"""


class SlurmCluster:
    """Daemons of a small cluster, started and stopped by their process numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PATH": PATH, "SLURM_CONF": str(folder / "slurm.conf")}

    def start(self) -> None:
        """Install what is missing, write key and configuration, start the daemons and wait until both nodes are idle."""
        install(*sorted({package for program, package in PACKAGES.items() if shutil.which(program, path=PATH) is None}))
        host = socket.gethostname().split(".")[0]
        for name in ("state", *NODES):
            (self.folder / name).mkdir(parents=True)
        self.folder.chmod(0o755)  # munge refuses sockets in folders that others may write
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        text = CONFIGURATION.format(host=host, user=os.environ.get("USER", "root"), folder=self.folder, ports=free_ports(3))
        (self.folder / "slurm.conf").write_text(text.strip() + "\n")
        (self.folder / "cgroup.conf").write_text("CgroupMountpoint=/sys/fs/cgroup\n")
        paths = {
            "key-file": "munge.key",
            "socket": "munge.socket",
            "pid-file": "munged.pid",
            "log-file": "munged.log",
            "seed-file": "munge.seed",
        }
        self.run("munged", "--force", *(f"--{option}={self.folder / name}" for option, name in paths.items()))
        self.run("slurmctld")
        for node in NODES:
            self.start_node(node)
        self.wait_for(lambda: self.states() == {"n1": "idle", "n2": "idle"}, 60, "two idle nodes")

    def start_node(self, node: str) -> None:
        self.run("slurmd", "-N", node)

    def stop(self) -> None:
        """Cancel what runs, then end every daemon."""
        with suppress(subprocess.SubprocessError):
            self.run("scancel", f"--user={os.getuid()}")
            self.wait_for(lambda: not self.run("squeue", "--noheader"), 20, "an empty queue")
        for name in (*(f"slurmd.{node}" for node in NODES), "slurmctld", "munged"):
            end(self.pid(name))

    def run(self, *command: str) -> str:
        """Run one of Slurm's commands with this cluster's configuration and return what it prints."""
        return subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True, timeout=60).stdout

    def states(self) -> dict[str, str]:
        """Return the state of each node."""
        try:
            return dict(line.split() for line in self.run("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines())
        except subprocess.SubprocessError:
            return {}

    def jobs(self, name: str = "sciimg-") -> list[dict[str, str]]:
        """Return every job that was ever submitted whose name begins so, oldest first."""
        lines = self.run("squeue", "--noheader", "--states=all", "--format=%A %j %T %N").splitlines()
        found = [dict(zip(("id", "name", "state", "node"), line.split(), strict=False)) for line in lines]
        return sorted((job for job in found if job["name"].startswith(name)), key=lambda job: int(job["id"]))

    def restarts(self, job: str) -> int:
        """Return how often Slurm has put a job back into the queue."""
        said = self.run("scontrol", "show", "job", job)
        return int(said.split("Restarts=")[1].split()[0])

    def pid(self, name: str) -> int | None:
        """Return the process of a daemon."""
        try:
            return int((self.folder / f"{name}.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None

    def wait_for(self, condition: object, seconds: float, what: str) -> None:
        wait_for(condition, seconds, what, lambda: self.run("sinfo", "--Node", "--long") + self.run("squeue", "--states=all"))


def wait_for(condition: object, seconds: float, what: str, about: object = str) -> None:
    """Wait until a condition holds; end the test with what there was instead."""
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {seconds:g} s for {what}, in vain. {about()}")  # type: ignore[operator]
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Return numbers of ports that nobody listens on."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def end(pid: int | None) -> None:
    """End a process that this module started."""
    if pid is None:
        return
    for number, patience_s in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline:
                os.kill(pid, 0)
                time.sleep(0.1)


if __name__ == "__main__":
    cluster = SlurmCluster(Path(sys.argv[1]).absolute())
    cluster.start()
    print(f"export SLURM_CONF={cluster.environment['SLURM_CONF']}", flush=True)
    try:
        sys.stdin.read()
    finally:
        cluster.stop()
