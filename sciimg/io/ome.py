"""What OME-XML (schema 2016-06) says of an image: spacing, channels with wavelengths, and how it was taken.

Only what is on the list below is kept. Experimenters, descriptions, dates and names of files are not.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from sciimg.io.spacing import Stated
from sciimg.io.xml import children, first, number
from sciimg.types import Channel

# Metres by unit (schema 2016-06, UnitsLength; the letters' case matters: Mm is not mm). "pixel" and "reference frame" are no lengths.
_METRES: Mapping[str, float] = {
    **{"Ym": 1e24, "Zm": 1e21, "Em": 1e18, "Pm": 1e15, "Tm": 1e12, "Gm": 1e9, "Mm": 1e6, "km": 1e3, "hm": 1e2, "dam": 1e1, "m": 1.0},
    **{"dm": 1e-1, "cm": 1e-2, "mm": 1e-3, "µm": 1e-6, "μm": 1e-6, "um": 1e-6, "nm": 1e-9, "pm": 1e-12, "fm": 1e-15, "am": 1e-18},
    **{
        "zm": 1e-21,
        "ym": 1e-24,
        "\u212b": 1e-10,
        "\u00c5": 1e-10,
        "thou": 2.54e-5,
        "li": 2.54e-2 / 12,
        "in": 2.54e-2,
        "ft": 0.3048,
        "yd": 0.9144,
    },
    **{"mi": 1609.344, "ua": 149_597_870_700.0, "ly": 9_460_730_472_580_800.0, "pc": 3.0856775814913673e16, "pt": 2.54e-2 / 72},
}
_KEPT = {"nm": "nm", "µm": "µm", "μm": "µm", "um": "µm", "mm": "mm"}  # units that stay as they are, to the last digit
# Seconds by unit (UnitsTime).
_SECONDS: Mapping[str, float] = {
    **{"Ys": 1e24, "Zs": 1e21, "Es": 1e18, "Ps": 1e15, "Ts": 1e12, "Gs": 1e9, "Ms": 1e6, "ks": 1e3, "hs": 1e2, "das": 1e1, "s": 1.0},
    **{"ds": 1e-1, "cs": 1e-2, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9, "ps": 1e-12, "fs": 1e-15, "as": 1e-18, "zs": 1e-21},
    **{"ys": 1e-24, "min": 60.0, "h": 3600.0, "d": 86400.0},
}
_PERSONAL = ("Experimenter", "ExperimenterGroup")
# How a word for what an objective is immersed in begins, in lower case, and what OME calls it.
_IMMERSIONS = {
    "waterdip": "WaterDipping",
    "dip": "WaterDipping",
    "wat": "Water",
    "oil": "Oil",
    "gly": "Glycerol",
    "air": "Air",
    "dry": "Air",
    "multi": "Multi",
    "imm": "Multi",
}
_COLOURS = ("red", "green", "blue", "alpha")


def seconds(value: str | None, unit: str | None) -> float:
    """Return a duration in seconds, 0 where there is none or its unit is unknown."""
    return number(value) * _SECONDS.get(unit or "s", 0.0)


def length(value: str | None, unit: str | None) -> tuple[float, str | None]:
    """Return a length with a unit that :class:`Stated` knows; None as the unit where it is no length."""
    size = number(value)
    if unit in _KEPT:
        return size, _KEPT[unit]
    metres = _METRES.get(unit or "")
    return (size, None) if metres is None else (size * (metres / 1e-6), "µm")


def spacing(pixels: Element) -> Stated:
    """Return PhysicalSizeX/Y/Z; they are in µm unless a unit says otherwise."""
    return Stated.of({a: length(pixels.get(f"PhysicalSize{a.upper()}"), pixels.get(f"PhysicalSize{a.upper()}Unit", "µm")) for a in "zyx"})


def channels(pixels: Element) -> tuple[Channel, ...]:
    """Return one entry a channel; a colour channel of three samples becomes red, green and blue."""
    found: list[Channel] = []
    for count, element in enumerate(children(pixels, "Channel")):
        samples = int(number(element.get("SamplesPerPixel", "1"))) or 1
        name = element.get("Name") or f"channel-{count}"
        if samples == 1:
            found.append(Channel(name, _nanometres(element, "EmissionWavelength")))
        elif samples in (3, 4):
            found += [Channel(colour) for colour in _COLOURS[:samples]]
        else:
            found += [Channel(f"{name}-{i}") for i in range(samples)]
    return tuple(found)


def acquisition(root: Element, image: Element) -> dict[str, Any]:
    """Return how an image was taken.

    Returns
    -------
    dict
        ``time_step_s``, ``significant_bits``, ``magnification``, ``numerical_aperture``, ``immersion``, ``refractive_index``; and, one
        value a channel (None where unknown): ``exposure_s``, ``excitation_nm``, ``emission_nm``, ``gain``.
    """
    pixels = first(image, "Pixels")
    if pixels is None:
        return {}
    objective = _referred(root, image)
    settings = first(image, "ObjectiveSettings")
    own = children(pixels, "Channel")
    found: dict[str, Any] = {
        "time_step_s": seconds(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit")),
        "significant_bits": int(number(pixels.get("SignificantBits"))),
        "magnification": number(objective.get("NominalMagnification")) if objective is not None else 0.0,
        "numerical_aperture": number(objective.get("LensNA")) if objective is not None else 0.0,
        "immersion": immersion(objective.get("Immersion")) if objective is not None else "",
        "refractive_index": number(settings.get("RefractiveIndex")) if settings is not None else 0.0,
        "exposure_s": _exposures(pixels, len(own)),
        "excitation_nm": [_nanometres(c, "ExcitationWavelength") for c in own],
        "emission_nm": [_nanometres(c, "EmissionWavelength") for c in own],
        "gain": [_gain(c) for c in own],
    }
    return {k: v for k, v in found.items() if (any(e is not None for e in v) if isinstance(v, list) else v)}


def immersion(said: str | None) -> str:
    """Return what an objective is immersed in, in OME's words; anything else is a text that somebody typed, and empty."""
    word = (said or "").strip().lower()
    return next((ours for begins, ours in _IMMERSIONS.items() if word and word.startswith(begins)), "")


def personal(root: Element) -> tuple[str, ...]:
    """Return the names of elements that may say who took or gave the image."""
    return tuple(name for name in _PERSONAL if any(element.attrib.keys() - {"ID"} for element in children(root, name)))


def _referred(root: Element, image: Element) -> Element | None:
    """Return the objective that the image's settings name, else the only one there is."""
    objectives = children(root, "Instrument", "Objective")
    settings = first(image, "ObjectiveSettings")
    if settings is not None:
        return next((o for o in objectives if o.get("ID") == settings.get("ID")), None)
    return objectives[0] if len(objectives) == 1 else None


def _exposures(pixels: Element, count: int) -> list[float | None]:
    """Return the exposure of each channel where all of its planes agree on one."""
    by_channel: dict[int, set[float]] = {}
    for plane in children(pixels, "Plane"):
        if (value := seconds(plane.get("ExposureTime"), plane.get("ExposureTimeUnit"))) > 0:
            by_channel.setdefault(int(number(plane.get("TheC"))), set()).add(value)
    return [_only(by_channel.get(c, ())) for c in range(count)]


def _only(values: Iterable[float]) -> float | None:
    found = list(values)
    return found[0] if len(found) == 1 else None


def _gain(channel: Element) -> float | None:
    settings = first(channel, "DetectorSettings")
    return (number(settings.get("Gain")) or None) if settings is not None else None


def _nanometres(channel: Element, attribute: str) -> float | None:
    stated = Stated.of({"x": length(channel.get(attribute), channel.get(f"{attribute}Unit", "nm"))})
    if stated.unit is None:
        return None
    return stated.values["x"] * {"nanometer": 1.0, "micrometer": 1e3, "millimeter": 1e6}[stated.unit]
