"""Measures of adversarial systems: distance with variety, conditions read back by probes, truncation, styles, captions."""

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.backbones.opponents import Judge
from sciimg.augmenters.backbones.style import StyleGenerator
from sciimg.augmenters.conditioning.encoder import encode_condition
from sciimg.augmenters.conditioning.symmetry import symmetry_group
from sciimg.augmenters.feed import Feed
from sciimg.augmenters.processes.adversarial import AdversarialProcess
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.system import Noise, autocast
from sciimg.types import PatchSet
from sciimg.validation.distance import squared_mmd

from .common import features, kid_ratio, mask_obedience, scalar_obedience
from .common import many as _many
from .siblings import sibling, sibling_of_equal_time
from .subject import Answerer, Measure, Subject, Trained, asked, missing

_NEIGHBOURS = 3
_SETTLING = 200  # steps
_CHANGED = 0.05  # of the spread of intensities
_WORTH = 0.5  # of the blurred mean's distance


def kid_with_recall(answerer: Answerer, subject: Subject) -> float | None:
    """Kernel distance of features from unseen real patches over that of the blurred mean; None without any variety.

    Variety is recall: the share of unseen real patches that lie among the samples (Kynkaanniemi et al. 2019, arXiv:1904.06991).
    """
    made = asked(answerer, subject, _many(subject))
    return None if made is None or not _varied(made[0], subject) else _distance(subject, _many(subject), made[0])


def kid_beside_dcgan(answerer: Answerer, subject: Subject) -> float | None:
    """KID over that of recipe ``dcgan`` trained on the same data for the same processor time; None without any variety.

    Below 1 it is beaten (:func:`.common.kid_ratio`).
    """
    made = asked(answerer, subject, _many(subject))
    if made is None or not _varied(made[0], subject):
        return None
    return kid_ratio(answerer, sibling_of_equal_time(subject, _dcgan(subject.dims)), subject)


def condition_accuracy(answerer: Answerer, subject: Subject) -> float | None:
    """The worst of: correlation with the mask over that of real images; correlation with the level asked for; class read by a probe.

    The probe is a ridge regression fitted to real training patches; its accuracy above chance on samples is divided by
    that on unseen real patches.
    """
    values = []
    uses = subject.recipe.conditioning.uses
    if "mask" in uses:
        values.append(mask_obedience(answerer, subject))
    if "scalar" in uses:
        values.append(scalar_obedience(answerer, subject))
    if "class" in uses:
        values.append(_class_accuracy(answerer, subject))
    found = [v for v in values if v is not None]
    return min(found) if len(found) == len(values) else None


def critic_tracks_distance(answerer: Answerer, subject: Subject) -> float | None:
    """Correlation of the critic's loss with the distance of samples from real images (Arjovsky et al. 2017, arXiv:1701.07875, figure 3).

    The loss is the gap between what a critic says of unseen real patches and of samples, for this recipe trained for a sixteenth, an
    eighth, a quarter, a half and all of its steps. Each generator is asked of by a critic of its own, which first learns on while the
    generator stands still: the gap estimates a distance only where the critic is near its best (ibid., section 3). All begin as the critic
    of the whole training, or gaps would say how long critics had learned: one that is young finds little where there is most to be found.
    The distance is logarithmic, like the steps. Only asked of a generator whose samples are nearer to real ones than half of the blurred
    mean's distance: what was not trained would be one more point on the line of its siblings.
    """
    told, model = _many(subject), answerer.model
    made = asked(answerer, subject, told)
    if made is None or model is None or not _near(made[0], told, subject):
        return None
    steps = subject.recipe.training.steps
    shorter = [sibling(subject, _shortened(subject.recipe, steps // share)).model for share in (16, 8, 4, 2)]
    gaps, distances = [], []
    for own in (*shorter, model):
        samples = asked(Trained(own), subject, told)
        assert samples is not None
        settled = _settled(own, model, subject)
        gaps.append(_said(settled, told, subject.made_of(told)) - _said(settled, told, samples[0]))
        distances.append(max(_distance(subject, told, samples[0]), 1e-6))
    return float(np.corrcoef(gaps, np.log(distances))[0, 1]) if np.ptp(gaps) else missing("the critic says the same of all")


def truncation_trade(answerer: Answerer, subject: Subject) -> float | None:
    """Recall of real patches that is lost when noise is truncated to 0.3; None where precision does not rise by it."""
    told = _many(subject)
    whole, close = asked(answerer, subject, told), asked(answerer, subject, told, truncation=0.3)
    if whole is None or close is None:
        return None
    real = features(subject.made_of(told))
    recalls, precisions = [], []
    for images, _ in (whole, close):
        a, b = _scaled(real, features(images))
        recalls.append(_among(a, b).mean())
        precisions.append(_among(b, a).mean())
    if precisions[1] <= precisions[0]:
        return missing(f"precision is {precisions[0]:.2f}, and {precisions[1]:.2f} of truncated noise")
    return float(recalls[0] - recalls[1])


def style_mixing(answerer: Answerer, subject: Subject) -> float | None:
    """How much more the layout of a mixed sample follows the giver of its coarse styles than the giver of its finest one.

    The difference of correlations of blurred images without their levels, with the same noise images for all; only asked of a generator
    whose samples are nearer to real ones than half of the blurred mean's distance, because noise mixes too. None where the finest style
    changes nothing.
    """
    told = _many(subject)
    made = asked(answerer, subject, told)
    model = answerer.model
    if made is None or model is None or not _near(made[0], told, subject):
        return None
    coarse, fine, mixed = _mixed(answerer, told)
    if (changed := np.abs(mixed - coarse).mean() / coarse.std()) < _CHANGED:
        return missing(f"the finest style changes samples by {changed:.3f} of their spread")
    sigma, axes = (0, 0, *(2.0,) * subject.dims), tuple(range(2, 2 + subject.dims))
    a, b, c = (
        ndimage.gaussian_filter(x - x.mean(axes, keepdims=True), sigma, mode="wrap").reshape(len(x), -1) for x in (coarse, fine, mixed)
    )
    return float(np.mean([np.corrcoef(m, x)[0, 1] - np.corrcoef(m, y)[0, 1] for x, y, m in zip(a, b, c, strict=True)]))


def text_image_score(answerer: Answerer, subject: Subject) -> float | None:
    """Agreement of captions with what probes read from the samples, above that of shuffled captions, over the same of real patches.

    Probes are ridge regressions to the words of captions, fitted to real training patches.
    """
    told = _many(subject)
    made = asked(answerer, subject, told)
    if made is None:
        return None
    captions = subject.training.table["caption"].str.replace(",", "").str.split()
    words = sorted({word for caption in captions for word in caption})

    def named(table: Any) -> NDArray[np.float64]:
        own = table["caption"].str.replace(",", "").str.split()
        return np.array([[float(word in caption) for word in words] for caption in own])

    probe = _Probe(subject.made_of(subject.training), named(subject.training.table))

    def above(images: NDArray[Any], table: Any) -> float:
        read, right = probe(images), named(table)
        right = right - right.mean(0)
        # the mean over all shuffles of a centred score is zero up to the diagonal, so the diagonal itself is what is above
        return float((read * right).sum(1).mean())

    return above(*_paired(made)) / above(subject.made_of(told), told.table)


# ---------------------------------------------------------------- parts


def _dcgan(dims: int) -> Recipe:
    """Return the recipe with the batch of its own row."""
    own: Any = dims
    return get_recipe("dcgan", dict(get_recipe("dcgan", {}, own).reach.budget(own)), own)


def _near(images: NDArray[Any], told: PatchSet, subject: Subject) -> bool:
    """Return whether samples are nearer to real patches than half of the blurred mean's distance."""
    if (distance := _distance(subject, told, images)) > _WORTH:
        missing(f"the distance of samples from real patches is {distance:.2f} of the blurred mean's")
    return distance <= _WORTH


def _varied(images: NDArray[Any], subject: Subject) -> bool:
    """Return whether any unseen real patch lies among samples."""
    if not (recall := _recall(images, subject)):
        missing("no unseen real patch lies among the samples")
    return recall > 0


def _recall(images: NDArray[Any], subject: Subject) -> float:
    """Return the share of unseen real patches that lie among samples."""
    return float(_among(*_scaled(features(subject.made_of(_many(subject))), features(images))).mean())


def _paired(made: tuple[NDArray[Any], PatchSet]) -> tuple[NDArray[Any], Any]:
    return made[0], made[1].table


def _shortened(recipe: Recipe, steps: int) -> Recipe:
    return recipe.model_copy(update={"training": recipe.training.model_copy(update={"steps": steps}), "name": f"{recipe.name} {steps}"})


def _settled(model: Augmenter, older: Augmenter, subject: Subject) -> Augmenter:
    """Return a copy whose critic is that of another which learned on for some steps, ever more slowly, while the generator stood still."""
    model = copy.deepcopy(model)
    _critic(model).load_state_dict(_critic(older).state_dict())
    phase = model.system.process.phases()[-1]
    critic, told = next(p for p in phase.players() if p.name == "discriminator"), model.card
    for p in model.system.parameters():
        p.requires_grad_(False)
    for p in critic.parameters():
        p.requires_grad_(True)
    training, spacing = told.recipe.training, told.spacing[-subject.dims :]
    elements = symmetry_group(training.symmetries, told.shape[1:], spacing)
    key = ("conformance", "settled")
    feed = Feed(subject.data.train, model.conditions, told.intensity, model.system, elements, training.tell_symmetry, key)
    optimiser = torch.optim.Adam(critic.parameters(), critic.schedule.learning_rate, critic.schedule.betas)
    slower = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, _SETTLING)
    for step in range(_SETTLING):
        batch = feed.batch(phase.name, step, _SETTLING, critic.schedule.batch)
        with autocast(critic.schedule.precision, "cpu"):
            loss = phase.loss(critic.name, replace(batch, step=_SETTLING))["loss"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        slower.step()
    return model


def _critic(model: Augmenter) -> Judge:
    assert isinstance(model.system.process, AdversarialProcess)
    found: Any = model.system.process.stages[-1].discriminator
    return found


@torch.no_grad()
def _said(model: Augmenter, told: PatchSet, images: NDArray[Any]) -> float:
    """Return the critic's mean logit."""
    critic = _critic(model)
    condition = encode_condition(model.conditions, None, told.table[: len(images)].reset_index(drop=True), model.card.shape[1:])
    points = model.system.pad(torch.from_numpy(model.card.intensity.forward(images)))
    logits = critic(critic.coefficients(points), model.system.pad_condition(condition))
    return float(np.mean([float(own.float().mean()) for own in logits]))


def _scaled(real: NDArray[np.float64], made: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scale = real.std(0) + 1e-9
    return real / scale, made / scale


def _among(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points lie within the distance of another's k-th neighbour of its own kind (Kynkaanniemi 2019, eq. 1)."""
    radius = np.sort(cdist(others, others), axis=1)[:, _NEIGHBOURS]
    return np.asarray((cdist(points, others) <= radius).any(1))


def _distance(subject: Subject, told: PatchSet, images: NDArray[Any]) -> float:
    """Return the kernel distance of samples from real patches over that of the blurred mean: 0 is perfect, 1 is worthless."""
    real = features(subject.made_of(told))
    mean = np.broadcast_to(subject.made_of(subject.training).mean(0), images.shape)
    return float(_mmd(*_scaled(real, features(images))) / _mmd(*_scaled(real, features(mean))))


def _mmd(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the unbiased squared MMD with a sum of rational quadratic kernels (Binkowski et al. 2018, arXiv:1801.01401, section 4).

    Unlike the cubic kernel it is bounded, so that one feature far outside does not decide alone.
    """

    def kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        squared = cdist(x, y, "sqeuclidean") / x.shape[1]
        return np.asarray(np.mean([(1 + squared / (2 * alpha)) ** -alpha for alpha in (0.2, 0.5, 1.0, 2.0, 5.0)], axis=0))

    return squared_mmd(kernel(a, a), kernel(b, b), kernel(a, b))


class _Probe:
    """Ridge regression from statistics of images to what is said of them, fitted to real training patches.

    Statistics are quantiles and the spread of large structure after a blur: what is told is how much and how bright, not fine texture.
    """

    def __init__(self, images: NDArray[Any], said: NDArray[np.float64], ridge: float = 1.0) -> None:
        x = _statistics(images)
        self._mean, self._scale, self._base = x.mean(0), x.std(0) + 1e-9, said.mean(0)
        z = (x - self._mean) / self._scale
        self._weights = np.linalg.solve(z.T @ z + ridge * np.eye(z.shape[1]), z.T @ (said - self._base))

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray((_statistics(images) - self._mean) / self._scale @ self._weights + self._base)


def _statistics(images: NDArray[Any]) -> NDArray[np.float64]:
    axes = tuple(range(2, images.ndim))
    fine, coarse = (ndimage.gaussian_filter(images.astype(np.float64), (0, 0, *(sigma,) * len(axes))) for sigma in (1.5, 4.0))
    return np.concatenate([*np.quantile(fine, (0.1, 0.25, 0.5, 0.75, 0.9), axis=axes), (fine - coarse).std(axes)], axis=1)


def _class_accuracy(answerer: Answerer, subject: Subject) -> float | None:
    told = _many(subject)
    made = asked(answerer, subject, told)
    if made is None:
        return None
    (column,) = [c.column for c in subject.data.conditions if c.kind == "class"]
    values = sorted(set(subject.training.table[column]))

    def named(table: Any) -> NDArray[np.float64]:
        return np.array([[float(own == value) for value in values] for own in table[column]])

    probe = _Probe(subject.made_of(subject.training), named(subject.training.table))

    def accuracy(images: NDArray[Any], table: Any) -> float:
        return float((probe(images).argmax(1) == named(table).argmax(1)).mean()) - 1 / len(values)

    return accuracy(*_paired(made)) / accuracy(subject.made_of(told), told.table)


@torch.no_grad()
def _mixed(answerer: Answerer, told: PatchSet) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return samples of some styles, of others, and of the first ones' with the others' finest."""
    model, n = answerer.model, 16
    assert model is not None and isinstance(model.system.process, AdversarialProcess)
    generator = model.system.process.generator
    assert isinstance(generator, StyleGenerator)
    condition = encode_condition(model.conditions, None, told.table[:n].reset_index(drop=True), model.card.shape[1:])
    condition = model.system.pad_condition(condition)
    noise = Noise(("mixing",), range(n))
    first, second, *images = (noise.normal(own) for own in 2 * generator.noise_shapes(model.system.padded_shape[1:])[:1])
    images = [noise.normal(own) for own in generator.noise_shapes(model.system.padded_shape[1:])[1:]]
    latent = generator.settings.noise_vector
    with autocast("bf16", "cpu"):
        styles = [generator.mapping(z[:, :latent], condition).unsqueeze(1).repeat(1, len(generator.first), 1) for z in (first, second)]
        both = torch.cat([styles[0][:, :-1], styles[1][:, -1:]], dim=1)
        a, b, c = (model.system.crop(generator.synthesise(own, images, condition)).numpy() for own in (*styles, both))
    return a, b, c


MEASURES: dict[str, Measure] = {
    "kid-with-recall": kid_with_recall,
    "kid-beside-dcgan": kid_beside_dcgan,
    "condition-accuracy": condition_accuracy,
    "critic-tracks-distance": critic_tracks_distance,
    "truncation-trade": truncation_trade,
    "style-mixing": style_mixing,
    "text-image-score": text_image_score,
}
