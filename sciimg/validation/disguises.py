"""What a copy of an image may have gone through before it is handed out as a new one."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.validation.nearness import symmetries

Array = NDArray[np.float32]
Span = tuple[Array, Array]  # where each channel of a set begins and how wide it is, shaped to meet an image

NOISE = 0.15  # of the standard deviation of the image
SHIFT = 0.1  # of every side, at most
GAIN = (0.7, 1.3)
GAMMA = (0.8, 1.25)
QUALITY = 75  # of JPEG, over the range of the whole set in 8 bits


def turned(image: Array, scale: Span, rng: np.random.Generator) -> Array:
    """Flip the image, or turn it by right angles where its sides are equal, never leaving it as it is."""
    versions = [v for v in symmetries(image)[1:] if v.shape == image.shape]
    return versions[int(rng.integers(len(versions)))]


def shifted(image: Array, scale: Span, rng: np.random.Generator) -> Array:
    """Cut the image at another place, up to a tenth of each side off; what comes in is the mirrored rim."""
    reach = [int(SHIFT * n) for n in image.shape[1:]]
    padded = np.pad(image, ((0, 0), *((r, r) for r in reach)), mode="reflect")
    first = [int(rng.integers(0, 2 * r + 1)) for r in reach]
    return np.asarray(padded[(slice(None), *(slice(f, f + n) for f, n in zip(first, image.shape[1:], strict=True)))])


def brightened(image: Array, scale: Span, rng: np.random.Generator) -> Array:
    """Change gain, offset and gamma."""
    low, span = scale
    unit = np.clip((image - low) / span, 0, 1) ** rng.uniform(*GAMMA)
    return np.asarray(low + span * (rng.uniform(*GAIN) * unit + rng.uniform(-0.1, 0.1)), np.float32)


def noised(image: Array, scale: Span, rng: np.random.Generator) -> Array:
    """Add Gaussian noise of 15 % of the spread of each channel."""
    spread = image.reshape(len(image), -1).std(axis=1).reshape(-1, *([1] * (image.ndim - 1)))
    return np.asarray(image + NOISE * spread * rng.standard_normal(image.shape), np.float32)


def recompressed(image: Array, scale: Span, rng: np.random.Generator) -> Array:
    """Pass every channel (every plane of a volume) through 8 bits and JPEG of quality 75."""
    from imagecodecs import jpeg8_decode, jpeg8_encode

    low, span = scale
    eight = np.rint(255 * np.clip((image - low) / span, 0, 1)).astype(np.uint8)
    planes = eight.reshape(-1, *image.shape[-2:])
    back = np.stack([jpeg8_decode(jpeg8_encode(np.ascontiguousarray(p), level=QUALITY)) for p in planes])
    return np.asarray(back.reshape(image.shape).astype(np.float32) / 255 * span + low, np.float32)


DISGUISES: Mapping[str, Callable[[Array, Span, np.random.Generator], Array]] = {
    "turned": turned,
    "shifted": shifted,
    "brightened": brightened,
    "noised": noised,
    "recompressed": recompressed,
}


def disguised(image: NDArray[Any], name: str, scale: Span, rng: np.random.Generator) -> Array:
    """Return an image (C, [Z,] Y, X) in one of the :data:`DISGUISES`; ``scale`` is that of the set it belongs to."""
    return DISGUISES[name](image.astype(np.float32), scale, rng)


def span_of(images: NDArray[Any]) -> Span:
    """Return the scale of each channel of a set (N, C, [Z,] Y, X): 0.1 to 99.9 % of its intensities."""
    channels = np.moveaxis(images, 1, 0).reshape(images.shape[1], -1)
    low, high = np.quantile(channels, [0.001, 0.999], axis=1)
    shape = (-1, *([1] * (images.ndim - 2)))
    return low.reshape(shape).astype(np.float32), np.maximum(high - low, 1e-6).reshape(shape).astype(np.float32)
