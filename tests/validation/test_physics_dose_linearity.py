"""Linearity in the dose: the line is that of least squares, and a bend, a flat answer and exchanged doses are told apart."""

from dataclasses import replace

import numpy as np
import pytest
import tissue

from sciimg.types import PatchSet
from sciimg.validation.physics import RealImages, calibrate, effect
from sciimg.validation.physics.dose_linearity import DoseLinearity, _line

CHECK = DoseLinearity()


def answered(dose: np.ndarray, mean: np.ndarray) -> PatchSet:
    whole = tissue.exposed("train").take(list(range(len(dose))))
    images = np.broadcast_to(mean[:, None, None, None], whole.images.shape).astype(np.float64)
    return replace(whole, images=images, table=whole.table.assign(exposure=dose))


def test_the_line_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    dose = rng.uniform(1, 9, 32)
    mean = 100 + 20 * dose + 3 * (dose - 5) ** 2 + rng.normal(0, 5, 32)
    patches = answered(dose, mean)
    frame = CHECK.frame(patches)
    height, slope, bend, scatter = _line(CHECK.measure(patches, frame).sum(axis=0))[0]
    x, y = (dose - frame.centre) / frame.span, (mean - frame.middle[0]) / frame.rise[0]
    theirs = np.polynomial.polynomial.polyfit(x, y, 1)
    assert (height, slope) == pytest.approx(tuple(theirs), abs=1e-9) and height == pytest.approx(0, abs=1e-9)
    assert bend == pytest.approx(np.polynomial.polynomial.polyfit(x, y, 2)[2], rel=1e-9)
    assert scatter == pytest.approx(np.sqrt(np.mean((y - theirs[0] - theirs[1] * x) ** 2)), rel=1e-9)


def test_a_deaf_generator_and_one_that_saturates_are_flagged() -> None:
    ready = calibrate(CHECK, RealImages(*(tissue.exposed(part) for part in ("holdout", "calibration", "train"))), key=("t",))
    assert not isinstance(ready, str)
    train = tissue.exposed("train")
    fine = effect(ready, train, name="x")
    light = (train.images - tissue.OFFSET) / train.table["exposure"].to_numpy()[:, None, None, None]
    deaf = replace(train, images=(tissue.OFFSET + light).astype(np.uint16))
    cut = np.minimum(train.images, np.quantile(train.images, 0.5)).astype(np.uint16)
    assert fine.value < 1 < min(effect(ready, bad, name="x").value for bad in (deaf, replace(train, images=cut)))


def test_what_keeps_from_judging_is_said() -> None:
    real = tissue.exposed("holdout")
    assert CHECK.obstacle(real) == "" == CHECK.obstacle_in(real)
    assert "names no condition as the dose" in CHECK.obstacle(replace(real, attributes={}))
    assert "do not say which exposure" in CHECK.obstacle(replace(real, table=real.table.drop(columns="exposure")))
    two = replace(real, table=real.table.assign(exposure=np.where(real.table["exposure"] > 1, 2.0, 1.0)))
    assert "2 different exposure; 3 are needed" in CHECK.obstacle(two)
    assert "explains" in CHECK.obstacle(replace(real, table=real.table.assign(exposure=np.arange(len(real)) % 3.0)))
    assert "do not say which dose" in CHECK.obstacle_in(replace(real, table=real.table.drop(columns="exposure")))
    unknown = real.table.assign(exposure=np.where(real.table["exposure"] > 1, np.nan, 1.0))
    assert "do not say which dose" in CHECK.obstacle_in(replace(real, table=unknown))
    assert "not known of all" in CHECK.obstacle(replace(real, table=unknown))
