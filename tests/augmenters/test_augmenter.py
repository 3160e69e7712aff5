"""Samples that do not depend on their company, and models that are not what they should be."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from textures import Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.model_file import ModelCard, read_card
from sciimg.augmenters.samplers.solvers import SAMPLERS
from sciimg.errors import InputError
from tests.augmenters.test_training import small, train

KEY = ("study", "generate")


@pytest.fixture(scope="module")
def flat(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("flat") / "model"
    train(out, source=Textures((13, 18)))  # odd sizes: padded and cropped
    return out


@pytest.fixture(scope="module")
def solid(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("solid") / "model"
    train(out, small("ldm-ddpm", 3, training__steps=2, space__training__steps=2), Textures((6, 9, 8), ("a",)))
    return out


@pytest.mark.parametrize("which", ["flat", "solid"])
def test_samples_do_not_depend_on_batch_subset_order_or_workers(which: str, request) -> None:
    model = Augmenter.load(request.getfixturevalue(which))
    told = Textures(model.card.shape[1:], model.card.intensity and tuple(c.name for c in model.card.intensity.channels)).draw(
        ("c",), range(11)
    )
    table = told.table.assign(level=told.table["level"].clip(model.conditions.scalars[0].low, model.conditions.scalars[0].high))
    whole = model.sample(told.labels, table, key=KEY, indices=range(11))
    assert whole.shape == (11, *model.card.shape) and whole.dtype == np.uint16
    assert len({image.tobytes() for image in whole}) == 11
    for size in (1, 3, 8):
        for workers in (1, 2):
            for start in range(0, 11, size):
                rows = list(range(start, min(11, start + size)))
                got = model.sample(told.labels[rows], table.iloc[rows], key=KEY, indices=rows, workers=workers)
                assert np.array_equal(got, whole[rows]), (size, workers, start)
            if size == 1 and which == "solid":
                break
    rows = [9, 2, 5]
    assert np.array_equal(model.sample(told.labels[rows], table.iloc[rows], key=KEY, indices=rows), whole[rows])
    again = Augmenter.load(request.getfixturevalue(which))
    assert again.digest == model.digest
    assert np.array_equal(again.sample(told.labels, table, key=KEY, indices=range(11), workers=2), whole)
    assert not np.array_equal(model.sample(told.labels, table, key=("other",), indices=range(11)), whole)


def test_what_the_suite_asks_of_a_recipe_is_not_in_a_model(flat: Path) -> None:
    """Another budget of the test suite must not give other samples: their noise is keyed by the card."""
    card = read_card(flat)
    told = card.model_dump(mode="json")
    told["recipe"]["reach"] = {"measure": "kid", "at_most": 0.5, "options": {"training.steps": 7}}
    assert card.recipe.reach is None and ModelCard.model_validate(told) == card


def request_for(model: Augmenter, n: int):
    told = Textures(model.card.shape[1:]).draw(("c",), range(n))
    scalar = model.conditions.scalars[0]
    return told.labels, told.table.assign(level=told.table["level"].clip(scalar.low, scalar.high))


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_runs_and_guidance_matters(flat: Path, sampler: str) -> None:
    model = Augmenter.load(flat)
    labels, table = request_for(model, 2)
    plain = model.sample(labels, table, key=KEY, indices=range(2), sampler=sampler, steps=3, guidance=1.0)
    guided = model.sample(labels, table, key=KEY, indices=range(2), sampler=sampler, steps=3, guidance=3.0)
    assert not np.array_equal(plain, guided)


def test_reconstruction_goes_through_the_space(flat: Path, tmp_path: Path) -> None:
    model = Augmenter.load(flat)
    images = Textures((13, 18)).draw(("r",), range(11)).images
    back = model.reconstruct(images)
    assert back is not None and back.shape == images.shape and back.dtype == images.dtype
    assert np.corrcoef(back.ravel(), images.ravel())[0, 1] > 0.9  # it starts at the principal components
    assert np.array_equal(model.reconstruct(images[:3]), back[:3])
    with pytest.raises(InputError, match="shape"):
        model.reconstruct(images[..., :-1])
    train(tmp_path / "pixel", small("pixel-flow", training__steps=1))
    assert Augmenter.load(tmp_path / "pixel").reconstruct(images) is None


def test_requests_that_the_model_cannot_meet(flat: Path) -> None:
    model = Augmenter.load(flat)
    labels, table = request_for(model, 2)
    with pytest.raises(InputError, match="unknown-sampler"):
        model.sample(labels, table, key=KEY, indices=range(2), sampler="one-step")
    with pytest.raises(InputError, match="shape"):
        model.sample(labels[:, :8], table, key=KEY, indices=range(2))
    with pytest.raises(InputError, match="out-of-range"):
        model.sample(labels, table.assign(level=1e9), key=KEY, indices=range(2))


def test_what_is_not_a_model_is_refused(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not-a-model"):
        Augmenter.load(tmp_path)

    def damaged(name: str) -> Path:
        return Path(shutil.copytree(flat, tmp_path / name))

    other = damaged("format")
    card = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps(card | {"format": 99}))
    with pytest.raises(InputError, match="other-version"):
        Augmenter.load(other)
    (other / "model.json").write_text(json.dumps(card | {"novelty": 1}))
    with pytest.raises(InputError, match="other-version"):
        Augmenter.load(other)
    (other / "model.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        Augmenter.load(other)

    weights = damaged("weights")
    tensors = load_file(weights / "model.safetensors")
    save_file({f"x.{name}": value for name, value in tensors.items()}, weights / "model.safetensors")
    with pytest.raises(InputError, match="other-recipe"):
        Augmenter.load(weights)
    save_file(tensors, weights / "model.safetensors", {"sciimg": '{"recipe": "another"}'})  # the same shapes
    with pytest.raises(InputError, match="those of recipe 'another'"):
        Augmenter.load(weights)
    (weights / "model.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(InputError, match="damaged"):
        Augmenter.load(weights)


def test_the_digest_covers_weights_and_card(flat: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(flat, tmp_path / "copy"))
    assert Augmenter.load(copy).digest == Augmenter.load(flat).digest
    tensors = load_file(copy / "model.safetensors")
    name = next(iter(tensors))
    tensors[name] = tensors[name] + 1e-3
    save_file(tensors, copy / "model.safetensors")
    assert Augmenter.load(copy).digest != Augmenter.load(flat).digest
