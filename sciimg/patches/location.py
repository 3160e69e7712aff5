"""Where a patch lies."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PatchLocation:
    """A box in the pixel grid of one image.

    Parameters
    ----------
    image : str
        Id in the collection.
    origin, shape : tuple of int
        Along the spatial axes, in pixels.
    """

    image: str
    origin: tuple[int, ...]
    shape: tuple[int, ...]

    @property
    def box(self) -> tuple[slice, ...]:
        """The slices along the spatial axes."""
        return tuple(slice(o, o + n) for o, n in zip(self.origin, self.shape, strict=True))

    @property
    def centre(self) -> tuple[float, ...]:
        return tuple(o + n / 2 for o, n in zip(self.origin, self.shape, strict=True))
