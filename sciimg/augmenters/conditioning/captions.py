"""Captions: a template with fields, whose numbers become words as the training part has them. No torch.

Numbers stay numbers in every table. Where a third and two thirds of the training values end is learned once, with the rest of the schema,
on the training survey; training, calibration, holdout and generation turn numbers into words by these same two bounds, so that nothing of
the other parts leaks into what a word means.
"""

import re
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any

import numpy as np
import pandas as pd

from sciimg.augmenters.settings import Settings
from sciimg.errors import InputError, Problem
from sciimg.patches.conditions import fields_of

LEVELS = ("low", "middle", "high")
_FEW = 3  # numbers of so few values (a magnification) are said as they are


class CaptionField(Settings):
    """What a field of a template may say: one of ``values``; ``bounds`` end the lowest and the middle third of a number."""

    name: str
    values: tuple[str, ...]
    bounds: tuple[float, float] | None = None

    def word(self, value: Any) -> str:
        """Return what a person would say; what is a word of this field already stays."""
        if self.bounds is None:
            return _plain(value)
        if isinstance(value, str) and value in self.values:
            return value
        return LEVELS[int(np.searchsorted(self.bounds, float(value), side="left"))]


class TextSchema(Settings):
    """Captions as seen in training: how they are made, their words numbered from 1, and how many a caption may have."""

    name: str
    template: str
    fields: tuple[CaptionField, ...]
    words: tuple[str, ...]
    length: int

    def lacks(self, table: pd.DataFrame) -> list[str]:
        """Return the columns without which no caption can be had from a table."""
        if self.name in table:
            return []
        return [field.name for field in self.fields if field.name not in table] if self.fields else [self.name]

    def captions(self, table: pd.DataFrame) -> list[str]:
        """Return the caption of each row: the one that is written there, else made from the fields."""
        return _captions(self.name, self.template, self.fields, table)

    def unknown(self, captions: Sequence[str]) -> list[str]:
        """Return the words of captions that training never saw."""
        return sorted({word for caption in captions for word in words_of(caption)} - set(self.words))

    def problems(self, captions: Sequence[str]) -> list[Problem]:
        if unknown := self.unknown(captions):
            message = f"No caption of training has {', '.join(map(repr, unknown))}; say it with these words: {', '.join(self.words)}."
            return [Problem(self.name, "unseen-word", message)]
        return []


def learn_text(name: str, template: str, table: pd.DataFrame) -> TextSchema:
    """Return what captions of a training survey say.

    Parameters
    ----------
    name, template : str
        Of the condition.
    table : DataFrame
        A column a field; or a column ``name`` of finished captions.

    Raises
    ------
    InputError
        Kind ``constant-condition``: all captions are the same.
    """
    fields = () if name in table else tuple(_field(field, table[field]) for field in fields_of(template))
    captions = _captions(name, template, fields, table)
    if len(set(captions)) == 1:
        message = f"Captions must differ in the training part; all say {captions[0]!r}. Name a column or condition that varies."
        raise InputError(Problem(name, "constant-condition", message))
    if fields:  # words that the survey happens to lack, and the longest caption that there can be
        captions += [filled(template, {f.name: f.values[min(i, len(f.values) - 1)] for f in fields}) for i in range(_most(fields))]
        captions.append(filled(template, {f.name: max(f.values, key=lambda value: len(words_of(value))) for f in fields}))
    split = [words_of(caption) for caption in captions]
    words = tuple(sorted({word for caption in split for word in caption}))
    return TextSchema(name=name, template=template, fields=fields, words=words, length=max(map(len, split)))


def words_of(caption: str) -> list[str]:
    """Return the words of a caption: lower case, cut at blanks and punctuation, signs of numbers kept."""
    return re.findall(r"[-+]?\w+(?:\.\w+)*", caption.lower())


def filled(template: str, words: Mapping[str, str]) -> str:
    """Return a template with words in place of its fields; not ``str.format``, for which a dot in a field is a command."""
    return "".join(text + ("" if field is None else words[field]) for text, field, _, _ in Formatter().parse(template))


def _captions(name: str, template: str, fields: Sequence[CaptionField], table: pd.DataFrame) -> list[str]:
    if name in table:
        return [str(caption) for caption in table[name]]
    said: Mapping[str, list[str]] = {field.name: [field.word(value) for value in table[field.name]] for field in fields}
    return [filled(template, {field: column[row] for field, column in said.items()}) for row in range(len(table))]


def _field(name: str, values: "pd.Series[Any]") -> CaptionField:
    if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values) or values.nunique() <= _FEW:
        return CaptionField(name=name, values=tuple(sorted({_plain(value) for value in values})))
    low, high = np.quantile(values.to_numpy(float), [1 / 3, 2 / 3])
    return CaptionField(name=name, values=LEVELS, bounds=(float(low), float(high)))


def _most(fields: Sequence[CaptionField]) -> int:
    return max(len(field.values) for field in fields)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
