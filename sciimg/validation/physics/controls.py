"""Known faults to plant in real images: what blurred, noisier, gamma-changed, magnified … data look like.

Intensities keep their dtype and the range that the dtype can hold; integers are rounded.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from sciimg.types import SPATIAL, PatchSet
from sciimg.validation.physics.air import air_and_signal, brightness_cut
from sciimg.validation.physics.residuals import robust_sigma

Array = NDArray[np.float64]
Plant = Callable[[PatchSet, np.random.Generator], PatchSet]


def with_images(patches: PatchSet, images: Array) -> PatchSet:
    """Return the patches with other intensities, rounded and clipped to their dtype."""
    dtype = patches.images.dtype
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        images = np.clip(np.rint(images), limits.min, limits.max)
    return replace(patches, images=images.astype(dtype))


def blurred(sigma_px: float) -> Plant:
    """Gaussian blur of every sample, in pixels."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        sigma = (0.0, 0.0, *(sigma_px,) * patches.dims)
        return with_images(patches, ndimage.gaussian_filter(patches.images.astype(np.float64), sigma, mode="reflect"))

    return plant


def noisier(factor: float) -> Plant:
    """White Gaussian noise with ``factor`` times the channel's own pixel-scale standard deviation."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        steps = np.diff(images, axis=-1)
        axes = (0, *range(2, images.ndim))
        sigma = np.sqrt(np.mean(steps**2, axis=axes, keepdims=True) / 2)
        return with_images(patches, images + factor * sigma * rng.standard_normal(images.shape))

    return plant


def _range(images: Array) -> tuple[Array, Array]:
    axes = (0, *range(2, images.ndim))
    low, high = np.quantile(images, [0.001, 0.999], axis=axes, keepdims=True)
    return low, np.where(high > low, high - low, 1.0)


def gamma_changed(exponent: float) -> Plant:
    """Raise intensities, on the channel's own range, to a power; its ends stay where they are."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        low, span = _range(images)
        return with_images(patches, low + span * np.clip((images - low) / span, 0, 1) ** exponent)

    return plant


def inverted(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """Exchange bright and dark on the channel's own range."""
    images = patches.images.astype(np.float64)
    low, span = _range(images)
    return with_images(patches, low + span * (1 - np.clip((images - low) / span, 0, 1)))


def magnified(factor: float) -> Plant:
    """Enlarge (or, below 1, reduce and mirror outwards) every sample: what a wrong pixel size does to objects."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        shape = images.shape[2:]
        centre = np.array([(n - 1) / 2 for n in shape])
        matrix = np.full(len(shape), 1 / factor)
        out = np.empty_like(images)
        for i, j in np.ndindex(images.shape[:2]):
            out[i, j] = ndimage.affine_transform(images[i, j], matrix, offset=centre * (1 - 1 / factor), order=1, mode="reflect")
        return with_images(patches, out)

    return plant


def thickened(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """Grow every bright structure by one pixel on each side (grey dilation)."""
    size = (1, 1, *(3,) * patches.dims)
    return with_images(patches, ndimage.maximum_filter(patches.images.astype(np.float64), size, mode="reflect"))


def spotted(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """Balls 7 voxels across added where the image is dark, one for every 2000 dark voxels: what spikes and flow leave in air."""
    images = patches.images.astype(np.float64)
    low, span = _range(images)
    dark = images < low + 0.2 * span
    centres = dark & (rng.random(images.shape) < 1 / 2000)
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*(np.arange(-3, 4),) * patches.dims, indexing="ij")))
    balls = ndimage.binary_dilation(centres, (radius <= 3.3)[None, None])
    return with_images(patches, images + 0.2 * span * (balls & dark))


def gaussian_air(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """Absolute values of Gaussian noise in place of magnitude noise wherever the image is dark, with the same median."""
    images = patches.images.astype(np.float64)
    for j in range(images.shape[1]):
        channel = images[:, j]
        air = air_and_signal(channel, patches.labels, brightness_cut(channel))[0]
        if air.any():
            channel[air] = np.abs(rng.standard_normal(int(air.sum()))) * np.median(channel[air]) / 0.6744897501960817
    return with_images(patches, images)


def biased(strength: float) -> Plant:
    """A smooth field that brightens one corner of every sample and darkens the other: the factor between them is ``strength`` squared."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        ramp = sum(np.meshgrid(*(np.linspace(-1, 1, n) for n in patches.images.shape[2:]), indexing="ij")) / patches.dims
        return with_images(patches, patches.images * strength**ramp)

    return plant


def ghosted(strength: float, axis: int) -> Plant:
    """A copy of every sample, ``strength`` as bright, half a field of view away along an axis (-1: the last): an N/2 ghost."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        return with_images(patches, images + strength * np.roll(images, images.shape[axis] // 2, axis))

    return plant


def truncated(share: float) -> Plant:
    """Keep this share of the frequencies along every axis, as too small a k-space does: edges ring (mirrored at the borders)."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        axes = tuple(range(2, patches.images.ndim))
        spectrum = fft.dctn(patches.images.astype(np.float64), axes=axes, norm="ortho")
        for axis in axes:
            beyond = [slice(None)] * spectrum.ndim
            beyond[axis] = slice(round(share * spectrum.shape[axis]), None)
            spectrum[tuple(beyond)] = 0
        return with_images(patches, fft.idctn(spectrum, axes=axes, norm="ortho"))

    return plant


def half_shifted(pixels: int) -> Plant:
    """Move what lies beyond the middle of the left-right axis (attribute ``left_right``, or the last axis) along another axis."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.copy()
        axis = images.ndim - len(SPATIAL) + SPATIAL.index(patches.attributes.get("left_right") or SPATIAL[-1])
        half = [slice(None)] * images.ndim
        half[axis] = slice(images.shape[axis] // 2, None)
        other = images.ndim - 1 if axis != images.ndim - 1 else images.ndim - 2
        images[tuple(half)] = np.roll(images[tuple(half)], pixels, axis=other)
        return replace(patches, images=images)

    return plant


def defocused(sigma_px: float) -> Plant:
    """Gaussian blur as before the camera: white noise as strong as the channel's own is added again."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        out = ndimage.gaussian_filter(images, (0.0, 0.0, *(sigma_px,) * patches.dims), mode="reflect")
        for channel in range(images.shape[1]):
            out[:, channel] += robust_sigma(images[:, channel]) * rng.standard_normal(out[:, channel].shape)
        return with_images(patches, out)

    return plant


def lifted(fraction: float) -> Plant:
    """Add a fraction of the channel's own range to every pixel: another black level, or stray light."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        return with_images(patches, images + fraction * _range(images)[1])

    return plant


def black_clipped(fraction: float) -> Plant:
    """Lower intensities until a fraction more of the pixels lies at or below each channel's lowest one, and clip them there."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        for channel in range(images.shape[1]):
            seen = images[:, channel]
            lowest = seen.min()
            level = np.quantile(seen, min(float(np.mean(seen == lowest)) + fraction, 1.0))
            images[:, channel] = np.maximum(seen - (level - lowest), lowest)
        return with_images(patches, images)

    return plant


def overexposed(fraction: float) -> Plant:
    """Stretch intensities until a fraction more of the pixels lies at or above each channel's highest one, and clip them there."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        for channel in range(images.shape[1]):
            seen = images[:, channel]
            lowest, highest = seen.min(), seen.max()
            level = np.quantile(seen, max(1 - float(np.mean(seen == highest)) - fraction, 0.0))
            gain = (highest - lowest) / (level - lowest) if level > lowest else 1.0
            images[:, channel] = np.minimum(lowest + gain * (seen - lowest), highest)
        return with_images(patches, images)

    return plant


def coarser(levels: int) -> Plant:
    """Round intensities to so many levels of the channel's own range, four grey levels apart at least: 8-bit data in a wider container."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        low, span = _range(images)
        step = span / (levels - 1)
        if patches.images.dtype.kind in "iu":
            step = np.maximum(np.rint(step), 4.0)
        return with_images(patches, low + step * np.rint((images - low) / step))

    return plant


def repeated(fraction: float) -> Plant:
    """Fill every sample with copies of its middle, a fraction of each side wide: texture repeated as no tissue repeats."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        for axis in range(2, images.ndim):
            n = images.shape[axis]
            period = max(1, round(fraction * n))
            images = np.take(images, (n - period) // 2 + np.arange(n) % period, axis=axis)
        return with_images(patches, images)

    return plant


def mixed(share: float) -> Plant:
    """Add to every channel after the first a share of the first one, in units of their standard deviations: bleed-through."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        scale = images.std(axis=(0, *range(2, images.ndim)), keepdims=True)
        given = (images[:, :1] - np.quantile(images[:, :1], 0.05)) / np.where(scale[:, :1] > 0, scale[:, :1], 1.0)
        images[:, 1:] += share * scale[:, 1:] * given
        return with_images(patches, images)

    return plant


def grainy(factor: float) -> Plant:
    """Gaussian noise that neighbours share (means of two pixels along every axis), ``factor`` times the channel's own."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        for channel in range(images.shape[1]):
            noise = ndimage.uniform_filter(rng.standard_normal(images[:, channel].shape), (0, *(2,) * patches.dims), mode="wrap")
            images[:, channel] += factor * robust_sigma(images[:, channel]) * noise / noise.std()
        return with_images(patches, images)

    return plant


def checkered(factor: float) -> Plant:
    """Add the finest pattern that pixels can hold, up and down from pixel to pixel: ``factor`` times the channel's own noise."""

    def plant(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
        images = patches.images.astype(np.float64)
        board = np.where(sum(np.indices(images.shape[-2:])) % 2, 1.0, -1.0)
        for channel in range(images.shape[1]):
            images[:, channel] += factor * max(robust_sigma(images[:, channel]), 1.0) * board
        return with_images(patches, images)

    return plant


def shuffled(patches: PatchSet, rng: np.random.Generator) -> PatchSet:
    """Give every sample the conditions of another: images that do not follow what was asked for."""
    order = rng.permutation(len(patches))
    return replace(patches, images=patches.images[order], labels=None if patches.labels is None else patches.labels[order])
