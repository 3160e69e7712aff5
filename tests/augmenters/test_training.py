"""The loop: exact resume, early stop, failure that keeps the best weights, errors before anything is written."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from textures import CONDITIONS, Textures
from torch import Tensor

from sciimg.augmenters import training
from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.checkpoint import NAME
from sciimg.augmenters.model_file import TIMES
from sciimg.augmenters.optimisation import Trainer, learning_rate
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Phase, Player
from sciimg.augmenters.team import Team
from sciimg.augmenters.training import fit
from sciimg.errors import CheckpointedError, InputError, TrainingFailedError

SMALL = {
    "space.training.steps": 6,
    "space.training.batch": 4,
    "space.training.checkpoint_every": 4,
    "space.widths": [8],
    "training.steps": 8,
    "training.batch": 4,
    "training.held_out_every": 3,
    "training.checkpoint_every": 3,
    "training.held_out_patches": 4,
    "backbone.widths": [8, 8],
    "backbone.blocks": [1, 1],
    "backbone.features": 16,
    "backbone.dropout": 0.1,
    "sampler.steps": 2,
}


def small(name: str = "ldm", dims: int = 2, **options) -> Recipe:
    recipe = get_recipe(name, {}, dims)
    known = SMALL if recipe.space.kind == "kl" else {k: v for k, v in SMALL.items() if not k.startswith("space.")}
    return get_recipe(name, known | {k.replace("__", "."): v for k, v in options.items()}, dims)


def train(out: Path, recipe: Recipe | None = None, source: Textures | None = None, **about) -> None:
    source = source or Textures()
    held_out = Textures(source.patch_shape, source.channels, "calibration")
    fit(recipe or small(), source, held_out, CONDITIONS, key=("study", "train"), out=out, provenance={"study": "s"}, **about)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.name != TIMES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "model"
    train(out)
    return out


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


@pytest.mark.parametrize("at", [("autoencoder", 2), ("autoencoder", 5), ("process", 1), ("process", 4), ("process", 7)])
def test_a_killed_training_resumes_to_the_same_bytes(undisturbed: Path, tmp_path: Path, at: tuple[str, int]) -> None:
    def kill(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if (phase, step) == at:
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "model", progress=kill)
    assert not (tmp_path / "model").exists()
    (tmp_path / ".model.partial" / ".checkpoint.safetensors.123.partial").write_bytes(b"half")  # the kill met a checkpoint
    seen: list[tuple[str, int]] = []
    train(tmp_path / "model", progress=lambda phase, step, steps, values: seen.append((phase, step)))
    assert contents(tmp_path / "model") == contents(undisturbed)
    if at == ("process", 7):
        assert seen == [("process", 7), ("process", 8)]  # from the checkpoint after step 6, not from the start


def test_another_process_resumes_to_the_same_bytes(undisturbed: Path, tmp_path: Path) -> None:
    script = f"""
import os
from pathlib import Path
from tests.augmenters.test_training import train
def kill(phase, step, steps, values):
    if (phase, step) == ("process", 5):
        os.kill(os.getpid(), 9)
train(Path({str(tmp_path / "model")!r}), progress=kill)
"""
    paths = os.environ | {"PYTHONPATH": ".:tests/support"}
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], env=paths, check=False)
    assert done.returncode == -9
    train(tmp_path / "model")
    assert contents(tmp_path / "model") == contents(undisturbed)


def test_a_checkpoint_of_another_training_is_ignored(undisturbed: Path, tmp_path: Path) -> None:
    def kill(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
        if (phase, step) == ("process", 5):
            raise Killed

    with pytest.raises(Killed):
        train(tmp_path / "model", small(training__learning_rate=1e-4), progress=kill)
    train(tmp_path / "model")
    assert contents(tmp_path / "model") == contents(undisturbed)


@pytest.mark.parametrize("damage", [b"", b"\x00" * 100, b'{"a": 1}'], ids=["empty", "zeros", "json"])
def test_a_damaged_checkpoint_means_training_anew(undisturbed: Path, tmp_path: Path, damage: bytes) -> None:
    (tmp_path / ".model.partial").mkdir()
    (tmp_path / ".model.partial" / NAME).write_bytes(damage)
    train(tmp_path / "model")
    assert contents(tmp_path / "model") == contents(undisturbed)


def test_the_model_describes_itself(undisturbed: Path) -> None:
    card = json.loads((undisturbed / "model.json").read_text())
    assert card["steps"] == {"autoencoder": 6, "process": 8}
    assert card["provenance"] == {"study": "s"} and card["shape"] == [2, 16, 16]
    assert card["conditions"]["mask"]["kind"] == "instances"
    curves = json.loads((undisturbed / "curves.json").read_text())
    assert curves["process"]["held-out.step"] == [3, 6, 8] and len(curves["process"]["held-out"]) == 3


def test_what_training_waited_for_is_told_beside_the_model_and_in_no_digest(undisturbed: Path, tmp_path: Path) -> None:
    from sciimg.stages.info import describe
    from sciimg.stages.ledger import folder_digest

    told = describe(undisturbed)["training"]
    assert told["steps"] == 14 and told["wall_s"] > 0
    assert 0 < told["waited_for_data"] < 1 and told["waited_for_others"] == 0
    before = folder_digest(undisturbed)
    (undisturbed / TIMES).write_text("{}")
    assert folder_digest(undisturbed) == before


@pytest.mark.parametrize("at", [9, 14])
def test_a_training_that_is_told_to_stop_goes_on_to_the_same_bytes(undisturbed: Path, tmp_path: Path, at: int) -> None:
    """Steps 1 to 6 are the autoencoder's, 7 to 14 the process's; the last one has nothing left to go on with."""
    steps: list[str] = []
    stop = {"stop": lambda: len(steps) == at, "progress": lambda phase, step, of, values: steps.append(phase)}
    if at < 14:
        with pytest.raises(CheckpointedError, match="told to stop") as caught:
            train(tmp_path / "model", **stop)
        assert caught.value.exit_code == 85 and len(steps) == at and not (tmp_path / "model").exists()
    train(tmp_path / "model", **stop)
    assert len(steps) == 14 and contents(tmp_path / "model") == contents(undisturbed)


def test_global_state_is_left_as_it_was(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    torch.manual_seed(5)
    expected = torch.rand(3, generator=torch.Generator().manual_seed(5))
    train(tmp_path / "model", small(training__steps=1, space__training__steps=1))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)


def test_training_learns(tmp_path: Path) -> None:
    recipe = small("pixel-flow", training__steps=60, training__batch=16, training__held_out_every=20, training__learning_rate=3e-3)
    train(tmp_path / "model", recipe)
    held_out = json.loads((tmp_path / "model" / "curves.json").read_text())["process"]["held-out"]
    assert held_out[-1] < held_out[0] < 2.0  # an untrained network that predicts zero has a loss of 1 + variance of the data, about 2


def test_early_stop_keeps_the_best_weights(tmp_path: Path, monkeypatch) -> None:
    """Held-out losses that rise after the second look: training stops, and the weights are those of that look."""
    from sciimg.augmenters.processes.gaussian import _Matching

    looks = iter([3.0, 1.0, 2.0, 2.5, 9.0])
    seen: list[Tensor] = []

    def held_out(self, batch):
        seen.append(next(self.process.network.parameters()).detach().clone())
        return torch.tensor(next(looks))

    monkeypatch.setattr(_Matching, "held_out", held_out)
    recipe = small("pixel-flow", training__steps=30, training__patience=2, training__held_out_every=2)
    train(tmp_path / "model", recipe)
    card = json.loads((tmp_path / "model" / "model.json").read_text())
    assert card["steps"] == {"process": 8}  # looks at 2, 4 (best), 6, 8
    kept = next(Augmenter.load(tmp_path / "model").system.process.network.parameters())
    assert torch.equal(kept, seen[1])


def test_divergence_is_an_error_that_keeps_the_best(tmp_path: Path, monkeypatch) -> None:
    from sciimg.augmenters.processes.gaussian import GaussianProcess

    loss = GaussianProcess.loss
    calls = []

    def broken(self, data, condition, generator):
        calls.append(1)
        out = loss(self, data, condition, generator)
        return out * float("nan") if len(calls) > 9 and out.requires_grad else out

    monkeypatch.setattr(GaussianProcess, "loss", broken)
    with pytest.raises(TrainingFailedError, match=r"diverged.*held-out loss.*best.safetensors") as caught:
        train(tmp_path / "model", small("pixel-flow"))
    assert caught.value.exit_code == 1
    assert (tmp_path / ".model.partial" / "best.safetensors").exists() and not (tmp_path / "model").exists()


def test_too_few_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too-few-images"):
        train(tmp_path / "model", source=Textures(places=3))
    assert list(tmp_path.iterdir()) == []


def test_constant_images(tmp_path: Path) -> None:
    class Flat(Textures):
        def draw(self, seed_key, indices):
            patches = super().draw(seed_key, indices)
            patches.images[:, 1] = 7
            return patches

    with pytest.raises(InputError, match="constant-channel"):
        train(tmp_path / "model", source=Flat())
    assert list(tmp_path.iterdir()) == []


def test_batches_are_a_function_of_the_step_alone() -> None:
    from sciimg.augmenters.build import build
    from sciimg.augmenters.conditioning.schema import learn_schema
    from sciimg.augmenters.conditioning.symmetry import symmetry_group
    from sciimg.augmenters.feed import Feed
    from sciimg.augmenters.intensity import learn_scale

    source = Textures((15, 18))
    survey = source.draw(("s",), range(16))
    schema, scale = learn_schema(survey, CONDITIONS, 0, 3), learn_scale(survey.images, survey.channels)
    elements = symmetry_group("flips", (15, 18), (1.0, 1.0))
    system = build(small(), schema, (2, 15, 18))
    first, second = (Feed(source, schema, scale, system, elements, True, ("k",)) for _ in range(2))
    first.batch("process", 0, 9, 4)
    a, b = first.batch("process", 3, 9, 4), second.batch("process", 3, 9, 4)
    assert torch.equal(a.images, b.images) and torch.equal(a.condition.maps, b.condition.maps)
    assert torch.equal(torch.rand(2, generator=a.generator), torch.rand(2, generator=b.generator))
    assert a.images.shape == (4, 2, 16, 20) and a.condition.vector.shape == (4, 6)


def test_learning_rate_warms_up_and_falls() -> None:
    schedule = Schedule(steps=100, warmup=9, learning_rate=1.0, final_rate=0.1)
    rates = [learning_rate(schedule, i, 100) for i in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == pytest.approx(1.0, abs=0.03) and rates[-1] == pytest.approx(0.1, abs=0.01)
    assert np.argmax(rates) == 9 and all(a > b for a, b in pairwise(rates[9:]))


def test_the_average_follows_the_weights() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    trainer = Trainer(Player("p", (layer,), Schedule(steps=200, ema=0.9, learning_rate=0.01)), 200)
    values, means = [], []
    for step in range(50):
        layer(torch.ones(1, 1)).sum().backward()
        trainer.step(step)
        values.append(float(layer.weight.detach()))
        means.append(float(trainer.average[0]))
    by_hand = None
    for step, value in enumerate(values):
        decay = min(0.9, (1 + step) / (10 + step))
        start = value if by_hand is None and step == 0 else by_hand
        by_hand = decay * (start if by_hand is not None else means[0]) + (1 - decay) * value if step else means[0]
    assert means[-1] == pytest.approx(by_hand, abs=1e-6)
    trainer.swap()
    assert float(layer.weight.detach()) == pytest.approx(means[-1])
    trainer.swap()
    assert float(layer.weight.detach()) == values[-1]


def test_players_move_in_turn_and_only_their_own_weights(tmp_path: Path) -> None:
    """A toy game on the seam that a GAN uses: each loss depends on both players, and only the mover gets a gradient."""
    from sciimg.augmenters.checkpoint import State
    from sciimg.augmenters.loop import Loop
    from sciimg.augmenters.spaces.pixel import Pixels
    from sciimg.augmenters.system import Batch, Condition, Process, System

    class Game(Process):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
            self.order: list[str] = []

        def phases(self):
            return (Duel(self),)

        def sample(self, condition, noise, shape, settings):
            return noise.normal(shape)

    class Duel(Phase):
        name, schedule = "duel", Schedule(steps=2, batch=2, warmup=0, precision="fp32", checkpoint_every=1)

        def __init__(self, game: Game) -> None:
            self.game = game

        def players(self):
            return (Player("a", (self.game.a,), self.schedule), Player("b", (self.game.b,), self.schedule))

        def loss(self, player, batch):
            self.game.order.append(player)
            other = self.game.b if player == "a" else self.game.a
            assert all(not p.requires_grad for p in other.parameters())
            out = self.game.a(torch.ones(1, 1)) * self.game.b(torch.ones(1, 1))
            return {"loss": out.sum() if player == "a" else -out.sum()}

    class Still:
        key = ("k",)

        def batch(self, phase, step, steps, size, share=None):
            empty = Condition(torch.zeros(size, 0, 4, 4), torch.zeros(size, 0), torch.ones(size, 1))
            return Batch(torch.zeros(size, 1, 4, 4), empty, torch.Generator(), step, steps)

        def fixed(self, patches, size):
            yield self.batch("x", 0, 1, size)

    game = Game()
    before = [p.detach().clone() for p in game.parameters()]
    alone = Team(0, (torch.device("cpu"),))
    system = System(Pixels(), game, (1, 4, 4), (1, 4, 4))
    Loop(system, Still(), Textures().grid(4), tmp_path, State(identity="i"), {}, alone, None).run()  # type: ignore[arg-type]
    assert game.order == ["a", "b", "a", "b"]
    assert all(not torch.equal(old, new) for old, new in zip(before, game.parameters(), strict=True))


def test_survey_needs_no_more_than_its_bound() -> None:
    assert len(training._survey(Textures((8, 8)), ("k",))) == training._SURVEY
