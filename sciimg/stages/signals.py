"""Being told to stop: SIGTERM, and SIGUSR1, which batch systems send before a time limit, are noted; training asks after every step."""

import os
import signal
import threading
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
_came: list[int] = []
_before: dict[int, Any] = {}


def note() -> None:
    """Note these signals from now on, in place of what they do; elsewhere than in the main thread nothing is changed."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            _before.setdefault(number, signal.signal(number, _noted))


def heed() -> None:
    """Let these signals do again what they did before, those that have come as well."""
    for number, action in _before.items():
        signal.signal(number, action)
    _before.clear()
    came, _came[:] = list(_came), []
    for number in came:
        os.kill(os.getpid(), number)


def forget() -> None:
    """Let these signals do again what they did before; those that have come are dealt with."""
    _came.clear()
    heed()


def asked() -> bool:
    """Return whether this process was told to stop."""
    return bool(_came)


def _noted(number: int, frame: FrameType | None) -> None:
    _came.append(number)
