"""What a file says of physical sizes, what the user says, and how the two become one spacing: asked for, never assumed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sciimg.errors import Problem
from sciimg.io.faults import refuse
from sciimg.io.image import MEMORY_LIMIT
from sciimg.types import SPATIAL, Spacing, Unit

NANOMETRES: Mapping[Unit, float] = {"nanometer": 1.0, "micrometer": 1e3, "millimeter": 1e6}
AGREE = 0.01  # relative; headers round (0.667 for 2/3 mm), and nobody means a difference of one percent

# What formats write for a unit → our unit and the factor into it. "µ" is the micro sign or the Greek letter.
_UNITS: Mapping[str, tuple[Unit, float]] = {
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers"), ("nanometer", 1.0)),
    **dict.fromkeys(("å", "angstrom"), ("nanometer", 0.1)),
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "micrometre", "micrometers", "\\u00b5m"), ("micrometer", 1.0)),
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters"), ("millimeter", 1.0)),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), ("millimeter", 10.0)),
    **dict.fromkeys(("m", "meter", "metre"), ("millimeter", 1000.0)),
    **dict.fromkeys(("in", "inch", "inches"), ("millimeter", 25.4)),
}

# Print and screen resolutions (72 … 1200 dpi) stand in files that no microscope calibrated; a finer one is a physical scale.
PRINT_RESOLUTION_UM = 20.0


@dataclass(frozen=True)
class Wishes:
    """What the user says of a file before it is opened.

    Parameters
    ----------
    spacing : Spacing or None
        In z, y, x order, or one value for all axes. ``Spacing((1.0,), "pixel")`` says that no physical size is known, and never
        contradicts a file that knows one.
    override : bool
        Let ``spacing`` contradict the file.
    axes : str or None
        The axes, for files that hold a stack without naming them.
    memory_limit : int
        Bytes that one piece may take.
    burned_in : bool
        Accept pixels that are declared to show annotations.
    label : bool
        Labels are wanted, from files that hold them beside their image.
    """

    spacing: Spacing | None = None
    override: bool = False
    axes: str | None = None
    memory_limit: int = MEMORY_LIMIT
    burned_in: bool = False
    label: bool = False


@dataclass(frozen=True)
class Stated:
    """What a file says: spacing by spatial axis (axes it is silent about are absent), all in one unit."""

    values: Mapping[str, float] = field(default_factory=dict)
    unit: Unit | None = None

    @classmethod
    def of(cls, sizes: Mapping[str, tuple[float, str | None]]) -> "Stated":
        """Return the statement for sizes with unit texts as formats write them; sizes of no known physical unit are silence."""
        known = {axis: converted for axis, (value, unit) in sizes.items() if (converted := in_known_unit(value, unit))}
        if not known:
            return cls()
        unit = known["x"][1] if "x" in known else next(iter(known.values()))[1]
        return cls({axis: convert(value, own, unit) for axis, (value, own) in known.items()}, unit)


def in_known_unit(value: float, unit: str | None) -> tuple[float, Unit] | None:
    """Return a size in one of our units, or None when the size is not positive or the unit is no length."""
    ours = _UNITS.get((unit or "").strip().lower())
    if ours is None or not 0 < value < float("inf"):
        return None
    return value * ours[1], ours[0]


def convert(value: float, unit: Unit, to: Unit) -> float:
    """Return a length in another physical unit, exactly itself when the units agree."""
    return value if unit == to else value * NANOMETRES[unit] / NANOMETRES[to]


def calibrated(pixel_um: float) -> bool:
    """Whether a resolution tag without a calibration is finer than any printer or screen, so that it must be a physical scale."""
    return 0 < pixel_um < PRINT_RESOLUTION_UM


def settle(axes: str, stated: Stated, wishes: Wishes, where: str | Path) -> tuple[Spacing, tuple[Problem, ...]]:
    """Return the spacing of an image from what the file and the user say, with what is worth noting.

    Raises
    ------
    InputError
        Kind ``unknown-spacing`` (nobody says) or ``spacing-contradiction`` (they disagree by more than one percent).
    """
    needed = [a for a in axes if a in SPATIAL]
    given = _by_axis(wishes.spacing, needed)
    if _no_claim(wishes.spacing) and not wishes.override:
        silent = any(a not in stated.values for a in needed)
        return (Spacing((1.0,) * len(needed), "pixel") if silent else _in_one_unit({a: _stated(stated, a) for a in needed})), ()
    if wishes.spacing is not None and not wishes.override:
        _refuse_contradiction(stated, wishes.spacing.unit, given, needed, where)
    missing = [a for a in needed if a not in given and a not in stated.values]
    if missing:
        raise unknown_spacing(missing, stated, where)
    sizes: dict[str, tuple[float, Unit]] = {}
    for a in needed:  # what is not contradicted stays the file's own, to the last digit
        own = a in stated.values and not (wishes.override and a in given)
        sizes[a] = _stated(stated, a) if own or wishes.spacing is None else (given[a], wishes.spacing.unit)
    notes = _note_override(stated, needed, where) if wishes.override and given else ()
    return _in_one_unit(sizes), notes


def unknown_spacing(missing: list[str], stated: Stated, where: str | Path) -> Exception:
    """Return the error that asks for a spacing."""
    knows = f" (it says {_text(stated.values)} {stated.unit} for the others)" if stated.values else ""
    message = (
        f"The distance between samples must be known; the file does not say it for {', '.join(missing)}{knows}. Give it: "
        "`--spacing Z,Y,X --unit UNIT` on the command line or `sources[i].spacing` and `unit` in a study; `--unit pixel` says openly "
        "that no physical size is known."
    )
    return refuse(where, "unknown-spacing", message)


def _stated(stated: Stated, axis: str) -> tuple[float, Unit]:
    assert stated.unit is not None  # values come with their unit
    return stated.values[axis], stated.unit


def _in_one_unit(sizes: Mapping[str, tuple[float, Unit]]) -> Spacing:
    units = {unit for _, unit in sizes.values()}
    if "pixel" in units and len(units) > 1:  # lengths and pixel numbers cannot be compared: no axis has a physical size then
        return Spacing(tuple(value if unit == "pixel" else 1.0 for value, unit in sizes.values()), "pixel")
    unit = sizes["x"][1]
    return Spacing(tuple(float(convert(value, own, unit)) for value, own in sizes.values()), unit)


def _note_override(stated: Stated, needed: list[str], where: str | Path) -> tuple[Problem, ...]:
    if not any(a in stated.values for a in needed):
        return ()
    message = f"The file says {_text(stated.values)} {stated.unit}; the given spacing is used because the file was overridden."
    return (Problem(str(where), "spacing-overridden", message),)


def _refuse_contradiction(stated: Stated, unit: Unit, given: Mapping[str, float], needed: list[str], where: str | Path) -> None:
    both = [a for a in needed if a in given and a in stated.values]
    if not both or stated.unit is None:
        return
    if unit != "pixel" and all(abs(convert(given[a], unit, stated.unit) / stated.values[a] - 1) <= AGREE for a in both):
        return
    message = (
        f"A given spacing must agree with the file; the file says {_text({a: stated.values[a] for a in both})} {stated.unit}, given is "
        f"{_text({a: given[a] for a in both})} {unit}. Leave the spacing out, or insist with --override-spacing."
    )
    raise refuse(where, "spacing-contradiction", message)


def _no_claim(spacing: Spacing | None) -> bool:
    return spacing is not None and spacing.unit == "pixel" and all(v == 1 for v in spacing.values)


def _by_axis(spacing: Spacing | None, needed: list[str]) -> dict[str, float]:
    if spacing is None:
        return {}
    if len(spacing.values) == 1:
        return dict.fromkeys(needed, spacing.values[0])
    return dict(zip(reversed(SPATIAL), reversed(spacing.values), strict=False))


def _text(values: Mapping[str, float]) -> str:
    return ", ".join(f"{a}={v:.6g}" for a, v in values.items())
