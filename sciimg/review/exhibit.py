"""Every picture of a reader study in one form: the same numbers of the same size, whatever they show and wherever they come from.

Readers move window and level themselves, so pictures leave at full depth, as unsigned 16-bit numbers in little-endian order. One linear
scale, taken over all pictures together, leads from these numbers back to pixel values; integers of 16 bits or fewer stay as they are.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.records import Digest, digest_bytes
from sciimg.review.presentation import COLOURS, Presentation

_TOP = 65535  # largest unsigned 16-bit number


class Exhibit:
    """What a page shows, by name.

    Parameters
    ----------
    pictures : mapping of str to array, shape (C, [Z,] Y, X)
        All of one shape.
    show : Presentation
        Windows and colours that the page begins with, fixed on real images.
    """

    def __init__(self, pictures: Mapping[str, NDArray[Any]], show: Presentation) -> None:
        low = min(float(p.min()) for p in pictures.values())
        high = max(float(p.max()) for p in pictures.values())
        exact = high - low <= _TOP and all(np.issubdtype(p.dtype, np.integer) for p in pictures.values())
        self._offset = 0.0 if exact and low >= 0 and high <= _TOP else low
        self._scale = 1.0 if exact else (high - low) / _TOP or 1.0
        self._show, self._low, self._high = show, low, high
        # One block of memory: no picture takes longer to send than another.
        self._numbers = np.stack([np.rint((p - self._offset) / self._scale).astype("<u2") for p in pictures.values()])
        self._place = {name: i for i, name in enumerate(pictures)}

    @property
    def digest(self) -> Digest:
        """SHA-256 over all that can be shown."""
        return digest_bytes(self._numbers.tobytes())

    def picture(self, name: str) -> bytes:
        """Return one picture: C x Z x Y x X numbers of 16 bits, little-endian."""
        numbers: NDArray[np.uint16] = self._numbers[self._place[name]]
        return numbers.tobytes()

    def about(self) -> dict[str, Any]:
        """Return how to read and show the numbers, as JSON; the same for every picture and reader."""
        channels, *size = self._numbers.shape[1:]
        spacing = list(self._show.spacing.values)
        flat = len(size) == 2
        return {
            "shape": [channels, *([1, *size] if flat else size)],
            "spacing": [spacing[0], *spacing] if flat else spacing,
            "unit": self._show.spacing.unit,
            "volume": not flat,
            "kind": self._show.kind,
            "words": self._words,
            "channels": [self._channel(i) for i in range(channels)],
            "offset": self._offset,
            "scale": self._scale,
        }

    @property
    def _words(self) -> str:
        if self._show.kind == "brightfield":
            return f"Stain channels ({' and '.join(self._show.channels)}) are shown in the colours of brightfield."
        return "Every image begins with the same window, taken from real images. Move it as you like: you see all 16 bits."

    def _channel(self, i: int) -> dict[str, Any]:
        """Return name, window in stored numbers, and colour: light that is added, or the absorption of one whole window of stain."""
        black, white = float(self._show.black[i]), float(self._show.white[i])
        light, absorption = COLOURS[i % len(COLOURS)], None
        if self._show.absorption is not None:
            white = black + 1 / float(self._show.absorption[i].max())  # an optical density of e in the colour that is absorbed most
            absorption = [float(a) for a in self._show.absorption[i] * (white - black)]
        elif self._show.kind == "grey":
            light = np.ones(3)
        return {
            "name": self._show.channels[i],
            "black": (black - self._offset) / self._scale,
            "white": (white - self._offset) / self._scale,
            "low": (self._low - self._offset) / self._scale,
            "high": (self._high - self._offset) / self._scale,
            "light": [float(v) for v in light],
            "absorption": absorption,
        }
