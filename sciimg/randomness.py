"""Every random draw is a function of (study digest, stage, index …): no state to save, nothing to restore after a crash."""

import hashlib

import numpy as np

from sciimg.records import canonical_json


def seed_of(*key: str | int) -> int:
    """Return a 63-bit seed that depends on every part of the key and on their order.

    SHA-256 over the canonical JSON of the key; 63 bits because ``torch.Generator.manual_seed`` takes a signed 64-bit integer.
    """
    return int.from_bytes(hashlib.sha256(canonical_json(list(key))).digest()[:8], "big") >> 1


def generator(*key: str | int) -> np.random.Generator:
    """Return a NumPy generator for the key (Philox: counter-based, identical on every platform)."""
    return np.random.Generator(np.random.Philox(seed_of(*key)))
