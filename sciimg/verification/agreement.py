"""Statistics of a reader study against published worked examples and exact probabilities."""

import math
from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from scipy.stats import binom

from sciimg.records import Check
from sciimg.review.agreement import Level, count_answers, fleiss_kappa, gwet_ac, krippendorff_alpha
from sciimg.review.statistics import binomial_interval, binomial_p, d_prime, d_prime_2afc, equivalence
from sciimg.verification.checks import check

# 30 patients, 6 psychiatrists, 5 diagnoses: how many chose each (Fleiss 1971, table 1)
_PSYCHIATRISTS = (
    "00060 03003 01401 00006 03030 20400 00402 20310 20040 00006 10050 11040 03300 10050 02031 "
    "00501 30012 51000 02040 10203 00006 01050 02013 20040 10041 05010 40002 02040 10500 00006"
)
# 4 observers, 12 units, 5 values; NaN where one did not answer (Krippendorff 2011, section C)
_GAP = math.nan
_RATINGS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, _GAP, _GAP, _GAP),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _GAP, 3),
    (_GAP, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _GAP),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _GAP),
)


def checks() -> Iterator[Check]:
    """Fleiss, Gwet and Krippendorff as printed; d′, exact tests and equivalence."""
    counts = np.array([[int(n) for n in row] for row in _PSYCHIATRISTS.split()], np.int64)
    yield check("fleiss-kappa-of-psychiatrists", 0.430, _value(fleiss_kappa(counts).value), 5e-4, "Fleiss 1971, doi:10.1037/h0031619")
    paradox = np.array([[2, 0]] * 118 + [[1, 1]] * 7, np.int64)
    source = "125 subjects, 118 agreements; Gwet 2008, doi:10.1348/000711006X126600"
    yield check("gwet-ac1-of-the-kappa-paradox", 0.9408, _value(gwet_ac(paradox).value), 5e-5, source)
    ratings = count_answers(np.array(_RATINGS, np.float64), (1, 2, 3, 4, 5))
    alphas: tuple[tuple[Level, float], ...] = (("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849))
    for level, printed in alphas:
        source = f"Krippendorff 2011, sections C and D: {level} data, {printed}"
        alpha = krippendorff_alpha(ratings, level).value
        yield check(f"krippendorff-alpha-with-gaps-{level}", printed, _value(alpha), 5e-4, source)
    agreements: tuple[tuple[Level, float], ...] = (("nominal", 0.77544), ("ordinal", 0.89894), ("interval", 0.914))
    for level, printed in agreements:
        source = f"Gwet 2014, Handbook of Inter-Rater Reliability, ch. 5, {level} weights; irrCAC 0.4.4"
        yield check(f"gwet-ac-with-gaps-{level}", printed, _value(gwet_ac(ratings, level).value), 5e-6, source)
    big = 10**7
    source = "z(0.8) - z(0.4) = 1.095; Macmillan & Creelman 2005, ch. 1"
    yield check("d-prime-of-rates", 1.095, d_prime(8 * big, 10 * big, 4 * big, 10 * big), 1e-3, source)
    perfect = 2 * NormalDist().inv_cdf(20.5 / 21)
    yield check("d-prime-of-a-perfect-reader", perfect, d_prime(20, 20, 0, 20), 1e-9, "2 z(20.5 / 21), log-linear; Hautus 1995")
    source = "76 % right without a preference is d' 1.00; Hacker & Ratcliff 1979, doi:10.3758/BF03206105, table 1"
    yield check("d-prime-of-pairs", 1.0, d_prime_2afc(76 * big, 100 * big, 24 * big, 100 * big), 5e-3, source)
    yield check("binomial-p-of-a-lopsided-coin", 22 / 1024, binomial_p(9, 10), 1e-12, "2 (1 + 10) / 2^10 ways of 9 or 10 equal answers")
    low, _ = binomial_interval(3, 20)
    yield check("accuracy-interval-lower-tail", 0.025, float(binom.sf(2, 20, low)), 1e-9, "Clopper & Pearson 1934")
    yield from _equivalence()


def _equivalence() -> Iterator[Check]:
    least = next((k for k in range(55, 75) if equivalence(k, 150, 0.15).equivalent), 75)  # and 150 - least, by symmetry
    level = float(binom.cdf(150 - least, 150, 0.65) - binom.cdf(least - 1, 150, 0.65))
    yield check("equivalence-level-at-the-margin", 0.05, level, 0.02, "exact TOST keeps its level; Schuirmann 1987, doi:10.1007/BF01068419")
    power = float(binom.cdf(150 - least, 150, 0.5) - binom.cdf(least - 1, 150, 0.5))
    yield check("equivalence-power", power, equivalence(75, 150, 0.15).power, 1e-12, "the probability of the counts that pass")


def _value(value: float | None) -> float:
    return math.nan if value is None else value
