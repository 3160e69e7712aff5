"""Metrics of two images of the same thing: a reconstruction, a restoration, a sample made for a known mask.

Every function takes single-channel arrays of shape ([Z,] Y, X) and returns a float; :func:`pair_metrics` runs them, and those of
:mod:`sciimg.validation.similarity` and :mod:`sciimg.validation.masks`, over two aligned sets and averages over channels and pairs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Metric
from sciimg.types import LabelKind, PatchSet, Spacing
from sciimg.validation.intensity_range import data_range_of
from sciimg.validation.masks import dice, hausdorff, object_f1
from sciimg.validation.outcome import UndefinedError, faults_of, said, spacings_differ
from sciimg.validation.resampling import NO_SPREAD, UNBOUNDED, Interval, group_index, mean_interval
from sciimg.validation.ring_correlation import two_image_resolution
from sciimg.validation.similarity import ms_ssim, ms_ssim_scales, ssim

Array = NDArray[np.float64]
MI_BINS = 64


def psnr(reference: NDArray[Any], test: NDArray[Any], *, data_range: float) -> float:
    """Return the peak signal-to-noise ratio in dB, 10 log10(data_range² / MSE).

    Raises
    ------
    UndefinedError
        For identical images: the ratio is infinite.
    """
    error = _rms(_float(reference) - _float(test))
    if error == 0:
        raise UndefinedError("the images are identical: PSNR is infinite")
    return float(20 * (np.log10(data_range) - np.log10(error)))


def nrmse(reference: NDArray[Any], test: NDArray[Any]) -> float:
    """Return the root-mean-square error over the reference's root-mean-square (Fienup 1997, doi:10.1364/AO.36.008352)."""
    power, error = _rms(_float(reference)), _rms(_float(reference) - _float(test))
    if power == 0:
        raise UndefinedError("the reference is zero everywhere")
    if not np.isfinite(error / power):
        raise UndefinedError(f"the error is {error:.3g}, the reference {power:.3g}: no number holds their ratio")
    return error / power


def ncc(reference: NDArray[Any], test: NDArray[Any]) -> float:
    """Return the zero-mean normalised cross-correlation (Pearson's r over pixels)."""
    if np.ptp(reference) == 0 or np.ptp(test) == 0:  # a mean that rounds would leave something
        raise UndefinedError("an image is constant")
    x, y = (_scaled(_float(image) - np.mean(image, dtype=np.float64))[0] for image in (reference, test))
    norm = float(np.sqrt(np.sum(x * x) * np.sum(y * y)))
    if norm == 0:
        raise UndefinedError("an image is constant")
    return float(np.clip(np.sum(x * y) / norm, -1, 1))


def mutual_information(reference: NDArray[Any], test: NDArray[Any], *, bins: int = MI_BINS) -> float:
    """Return the mutual information of the two intensities in nats, from a joint histogram over the range of each image.

    References
    ----------
    Viola P, Wells WM (1997) Alignment by maximization of mutual information. doi:10.1023/A:1007958904918
    """
    joint = _joint(reference, test, bins) / reference.size
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float(np.sum(joint[seen] * np.log(joint[seen] / independent[seen])))


def _joint(reference: NDArray[Any], test: NDArray[Any], bins: int) -> Array:
    """Return how many pixels fall into each pair of classes, shape (bins, bins)."""
    x, y = (_float(image).ravel() for image in (reference, test))
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        raise UndefinedError("an image is constant")
    try:
        return np.asarray(np.histogram2d(x, y, bins=bins)[0])
    except ValueError:  # a range of a few floats cannot be cut into bins
        raise UndefinedError("the intensities of an image differ by no more than their rounding") from None


def _mutual_information(reference: NDArray[Any], test: NDArray[Any]) -> float:
    """Return the mutual information where there are at least as many pixels as cells of the joint histogram that can be filled.

    The estimate is too high by (a - 1)(b - 1) / 2n nats for n pixels in a and b classes (Panzeri & Treves 1996,
    doi:10.1088/0954-898X/7/1/006), and from n = ab on, where that is half a nat, it says nothing (Paninski 2003,
    doi:10.1162/089976603321780272).
    """
    joint = _joint(reference, test, MI_BINS)
    first, second = (int(np.count_nonzero(joint.sum(axis=axis))) for axis in (1, 0))
    if reference.size < first * second:
        raise UndefinedError(
            f"{reference.size} pixels fall into {first} x {second} classes of intensity: with fewer pixels than cells of the joint "
            "histogram, unrelated images seem to share information"
        )
    return mutual_information(reference, test)


def _float(image: NDArray[Any]) -> Array:
    return image.astype(np.float64)


def _scaled(image: Array) -> tuple[Array, int]:
    """Return an image with its largest magnitude from 1/2 to 1, and the power of two taken out: no digit is lost, no square vanishes."""
    exponent = int(np.frexp(np.abs(image).max(initial=0.0))[1])
    return np.ldexp(image, -exponent), exponent


def _rms(image: Array) -> float:
    scaled, exponent = _scaled(image)
    return float(np.ldexp(np.sqrt(np.mean(np.square(scaled))), exponent))


# ---------------------------------------------------------------- over two sets


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a pair beside its pixels: the width of the intensity scale, what masks number, the distance of pixels."""

    data_range: float
    label_kind: LabelKind | None
    spacing: Spacing


@dataclass(frozen=True, slots=True)
class PairMetric:
    """A metric with what a reader must know of it. ``compute`` takes (reference, test, known), one channel of one image each."""

    compute: Callable[[NDArray[Any], NDArray[Any], Known], float]
    higher_is_better: bool
    source: str
    unit: str | None = None
    needs_range: bool = True
    of_masks: bool = False
    needs_spacing: bool = False  # the unit is that of the spacing
    of_acquisitions: bool = False  # of two independent ones of one field; what a study pairs is none
    within: Interval = UNBOUNDED  # what a pair can have at least and at most


_SSIM = "Wang et al. 2004, doi:10.1109/TIP.2003.819861"
_HAUSDORFF = "Taha & Hanbury 2015, doi:10.1186/s12880-015-0068-x"

PAIR_METRICS: dict[str, PairMetric] = {
    "ssim": PairMetric(
        lambda a, b, k: ssim(a, b, data_range=k.data_range), True, f"{_SSIM}; Gaussian window, sigma 1.5 px", within=(-1.0, 1.0)
    ),
    "ssim_uniform": PairMetric(
        lambda a, b, k: ssim(a, b, data_range=k.data_range, window="uniform"),
        True,
        f"{_SSIM}; uniform window of 7 px, sample moments",
        within=(-1.0, 1.0),
    ),
    "ms_ssim": PairMetric(
        lambda a, b, k: ms_ssim(a, b, data_range=k.data_range),
        True,
        "Wang et al. 2003, doi:10.1109/ACSSC.2003.1292216",
        within=(0.0, 1.0),
    ),
    "psnr": PairMetric(lambda a, b, k: psnr(a, b, data_range=k.data_range), True, "10 log10(data_range² / MSE)", "dB"),
    "nrmse": PairMetric(lambda a, b, k: nrmse(a, b), False, "Fienup 1997, doi:10.1364/AO.36.008352", needs_range=False),
    "ncc": PairMetric(lambda a, b, k: ncc(a, b), True, "Pearson correlation over pixels", needs_range=False, within=(-1.0, 1.0)),
    "mutual_information": PairMetric(
        lambda a, b, k: _mutual_information(a, b), True, f"Viola & Wells 1997, doi:10.1023/A:1007958904918; {MI_BINS} bins", "nat", False
    ),
    "dice": PairMetric(
        lambda a, b, k: dice(a, b, k.label_kind),
        True,
        "Dice 1945, doi:10.2307/1932409",
        needs_range=False,
        of_masks=True,
        within=(0.0, 1.0),
    ),
    "object_f1": PairMetric(
        lambda a, b, k: object_f1(a, b, k.label_kind),
        True,
        "objects at IoU > 0.5: Caicedo et al. 2019, doi:10.1038/s41592-019-0612-7",
        needs_range=False,
        of_masks=True,
        within=(0.0, 1.0),
    ),
    "hausdorff": PairMetric(
        lambda a, b, k: hausdorff(a, b, k.label_kind, spacing=k.spacing.values),
        False,
        f"{_HAUSDORFF}; of surfaces",
        needs_range=False,
        of_masks=True,
        needs_spacing=True,
    ),
    "hausdorff_95": PairMetric(
        lambda a, b, k: hausdorff(a, b, k.label_kind, spacing=k.spacing.values, percentile=95),
        False,
        f"{_HAUSDORFF}; of surfaces, the larger of the two 95th percentiles",
        needs_range=False,
        of_masks=True,
        needs_spacing=True,
    ),
    "frc_resolution": PairMetric(
        lambda a, b, k: two_image_resolution(a, b, k.spacing.values[-a.ndim :]),
        False,
        "Fourier ring correlation of two independent acquisitions, 1/7: Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013; "
        "Nieuwenhuizen et al. 2013, doi:10.1038/nmeth.2448; against fixed thresholds: van Heel & Schatz 2005, "
        "doi:10.1016/j.jsb.2005.05.009",
        needs_range=False,
        needs_spacing=True,
        of_acquisitions=True,
    ),
}
OF_IMAGES = tuple(name for name, metric in PAIR_METRICS.items() if not (metric.of_masks or metric.of_acquisitions))


def pair_metrics(
    reference: PatchSet,
    test: PatchSet,
    data_range: float | None = None,
    *,
    metrics: Sequence[str] = ("ssim", "ms_ssim", "psnr", "nrmse", "ncc"),
    label_kind: LabelKind | None = None,
    rounds: int = 1000,
    key: tuple[str | int, ...] = ("pair",),
    more: Mapping[str, PairMetric] = MappingProxyType({}),
) -> list[Metric]:
    """Compare two aligned sets, row by row.

    Parameters
    ----------
    reference, test : PatchSet
        Row i of one belongs to row i of the other; the groups are those of the reference.
    data_range : float, optional
        Width of the intensity scale; see :func:`sciimg.validation.intensity_range.data_range_of`.
    metrics : sequence of str
        Names in ``PAIR_METRICS``. Those of masks look at the labels of the sets, or at the images where there are none.
    label_kind : "instances" or "classes", optional
        What masks number that came as images.
    more : mapping
        Metrics beside ``PAIR_METRICS``, with networks of the user's.

    Returns
    -------
    list of Metric
        Mean over channels and pairs, with the group-bootstrap interval; or the reason why there is none.
    """
    wishes, known = _Wishes(data_range, label_kind, rounds), {**PAIR_METRICS, **more}
    return [_pair_metric(name, known[name], reference, test, wishes, (*key, name)) for name in metrics]


@dataclass(frozen=True, slots=True)
class _Wishes:
    data_range: float | None
    label_kind: LabelKind | None
    rounds: int


def _pair_metric(name: str, metric: PairMetric, reference: PatchSet, test: PatchSet, wishes: _Wishes, key: tuple[str | int, ...]) -> Metric:
    described: dict[str, Any] = {
        "n": len(reference),
        "unit_of_n": "pairs",
        "higher_is_better": metric.higher_is_better,
        "unit": metric.unit,
        "source": metric.source,
    }
    detail: dict[str, Any] = {"groups": len(group_index(reference.groups)[0])}
    try:
        if metric.of_masks:
            reference, test = _as_masks(reference, wishes.label_kind), _as_masks(test, wishes.label_kind)
            detail["masks_number"] = _kind_of_both(reference, test) or "foreground"
        if reason := _incomparable(reference, test):
            raise UndefinedError(reason)
        scale = data_range_of(reference, test, wishes.data_range) if metric.needs_range else None
        spacing = _common_spacing(reference, test) if metric.needs_spacing else reference.spacing
        known = Known(np.nan if scale is None else scale.value, _kind_of_both(reference, test), spacing)
        values = _values(metric, reference.images, test.images, known)
    except UndefinedError as error:
        return Metric.undefined(name, error.reason, **described)
    if scale is not None:
        described["data_range"] = scale.value
        detail["data_range_origin"] = scale.origin
    if metric.needs_spacing:
        described["unit"] = spacing.unit
        detail["spacing"] = list(spacing.values)
    if name == "ms_ssim":
        detail["scales"] = ms_ssim_scales(reference.images.shape[2:])
    interval = mean_interval(values, reference.groups, generator(*key), rounds=wishes.rounds, within=metric.within)
    if interval is None and detail["groups"] > 1:
        detail["no_interval"] = NO_SPREAD
    return Metric(name=name, value=float(values.mean()), ci95=interval, detail=detail, **described)


def _incomparable(reference: PatchSet, test: PatchSet) -> str:
    if reference.images.shape != test.images.shape:
        return f"both sides need the same shape; the reference has {reference.images.shape}, the test {test.images.shape}"
    for patches, what in ((reference, "reference"), (test, "test")):
        if fault := faults_of(patches, what, constant=True):
            return fault
    if spacings_differ(reference.spacing, test.spacing):
        return f"the pixels of the reference are {said(reference.spacing)} apart, those of the test {said(test.spacing)}"
    return ""


def _as_masks(patches: PatchSet, told: LabelKind | None) -> PatchSet:
    """Return a set whose images are its labels, with one channel, or a set of masks that came as images, with what they number.

    Images of which nothing says that they are masks must look like masks as a set: one foreground value, and background somewhere. An
    image may be foreground all over, but where every one is, an intensity is as likely as a mask.
    """
    if patches.labels is None:
        if told is None and patches.images.size:
            _refuse_intensities(patches.images)
        return replace(patches, label_kind=told)
    return replace(patches, images=patches.labels[:, None], labels=None)


def _refuse_intensities(images: NDArray[Any]) -> None:
    if images.dtype != bool and images.all():
        raise UndefinedError("no pixel is 0 (background): nothing says that these are masks (--label-kind if they are)")
    values = np.unique(images)
    if np.count_nonzero(values) > 1 and all(len(np.unique(image)) <= 2 for image in images):
        raise UndefinedError(
            f"one value an image, but {np.count_nonzero(values)} values over all: say whether they number objects or classes "
            "(--label-kind); if neither, these are intensities"
        )


def _kind_of_both(reference: PatchSet, test: PatchSet) -> LabelKind | None:
    kinds = {patches.label_kind for patches in (reference, test)} - {None}
    if len(kinds) > 1:
        raise UndefinedError("one side numbers objects, the other classes")
    return next(iter(kinds), None)


def _common_spacing(reference: PatchSet, test: PatchSet) -> Spacing:
    """Return the spacing of both sides, which agree; where one side knows none, that of the other holds."""
    return test.spacing if reference.spacing.unit == "pixel" else reference.spacing


def _values(metric: PairMetric, reference: NDArray[Any], test: NDArray[Any], known: Known) -> Array:
    """Return the metric of each pair, averaged over channels, shape (N,); one undefined pair makes the whole undefined."""
    values, reasons = np.full(reference.shape[:2], np.nan), []
    for pair, channel in np.ndindex(*values.shape):
        try:
            values[pair, channel] = metric.compute(reference[pair, channel], test[pair, channel], known)
        except UndefinedError as error:
            reasons.append(str(error))
    if reasons:
        raise UndefinedError(f"in {len(reasons)} of {values.size} single-channel images: {reasons[0]}")
    return np.asarray(values.mean(axis=1))
