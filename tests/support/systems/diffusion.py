"""Measures of flows and diffusions: encode and decode, one step against many, obedience that grows with guidance."""

import copy
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sciimg.augmenters.conditioning.encoder import encode_condition
from sciimg.augmenters.processes.gaussian import GaussianProcess

from .common import kid_of_reference, kid_ratio, mask_obedience, scalar_obedience
from .subject import Answerer, Measure, Subject, Trained

_TEACHER_STEPS = 25
_SHOWN = 8  # images that are encoded


def round_trip(answerer: Answerer, subject: Subject) -> float | None:
    """Correlation of unseen images with themselves after encoding to noise and decoding, times how white that noise is.

    Whiteness is 1 - |correlation of neighbours|: a code that still holds the image has gone nowhere. One who has no code answers with
    its nearest image.
    """
    images = subject.made_of(subject.told)[:_SHOWN]
    if answerer.model is None:
        back = answerer.reconstruct(images)
        return None if back is None else _correlation(images, back)
    code, back = _encoded_and_decoded(answerer, subject, images)
    return _correlation(images, back) * (1 - _neighbours(code))


def _encoded_and_decoded(answerer: Answerer, subject: Subject, images: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    model, told = answerer.model, subject.told
    assert model is not None
    system, card = model.system, model.card
    process = system.process
    assert isinstance(process, GaussianProcess)
    table = told.table[:_SHOWN].copy()
    for scalar in card.conditions.scalars:
        table[scalar.name] = table[scalar.name].clip(scalar.low, scalar.high)
    labels = None if told.labels is None or card.conditions.mask is None else told.labels[:_SHOWN]
    condition = system.pad_condition(encode_condition(card.conditions, labels, table, card.shape[1:]))
    with torch.no_grad():
        points = system.space.encode(system.pad(torch.from_numpy(card.intensity.forward(images))), condition)
        code = process.encode(points, condition, card.recipe.sampler)
        back = process.decode(code, condition, card.recipe.sampler, _never)
        made = system.crop(system.space.decode(back, None, condition))
    return code.numpy(), card.intensity.inverse(made.numpy())


def _never(shape: Any) -> torch.Tensor:
    raise AssertionError("the way back is deterministic")


def _correlation(a: NDArray[Any], b: NDArray[Any]) -> float:
    pairs = zip(a.reshape(len(a), -1).astype(np.float64), b.reshape(len(b), -1).astype(np.float64), strict=True)
    return float(np.mean([np.corrcoef(x, y)[0, 1] if np.ptp(x) and np.ptp(y) else 0.0 for x, y in pairs]))


def _neighbours(code: NDArray[Any]) -> float:
    """Largest correlation, over spatial axes, of values that are next to one another."""
    found = []
    for axis in range(2, code.ndim):
        n = code.shape[axis]
        a, b = code.take(range(n - 1), axis).ravel(), code.take(range(1, n), axis).ravel()
        found.append(abs(np.corrcoef(a, b)[0, 1]) if np.ptp(a) else 1.0)
    return float(max(found))


def one_step(answerer: Answerer, subject: Subject) -> float | None:
    """KID of one step over that of 25 Euler steps of the flow that the recipe was taught by; both from unseen images.

    The teacher is the trained recipe's, whoever answers: its flow before that was made straight. None where the teacher itself is nothing
    like the data. Neither counts as less than what real training images reach (:func:`.common.kid_ratio`).
    """
    assert isinstance(subject.trained, Trained)
    teacher = taught_by(subject.trained)
    worth = kid_of_reference(teacher, subject)
    if worth is None or worth > _WORTHLESS:
        return None

    def at_once(*args: Any, **how: Any) -> NDArray[Any]:
        return answerer.sample(*args, steps=1, **how)

    return kid_ratio(_Sampled(answerer, at_once), teacher, subject)


_WORTHLESS = 100.0  # times as far from unseen images as training images are


@lru_cache(maxsize=1)
def taught_by(trained: Trained) -> Answerer:
    """Return what samples a recipe's flow in many steps: the one that is kept from before reflow, or the only one there is."""
    model = copy.deepcopy(trained.model)
    assert model is not None
    process = model.system.process
    assert isinstance(process, GaussianProcess)
    if process.teacher is not None:
        process.network.load_state_dict(process.teacher.state_dict())
    flow = Trained(model)

    def in_many_steps(*args: Any, **how: Any) -> NDArray[Any]:
        return flow.sample(*args, sampler="euler", steps=_TEACHER_STEPS, **how)

    return _Sampled(flow, in_many_steps)


class _Sampled:
    """The same answerer asked in another way."""

    def __init__(self, answerer: Answerer, sample: Any) -> None:
        self.model, self.sample, self.reconstruct = answerer.model, sample, answerer.reconstruct


def guidance_obedience(answerer: Answerer, subject: Subject) -> float | None:
    """Obedience at the recipe's guidance, when it rises from none over half to all of it; None where it does not.

    To the mask when the recipe listens to one, else to the scalar.
    """
    obedience = mask_obedience if "mask" in subject.recipe.conditioning.uses else scalar_obedience
    scales = [share * subject.recipe.sampler.guidance for share in (0.0, 0.5, 1.0)]
    found = []
    for scale in scales:

        def guided(*args: Any, scale: float = scale, **how: Any) -> NDArray[Any]:
            return answerer.sample(*args, guidance=scale, **how)

        found.append(obedience(_Sampled(answerer, guided), subject))
    none, half, whole = found
    if none is None or half is None or whole is None or not none < half < whole:
        return None
    return whole


MEASURES: dict[str, Measure] = {
    "round-trip": round_trip,
    "one-step": one_step,
    "guidance-obedience": guidance_obedience,
}
