"""Small releases, made once, for programs that we did not write."""

import shutil
from pathlib import Path

import pytest
import releases

from sciimg.provenance.keys import Key, make_key


@pytest.fixture(scope="session")
def key(tmp_path_factory: pytest.TempPathFactory) -> Key:
    return make_key("Ada Example", tmp_path_factory.mktemp("keys"), "")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, key: Key) -> dict[str, Path]:
    return {outcome: releases.release(tmp_path_factory.mktemp(outcome), key, outcome) for outcome in ("accepted", "refused")}


@pytest.fixture
def release(made: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(made["accepted"], tmp_path / "release"))
