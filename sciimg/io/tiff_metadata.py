"""What a TIFF says besides pixels: spacing, channels and acquisition, in the dialects OME, ImageJ, MetaMorph, LSM, SVS, NDPI or plain."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sciimg.io import ome
from sciimg.io.spacing import Stated, calibrated
from sciimg.io.xml import number
from sciimg.types import Channel

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

    from sciimg.io.tiff_ome import OmeSet

_UM_PER_UNIT = {2: 25_400.0, 3: 10_000.0}  # TIFF 6.0, tag ResolutionUnit: 2 inch, 3 centimetre
_PERSONAL_TAGS = ("Artist", "HostComputer", "CameraOwnerName", "GPSTag")
_NDPI_PERSONAL = {65427: "Reference", 65468: "Barcode"}
_SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "µs": 1e-6, "sec": 1.0}


@dataclass(frozen=True)
class Said:
    """What the metadata say; ``personal`` names fields that may identify somebody."""

    spacing: Stated = field(default_factory=Stated)
    channels: tuple[Channel, ...] = ()
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    personal: tuple[str, ...] = ()


def metadata_of(tif: "TiffFile", series: "TiffPageSeries", described: "OmeSet | None" = None) -> Said:
    """Return what the file's own dialect says; silence is an empty answer."""
    personal = tuple(name for name in _PERSONAL_TAGS if str(series.keyframe.tags.valueof(name) or "").strip())
    return replace(said := _dialect(tif, series, described), personal=(*personal, *said.personal))


def _dialect(tif: "TiffFile", series: "TiffPageSeries", described: "OmeSet | None") -> Said:
    if described is not None:
        root, image, pixels = described.root, described.image, described.pixels
        return Said(ome.spacing(pixels), ome.channels(pixels), ome.acquisition(root, image), ome.personal(root))
    if tif.is_imagej and tif.imagej_metadata:
        return _imagej(tif.imagej_metadata, series)
    if tif.is_stk and tif.stk_metadata:
        return _metamorph(tif.stk_metadata)
    if tif.is_lsm and tif.lsm_metadata:
        return _lsm(tif.lsm_metadata)
    if tif.is_svs:
        return _aperio(series)
    if tif.is_ndpi:
        return _hamamatsu(series)
    return Said(_tags(series))


def _lsm(said: Mapping[str, Any]) -> Said:
    """Zeiss LSM (tag 34412): voxel sizes in metres; names of channels; the objective where the scan recorded it."""
    sizes = {a: (float(said.get(f"VoxelSize{a.upper()}", 0) or 0), "m") for a in "zyx"}
    step = float(said.get("TimeIntervall", said.get("TimeInterval", 0)) or 0)
    names = (said.get("ChannelColors") or {}).get("ColorNames") or ()
    found: dict[str, Any] = {"time_step_s": step} if step > 0 and int(said.get("DimensionTime", 1)) > 1 else {}
    objective = str((said.get("ScanInformation") or {}).get("Objective") or "")
    if power := re.search(r"(\d+(?:\.\d+)?)\s*x\s*/\s*(\d+(?:[.,]\d+)?)", objective):  # Plan-Apochromat 63x/1.40 Oil DIC
        found |= {"magnification": float(power[1]), "numerical_aperture": float(power[2].replace(",", "."))}
    return Said(_in_micrometres(sizes), tuple(Channel(str(name)) for name in names), found)


def _in_micrometres(sizes: Mapping[str, tuple[float, str]]) -> Stated:
    return Stated.of({axis: (value * 1e6, "µm") for axis, (value, _) in sizes.items()})


def _aperio(series: "TiffPageSeries") -> Said:
    """Aperio SVS: ``MPP`` (µm a pixel) and ``AppMag`` in the description of the first page; the slide's label may name a person."""
    pairs = (item.partition("=") for item in series.keyframe.description.split("|")[1:])
    said = {key.strip(): value.strip() for key, _, value in pairs}
    mpp, magnification = number(said.get("MPP")), number(said.get("AppMag"))
    personal = tuple(f"ImageDescription {key}" for key in ("User", "Title", "Barcode", "Patient") if said.get(key))
    found = {"magnification": magnification} if magnification > 0 else {}
    stated = Stated.of(dict.fromkeys("yx", (mpp, "µm"))) if mpp > 0 else _tags(series)
    return Said(stated, acquisition=found, personal=personal)


def _hamamatsu(series: "TiffPageSeries") -> Said:
    """Hamamatsu NDPI: resolution in the tags; objective power in tag 65421; barcode and patient's reference in tags of their own."""
    power = number(str(series.keyframe.tags.valueof(65421) or ""))
    personal = tuple(name for tag, name in _NDPI_PERSONAL.items() if str(series.keyframe.tags.valueof(tag) or "").strip())
    return Said(_tags(series), acquisition={"magnification": power} if power > 0 else {}, personal=personal)


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
