"""Does a synthetic image have the scalar or the class it was asked for? The value is measured on the image and compared.

A scalar is measured as the study defines it (mean of a channel, foreground fraction found by the independent segmenter). A class is read
by a classifier trained on features of real training images; its accuracy is given relative to the real holdout.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.randomness import generator
from sciimg.records import Metric, Null, TooFew
from sciimg.validation.pooling import by_group, centred_interval, pooled, resampling_weights
from sciimg.validation.resampling import NO_SPREAD, Interval, quotient_interval

Array = NDArray[np.float64]

_LEAST_SPREAD = 1e-9
_RIDGE = 1.0


SCALAR_PARTS: dict[str, bool | None] = {"correlation": True, "slope": None, "error": False}


def undefined_scalar(name: str, reason: str) -> list[Metric]:
    """Return the metrics of :func:`scalar_obedience` without a number."""
    return [Metric.undefined(f"condition_{name}_{part}", reason, higher_is_better=better) for part, better in SCALAR_PARTS.items()]


def scalar_obedience(
    name: str,
    requested: Array,
    measured: Array,
    groups: NDArray[Any],
    *,
    real_spread: float,
    bootstrap: int,
    key: tuple[str, ...],
    on_real: tuple[Array, Array] | None = None,
) -> list[Metric]:
    """Compare requested with measured values, each shape (N,).

    Parameters
    ----------
    real_spread : float
        Standard deviation of the real values, the unit of the error.
    on_real : (requested, measured), optional
        True and measured values of real images: how well the measurement itself works.

    Returns
    -------
    list of Metric
        ``condition_<name>_correlation`` (Pearson), ``condition_<name>_slope`` (least squares, measured on requested; 1 is obedience) and
        ``condition_<name>_error`` (root mean square difference in standard deviations of the real values).
    """
    stem = f"condition_{name}"
    about: dict[str, Any] = {"n": len(requested), "source": "Pearson correlation, ordinary least squares", "unit": "1"}
    if reason := _unusable(requested, measured):
        return undefined_scalar(name, reason)
    labels, sums = by_group(_terms(requested, measured), groups)
    null = {} if on_real is None else _moments(_terms(*on_real).sum(axis=0)[None], real_spread)
    weights = resampling_weights(generator(*key, name, "bootstrap"), len(labels), bootstrap)
    values, rounds = _moments(sums.sum(axis=0)[None], real_spread), _moments(pooled(sums, weights), real_spread)
    out = []
    for part, better in SCALAR_PARTS.items():
        value, replicates = float(values[part][0]), rounds[part][np.isfinite(rounds[part])]
        if not np.isfinite(value):
            out.append(Metric.undefined(f"{stem}_{part}", "the measured value is the same on all synthetic images", **about))
            continue
        interval = centred_interval(value, replicates, len(labels)) if len(labels) > 1 and replicates.size else None
        note = {"no_interval": NO_SPREAD} if interval is None and len(labels) > 1 else {}
        real = Null(value=float(null[part][0])) if part in null and np.isfinite(null[part][0]) else None
        out.append(Metric(name=f"{stem}_{part}", value=value, ci95=interval, null=real, higher_is_better=better, detail=note, **about))
    return out


def undefined_class(name: str, reason: str, **about: Any) -> list[Metric]:
    """Return the metrics of :func:`class_obedience` without a number."""
    names = (f"condition_{name}_accuracy", f"condition_{name}_accuracy-ratio")
    return [Metric.undefined(n, reason, **({"higher_is_better": True} | about)) for n in names]


def class_obedience(
    name: str,
    *,
    train: tuple[Array, NDArray[Any]],
    holdout: tuple[Array, NDArray[Any], NDArray[Any]],
    synthetic: tuple[Array, NDArray[Any], NDArray[Any]],
    features: str,
    bootstrap: int,
    key: tuple[str, ...],
) -> list[Metric]:
    """Read the class of synthetic images with a classifier trained on real features.

    Parameters
    ----------
    train : (features (N, D), classes (N,))
    holdout, synthetic : (features (N, D), classes (N,), groups (N,))
    features : str
        Name of the feature space, for the record.

    Returns
    -------
    list of Metric
        ``condition_<name>_accuracy`` and ``condition_<name>_accuracy-ratio`` (relative to the real holdout): means over classes, so that
        a frequent class does not hide a rare one.
    """
    stem = f"condition_{name}"
    names = (f"{stem}_accuracy", f"{stem}_accuracy-ratio")
    about: dict[str, Any] = {
        "n_real": len(holdout[1]),
        "n_synthetic": len(synthetic[1]),
        "features": features,
        "higher_is_better": True,
        "unit": "1",
        "source": "regularised linear discriminant: Friedman 1989, doi:10.1080/01621459.1989.10478752; balanced accuracy",
    }
    classes = sorted(set(np.asarray(train[1]).astype(str)))
    if len(classes) < 2:
        return undefined_class(name, f"the real training images have {len(classes)} class; two are needed", **about)
    if len(synthetic[1]) == 0:
        return undefined_class(name, "no synthetic images", **about)
    read = _discriminant(train[0], np.asarray(train[1]).astype(str), classes)
    rng = generator(*key, name, "bootstrap")
    on_real, real_rounds, real_interval = _accuracy(read(holdout[0]), holdout[1], holdout[2], classes, bootstrap, rng)
    on_made, made_rounds, interval = _accuracy(read(synthetic[0]), synthetic[1], synthetic[2], classes, bootstrap, rng)
    detail = {"classes": classes, "chance": 1 / len(classes)}
    first = Metric(
        name=names[0],
        value=on_made,
        ci95=interval,
        null=Null(value=on_real, ci95=real_interval),
        detail=detail,
        **about,
    )
    if on_real <= 1.2 / len(classes):
        reason = f"the classifier reads {on_real:.2f} of the real holdout, chance is {1 / len(classes):.2f}: it cannot judge"
        return [first, Metric.undefined(names[1], reason, **about)]
    ratio = on_made / on_real
    rounds = made_rounds / np.maximum(real_rounds, 1e-6)
    fewer = min(len(set(side[2])) for side in (holdout, synthetic))
    of_ratio = centred_interval(ratio, rounds, fewer, lowest=0.0) or quotient_interval(interval, real_interval)
    return [first, Metric(name=names[1], value=ratio, ci95=of_ratio, detail=detail, **about)]


def _unusable(requested: Array, measured: Array) -> str:
    if len(requested) < 3:
        return TooFew.of(f"{len(requested)} synthetic images; three are needed", len(requested), 3, "synthetic images")
    if not (np.all(np.isfinite(requested)) and np.all(np.isfinite(measured))):
        return "requested or measured values are not finite"
    if requested.std() <= _LEAST_SPREAD * max(1.0, float(np.abs(requested).max())):
        return "the requested value is the same for all synthetic images"
    return ""


def _terms(requested: Array, measured: Array) -> Array:
    """Return sums to add up, (N, 7), of deviations from the mean request (a common offset, so that no precision is lost)."""
    x, y = requested - requested.mean(), measured - requested.mean()
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y, (x - y) ** 2], axis=1)


def _moments(sums: Array, real_spread: float) -> dict[str, Array]:
    n, x, y, xx, yy, xy, dd = (sums[:, i] for i in range(7))
    n = np.maximum(n, 1.0)
    var_x, var_y, cov = xx / n - (x / n) ** 2, yy / n - (y / n) ** 2, xy / n - x * y / n**2
    ok = (var_x > 0) & (var_y > 1e-12 * np.maximum(var_x, 1e-300))
    safe_x, safe_y = np.where(var_x > 0, var_x, 1.0), np.where(ok, var_y, 1.0)
    return {
        "correlation": np.where(ok, np.clip(cov / np.sqrt(safe_x * safe_y), -1, 1), np.nan),
        "slope": np.where(var_x > 0, cov / safe_x, np.nan),
        "error": np.sqrt(dd / n) / (real_spread if real_spread > 0 else 1.0),
    }


def _discriminant(features: Array, classes: NDArray[Any], names: list[str]) -> Any:
    """Return a function from features to class numbers: least-squares class indicators on standardised features with a ridge penalty."""
    mean, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    x = (features - mean) / scale
    index = np.array([names.index(c) for c in classes])
    share = np.bincount(index, minlength=len(names))
    weight = (1 / np.maximum(share, 1))[index]  # every class weighs the same
    y = np.eye(len(names))[index] - 1 / len(names)
    gram = (x * weight[:, None]).T @ x + _RIDGE * len(names) / len(x) * np.trace((x * weight[:, None]).T @ x) / x.shape[1] * np.eye(
        x.shape[1]
    )
    coefficients = np.linalg.solve(gram, (x * weight[:, None]).T @ y)
    return lambda values: ((values - mean) / scale @ coefficients).argmax(axis=1)


def _accuracy(
    read: NDArray[np.intp], truth: NDArray[Any], groups: NDArray[Any], names: list[str], bootstrap: int, rng: np.random.Generator
) -> tuple[float, Array, Interval | None]:
    """Return balanced accuracy, its replicates over groups and its interval."""
    known = np.isin(np.asarray(truth).astype(str), names)
    index = np.array([names.index(c) for c in np.asarray(truth).astype(str)[known]], dtype=int)
    counts = np.zeros((len(index), len(names), 2))
    counts[np.arange(len(index)), index, 1] = 1
    counts[np.arange(len(index)), index, 0] = read[known] == index
    labels, sums = by_group(counts, np.asarray(groups)[known])
    rounds = pooled(sums, resampling_weights(rng, len(labels), bootstrap))
    value, replicates = float(_balanced(sums.sum(axis=0)[None])[0]), _balanced(rounds)
    return value, replicates, centred_interval(value, replicates, len(labels), within=(0.0, 1.0))


def _balanced(counts: Array) -> Array:
    seen = counts[..., 1] > 0
    recall = np.where(seen, counts[..., 0] / np.maximum(counts[..., 1], 1.0), 0.0)
    mean: Array = recall.sum(axis=-1) / np.maximum(seen.sum(axis=-1), 1)
    return mean
