"""Random numbers and means of a batch that several processes share: as if one process had all of it.

Every process draws for the whole batch, in the order in which a single one would, and keeps what belongs to its own samples. So a draw is a
function of (key, step, place in the whole batch) and not of the process, and a process that is alone draws, to the bit, what plain torch
would. The price is that each draws for all, which is little beside what a network computes. What samples of a batch have to know of one
another (contrast, codebooks, a loss on half of a batch) goes through :func:`whole` and :func:`piece`. A plain ``torch.Generator`` stands
for a batch that is all here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciimg.augmenters.team import Team


class Shared(torch.Generator):
    """The generator of a batch of ``size`` samples, of which this process of a ``team`` has those numbered ``share``."""

    team: Team
    size: int
    share: range


_LAYERS: ContextVar[torch.Generator | None] = ContextVar("layers", default=None)  # what layers, who are handed none, draw by


def shared(device: torch.device, team: Team, size: int) -> torch.Generator:
    """Return a generator for a batch of ``size`` samples that a team shares; a plain one where there is nobody to share with."""
    if team.alone:
        return torch.Generator(device)
    generator = Shared(device)
    generator.team, generator.size, generator.share = team, size, team.share(size)
    return generator


@contextmanager
def layers_draw_by(generator: torch.Generator) -> Iterator[None]:
    """Let layers that draw (:class:`Dropout`) know of which batch they see a share."""
    token = _LAYERS.set(generator)
    try:
        yield
    finally:
        _LAYERS.reset(token)


# ---------------------------------------------------------------- draws


def normal(shape: Sequence[int], generator: torch.Generator, *, along: int = 0) -> Tensor:
    """Draw standard normal values.

    Parameters
    ----------
    shape : sequence of int
        Along the axis ``along`` as many as this process has samples, or a multiple: several values of each, all samples over again.
    generator : torch.Generator
        Its device is that of the values.
    """
    return _drawn(lambda full: torch.randn(full, generator=generator, device=generator.device), shape, generator, along)


def uniform(shape: Sequence[int], generator: torch.Generator, *, dtype: torch.dtype | None = None) -> Tensor:
    """Draw values even in [0, 1); the first axis is that of samples, as for :func:`normal`."""
    return _drawn(lambda full: torch.rand(full, generator=generator, device=generator.device, dtype=dtype), shape, generator, 0)


def stratified(n: int, generator: torch.Generator) -> Tensor:
    """Draw one value in each of n equal parts of [0, 1), float64: n is that of the whole batch, and the parts are in its order."""
    full = count(n, generator)
    within = torch.rand(full, generator=generator, device=generator.device, dtype=torch.float64)
    return own((torch.arange(full, device=generator.device) + within) / full, generator)


def picked(weights: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw n places of ``weights`` with those weights, with replacement."""
    return own(torch.multinomial(weights, count(n, generator), replacement=True, generator=generator), generator)


def _drawn(draw: Callable[[tuple[int, ...]], Tensor], shape: Sequence[int], generator: torch.Generator, along: int) -> Tensor:
    full = list(shape)
    full[along] = count(full[along], generator)
    return own(draw(tuple(full)), generator, along)


class Dropout(nn.Dropout):
    """Dropout whose pattern is that of the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        generator = _LAYERS.get()
        if not isinstance(generator, Shared) or not self.training or not self.p:
            return super().forward(x)
        layout = torch.contiguous_format if x.is_contiguous() else {4: torch.channels_last, 5: torch.channels_last_3d}[x.ndim]
        ones = x.new_ones(()).expand(count(len(x), generator), *x.shape[1:]).clone(memory_format=layout)
        return x * own(functional.dropout(ones, self.p, training=True), generator)


# ---------------------------------------------------------------- whole batches and parts of them


def count(n: int, generator: torch.Generator) -> int:
    """Return how many samples the whole batch has where this process has ``n``, or as many times more."""
    if not isinstance(generator, Shared):
        return n
    times, rest = divmod(n, max(1, len(generator.share)))
    if rest:
        raise AssertionError(f"{n} is no multiple of the {len(generator.share)} samples that are here")
    return times * generator.size


def own(values: Tensor, generator: torch.Generator, along: int = 0) -> Tensor:
    """Return what belongs to this process's samples of values for the whole batch, or for the whole batch several times."""
    if not isinstance(generator, Shared):
        return values
    blocks = values.split(generator.size, along)
    kept = [block.narrow(along, generator.share.start, len(generator.share)) for block in blocks]
    return kept[0] if len(kept) == 1 else torch.cat(kept, along)


def whole(values: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return every process's values (N, ...), in the order of the batch.

    Gradients reach this process's own alone, and are scaled so that their mean over the team, weighted by samples, is that of a loss which
    every process computes of the whole.
    """
    if not isinstance(generator, Shared):
        return values
    gathered = generator.team.gathered(values.detach(), [len(generator.team.share(generator.size, rank)) for rank in generator.team.ranks])
    if not values.requires_grad:
        return torch.cat(gathered)
    still = values.detach()
    gathered[generator.team.rank] = still + (values - still) * (generator.size / len(generator.share))
    return torch.cat(gathered)


def piece(values: Tensor, part: slice, generator: torch.Generator) -> Tensor:
    """Return this process's share of a part of the whole batch, which all processes then share anew (:func:`sharing`); no gradients."""
    if not isinstance(generator, Shared):
        return values[part]
    chosen = whole(values.detach(), generator)[part]
    share = generator.team.share(len(chosen))
    return chosen[share.start : share.stop]


@contextmanager
def sharing(n: int, generator: torch.Generator) -> Iterator[float]:
    """Draw for a part of the batch, of ``n`` samples in all, of which this process has its share (:func:`piece`).

    Yields what a mean over this process's samples of the part must be multiplied by to count for as much as it does in the whole part: the
    loop weighs what a process finds by its share of the whole batch.
    """
    if not isinstance(generator, Shared):
        yield 1.0
        return
    size, share = generator.size, generator.share
    generator.size, generator.share = n, generator.team.share(n)
    try:
        yield (len(generator.share) / n) / (len(share) / size)
    finally:
        generator.size, generator.share = size, share
