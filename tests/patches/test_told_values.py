"""What captions read: other conditions, columns of the catalogue, what the image files tell."""

import numpy as np
import pandas as pd
from patchsets import images_2d

from sciimg.patches.conditions import columns_of, condition_problems, condition_table, told_columns, with_acquisition
from sciimg.protocol.data import ScalarCondition, TextCondition

LEVEL = ScalarCondition(kind="scalar", name="level", measure="channel-mean", channel="a")
CAPTION = TextCondition(kind="text", template="{stain} tissue, {level} at {acquisition.magnification}x")
TOLD = {"one": {"magnification": 20.0, "preparation": []}, "two": {"magnification": 40.0}}
ROWS = pd.DataFrame({"id": ["one", "two"], "stain": ["DAB", "H&E"]})


def rows(template: str = CAPTION.template) -> pd.DataFrame:
    return with_acquisition(ROWS, (LEVEL, TextCondition(kind="text", template=template)), TOLD.__getitem__)


def test_a_caption_has_a_column_a_field_and_numbers_stay_numbers() -> None:
    patches = images_2d(np.stack([np.full((1, 4, 4), v, np.uint16) for v in (10, 30)]))
    level = LEVEL.model_copy(update={"channel": patches.channels[0]})
    table = condition_table(patches, (level, CAPTION), rows())
    assert tuple(table) == told_columns((level, CAPTION)) == ("level", "stain", "acquisition.magnification")
    assert table["level"].tolist() == [10.0, 30.0] and table["acquisition.magnification"].tolist() == [20.0, 40.0]
    assert columns_of((level, CAPTION)) == ("stain", "acquisition.magnification")


def test_a_field_that_nothing_tells_is_named_with_what_there_is() -> None:
    (problem,) = condition_problems((TextCondition(kind="text", template="{stian} tissue"),), ("a",), True, rows())
    assert problem.kind == "unknown-field" and "{stian}" in problem.message and "id, stain" in problem.message
    lost = "{acquisition.preparation}"  # a list is nothing that a person says
    (problem,) = condition_problems((TextCondition(kind="text", template=lost),), ("a",), True, rows(lost))
    assert problem.kind == "unknown-field" and "acquisition.NAME" in problem.message


def test_every_image_must_tell_it() -> None:
    (problem,) = condition_problems((TextCondition(kind="text", template="{stain}"),), ("a",), True, ROWS.assign(stain=["DAB", None]))
    assert problem.kind == "no-value" and "two" in problem.message
