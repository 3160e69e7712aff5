"""Image-to-image translation: what a patch critic sees, what a buffer of earlier images gives back, closed forms of the losses, resume."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures
from torch import Tensor, nn

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.backbones.settings import TranslatorBackbone
from sciimg.augmenters.backbones.translators import ImageBuffer, PatchCritic, Translator
from sciimg.augmenters.model_file import TIMES
from sciimg.augmenters.processes.cycle import CycleProcess, near
from sciimg.augmenters.processes.settings import CycleProcess as CycleChoices
from sciimg.augmenters.processes.translation import judged_as
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.system import Batch, Condition
from sciimg.augmenters.training import fit
from sciimg.errors import InputError
from sciimg.protocol.data import ImageCondition

SOURCE = ImageCondition(kind="image", channels=("a",))


def told(n: int, image: Tensor) -> Condition:
    return Condition(torch.zeros(n, 0, *image.shape[2:]), torch.zeros(n, 0), torch.ones(n, 1), image)


# ---------------------------------------------------------------- the critic


def test_the_critic_of_the_paper_judges_patches_of_seventy_pixels() -> None:
    assert PatchCritic(2, 6, (64, 128, 256, 512), ((2, 2),) * 3).reach == (70, 70)


@pytest.mark.parametrize(
    ("dims", "steps", "shape"),
    [(2, ((2, 2), (2, 2)), (64, 64)), (3, ((1, 2, 2), (2, 2, 2)), (40, 48, 48))],
    ids=["plane", "coarse-slices"],
)
def test_a_logit_depends_on_its_patch_and_on_nothing_else(dims: int, steps: tuple[tuple[int, ...], ...], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    critic = PatchCritic(dims, 1, (4, 4, 4), steps)
    image = torch.randn(1, 1, *shape, requires_grad=True)
    logits = critic(image)
    centre = tuple(n // 2 for n in logits.shape[2:])
    logits[(0, 0, *centre)].backward()
    assert image.grad is not None
    seen = image.grad[0, 0].abs() > 0
    extents = [int(np.ptp(np.flatnonzero(seen.sum([a for a in range(dims) if a != axis]).numpy()))) + 1 for axis in range(dims)]
    assert tuple(extents) == critic.reach
    assert critic.reach[0] < shape[0]


@pytest.mark.parametrize("shape", [(2, 2), (4, 2), (8, 12)])
def test_the_smallest_grid_has_a_logit(shape: tuple[int, int]) -> None:
    steps = tuple(tuple(2 if n > 2**i else 1 for n in shape) for i in range(2))
    assert PatchCritic(2, 1, (4, 4, 4), steps)(torch.zeros(1, 1, *shape)).numel() > 0


# ---------------------------------------------------------------- the buffer


def test_a_buffer_gives_what_the_published_rule_gives() -> None:
    """Against the rule in words: keep until full; then, half of the time, hand out a kept one and keep the new one in its place."""
    buffer, kept, g, h = ImageBuffer(5, (1, 2)), [], torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    swaps = 0
    for step in range(60):
        images = torch.arange(6, dtype=torch.float32).reshape(3, 1, 2) + 10 * step
        got, expected = buffer.exchanged(images, g), []
        for image in images:
            if len(kept) < 5:
                kept.append(image)
                expected.append(image)
                continue
            swap, place = float(torch.rand(1, generator=h)) < 0.5, int(torch.randint(5, (1,), generator=h))
            expected.append(kept[place] if swap else image)
            swaps += swap
            kept[place] = image if swap else kept[place]
        assert torch.equal(got, torch.stack(expected))
    assert torch.equal(buffer.held, torch.stack(kept))
    assert 0.35 < swaps / 175 < 0.65


@pytest.mark.parametrize("filled", [0, 2, 5])
def test_a_buffer_is_restored_as_it_was(filled: int) -> None:
    buffer, other = ImageBuffer(5, (1, 2)), nn.Sequential(ImageBuffer(5, (1, 2)))
    buffer.exchanged(torch.randn(filled, 1, 2), torch.Generator()) if filled else None
    other.load_state_dict({"0.held": buffer.held.clone()})
    assert torch.equal(other[0].held, buffer.held)
    buffer.clear()
    assert buffer.held.shape == (0, 1, 2)


# ---------------------------------------------------------------- losses


class Same(nn.Module):
    """A translator that leaves everything as it is."""

    def forward(self, image: Tensor, condition: Condition) -> Tensor:
        return image


def test_translators_that_change_nothing_have_no_cycle_and_no_identity_loss() -> None:
    losses = losses_of(cycle_of(Same(), Same()))
    assert float(losses["cycle"]) == 0 and float(losses["identity"]) == 0
    assert torch.equal(losses["loss"], losses["fooled"])


def test_the_cycle_loss_is_what_both_ways_lose() -> None:
    """A translator that adds 1 and one that takes 3 away: both ways are 2 off; each alone is 1 and 3 off the identity."""

    class Plus(nn.Module):
        def __init__(self, by: float) -> None:
            super().__init__()
            self.by = by

        def forward(self, image: Tensor, condition: Condition) -> Tensor:
            return image + self.by

    losses = losses_of(cycle_of(Plus(1.0), Plus(-3.0)))
    assert float(losses["cycle"]) == pytest.approx(4.0, rel=1e-5) and float(losses["identity"]) == pytest.approx(4.0, rel=1e-5)
    assert float(losses["loss"]) == pytest.approx(float(losses["fooled"]) + 10 * 4 + 10 * 0.5 * 4, rel=1e-5)


def test_no_pair_is_ever_in_one_step() -> None:
    batch = batch_of(7)
    drawn, half = cycle_of(Same(), Same()).phases()[0]._apart(batch)
    assert batch.condition.image is not None
    assert half == 3 and torch.equal(drawn.given, batch.condition.image[:3]) and torch.equal(drawn.made, batch.images[-3:])


def test_a_critic_that_cannot_tell_pays_what_the_papers_say() -> None:
    assert float(judged_as(torch.zeros(2, 1, 3, 3), 1.0)) == pytest.approx(math.log(2))
    assert float(near(torch.full((2, 1, 3, 3), 0.5), 1.0)) == pytest.approx(0.25)


@pytest.mark.parametrize(("network", "dims"), [("unet", 2), ("resnet", 2), ("unet", 3), ("resnet", 3)])
def test_a_translator_changes_channels_and_keeps_the_grid(network: str, dims: int) -> None:
    steps = ((2,) * dims, (1,) + (2,) * (dims - 1), (1,) * (dims - 1) + (2,))
    settings = TranslatorBackbone(network=network, widths=(8, 8, 8), features=8, residual_blocks=1)  # type: ignore[arg-type]
    source = torch.randn(2, 3, *(4, 8, 8)[:dims])
    assert Translator(dims, 3, 2, 0, steps, settings)(source, told(2, source)).shape == (2, 2, *source.shape[2:])


def cycle_of(there: nn.Module, back: nn.Module) -> CycleProcess:
    critics = PatchCritic(2, 1, (4, 4), ((2, 2),)), PatchCritic(2, 1, (4, 4), ((2, 2),))
    return CycleProcess(CycleChoices(), Pixels(), there, back, *critics, get_recipe("cyclegan").training, (1, 8, 8), (1, 8, 8))


@torch.no_grad()
def losses_of(process: CycleProcess) -> dict[str, Tensor]:
    return process.phases()[0].loss("translators", batch_of(6))


def batch_of(n: int) -> Batch:
    g = torch.Generator().manual_seed(0)
    return Batch(torch.randn(n, 1, 8, 8, generator=g), told(n, torch.randn(n, 1, 8, 8, generator=g)), g, 0, 1)


# ---------------------------------------------------------------- training


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def train(out: Path, recipe: Recipe, conditions=(SOURCE,), **about) -> None:
    source, held_out = Textures((12, 11)), Textures((12, 11), part="calibration")
    fit(recipe, source, held_out, conditions, key=("study", "train"), out=out, provenance={}, **about)


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix"])
def test_a_killed_training_resumes_to_the_same_bytes(name: str, tmp_path: Path) -> None:
    recipe = shrunk(get_recipe(name, {"process.buffer": 2} if name == "cyclegan" else {}), steps=4)
    recipe = recipe.model_copy(update={"training": recipe.training.model_copy(update={"batch": 4, "checkpoint_every": 2})})

    def kill(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if step == 3:
            raise Killed

    train(tmp_path / "whole", recipe)
    with pytest.raises(Killed):
        train(tmp_path / "killed", recipe, progress=kill)
    train(tmp_path / "killed", recipe)
    for file in (p for p in (tmp_path / "whole").iterdir() if p.name != TIMES):
        assert (tmp_path / "killed" / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_finished_model_holds_no_images(tmp_path: Path) -> None:
    train(tmp_path / "model", shrunk(get_recipe("cyclegan"), steps=3))
    state = Augmenter.load(tmp_path / "model").system.state_dict()
    assert [tuple(v.shape) for k, v in state.items() if k.endswith(".held")] == [(0, 1, 12, 12)] * 2


@pytest.mark.parametrize("name", ["cyclegan", "pix2pix", "flow-translation"])
def test_a_translation_needs_something_to_translate(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kind image") as caught:
        train(tmp_path / "model", shrunk(get_recipe(name)), CONDITIONS)
    assert caught.value.problems[0].kind == "needs-condition" and not (tmp_path / "model").exists()


def test_sources_are_checked(tmp_path: Path) -> None:
    train(tmp_path / "model", shrunk(get_recipe("pix2pix")))
    model, patches = Augmenter.load(tmp_path / "model"), Textures((12, 11)).draw(("x",), range(3))
    assert [c.name for c in model.card.intensity.channels] == ["b"]
    about = {"key": ("k",), "indices": range(3)}
    made = model.sample(None, patches.table, patches.images[:, :1], **about)
    assert made.shape == (3, 1, 12, 11)
    with pytest.raises(InputError, match="no-source"):
        model.sample(None, patches.table, **about)
    with pytest.raises(InputError, match="shape"):
        model.sample(None, patches.table, patches.images, **about)
    with pytest.raises(InputError, match="not-finite"):
        model.sample(None, patches.table, np.full((3, 1, 12, 11), np.nan), **about)


class Inverted(Textures):
    """Channel b is channel a upside down: bright discs on dark ground, dark discs on bright ground."""

    def draw(self, seed_key, indices):
        patches = super().draw(seed_key, indices)
        images = patches.images.copy()
        images[:, 1] = 3000 - images[:, 0]
        return replace(patches, images=images)


@pytest.mark.slow
def test_an_inversion_is_learned_without_pairs(tmp_path: Path) -> None:
    """Copying the source would give a correlation of -1 with the truth."""
    options = {"training.steps": 150, "process.cycle": 1.0, "process.identity": 0.0, "backbone.residual_blocks": 1}
    recipe = get_recipe("cyclegan", options | {"backbone.widths": [16], "backbone.critic": [16, 16]})
    source, held_out = Inverted((16, 16)), Inverted((16, 16), part="calibration")
    fit(recipe, source, held_out, (SOURCE,), key=("x",), out=tmp_path / "model", provenance={})
    told_patches = held_out.draw(("told",), range(16))
    made = Augmenter.load(tmp_path / "model").sample(None, told_patches.table, told_patches.images[:, :1], key=("k",), indices=range(16))
    pairs = zip(made[:, 0].astype(float), told_patches.images[:, 1].astype(float), strict=True)
    assert np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]) > 0.5
