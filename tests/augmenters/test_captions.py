"""Captions: numbers become words as the training part has them, everywhere alike."""

import numpy as np
import pandas as pd
import pytest

from sciimg.augmenters.conditioning.captions import learn_text, words_of
from sciimg.augmenters.conditioning.encoder import numbered
from sciimg.errors import InputError

TEMPLATE = "{stain} tissue, {level} stained at {acquisition.magnification}x"
TRAINING = pd.DataFrame({"stain": ["DAB", "H&E"] * 15, "level": np.arange(30.0), "acquisition.magnification": [20.0, 40.0, 20.0] * 10})


def text():
    return learn_text("caption", TEMPLATE, TRAINING)


def test_numbers_become_thirds_of_the_training_part_whatever_they_are_compared_with() -> None:
    told = text().captions(TRAINING)
    assert [sum(word in caption for caption in told) for word in ("low", "middle", "high")] == [10, 10, 10]
    assert told[0] == "DAB tissue, low stained at 20x"
    elsewhere = pd.DataFrame({"stain": ["DAB"] * 3, "level": [1e3, 2e3, 3e3], "acquisition.magnification": [40.0] * 3})
    assert text().captions(elsewhere) == ["DAB tissue, high stained at 40x"] * 3  # not low, middle and high among themselves


def test_a_finished_caption_is_taken_as_it_is() -> None:
    assert text().captions(pd.DataFrame({"caption": ["low stained DAB"]})) == ["low stained DAB"]


def test_words_are_numbered_with_room_for_the_longest_caption() -> None:
    schema = text()
    tokens = numbered(schema, schema.captions(TRAINING))
    assert tokens.shape == (30, schema.length) and (tokens[:, 0] > 0).all()
    first = [schema.words[number - 1] for number in tokens[0] if number]
    assert first == words_of("dab tissue low stained at 20x")


def test_every_value_has_its_words_even_where_no_caption_of_the_survey_joins_them() -> None:
    table = pd.DataFrame({"a": ["x", "y", "long name of many words"], "b": [1.0, 2.0, 30.0]})
    schema = learn_text("caption", "{a} and {b}", table)
    for caption in ("long name of many words and 30", "x and 2", "y and 1"):
        assert not schema.unknown([caption]) and len(words_of(caption)) <= schema.length


def test_words_that_training_never_had_are_named_with_those_it_had() -> None:
    (problem,) = text().problems(["violet DAB tissue", "low stained"])
    assert problem.kind == "unseen-word" and "'violet'" in problem.message and "stained" in problem.message
    assert not text().problems(["low DAB"])


def test_captions_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(InputError, match="constant-condition"):
        learn_text("caption", "{stain} tissue", TRAINING.assign(stain="DAB"))


def test_what_a_table_lacks_for_captions() -> None:
    assert text().lacks(TRAINING.drop(columns="level")) == ["level"]
    assert text().lacks(TRAINING) == text().lacks(pd.DataFrame({"caption": ["low"]})) == []
