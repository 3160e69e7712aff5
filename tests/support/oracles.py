"""Quantities by their definitions, slowly and precisely."""

import numpy as np


def extended_ssim(reference: np.ndarray, test: np.ndarray, data_range: float) -> float:
    """SSIM by its definition, every window on its own, in the widest floats of the machine."""
    x, y = (np.lib.stride_tricks.sliding_window_view(i.astype(np.longdouble), (11,) * i.ndim) for i in (reference, test))
    line = np.exp(-0.5 * (np.arange(-5, 6, dtype=np.longdouble) / 1.5) ** 2)
    weights = line / line.sum()
    for _ in range(reference.ndim - 1):
        weights = weights[..., None] * (line / line.sum())
    axes = tuple(range(reference.ndim, 2 * reference.ndim))

    def mean(values: np.ndarray) -> np.ndarray:
        return (values * weights).sum(axes)

    mean_x, mean_y = (mean(i).reshape(*x.shape[: reference.ndim], *(1,) * reference.ndim) for i in (x, y))
    covariance, variances = mean((x - mean_x) * (y - mean_y)), mean((x - mean_x) ** 2) + mean((y - mean_y) ** 2)
    c1, c2 = (np.longdouble(k) * data_range for k in (0.01, 0.03))
    mean_x, mean_y = mean_x.squeeze(), mean_y.squeeze()
    luminance = (2 * mean_x * mean_y + c1**2) / (mean_x**2 + mean_y**2 + c1**2)
    return float(np.mean(luminance * (2 * covariance + c2**2) / (variances + c2**2)))
