"""What a stage will cost, as ranges."""

from dataclasses import asdict, dataclass
from typing import Any

BYTES, MEMORY = 1.6, 1.3  # by how much predictions of sizes may be off, as a factor


@dataclass(frozen=True)
class Range:
    """A number with what it may be at least and at most."""

    low: float
    value: float
    high: float

    @classmethod
    def around(cls, value: float, factor: float) -> "Range":
        return cls(value / factor, value, value * factor)

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.value + other.value, self.high + other.high)

    def __mul__(self, by: float) -> "Range":
        return Range(self.low * by, self.value * by, self.high * by)

    def as_json(self, digits: int = 1) -> dict[str, float]:
        return {key: round(value, digits) for key, value in asdict(self).items()}


NOTHING, START = Range(0.0, 0.0, 0.0), Range(2.5, 2.5, 2.5)  # the latter: of a stage's process, in seconds


@dataclass(frozen=True)
class Forecast:
    """What one stage will cost, and how that is known.

    Parameters
    ----------
    cpu_s, wall_s, peak_mb, kept_bytes : Range
    beside_bytes : float
        On disk while it works, beyond what it keeps.
    known_from : str
    """

    cpu_s: Range
    wall_s: Range
    peak_mb: Range
    kept_bytes: Range
    beside_bytes: float
    known_from: str

    def as_json(self) -> dict[str, Any]:
        numbers = {name: getattr(self, name).as_json() for name in ("wall_s", "cpu_s", "peak_mb", "kept_bytes")}
        return numbers | {"beside_bytes": round(self.beside_bytes), "known_from": self.known_from}
