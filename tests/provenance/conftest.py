"""Releases are made once and copied for every test that spoils one."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import releases
from releases import trusted

from sciimg.provenance.keys import Key, make_key
from sciimg.provenance.policy import TrustPolicy


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key("Ada Example", tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key("Ada Example", tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="session")
def policy(key: Key) -> TrustPolicy:
    return TrustPolicy(keys=(trusted(key),))


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory, key: Key) -> dict[str, Path]:
    return {outcome: releases.release(tmp_path_factory.mktemp(outcome), key, outcome) for outcome in releases.INTERVALS}


@pytest.fixture
def release(_made: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(_made["accepted"], tmp_path / "release"))


@pytest.fixture
def refused(_made: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(_made["refused"], tmp_path / "refused"))


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep every test away from the keys of whoever runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SCIIMG_KEY_PASSPHRASE", raising=False)
    yield
