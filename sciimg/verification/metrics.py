"""Metrics against closed forms and independent libraries."""

import math
from collections.abc import Iterator

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.stats import binom, hypergeom

from sciimg.randomness import generator
from sciimg.records import Check
from sciimg.validation.distance import coverage_ceiling, frechet, kid, prdc
from sciimg.validation.masks import dice
from sciimg.validation.pair import mutual_information, ncc, nrmse, psnr
from sciimg.validation.resampling import half_interval, mean_interval, permutation_p, proportion_interval
from sciimg.validation.similarity import ms_ssim, ssim
from sciimg.verification.checks import check


def checks() -> Iterator[Check]:
    """Pair metrics, set metrics and exact intervals."""
    yield from _pairs()
    yield from _sets()
    yield from _intervals()


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
    whole = rng.integers(0, 7, (40, 40)).astype(np.float64)
    share = np.bincount(whole.astype(int).ravel()) / whole.size
    source = "the information that an image has of itself is its entropy; Cover & Thomas 2006, eq. 2.42"
    yield check("mutual-information-of-itself", -float(np.sum(share * np.log(share))), mutual_information(whole, 3 - whole), 1e-12, source)
    yield check("nrmse-of-a-scaled-copy", 0.25, nrmse(image, 1.25 * image), 1e-12, "|0.25 x| / |x|; Fienup 1997, doi:10.1364/AO.36.008352")
    small = gaussian_filter(rng.normal(size=(32, 32)), 1.0) * 500  # two scales fit
    yield check("ms-ssim-of-itself", 1, ms_ssim(small, small.copy(), data_range=1000.0), 1e-12, "Wang et al. 2003, eq. 7")
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
    yield from _gaussians()
    yield from _neighbours()


def _gaussians() -> Iterator[Check]:
    """Sets whose covariances are known to rounding: the distance of two Gaussians whose axes do not agree."""
    rng, source = generator("verify", "gaussians"), "Dowson & Landau 1982, doi:10.1016/0047-259X(82)90077-X"
    z = rng.normal(size=(50, 2))
    z -= z.mean(0)
    z = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T))).T  # mean 0 and covariance 1, exactly
    turn = np.array([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]])
    a, b = np.diag([1.0, 3.0]), turn @ np.diag([2.0, 0.5]) @ turn.T
    product = a @ a @ b @ b
    cross = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))  # tr of the root of a 2 x 2 matrix
    expected = float(np.trace(a @ a) + np.trace(b @ b) - 2 * cross) + 25.0
    yield check("fd-of-turned-gaussians", expected, frechet(z @ a, z @ b + np.array([3.0, 4.0])), 1e-9, source)


def _neighbours() -> Iterator[Check]:
    """Three real points and two synthetic ones on a line, with one neighbour each, by hand."""
    found = prdc(np.array([[0.0], [1.0], [3.0]]), np.array([[0.5], [10.0]]), nearest=1)
    # radii of the real points: 1, 1, 2; of the synthetic ones: 9.5; 0.5 lies near 0 and 1, 10 near nothing
    kynkaanniemi, naeem = "Kynkäänniemi et al. 2019, arXiv:1904.06991, eq. 2", "Naeem et al. 2020, arXiv:2002.09797, eqs. 4 and 5"
    yield check("precision-by-hand", 1 / 2, found.precision, 1e-12, kynkaanniemi)
    yield check("recall-by-hand", 1, found.recall, 1e-12, kynkaanniemi)
    yield check("density-by-hand", 1, found.density, 1e-12, naeem)
    yield check("coverage-by-hand", 2 / 3, found.coverage, 1e-12, naeem)
    chance = float(hypergeom.pmf(0, 39 + 25, 25, 5))  # none of a point's 5 nearest among 39 real and 25 synthetic others is synthetic
    yield check("coverage-ceiling", 1 - chance, coverage_ceiling(40, 25, 5), 1e-12, "all orders are as likely; Naeem et al. 2020, eq. 9")


def _intervals() -> Iterator[Check]:
    low, high = proportion_interval(3, 20)
    source = "Clopper & Pearson 1934: the tails at the ends are 2.5 %"
    yield check("interval-lower-tail", 0.025, float(binom.sf(2, 20, low)), 1e-9, source)
    yield check("interval-upper-tail", 0.025, float(binom.cdf(3, 20, high)), 1e-9, source)
    source = "(b + 1) / (B + 1); Phipson & Smyth 2010, doi:10.2202/1544-6115.1585"
    yield check("permutation-p-by-hand", 3 / 10, permutation_p(2.0, np.array([0, 0.5, 1, 1, 1, 1.5, 1.9, 2, 3])), 1e-12, source)
    rng = generator("verify", "intervals")
    values, groups = rng.normal(size=400), np.repeat(np.arange(200), 2)
    interval = mean_interval(values, groups, rng, rounds=2000) or (math.nan, math.nan)
    width = 2 * 1.96 * float(values.reshape(200, 2).mean(1).std(ddof=1)) / math.sqrt(200)
    yield check("bootstrap-width-of-a-mean", 1, (interval[1] - interval[0]) / width, 0.08, "normal limits of 200 group means; Efron 1987")
    halves = rng.normal(scale=0.1, size=20_000)
    low, high = half_interval(halves, 21)
    source = "Student's t with 20 degrees of freedom, +- 2.086 deviations; Shao & Wu 1989, doi:10.1214/aos/1176347263"
    yield check("half-sampling-width", 2 * 2.086 * 0.1, high - low, 0.02, source)
