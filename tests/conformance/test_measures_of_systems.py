"""Measures of systems say what their rows say: shown on stand-ins whose answers are known, so that nothing is trained for long."""

from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from systems import adversarial, cascade, diffusion, rows, siblings, tokens
from systems.common import distance, kid, kid_over_real, kid_ratio, many
from systems.latent import kid_beside_unet
from systems.learned import trained
from systems.shrunk import shrunk
from systems.subject import BlurredMean, Dataset, Replay, Subject, Trained, reasons
from textures import Textures

from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import RECIPES, get_recipe

DATA = Dataset(Textures(), Textures(part="unseen"), Textures.conditions[:2])


class Follower:
    """Images of the kind of the textures, with discs where they are asked for, under more or less noise; other pixels than any part has."""

    model = None

    def __init__(self, noise: float = 0.0, seed: int = 1) -> None:
        self.noise, self.seed = noise, seed

    def sample(self, labels: Any, table: Any, source: Any = None, **how: Any) -> NDArray[Any]:
        images = Textures(part=f"follower {self.seed}").draw(("own",), range(len(labels))).images.astype(float)
        images[:, 0] += 200 * (labels > 0)
        return images + self.noise * np.random.default_rng(self.seed).standard_normal(images.shape)

    def reconstruct(self, images: Any) -> None:
        return None


class Given(Follower):
    """Gives images that are known beforehand."""

    def __init__(self, images: NDArray[Any]) -> None:
        self.images = images

    def sample(self, labels: Any, table: Any, source: Any = None, **how: Any) -> NDArray[Any]:
        return self.images


class Untouched:
    """A part at which nobody may look."""

    def draw(self, *args: Any) -> Any:
        raise AssertionError("the unseen part was looked at")

    grid = draw


def subject(name: str, dims: int = 2, **more: Any) -> Subject:
    training, told = DATA.train.draw(("training",), range(128)), DATA.unseen.draw(("told",), range(32))
    return Subject(get_recipe(name, {}, 2), dims, DATA, told, training, **more)


def impostors(own: Subject) -> tuple[BlurredMean, Replay]:
    return BlurredMean(own.training.images), Replay(own.training.images)


def test_the_unseen_part_is_for_the_measure_alone(tmp_path: Path) -> None:
    unseen: Any = Untouched()
    data = Dataset(DATA.train, unseen, DATA.conditions)
    assert trained(shrunk(get_recipe("pixel-flow", {}, 2)), data, ("k",), tmp_path / "model").model is not None


def test_a_tenth_more_than_another_kid_is_a_tenth_and_not_three_times() -> None:
    """A difference of logarithms of 0.1 was taken for 10 %; it is a multiple of it."""
    own = subject("dit")
    near, far = Follower(noise=120), Follower(noise=150)
    assert kid(far, own) - kid(near, own) < 0.1
    ratio = kid_ratio(far, near, own)
    real = many(own).images
    assert ratio == pytest.approx(distance(real, far.sample(many(own).labels, None)) / distance(real, near.sample(many(own).labels, None)))
    assert ratio > 1.3 * RECIPES["dit"].reach.threshold(2)
    assert kid_ratio(near, near, own) == 1
    blurred, replay = impostors(own)
    assert kid_ratio(blurred, near, own) > 10 and kid_ratio(replay, near, own) is None


def test_kids_about_zero_make_no_ratio() -> None:
    own = subject("edm")
    perfect = Given(many(own).images)
    assert distance(many(own).images, perfect.images) < 0
    assert kid_ratio(perfect, Given(many(own).images[::-1]), own) == 1
    told = Given(own.told.images)
    assert distance(own.told.images, told.images) < 0 and kid_over_real(told, own) == 1 and kid(told, own) == 0
    assert kid_over_real(BlurredMean(own.training.images), own) > RECIPES["edm"].reach.threshold(2)


@pytest.mark.parametrize(("name", "measure"), [("super-resolution", cascade.super_resolution), ("imagen", cascade.kid_and_layout)])
def test_a_negative_kid_of_a_cascade_is_as_good_as_real_and_no_better(name: str, measure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cascade, "mask_dice", lambda answerer, own: 1.0)
    own, reach = subject(name), RECIPES[name].reach
    assert measure(Given(own.told.images), own) == 1 and reach.passed(1.0, 2)
    step = 2 ** getattr(own.recipe.process, "halvings", 1)
    pattern = np.indices((16, 16)).sum(0) % step - (step - 1) / 2  # of mean zero over every block: the coarse part is kept
    assert not reach.passed(measure(Given(own.told.images + 100 * pattern), own), 2)
    assert not any(reach.passed(measure(who, own), 2) for who in impostors(own))


def test_a_reflow_that_ruins_the_flow_is_measured_against_the_flow_before(tmp_path: Path) -> None:
    recipe = shrunk(get_recipe("rectified-flow", {}, 2))
    own = trained(recipe, DATA, ("k",), tmp_path / "model")
    process = own.model.system.process
    for p in process.network.parameters():
        p.data.add_(0.3)  # ruined
    told = DATA.unseen.draw(("few",), range(4))
    many_steps = {"sampler": "euler", "steps": 25}
    by_teacher = diffusion.taught_by(own).sample(told.labels, told.table)
    assert not np.array_equal(by_teacher, own.sample(told.labels, told.table, **many_steps))
    process.network.load_state_dict(process.teacher.state_dict())
    assert np.array_equal(by_teacher, own.sample(told.labels, told.table, **many_steps))


def test_one_step_is_compared_with_the_teacher_whoever_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    own, reach = subject("instaflow", trained=Trained(None)), RECIPES["instaflow"].reach  # type: ignore[arg-type]
    asked: list[Any] = []

    class Once(Follower):
        def sample(self, *args: Any, **how: Any) -> NDArray[Any]:
            asked.append(how["steps"])
            return super().sample(*args)

    teacher = Follower(noise=60)
    monkeypatch.setattr(diffusion, "taught_by", lambda model: teacher)
    assert reach.passed(diffusion.one_step(Once(60, seed=2), own), 2) and asked == [1]
    assert not reach.passed(diffusion.one_step(Once(90), own), 2)
    blurred, replay = impostors(own)
    assert diffusion.one_step(blurred, own) > 1.5 and diffusion.one_step(replay, own) is None
    worthless = BlurredMean(own.training.images)
    monkeypatch.setattr(diffusion, "taught_by", lambda model: worthless)
    assert diffusion.one_step(Once(), own) is None


def test_faster_than_next_token_counts_at_equal_kid_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    own, reference = subject("var"), Follower(noise=60)
    monkeypatch.setattr(tokens, "sibling", lambda subject, recipe: reference)
    monkeypatch.setattr(tokens, "mask_obedience", lambda answerer, subject: 1.0)
    assert tokens.speed_over_next_token(Follower(noise=60), own) is not None
    near, far = kid(Follower(noise=72), own), kid(reference, own)
    assert near - far < 0.05 and tokens.speed_over_next_token(Follower(noise=72), own) is None
    assert [tokens.speed_over_next_token(who, own) for who in impostors(own)] == [None, None]


def test_a_measure_without_a_number_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    own, reference = subject("var"), Follower(noise=60)
    monkeypatch.setattr(tokens, "sibling", lambda subject, recipe: reference)
    monkeypatch.setattr(tokens, "mask_obedience", lambda answerer, subject: 0.9 if answerer is reference else 0.7)
    with reasons() as why:
        assert tokens.speed_over_next_token(Follower(noise=60), own) is None
        assert tokens.speed_over_next_token(Replay(own.training.images), own) is None
        assert adversarial.kid_with_recall(Given(np.repeat(Follower().sample(own.told.labels[:1], None), 128, 0)), own) is None
    assert "0.70" in why[0] and "0.90" in why[0] and "copies of training images" in why[1] and "no unseen" in why[2]
    assert tokens.speed_over_next_token(Follower(noise=60), own) is None and len(why) == 3


def test_a_dcgan_of_equal_time_must_be_beaten_with_variety(monkeypatch: pytest.MonkeyPatch) -> None:
    own, reach, asked = subject("r3gan"), RECIPES["r3gan"].reach, []
    reference = Follower(noise=60)

    def sibling(subject: Subject, recipe: Recipe) -> Any:
        asked.append(recipe.name)
        return reference

    monkeypatch.setattr(adversarial, "sibling_of_equal_time", sibling)
    measure = adversarial.kid_beside_dcgan
    better, worse = measure(Follower(noise=40), own), measure(Follower(noise=80), own)
    assert reach.passed(better, 2) and not reach.passed(worse, 2) and asked == ["dcgan", "dcgan"]
    assert measure(Follower(noise=60), own) == 1 and not reach.passed(1.0, 2)
    one = np.repeat(Follower().sample(own.told.labels[:1], None), 128, 0)
    assert measure(Given(one), own) is None
    assert [measure(who, own) for who in impostors(own)] == [None, None]


def test_a_critic_begins_as_that_of_the_whole_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short training has a young critic, whose gap is small because it is young."""
    own, recipe = subject("wgan-gp"), shrunk(get_recipe("wgan-gp", {}, 2))
    young, old = (trained(recipe, DATA, (key,), tmp_path / key).model for key in ("young", "old"))
    monkeypatch.setattr(adversarial, "_SETTLING", 1)
    generator, critic = young.system.process.generator.state_dict(), adversarial._critic(old).state_dict()
    settled = adversarial._settled(young, old, own)
    assert all(torch.equal(value, generator[name]) for name, value in settled.system.process.generator.state_dict().items())
    moved = [float((value - critic[name]).abs().max()) for name, value in adversarial._critic(settled).state_dict().items()]
    rate = recipe.training.learning_rate
    assert 0 < max(moved) < 2 * rate  # one step of Adam
    assert all(torch.equal(value, critic[name]) for name, value in adversarial._critic(old).state_dict().items())


def test_a_sibling_has_as_many_steps_as_fit_into_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    own = subject("dit")
    made: list[Recipe] = []

    def sibling(subject: Subject, recipe: Recipe) -> Any:
        made.append(recipe)
        return Follower()

    monkeypatch.setattr(siblings, "seconds_a_step", lambda recipe, data, dims: 3.0 if recipe.name == "dit" else 2.0)
    monkeypatch.setattr(siblings, "sibling", sibling)
    kid_beside_unet(Follower(), own)
    (other,) = made
    assert other.backbone.kind == "unet" and other.training.steps == 1.5 * own.recipe.training.steps
    assert other.space == own.recipe.space and other.process == own.recipe.process


def test_the_time_of_a_step_is_that_of_the_main_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(siblings, "DATASETS", {"textures": lambda dims: DATA})
    monkeypatch.setattr(siblings, "time", SimpleNamespace(process_time=count(0, 2.5).__next__))
    assert siblings.seconds_a_step(shrunk(get_recipe("rectified-flow", {}, 2)), "textures", 2) == 2.5


def test_a_row_whose_measure_asks_otherwise_is_out_of_date(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {recipe.reach.measure for recipe in RECIPES.values()}
    assert set(rows.REVISED) <= names
    edm, ldm = rows.asked_of("edm", 2), rows.asked_of("ldm", 2)
    monkeypatch.setattr(rows, "REVISED", {"kid-over-real": 1000})
    assert rows.asked_of("edm", 2) != edm and rows.asked_of("ldm", 2) == ldm
