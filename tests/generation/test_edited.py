"""Edited collections: every image says what was done to which real one, and an interrupted command goes on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textures import Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.errors import InputError
from sciimg.generation.edited import generate_edited
from sciimg.io.image import Image
from sciimg.stages.generate import generate_command
from sciimg.store import Collection, CollectionWriter
from tests.augmenters.test_training import small, train

HOW: dict[str, Any] = {"seed": 1, "study": None, "steps": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory: Any) -> Path:
    out: Path = tmp_path_factory.mktemp("edited") / "model"
    train(out, small("inpainting", training__steps=2))
    return out


@pytest.fixture(scope="module")
def source(model: Path, tmp_path_factory: Any) -> Path:
    out: Path = tmp_path_factory.mktemp("source") / "real"
    patches, scalar = Textures().draw(("real",), range(3)), Augmenter.load(model).conditions.scalars[0]
    with CollectionWriter(out, synthetic=False) as writer:
        for i in range(3):
            image = Image.from_array(patches.images[i], "cyx", patches.spacing, ("a", "b"))
            told = {"level": float(np.clip(patches.table["level"][i], scalar.low, scalar.high)), "kind": patches.table["kind"][i]}
            writer.add(f"r{i}", image, group=f"g{i}", conditions=told, labels=patches.labels[i], label_kind="instances")
    return out


def test_inpainted_images_keep_what_is_known_and_name_their_source(model: Path, source: Path, tmp_path: Path) -> None:
    assert generate_edited(model, tmp_path / "out", source, 3, keep="2:9,3:11", **HOW) == 3
    made, real = Collection(tmp_path / "out"), Collection(source)
    assert made.synthetic and not made.verify()
    for _, row in made.catalogue.iterrows():
        ours, theirs = made.volume(row["id"]).read(), real.volume(row["real_image"]).read()
        outside = np.ones(ours.shape, bool)
        outside[:, 2:9, 3:11] = False
        assert np.array_equal(ours[outside], theirs[outside]) and not np.array_equal(ours, theirs)
        assert row["task"] == "inpaint" and json.loads(row["lineage"])["sampler"].endswith("inpaint")


def test_labels_say_what_is_known(model: Path, source: Path, tmp_path: Path) -> None:
    generate_edited(model, tmp_path / "out", source, 2, task="outpaint", keep=str(source), **HOW)
    made, real = Collection(tmp_path / "out"), Collection(source)
    for _, row in made.catalogue.iterrows():
        theirs = real.volume(row["real_image"])
        known = np.broadcast_to(theirs.read_labels() > 0, theirs.shape)
        assert np.array_equal(made.volume(row["id"]).read()[known], theirs.read()[known])


def test_the_command_edits_copies_and_interpolates(model: Path, source: Path, tmp_path: Path) -> None:
    level = Augmenter.load(model).conditions.scalars[0]
    ends = f"level={level.low}..{level.high}"
    plain: dict[str, Any] = {"masks": None, "seed": 0, "sampler": None, "steps": 2, "source": source}
    for task, count, conditions in (("copy", 2, []), ("interpolate", 5, [ends, "kind=dim..bright"]), ("edit", 2, [ends])):
        value = generate_command(model, tmp_path / task, count=count, conditions=conditions, task=task, **plain)
        made = Collection(tmp_path / task)
        assert value["count"] == len(made) == count and set(made.catalogue["task"]) == {task}
    assert list(Collection(tmp_path / "interpolate").catalogue["share"]) == [0, 0.25, 0.5, 0.75, 1]
    assert set(Collection(tmp_path / "edit").catalogue["level"]) == {level.high}


def test_an_interrupted_command_goes_on(model: Path, source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    class Killed(BaseException):
        pass

    generate_edited(model, tmp_path / "whole", source, 3, task="copy", **HOW)
    add = CollectionWriter.add

    def dying(self: CollectionWriter, id: str, *args: Any, **kwargs: Any) -> Any:
        if id.endswith("2"):
            raise Killed
        return add(self, id, *args, **kwargs)

    monkeypatch.setattr(CollectionWriter, "add", dying)
    with pytest.raises(Killed):
        generate_edited(model, tmp_path / "cut", source, 3, task="copy", **HOW)
    monkeypatch.setattr(CollectionWriter, "add", add)
    generate_edited(model, tmp_path / "cut", source, 3, task="copy", **HOW)
    assert Collection(tmp_path / "cut").digest == Collection(tmp_path / "whole").digest


def test_what_is_missing_is_said(model: Path, source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no-source"):
        generate_command(model, tmp_path / "o", count=1, conditions=[], masks=None, seed=0, sampler=None, steps=2, task="copy")
    with pytest.raises(InputError, match="bad-condition"):
        generate_edited(model, tmp_path / "o", source, 1, ["level=a..b"], task="edit", **HOW)
    train(tmp_path / "plain", small("pixel-flow", training__steps=2))
    with pytest.raises(InputError, match="no-task"):
        generate_edited(tmp_path / "plain", tmp_path / "o", source, 1, **HOW)
    assert not (tmp_path / "o").exists()
