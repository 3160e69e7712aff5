import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.training import fit
from sciimg.errors import InputError
from sciimg.generation.conditions import draw_conditions
from sciimg.generation.generate import generate
from sciimg.generation.masks import bending, perturbed
from sciimg.generation.request import requested
from sciimg.randomness import generator
from sciimg.store import Collection

KEY = ("study", "generate")


def test_a_condition_depends_on_its_index_alone() -> None:
    whole = draw_conditions(Textures(), range(12), KEY)
    part = draw_conditions(Textures(), [7, 2], KEY)
    assert np.array_equal(part.labels, whole.labels[[7, 2]])
    assert part.table.equals(whole.table.iloc[[7, 2]].reset_index(drop=True))
    assert part.groups == [whole.groups[7], whole.groups[2]]


def test_masks_are_new_but_keep_their_objects() -> None:
    source = Textures((32, 32))
    real = source.draw((*KEY, "conditions"), range(20)).labels
    made = draw_conditions(source, range(20), KEY).labels
    for before, after in zip(real, made, strict=True):
        assert set(np.unique(after)) <= set(np.unique(before))
    assert 0.75 < np.count_nonzero(made) / np.count_nonzero(real) < 1.33
    turns = [[np.rot90(m, k) for k in range(4)] for m in real]
    copies = sum(
        any(np.array_equal(after, t) or np.array_equal(after, t[:, ::-1]) for t in ts) for after, ts in zip(made, turns, strict=True)
    )
    assert copies <= 1  # a patch without objects has nothing to deform


def test_masks_are_not_turned_where_the_model_was_told_of_turns() -> None:
    source = Textures((32, 32))
    real = source.draw((*KEY, "conditions"), range(20)).labels > 0
    upright = draw_conditions(source, range(20), KEY, turn=False).labels > 0
    turned = draw_conditions(source, range(20), KEY).labels > 0

    def overlap(made: np.ndarray) -> float:
        return float((real & made).sum() / np.maximum(1, (real | made).sum()))

    assert overlap(upright) > 1.3 * overlap(turned)


def test_scalars_stay_inside_what_was_seen_and_classes_are_kept() -> None:
    source = Textures()
    made = draw_conditions(source, range(64), KEY)
    survey = source.draw((*KEY, "range"), range(256)).table["level"]
    assert made.table["level"].between(survey.min(), survey.max()).all()
    real = source.draw((*KEY, "conditions"), range(64)).table
    assert (made.table["kind"] == real["kind"]).all()
    moved = np.abs(made.table["level"] - real["level"])
    assert 0.02 < moved.mean() / survey.std() < 0.4


def test_a_volume_is_conditioned_in_the_same_way() -> None:
    made = draw_conditions(Textures((8, 12, 10), ("a",)), range(3), KEY)
    assert made.labels.shape == (3, 8, 12, 10) and made.labels.dtype == np.int32


def test_masks_are_bent_in_their_place_and_do_not_tear() -> None:
    """A ball of 10 voxels stays one piece and where it was, and is not the same ball."""
    z, y, x = np.indices((32, 32, 32)) - 15.5
    ball = (z**2 + y**2 + x**2 < 25).astype(np.int32)
    for i in range(20):
        bent = perturbed(ball, bending(ball.shape, generator("bend", i), turn=False))
        moved = np.array(ndimage.center_of_mass(bent)) - 15.5
        assert ndimage.label(bent)[1] == 1 and np.abs(moved).max() < 2.5
        assert not np.array_equal(bent, ball) and 0.5 < bent.sum() / ball.sum() < 1.6


def test_captions_are_made_of_what_is_asked_for(tmp_path: Path) -> None:
    out = tmp_path / "model"
    fit(shrunk(get_recipe("text-ldm")), Textures(), Textures(part="calibration"), CONDITIONS, key=("k",), out=out, provenance={})
    augmenter = Augmenter.load(out)
    text = augmenter.conditions.text
    made = requested(augmenter.card, 3, ["kind=dim", "level=high"], None, 0)
    assert text.captions(made.table) == ["dim discs, high level"] * 3
    drawn = requested(augmenter.card, 40, ["kind=dim"], None, 0)
    assert set(text.captions(drawn.table)) == {f"dim discs, {word} level" for word in ("low", "middle", "high")}
    written = requested(augmenter.card, 2, ["caption=bright discs"], None, 0)
    assert text.captions(written.table) == ["bright discs"] * 2
    with pytest.raises(InputError, match=r"'violet'.*bright, dim, discs.*unseen-word"):
        requested(augmenter.card, 2, ["caption=violet discs"], None, 0)
    with pytest.raises(InputError, match="level is said as low, middle, high; got 'vast'"):
        requested(augmenter.card, 2, ["level=vast"], None, 0)
    generate(out, tmp_path / "synthetic", draw_conditions(Textures(), range(2), KEY), seed=0, study=None, steps=1)
    said = [json.loads(row)["condition"]["caption"] for row in Collection(tmp_path / "synthetic").catalogue["lineage"]]
    assert said == text.captions(draw_conditions(Textures(), range(2), KEY).table)
