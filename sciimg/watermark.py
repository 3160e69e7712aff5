"""A mark in the noise of an image: a pattern of +1 and -1 that a key decides, as faint as a few hundredths of the noise around each voxel.

It says where an image comes from when its file says nothing any more: after its header is gone, a piece is cut out, its depth is
halved or noise is added. It is a label and no lock: whoever knows the study knows the key, finds the mark, and can take it out again.

Embedding adds ``alpha`` times the local noise times the pattern; integers are rounded up or down at random (by the same key), so that a
mark of less than a grey level survives, and where an image is flat nothing changes. Detection whitens the image and correlates it with
the pattern at every place that the piece may have been cut from.

The score has an exact null. For an image that was made without the key, each sign of the pattern is a fair coin whatever the image, so

    z = sum(p v) / sqrt(sum(v^2))

has mean 0, variance 1, and P(z >= t) <= exp(-t^2 / 2) (Hoeffding 1963, theorem 2); with M places looked at, M times that.

References
----------
Cox, Kilian, Leighton, Shamoon 1997, Secure spread spectrum watermarking for multimedia, doi:10.1109/83.650120; Hoeffding 1963, Probability
inequalities for sums of bounded random variables, doi:10.1080/01621459.1963.10500830.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Digest

Array = NDArray[np.float64]

CERTAIN = 1e-6  # a mark is called found when chance reaches its score less often than this
_SMOOTHED = 5  # width over which the power spectrum is averaged
_WIDTH = {2: 7, 3: 5}  # of the neighbourhood whose noise scales the mark, by number of dimensions


@dataclass(frozen=True)
class Match:
    """The best place of a piece in an image.

    Parameters
    ----------
    z : float
        Score there.
    offset : tuple of int
        Where the piece begins, [z,] y, x.
    places : int
        How many were looked at.
    """

    z: float
    offset: tuple[int, ...]
    places: int

    def chance(self, images: int = 1) -> float:
        """Bound on the probability that an image without the mark scores as high somewhere, with so many images to choose from."""
        return min(1.0, self.places * images * math.exp(-(max(self.z, 0.0) ** 2) / 2))


def pattern(study: Digest, image: str, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Return the signs of one image, shape (C, [Z,] Y, X)."""
    signs: NDArray[np.int8] = generator("watermark", study, image).integers(0, 2, shape, dtype=np.int8) * 2 - 1
    return signs


def embed(pixels: NDArray[Any], study: Digest, image: str, alpha: float) -> NDArray[Any]:
    """Return an image, shape (C, [Z,] Y, X), with its mark; same type, values inside the range of the type."""
    signs = pattern(study, image, pixels.shape)
    marked = np.stack([c + alpha * local_noise(c) * p for c, p in zip(pixels.astype(np.float64), signs, strict=True)])
    if pixels.dtype.kind == "f":
        return marked.astype(pixels.dtype)
    limits = np.iinfo(pixels.dtype)
    dither = generator("watermark", study, image, "rounding").random(pixels.shape)
    return np.clip(np.floor(marked + dither), limits.min, limits.max).astype(pixels.dtype)


def local_noise(channel: NDArray[Any]) -> Array:
    """Return the standard deviation of the noise around each voxel, shape of the channel: that of what neighbours do not tell."""
    from scipy.ndimage import uniform_filter

    power = uniform_filter(_residual(channel) ** 2, _WIDTH[channel.ndim], mode="reflect")
    noise: Array = np.sqrt(np.maximum(power, 0) / (1 + 1 / (2 * channel.ndim)))
    return noise


def whitened(pixels: NDArray[Any]) -> Array:
    """Return what is correlated with a pattern, shape (C, [Z,] Y, X), with sum of squares 1.

    The residual over its local size, divided by its own smoothed power spectrum: the matched filter for a pattern in noise of that spectrum
    (Turin 1960, doi:10.1109/TIT.1960.1057571), and for white noise the noise itself.
    """
    out = []
    for channel in pixels.astype(np.float64):
        noise = local_noise(channel)
        scaled = np.divide(_residual(channel), noise, out=np.zeros_like(noise), where=noise > 1e-9 * max(1.0, float(noise.max())))
        out.append(_matched(scaled))
    result = np.stack(out)
    return result / (np.sqrt(np.sum(result**2)) or 1.0)


def score(white: Array, signs: NDArray[np.int8]) -> Match | None:
    """Look for a piece in an image.

    Parameters
    ----------
    white : array, shape (C, [Z,] Y, X)
        The piece, from :func:`whitened`.
    signs : array, shape (C, [Z,] Y, X)
        Of the whole image, no smaller along any axis; the channels belong to one another.

    Returns
    -------
    Match or None
        The place with the highest score; None where the piece is larger than the image.
    """
    free = tuple(n - m for n, m in zip(signs.shape[1:], white.shape[1:], strict=True))
    if min(free) < 0 or signs.shape[0] != white.shape[0]:
        return None
    if max(free) == 0:
        return Match(float(np.vdot(signs, white)), (0,) * len(free), 1)
    from scipy.signal import fftconvolve

    turned = white[(slice(None), *(slice(None, None, -1),) * len(free))]
    scores = sum(fftconvolve(p.astype(np.float64), w, mode="valid") for p, w in zip(signs, turned, strict=True))
    place = np.unravel_index(int(np.argmax(scores)), np.shape(scores))
    return Match(float(np.max(scores)), tuple(int(i) for i in place), int(np.size(scores)))


def _matched(scaled: Array) -> Array:
    from scipy.ndimage import uniform_filter

    spectrum = np.fft.fftn(scaled)
    power = uniform_filter(np.abs(spectrum) ** 2, _SMOOTHED, mode="wrap")
    along = [np.cos(2 * np.pi * np.fft.fftfreq(n)) for n in scaled.shape]
    passed = 1 - sum(np.meshgrid(*along, indexing="ij")) / scaled.ndim  # what the residual keeps of the pattern at each frequency
    matched: Array = np.fft.ifftn(spectrum * passed / (power + 1e-2 * (power.mean() or 1.0))).real
    return matched


def _residual(channel: NDArray[Any]) -> Array:
    """Return each voxel less the mean of its neighbours across faces; the border is mirrored."""
    padded = np.pad(channel.astype(np.float64), 1, "reflect") if min(channel.shape) > 1 else np.pad(channel.astype(np.float64), 1, "edge")
    inner = (slice(1, -1),) * channel.ndim
    around = np.zeros(channel.shape)
    for axis in range(channel.ndim):
        for side in (slice(None, -2), slice(2, None)):
            around += padded[tuple(side if a == axis else s for a, s in enumerate(inner))]
    residual: Array = padded[inner] - around / (2 * channel.ndim)
    return residual
