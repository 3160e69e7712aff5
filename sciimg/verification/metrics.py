"""Metrics against closed forms and independent libraries."""

import math
from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import binom

from sciimg.randomness import generator
from sciimg.records import Check
from sciimg.validation.distance import frechet, kid, prdc
from sciimg.validation.masks import dice
from sciimg.validation.pair import ncc, psnr
from sciimg.validation.resampling import proportion_interval
from sciimg.validation.similarity import ssim
from sciimg.verification.checks import check


def checks() -> Iterator[Check]:
    """Pair metrics, set metrics and exact intervals."""
    yield from _pairs()
    yield from _sets()
    low, high = proportion_interval(3, 20)
    source = "Clopper & Pearson 1934: the tails at the ends are 2.5 %"
    yield check("interval-lower-tail", 0.025, float(binom.sf(2, 20, low)), 1e-9, source)
    yield check("interval-upper-tail", 0.025, float(binom.cdf(3, 20, high)), 1e-9, source)


def _pairs() -> Iterator[Check]:
    from skimage.metrics import structural_similarity

    rng = generator("verify", "pairs")
    image = gaussian_filter(rng.normal(size=(48, 40)), 1.5) * 500
    other = image + rng.normal(size=image.shape) * 20
    theirs = structural_similarity(image, other, data_range=1000.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    yield check(
        "ssim-against-scikit-image",
        float(theirs),
        ssim(image, other, data_range=1000.0),
        1e-6,
        "Wang et al. 2004, doi:10.1109/TIP.2003.819861",
    )
    offset = ssim(image + 1e7, other + 1e7, data_range=1000.0)
    far = structural_similarity(image + 1e7, other + 1e7, data_range=1000.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    yield check("ssim-under-a-large-offset", float(far), offset, 1e-4, "moments about a common offset keep their precision")
    yield check("psnr-of-a-constant-error", 20 * math.log10(1000 / 7), psnr(image, image + 7, data_range=1000.0), 1e-9, "20 log10(R / |d|)")
    yield check("ncc-of-an-affine-copy", 1, ncc(image, 3 * image + 11), 1e-12, "correlation is invariant under affine maps")
    first, second = np.zeros((10, 10), np.int32), np.zeros((10, 10), np.int32)
    first[:, :6] = second[:, 3:9] = 1
    yield check("dice-of-half-overlap", 0.5, dice(first, second), 1e-12, "2 |A and B| / (|A| + |B|) = 2·30 / 120; Dice 1945")


def _sets() -> Iterator[Check]:
    rng = generator("verify", "sets")
    x = rng.normal(size=(200, 5))
    shift = np.array([1.0, -2.0, 0.5, 0.0, 3.0])
    source = "Fréchet distance of Gaussians; Dowson & Landau 1982"
    yield check("fd-of-a-shift", float(shift @ shift), frechet(x, x + shift), 1e-8, source)
    spread = float(np.trace(np.cov(x.T)) + np.sum(x.mean(0) ** 2))
    yield check("fd-of-a-doubling", spread, frechet(x, 2 * x), 1e-8, source)
    a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    # kernel (xy + 1)³ by hand: within a: 1; within b: 27; between: 1, 1, 8, 27
    yield check("kid-by-hand", 1 + 27 - 2 * (1 + 1 + 8 + 27) / 4, kid(a, b), 1e-12, "Bińkowski et al. 2018, arXiv:1801.01401, eq. 4")
    same = prdc(x, x + 1e-9)
    yield check("coverage-of-a-copy", 1, same.coverage, 1e-12, "Naeem et al. 2020, arXiv:2002.09797")
    apart = prdc(x, x + 100)
    yield check("recall-of-strangers", 0, apart.recall, 1e-12, "Kynkäänniemi et al. 2019, arXiv:1904.06991")
