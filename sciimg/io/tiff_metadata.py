"""What a TIFF says besides pixels: spacing, channels and acquisition, in the dialects OME, ImageJ, MetaMorph, LSM and plain tags."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sciimg.io.spacing import Stated, calibrated
from sciimg.types import Channel

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF 6.0, tag ResolutionUnit: 2 inch, 3 centimetre
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "µs": 1e-6, "sec": 1.0}


@dataclass(frozen=True)
class Said:
    """What the metadata say."""

    spacing: Stated = field(default_factory=Stated)
    channels: tuple[Channel, ...] = ()
    acquisition: Mapping[str, Any] = field(default_factory=dict)


def metadata_of(tif: "TiffFile", series: "TiffPageSeries") -> Said:
    """Return what the file's own dialect says; silence is an empty answer."""
    if tif.is_ome and tif.ome_metadata:
        return _ome(tif.ome_metadata)
    if tif.is_imagej and tif.imagej_metadata:
        return _imagej(tif.imagej_metadata, series)
    if tif.is_stk and tif.stk_metadata:
        return _metamorph(tif.stk_metadata)
    if tif.is_lsm and tif.lsm_metadata:
        sizes = {a: (float(tif.lsm_metadata.get(f"VoxelSize{a.upper()}", 0)), "m") for a in "zyx"}
        return Said(Stated.of(sizes))
    return Said(_tags(series))


def _ome(xml: str) -> Said:
    """OME-XML (schema 2016-06): PhysicalSizeX/Y/Z are in µm unless a unit says otherwise."""
    root = ElementTree.fromstring(xml)
    space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
    pixels = root.find(f"{space}Image/{space}Pixels")
    if pixels is None:
        return Said()
    sizes = {a: (_number(pixels.get(f"PhysicalSize{a.upper()}")), pixels.get(f"PhysicalSize{a.upper()}Unit", "µm")) for a in "zyx"}
    acquisition: dict[str, Any] = {}
    step = _number(pixels.get("TimeIncrement")) * _SECONDS.get(pixels.get("TimeIncrementUnit", "s"), 0.0)
    if step > 0:
        acquisition["time_step_s"] = step
    if bits := int(_number(pixels.get("SignificantBits"))):
        acquisition["significant_bits"] = bits
    objective = root.find(f"{space}Instrument/{space}Objective")
    for key, attribute in (("magnification", "NominalMagnification"), ("numerical_aperture", "LensNA")):
        value = _number(objective.get(attribute)) if objective is not None else 0.0
        if value > 0:
            acquisition[key] = value
    return Said(Stated.of(sizes), _ome_channels(pixels, space), acquisition)


def _ome_channels(pixels: ElementTree.Element, space: str) -> tuple[Channel, ...]:
    """One entry a channel; a colour channel of three samples becomes red, green and blue."""
    channels: list[Channel] = []
    for number, element in enumerate(pixels.findall(f"{space}Channel")):
        samples = int(_number(element.get("SamplesPerPixel", "1"))) or 1
        name = element.get("Name") or f"channel-{number}"
        wavelength = Stated.of({"x": (_number(element.get("EmissionWavelength")), element.get("EmissionWavelengthUnit", "nm"))})
        nanometres = wavelength.values["x"] if wavelength.unit == "nanometer" else None
        colours = ("red", "green", "blue", "alpha")[:samples]
        channels += [Channel(name, nanometres)] if samples == 1 else [Channel(colour) for colour in colours]
    return tuple(channels)


def _imagej(said: Mapping[str, Any], series: "TiffPageSeries") -> Said:
    """ImageJ: ``unit`` in the description, ``spacing`` along z, pixels per unit in the resolution tags."""
    unit = str(said.get("unit", ""))
    sizes = {"z": (float(said.get("spacing", 0) or 0), unit)}
    sizes |= {axis: (1 / per_unit, unit) for axis, per_unit in _resolution(series).items()}
    if unit.startswith("inch") and not calibrated(sizes.get("x", (1.0, ""))[0] * _UM_PER_UNIT[2]):
        return Said()  # ImageJ keeps the 72 dpi of a picture it opened
    step = float(said.get("finterval", 0) or 0) * _SECONDS.get(str(said.get("tunit", "sec")), 0.0)
    return Said(Stated.of(sizes), acquisition={"time_step_s": step} if step > 0 else {})


def _metamorph(said: Mapping[str, Any]) -> Said:
    """MetaMorph STK (UIC tags): calibration in ``CalibrationUnits`` when ``SpatialCalibration`` is on; distances between planes."""
    if not said.get("SpatialCalibration"):
        return Said()
    unit = str(said.get("CalibrationUnits", ""))
    sizes = {"y": (float(said.get("YCalibration", 0)), unit), "x": (float(said.get("XCalibration", 0)), unit)}
    distances = said.get("ZDistance")
    if distances is not None and len(distances) > 1:
        sizes["z"] = (float(distances[1]), unit)
    return Said(Stated.of(sizes))


def _tags(series: "TiffPageSeries") -> Stated:
    """Plain resolution tags count only when they are finer than any printer: 72 dpi is a default, not a measurement."""
    tag = series.keyframe.tags.get("ResolutionUnit")
    um = _UM_PER_UNIT.get(int(tag.value)) if tag is not None else None
    sizes = {axis: (um / per_unit, "µm") for axis, per_unit in _resolution(series).items()} if um else {}
    return Stated.of({axis: size for axis, size in sizes.items() if calibrated(size[0])})


def _resolution(series: "TiffPageSeries") -> dict[str, float]:
    """Return pixels per unit along y and x, from the rational tags."""
    found = {}
    for axis, name in (("y", "YResolution"), ("x", "XResolution")):
        tag = series.keyframe.tags.get(name)
        numerator, denominator = (tag.value if tag is not None else (0, 0))[:2]
        if numerator > 0 and denominator > 0:
            found[axis] = numerator / denominator
    return found


def _number(text: str | None) -> float:
    """Return a number as XML attributes give it, 0 where there is none."""
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
