"""What the XML of a CZI says of the picture, from an allow-list; fields that name people are pointed out, never kept."""

import math
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from sciimg.io.image import default_channels
from sciimg.io.ome import immersion
from sciimg.io.personal import named_people
from sciimg.io.spacing import Stated
from sciimg.io.xml import children, first, number
from sciimg.types import Channel

_NANOSECOND = 1e-9  # the unit of ExposureTime


class Said:
    """What the XML says, from an allow-list; names of people are only ever named."""

    def __init__(self, root: Element | None) -> None:
        self.root = root
        self.people = named_people(root) if root is not None else ()
        self.image = first(root, "Metadata", "Information", "Image") if root is not None else None

    def length(self, axis: str) -> int:
        """Return how long the XML says an axis is, 0 where it does not."""
        return int(self._number(self.image, f"Size{axis.upper()}"))

    @property
    def spacing(self) -> Stated:
        """Distances in metres, in whatever unit ZEN shows them."""
        if self.root is None:
            return Stated()
        items = children(self.root, "Metadata", "Scaling", "Items", "Distance")
        found = {(d.get("Id") or "").lower(): self._number(d, "Value") for d in items}
        return Stated.of({a: (found[a] * 1e6, "µm") for a in "zyx" if a in found})

    def channels(self, start: int, count: int) -> tuple[Channel, ...]:
        own = self._own(start, count)
        if len(own) != count:
            return default_channels(count)
        names = [c.get("Name") or self._text(c, "Fluor") for c in own]
        plain = default_channels(count)
        return tuple(
            Channel(name or known.name, self._number(c, "EmissionWavelength") or None)
            for c, name, known in zip(own, names, plain, strict=True)
        )

    def acquisition(self, start: int, count: int) -> dict[str, Any]:
        """Return how the image was taken, in the words of :func:`sciimg.io.ome.acquisition`."""
        settings = first(self.image, "ObjectiveSettings") if self.image is not None else None
        objective, own = self._objective(settings), self._own(start, count)
        found: dict[str, Any] = {
            "time_step_s": self._time_step(),
            "significant_bits": int(self._number(self.image, "ComponentBitCount")),
            "magnification": self._number(objective, "NominalMagnification"),
            "numerical_aperture": self._number(objective, "LensNA"),
            "immersion": immersion(self._text(objective, "Immersion")),
            "refractive_index": self._number(settings, "RefractiveIndex"),
            "exposure_s": [self._number(c, "ExposureTime") * _NANOSECOND or None for c in own],
            "excitation_nm": [self._number(c, "ExcitationWavelength") or None for c in own],
            "emission_nm": [self._number(c, "EmissionWavelength") or None for c in own],
            "gain": [self._number(c, "DetectorSettings", "Gain") or None for c in own],
        }
        return {k: v for k, v in found.items() if (any(e is not None for e in v) if isinstance(v, list) else v)}

    def _own(self, start: int, count: int) -> list[Element]:
        listed = children(self.image, "Dimensions", "Channels", "Channel") if self.image is not None else []
        return listed if len(listed) == count else listed[start : start + count]

    def _objective(self, settings: Element | None) -> Element | None:
        if self.root is None:
            return None
        objectives = children(self.root, "Metadata", "Information", "Instrument", "Objectives", "Objective")
        named = first(settings, "ObjectiveRef") if settings is not None else None
        if named is not None:
            return next((o for o in objectives if o.get("Id") == named.get("Id")), None)
        return objectives[0] if len(objectives) == 1 else None

    def _time_step(self) -> float:
        if self.image is None:
            return 0.0
        if step := self._number(self.image, "Dimensions", "T", "Positions", "Interval", "Increment"):
            return step
        listed = [number(word) for word in self._text(self.image, "Dimensions", "T", "Positions", "List", "Offsets").split()]
        steps = np.diff(listed)
        return float(steps.mean()) if len(steps) and np.ptp(steps) <= 0.01 * abs(steps.mean()) else 0.0

    @staticmethod
    def _text(element: Element | None, *names: str) -> str:
        found = first(element, *names) if element is not None else None
        return (found.text or "").strip() if found is not None else ""

    @classmethod
    def _number(cls, element: Element | None, *names: str) -> float:
        value = number(cls._text(element, *names))
        return value if math.isfinite(value) and value > 0 else 0.0
