"""What a model was told while it learned: the conditions, their ranges and categories. Written beside the weights; no torch here."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from sciimg.augmenters.conditioning.captions import TextSchema, learn_text
from sciimg.augmenters.intensity import IntensityScale, learn_scale
from sciimg.augmenters.settings import Settings
from sciimg.errors import InputError, Problem
from sciimg.protocol.data import ClassCondition, Condition, ImageCondition, MaskCondition, ScalarCondition, TextCondition
from sciimg.types import LabelKind, PatchSet

_BEYOND = 0.1  # share of the trained range by which a scalar may leave it


class ScalarRange(Settings):
    """A scalar condition as seen in training."""

    name: str
    mean: float
    std: float
    low: float
    high: float


class Categories(Settings):
    """A class condition as seen in training."""

    name: str
    values: tuple[str, ...]


class MaskSchema(Settings):
    """The label image as seen in training; ``classes`` is the largest class number (0 for instances)."""

    name: str
    kind: LabelKind
    classes: int = 0

    @property
    def maps(self) -> int:
        """Background, foreground and inner boundary for instances; one channel a class, background included, otherwise."""
        return 3 if self.kind == "instances" else self.classes + 1


class ImageSchema(Settings):
    """Channels that are given; ``made`` where they are made as well, and the given image is only like the one to make."""

    name: str
    scale: IntensityScale
    made: bool = False

    @property
    def channels(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.scale.channels)

    @property
    def only_given(self) -> tuple[str, ...]:
        """Channels that are not made."""
        return () if self.made else self.channels


class ConditionSchema(Settings):
    """Everything needed to turn labels, a table and source images into tensors, and to refuse what was never seen."""

    mask: MaskSchema | None = None
    scalars: tuple[ScalarRange, ...] = ()
    classes: tuple[Categories, ...] = ()
    image: ImageSchema | None = None
    text: TextSchema | None = None
    symmetry: int = Field(default=0, description="Length of the augmentation label.")

    @property
    def maps(self) -> int:
        return self.mask.maps if self.mask else 0

    @property
    def spatial(self) -> int:
        """Channels of everything that is told at places."""
        return self.maps + (len(self.image.channels) if self.image else 0)

    @property
    def words(self) -> int:
        return len(self.text.words) if self.text else 0

    @property
    def vector(self) -> int:
        return len(self.scalars) + sum(len(c.values) for c in self.classes) + self.symmetry

    def check(self, labels: NDArray[np.int32] | None, table: pd.DataFrame, source: NDArray[Any] | None = None) -> None:
        """Refuse conditions that the model does not know.

        Raises
        ------
        InputError
            Kinds ``no-mask``, ``no-source``, ``not-finite``, ``unseen-class``, ``unseen-word``, ``missing-condition``, ``out-of-range``.
        """
        problems = [*self._mask_problems(labels)]
        if self.image is not None and source is None:
            verb = "follows images of" if self.image.made else "turns into other images"
            message = f"The model {verb} {', '.join(self.image.channels)}; give source images (--source)."
            problems.append(Problem(self.image.name, "no-source", message))
        elif self.image is not None and source is not None and not np.isfinite(source).all():
            message = "The source images hold NaN or infinity. Ingest them again, or leave them out."
            problems.append(Problem(self.image.name, "not-finite", message))
        missing = self.text.lacks(table) if self.text else []
        known = [*(s.name for s in self.scalars), *(c.name for c in self.classes)]
        for name in dict.fromkeys([*known, *missing]):
            if name not in table:
                problems.append(Problem(name, "missing-condition", f"The model was trained with condition {name!r}; give a value for it."))
        for scalar in self.scalars:
            if scalar.name in table:
                problems += _range_problems(scalar, table[scalar.name].to_numpy(dtype=float))
        for category in self.classes:
            if category.name in table:
                unseen = sorted(set(table[category.name].astype(str)) - set(category.values))
                if unseen:
                    message = f"Values {unseen} were never seen in training; the model knows {list(category.values)}."
                    problems.append(Problem(category.name, "unseen-class", message))
        if self.text is not None and not problems:  # a wrong value would be told again as a wrong word
            problems += self.text.problems(self.text.captions(table))
        if problems:
            raise InputError(problems)

    def _mask_problems(self, labels: NDArray[np.int32] | None) -> list[Problem]:
        if self.mask is None:
            return []
        if labels is None:
            return [Problem(self.mask.name, "no-mask", "The model is conditioned on a mask; give one for each sample (--mask).")]
        top = int(labels.max(initial=0))
        if self.mask.kind == "classes" and (top > self.mask.classes or int(labels.min(initial=0)) < 0):
            message = f"The mask has class {top}; the model was trained with classes 0 to {self.mask.classes}."
            return [Problem(self.mask.name, "unseen-class", message)]
        return []


def _range_problems(scalar: ScalarRange, values: NDArray[np.float64]) -> list[Problem]:
    margin = _BEYOND * (scalar.high - scalar.low)
    wrong = values[~((values >= scalar.low - margin) & (values <= scalar.high + margin))]  # NaN is wrong too
    if not wrong.size:
        return []
    message = (
        f"Training saw values from {scalar.low:g} to {scalar.high:g}; got {wrong[0]:g} ({wrong.size} values are outside). Choose inside."
    )
    return [Problem(scalar.name, "out-of-range", message)]


def learn_schema(
    patches: PatchSet, conditions: tuple[Condition, ...], classes: int, symmetry: int, uses: Sequence[str] | None = None
) -> ConditionSchema:
    """Return the schema of a training sample.

    Parameters
    ----------
    patches : PatchSet
        A representative draw of the training part.
    conditions : tuple of Condition
        As in the study.
    classes : int
        Largest class number of the labels in the collection (0 for instances).
    symmetry : int
        Length of the augmentation label.
    uses : sequence of str, optional
        Kinds of condition that the recipe listens to; all when left out.
    """
    parts: dict[str, Any] = {"scalars": (), "classes": (), "symmetry": symmetry}
    problems: list[Problem] = []
    for condition in conditions:
        if uses is not None and condition.kind not in uses:
            continue
        match condition:
            case MaskCondition(name=name):
                if patches.labels is None or patches.label_kind is None:
                    problems.append(Problem(name, "no-labels", "A mask condition needs labels in the collection; ingest with labels."))
                elif not patches.labels.any():
                    message = "No mask of the training part has anything in it. Check that masks and images belong together."
                    problems.append(Problem(name, "empty-masks", message))
                else:
                    parts["mask"] = MaskSchema(name=name, kind=patches.label_kind, classes=classes)
            case ScalarCondition(name=name):
                values = patches.table[name].to_numpy(dtype=float)
                if not np.isfinite(values).all() or values.std() == 0:
                    problems.append(
                        Problem(name, "constant-condition", "A scalar condition needs finite, varying values in the training part.")
                    )
                else:
                    mean, std, low, high = (float(f(values)) for f in (np.mean, np.std, np.min, np.max))
                    parts["scalars"] += (ScalarRange(name=name, mean=mean, std=std, low=low, high=high),)
            case ClassCondition(name=name):
                found = tuple(sorted(set(patches.table[name].astype(str))))
                if len(found) < 2:
                    message = (
                        f"Every training image is of class {found[0]!r}: there is nothing to tell. Leave the condition out, or add classes."
                    )
                    problems.append(Problem(name, "one-class", message))
                parts["classes"] += (Categories(name=name, values=found),)
            case ImageCondition(name=name, channels=channels, made=made):
                given = [patches.channels.index(channel) for channel in channels]
                parts["image"] = ImageSchema(name=name, scale=learn_scale(patches.images[:, given], channels), made=made)
            case TextCondition(name=name, template=template):
                parts["text"] = learn_text(name, template, patches.table)
    if problems:
        raise InputError(problems)
    return ConditionSchema(**parts)
