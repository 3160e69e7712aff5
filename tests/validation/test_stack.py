"""Images beyond memory lie in a file that has its room before the first is written."""

import errno
import os

import numpy as np
import pytest

from sciimg.validation import stack
from sciimg.validation.stack import Stack


def filled() -> np.ndarray:
    room = Stack(3)
    for i in range(3):
        room.add(np.full((1, 4, 4), i, np.uint16))
    return room.array


def test_a_file_holds_what_memory_holds(monkeypatch):
    inside = filled()
    monkeypatch.setattr(stack, "IN_MEMORY", 0)
    outside = filled()
    assert isinstance(outside, np.memmap) and not isinstance(inside, np.memmap)
    assert np.array_equal(inside, outside)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot reserve room")
def test_a_full_disk_is_an_error_before_the_first_image(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stack, "IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        filled()
