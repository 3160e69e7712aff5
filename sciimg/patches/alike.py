"""Images that are cut into patches together must be alike: the same spatial axes, channels, numbers, spacing and kind of labels."""

import pandas as pd

from sciimg.errors import Problem
from sciimg.types import SPATIAL

SAME = ("channels", "dtype", "spacing", "unit", "label_kind")


def alike_problems(rows: pd.DataFrame, patch_shape: tuple[int, ...]) -> list[Problem]:
    """Return what keeps the images of some rows of a catalogue from giving patches of one kind: ``dimensions``, ``mixed-images``."""
    problems = []
    spatial = rows["axes"].map(lambda axes: "".join(a for a in axes if a in SPATIAL))
    for axes, same in rows.groupby("axes", sort=True):
        if "t" in str(axes) or sum(a in SPATIAL for a in str(axes)) < len(patch_shape):
            message = (
                f"A patch of {len(patch_shape)} dimensions is cut from images with at least as many spatial axes and no time; {len(same)} "
                f"image(s) have the axes {axes}. Change patches.shape, or split the series into images."
            )
            problems.append(Problem(str(same["id"].iloc[0]), "dimensions", message))
    for name, column in [("spatial axes", spatial), *((name, rows[name]) for name in SAME)]:
        found = column.fillna("none").value_counts().sort_index()
        if len(found) > 1:
            shown = "; ".join(f"{value} ({count})" for value, count in found.head(5).items())
            message = f"All images that are cut into patches must have the same {name}; there are {shown}. Use one source a kind."
            problems.append(Problem("images", "mixed-images", message))
    return problems
