"""Numbers and lists as people read them, and what each metric is called and means."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from sciimg.protocol.vocabulary import FOLDS
from sciimg.records import Metric
from sciimg.review.typesetting import templates

MINUS = "\N{MINUS SIGN}"
OUTLIERS = "-outliers"  # ends the name of the share of samples that a physics check finds odd by themselves
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Caption:
    """What a metric is called, which family it belongs to, and what it says in one sentence; a ``detail`` goes to the appendix."""

    family: str
    title: str
    says: str
    detail: bool = False


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with ``digits`` significant digits, without needless zeros, with a true minus sign."""
    if value is None:
        return "none"
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value)).replace("-", MINUS)
    size = abs(value)
    if size < 10**-digits or size >= 1e6:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        return f"{float(mantissa):g} × 10{str(int(exponent)).translate(_RAISED)}".replace("-", MINUS)
    return f"{value:.{digits}g}".replace("-", MINUS) if size < 10**digits else f"{value:.0f}".replace("-", MINUS)


def with_interval(value: float, ci: tuple[float, float] | None) -> str:
    """Return ``value [low, high]`` with the decimals that two digits of the interval's width need (four digits at most), or the value."""
    width = 0.0 if ci is None else ci[1] - ci[0]
    if ci is None or not 1e-5 <= width < 1e6:
        return number(value) if ci is None else f"{number(value)} [{number(ci[0])}, {number(ci[1])}]"
    largest = max(abs(v) for v in (value, *ci))
    decimals = max(0, min(1 - math.floor(math.log10(width)), 3 - math.floor(math.log10(largest))))
    while decimals < 6 and any(end and not float(f"{end:.{decimals}f}") for end in ci):  # an end's sign decides: it must be seen
        decimals += 1
    shown, low, high = (_fixed(v, decimals) for v in (value, *ci))
    return f"{shown} [{low}, {high}]"


def _fixed(value: float, decimals: int) -> str:
    said = f"{value:.{decimals}f}"
    return said.removeprefix("-") if float(said) == 0 else said.replace("-", MINUS)


def estimate(metric: Metric) -> str:
    """Return value and 95 % interval, or why there is no value."""
    return f"undefined: {metric.reason}" if metric.value is None else with_interval(metric.value, metric.ci95)


def null(metric: Metric | None) -> str:
    """Return what the same metric gives between two real sets."""
    if metric is None or metric.null is None:
        return "no real-versus-real value"
    return with_interval(metric.null.value, metric.null.ci95)


def listed(items: Iterable[str], last: str = "and") -> str:
    """Return ``a, b and c``."""
    words = list(items)
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


def count(n: int, one: str, many: str | None = None) -> str:
    """Return ``1 image`` or ``5 images``."""
    return f"{grouped(n)} {one if n == 1 else many or one + 's'}"


def grouped(n: int) -> str:
    """Return a whole number with its thousands set apart."""
    return f"{n:,}".replace(",", "\N{THIN SPACE}")


def sentence(text: str) -> str:
    """Return text that begins with a capital and ends with a full stop."""
    text = " ".join(text.split())
    if not text:
        return ""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")


def plain(value: Any) -> str:
    """Return an option of a recipe or another JSON value as short text."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return number(value, 4)
        case None:
            return "none"
        case str():
            return value
        case list() | tuple():
            return ", ".join(plain(v) for v in value)
        case dict():
            return "; ".join(f"{k} {plain(v)}" for k, v in value.items())
        case _:
            return str(value)


# ---------------------------------------------------------------- words kept as data


def text(name: str, **values: Any) -> str:
    """Return a sentence of ``captions.yaml`` with its names filled in."""
    return str(_file()["texts"][name]).strip().format(**values)


# ---------------------------------------------------------------- captions of metrics


def caption(name: str) -> Caption:
    """Return what is known of a metric by its name; an unknown one keeps its name and has no description."""
    plain_name = name.removesuffix(FOLDS).replace("_", "-")
    whole, _, column = plain_name.removesuffix("-paired").partition("-worst-")
    suffix = f", in the worst subgroup of {column}" if column else ", on conditions of the holdout" if whole != plain_name else ""
    whole, single = whole.removesuffix(OUTLIERS), whole.endswith(OUTLIERS)
    suffix = (", samples unlike real ones" if single else "") + suffix + (", over folds" if name.endswith(FOLDS) else "")
    for pattern, template in _captions():
        if found := pattern.fullmatch(whole):
            title = found.expand(template.title).strip() + suffix
            says = text("outliers") if single else found.expand(template.says)
            return Caption("subgroups" if column else template.family, title, says, template.detail)
    return Caption("other", name, "")


def families() -> Sequence[tuple[str, str, str]]:
    """Return (name, title, lead) of the families of metrics, in the order of the report."""
    return [(f["name"], f["title"], f["lead"]) for f in _file()["families"]]


@cache
def _file() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((templates() / "captions.yaml").read_text(encoding="utf-8"))
    return value


@cache
def _captions() -> tuple[tuple[re.Pattern[str], Caption], ...]:
    return tuple((re.compile(m["name"]), Caption(m["family"], m["title"], m["says"], m.get("detail", False))) for m in _file()["metrics"])
