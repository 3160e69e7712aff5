"""The one training loop: phases in order, players in turn, held-out looks, early stop, checkpoints; on one device or on several."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from sciimg.augmenters import checkpoint
from sciimg.augmenters.checkpoint import State, prefixed, under
from sciimg.augmenters.device import enough_memory
from sciimg.augmenters.draws import layers_draw_by, shared
from sciimg.augmenters.feed import Ahead, Feed
from sciimg.augmenters.optimisation import Trainer
from sciimg.augmenters.system import Batch, Phase, System, autocast
from sciimg.augmenters.team import Team
from sciimg.errors import CheckpointedError, Problem, TrainingFailedError
from sciimg.randomness import seed_of
from sciimg.types import PatchSet

Progress = Callable[[str, int, int, dict[str, float]], None]
_MEASURED = 256  # patches that a phase may measure before or after it
_MEASURED_PIXELS = 2**23


class Loop:
    """Trains one system.

    Parameters
    ----------
    system : System
    feed : Feed
        Of the training part.
    held_out : PatchSet
        Of the calibration part; early stopping follows the loss there.
    folder : Path
        Where checkpoints go.
    state : State
    tensors : dict
        Of the checkpoint that training goes on from; empty for a fresh start.
    team : Team
        All of it takes every step together; its first process writes.
    progress : callable, optional
        ``progress(phase, step, steps, values)`` after every step.
    stop : callable, optional
        Asked after every step whether this process was told to stop.
    """

    def __init__(
        self,
        system: System,
        feed: Feed,
        held_out: PatchSet,
        folder: Path,
        state: State,
        tensors: dict[str, Tensor],
        team: Team,
        progress: Progress | None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.system, self.feed, self.held_out, self.folder, self.state = system, feed, held_out, folder, state
        self.team, self.progress, self.stop = team, progress, stop
        self._restored = tensors
        if tensors:
            system.load_state_dict(under("system", tensors))

    def run(self) -> State:
        """Train what is not trained yet; the system ends with the weights to keep.

        Raises
        ------
        CheckpointedError
            A process was told to stop: all have, at the end of a step, and what is done is kept.
        """
        phases = self.system.phases()
        self._begun, self._waited = time.perf_counter(), self.team.waited_s[0]
        for number in range(self.state.phase, len(phases)):
            run = _Run(self, phases[number])
            try:
                run.train()
            finally:
                run.ahead.close()
            self.state.phase, self.state.step, self.state.best, self.state.stale = number + 1, 0, None, 0
            self.save(prefixed("system", self.system.state_dict()))
            self._restored = {}
        return self.state

    def save(self, tensors: dict[str, Tensor]) -> None:
        now, waited = time.perf_counter(), self.team.waited_s[0]
        self.add_seconds("training", now - self._begun)
        self.add_seconds("others", waited - self._waited)
        self._begun, self._waited = now, waited
        if self.team.first:
            checkpoint.save(self.folder, self.state, tensors)

    def add_seconds(self, name: str, seconds: float) -> None:
        self.state.seconds[name] = self.state.seconds.get(name, 0.0) + seconds

    def take_restored(self) -> dict[str, Tensor]:
        """Return the optimisers' part of the checkpoint once; empty when the phase starts afresh."""
        tensors, self._restored = self._restored, {}
        return tensors if self.state.step else {}


class _Run:
    """One phase under way."""

    def __init__(self, loop: Loop, phase: Phase) -> None:
        self.loop, self.phase, self.state, self.schedule = loop, phase, loop.state, phase.schedule
        self.trainers = [Trainer(player, self.schedule.steps) for player in phase.players()]
        self.steps = self.schedule.steps if self.trainers else 0  # without players there is only something to measure
        self.best: list[list[Tensor]] = []
        self.curves = self.state.curves.setdefault(phase.name, {})
        self.share = loop.team.share(self.schedule.batch) if self.steps else range(0)
        self.ahead = Ahead(self._batch, self.steps)

    def train(self) -> None:
        self._begin()
        while self.state.step < self.steps and not self._stopped():
            self._move(self.state.step)
            self.state.step += 1
            if self.state.step % self.schedule.held_out_every == 0 or self.state.step == self.steps:
                self._look()
            stop = self.loop.team.anybody(self.loop.stop())
            if (stop or self.state.step % self.schedule.checkpoint_every == 0) and self.state.step < self.steps:
                self._save()
            if stop and self.state.step < self.steps:  # the last step's phase is finished first: little is left to do
                self._stop()
        self.state.done[self.phase.name] = self.state.step
        for trainer, weights in zip(self.trainers, self.best or [t.average for t in self.trainers], strict=True):
            trainer.load_weights(weights)
        self.loop.system.eval()
        with torch.no_grad():
            self.phase.finish(self._measured("finish"))
        self.loop.team.align(list(self.loop.system.state_dict().values()))

    def _begin(self) -> None:
        for p in self.loop.system.parameters():  # what no player of this phase trains is frozen
            p.requires_grad_(False)
        restored = self.loop.take_restored()
        if not restored:
            with torch.no_grad():
                self.phase.prepare(self._measured("prepare"))
            self.loop.team.align(list(self.loop.system.state_dict().values()))
            return
        for trainer in self.trainers:
            trainer.restore(under(trainer.player.name, restored))
        if self.state.best is not None:
            self.best = [list(self._indexed(under(f"best.{t.player.name}", restored))) for t in self.trainers]

    def _move(self, step: int) -> None:
        """Let every player take one step."""
        with enough_memory(
            f"a step of phase {self.phase.name!r}", "Lower training.batch (and space.training.batch), or cut smaller patches."
        ):
            values = self._moved(step)
        if not all(math.isfinite(value) for value in values.values()):
            self._fail(step, values)
        for quantity, value in values.items():
            self.curves.setdefault(quantity, []).append(value)
        if self.loop.progress is not None:
            self.loop.progress(self.phase.name, step + 1, self.schedule.steps, values)

    def _moved(self, step: int) -> dict[str, float]:
        team, size, weight = self.loop.team, self.schedule.batch, len(self.share) / self.schedule.batch
        begun = time.perf_counter()
        batch = self.ahead.batch(step)
        self.loop.add_seconds("data", time.perf_counter() - begun)
        values: dict[str, float] = {}
        self.loop.system.train()
        for trainer in self.trainers:
            name = trainer.player.name
            if (step + 1) % trainer.player.every:
                continue
            self._only(trainer)
            seed = seed_of(*self.loop.feed.key, self.phase.name, name, step)
            torch.manual_seed(seed)  # dropout draws from the default generator; training runs inside fork_rng
            rng = shared(batch.images.device, team, size)
            rng.manual_seed(seed)
            mine = Batch(batch.images, batch.condition, rng, step, self.schedule.steps)
            with autocast(self.schedule.precision, batch.images.device), layers_draw_by(rng):
                losses = self.phase.loss(name, mine)
            losses["loss"].backward()
            team.average_gradients(trainer.parameters, weight)
            norm = trainer.step(step)
            recorded = team.average({quantity: float(value.detach()) for quantity, value in losses.items()}, weight)
            values |= {f"{name}.{quantity}": value for quantity, value in recorded.items()} | {f"{name}.gradient": norm}
        if not team.alone:
            team.align(self._buffers())
        return values

    def _batch(self, step: int) -> Batch:
        """Return this process's share of the batch of a step."""
        return self.loop.feed.batch(self.phase.name, step, self.schedule.steps, self.schedule.batch, self.share)

    def _buffers(self) -> list[Tensor]:
        """Return the state that is not a gradient's to move."""
        weights = {id(p) for p in self.loop.system.parameters()}
        return [value for value in self.loop.system.state_dict(keep_vars=True).values() if id(value) not in weights]

    def _only(self, mover: Trainer) -> None:
        for trainer in self.trainers:
            for p in trainer.parameters:
                p.requires_grad_(trainer is mover)

    @torch.no_grad()
    def _look(self) -> None:
        """Measure the averaged weights on the held-out patches; remember the best."""
        for trainer in self.trainers:
            trainer.swap()
        self.loop.system.eval()
        total = torch.zeros((), dtype=torch.float64)
        for batch in self.loop.feed.fixed(self.loop.held_out, self.schedule.batch):
            with autocast(self.schedule.precision, batch.images.device):
                loss = self.phase.held_out(batch)
            if loss is None:
                total = torch.full((), torch.nan)
                break
            total += loss.double().cpu() * len(batch.images) / len(self.loop.held_out)
        value = self.loop.team.said(float(total))
        if math.isfinite(value):
            self.curves.setdefault("held-out", []).append(value)
            self.curves.setdefault("held-out.step", []).append(float(self.state.step))
            self.state.stale += 1
            if self.state.best is None or value < self.state.best:
                self.state.best, self.state.stale = value, 0
                self.best = [[p.detach().clone() for p in t.parameters] for t in self.trainers]
        for trainer in self.trainers:
            trainer.swap()

    def _stopped(self) -> bool:
        return self.schedule.patience is not None and self.state.stale >= self.schedule.patience

    def _stop(self) -> None:
        self.loop.team.wait()  # for the checkpoint to be whole
        message = (
            f"Training was told to stop, and has after step {self.state.step} of {self.steps} of phase {self.phase.name!r}; "
            "what is done is kept. The same command goes on exactly there."
        )
        raise CheckpointedError(Problem(str(self.loop.folder), "checkpointed", message))

    def _save(self) -> None:
        self.loop.save(self._tensors())

    def _tensors(self) -> dict[str, Tensor]:
        tensors = prefixed("system", self.loop.system.state_dict())
        for trainer in self.trainers:
            tensors |= prefixed(trainer.player.name, trainer.state())
        for trainer, weights in zip(self.trainers, self.best, strict=False):
            tensors |= {f"best.{trainer.player.name}.{i}": value for i, value in enumerate(weights)}
        return tensors

    def _fail(self, step: int, values: dict[str, float]) -> None:
        """Keep the best weights beside the checkpoint and say what happened."""
        from safetensors.torch import save_file

        if self.best and self.loop.team.first:
            for trainer, weights in zip(self.trainers, self.best, strict=True):
                trainer.load_weights(weights)
            kept = {name: value.contiguous() for name, value in self.loop.system.state_dict().items()}
            save_file(kept, self.loop.folder / "best.safetensors")
        wrong = ", ".join(name for name, value in values.items() if not math.isfinite(value))
        where = (
            f"the best weights so far (held-out loss {self.state.best:.4g}) are in best.safetensors"
            if self.best
            else "no good weights were reached"
        )
        message = (
            f"Training diverged in phase {self.phase.name!r} at step {step + 1}: {wrong} is not finite; {where}. "
            "Lower training.learning_rate, or set training.precision to fp32."
        )
        raise TrainingFailedError(Problem(str(self.loop.folder), "diverged", message))

    def _measured(self, name: str) -> Batch:
        """Return one large training batch."""
        pixels = math.prod(self.loop.system.padded_shape)
        size = max(8, min(_MEASURED, _MEASURED_PIXELS // pixels))
        return self.loop.feed.batch(f"{self.phase.name}.{name}", 0, 1, size)

    @staticmethod
    def _indexed(tensors: dict[str, Tensor]) -> list[Tensor]:
        return [tensors[str(i)] for i in range(len(tensors))]
