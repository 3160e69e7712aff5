"""Debian's packages of programs that the tests need and that are not there."""

import os
import shutil
import subprocess


def install(*packages: str) -> None:
    """Install packages; nothing is started that they bring.

    Raises
    ------
    RuntimeError
        Where that takes an administrator.
    """
    if not packages:
        return
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise RuntimeError(f"Needed here: as administrator, apt-get install {' '.join(packages)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # at this level no service begins
    for words in (("update",), ("install", "-y", "--no-install-recommends", *packages)):
        subprocess.run(["apt-get", "-qq", *words], env=environment, check=True, stdout=subprocess.DEVNULL)
