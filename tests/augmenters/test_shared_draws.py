"""What processes draw for their shares of a batch is, put together, what one process draws for all of it, to the bit."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sciimg.augmenters.draws import Dropout, Shared, count, layers_draw_by, normal, own, picked, shared, sharing, stratified, uniform
from sciimg.augmenters.team import Team
from sciimg.errors import InputError

CPU = torch.device("cpu")
SIZE = 7
ODDS = torch.tensor([1.0, 2.0])


def seeded(rank: int, ranks: int, size: int = SIZE) -> torch.Generator:
    return shared(CPU, Team(rank, (CPU,) * ranks), size).manual_seed(5)


def joined(draw: Callable[[int, torch.Generator], Tensor], ranks: int, times: int = 1, along: int = 0) -> Tensor:
    """Return what all ranks draw, in the order of the batch."""
    parts = []
    for rank in range(ranks):
        generator = seeded(rank, ranks)
        n = len(Team(rank, (CPU,) * ranks).share(SIZE))
        draw(n, generator)  # the second draw is looked at: the generators must be at one place after the first
        parts.append(draw(times * n, generator).chunk(times, along))
    return torch.cat([torch.cat(column, along) for column in zip(*parts, strict=True)], along)


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize(
    ("draw", "plain"),
    [
        (lambda n, g: normal((n, 3, 2), g), lambda n, g: torch.randn(n, 3, 2, generator=g)),
        (lambda n, g: uniform((n, 1), g, dtype=torch.float64), lambda n, g: torch.rand(n, 1, generator=g, dtype=torch.float64)),
        (
            lambda n, g: picked(torch.tensor([1.0, 2.0]), n, g),
            lambda n, g: torch.multinomial(torch.tensor([1.0, 2.0]), n, True, generator=g),
        ),
        (stratified, lambda n, g: (torch.arange(n) + torch.rand(n, generator=g, dtype=torch.float64)) / n),
    ],
    ids=["normal", "uniform", "picked", "stratified"],
)
def test_together_and_alone(draw: Callable[..., Tensor], plain: Callable[..., Tensor], ranks: int) -> None:
    generator = torch.Generator().manual_seed(5)
    plain(SIZE, generator)
    expected = plain(SIZE, generator)
    assert torch.equal(joined(draw, ranks), expected)
    assert torch.equal(joined(draw, 1), expected)


def test_two_values_of_every_sample_come_in_the_order_of_one_process() -> None:
    one = seeded(0, 1)
    normal((SIZE, 4), one)
    assert torch.equal(joined(lambda n, g: normal((n, 4), g), 2, times=2), normal((2 * SIZE, 4), one))


def test_samples_need_not_be_the_first_axis() -> None:
    one = torch.randn(2, SIZE, 3, generator=torch.Generator().manual_seed(5))
    parts = [normal((2, len(Team(r, (CPU,) * 3).share(SIZE)), 3), seeded(r, 3), along=1) for r in range(3)]
    assert torch.equal(torch.cat(parts, 1), one)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dropout_is_that_of_torch_on_the_whole_batch(dtype: torch.dtype, layout: torch.memory_format) -> None:
    x = torch.randn(SIZE, 5, 4, 3, dtype=dtype).to(memory_format=layout)
    torch.manual_seed(3)
    expected = torch.nn.functional.dropout(x, 0.3)
    layer, parts = Dropout(0.3), []
    for rank in range(2):
        share = Team(rank, (CPU,) * 2).share(SIZE)
        torch.manual_seed(3)
        with layers_draw_by(seeded(rank, 2)):
            parts.append(layer(x[share.start : share.stop]))
    assert torch.equal(torch.cat(parts), expected) and (expected == 0).any()
    torch.manual_seed(3)
    assert torch.equal(layer(x), expected)
    assert layer.eval()(x) is x


def test_a_part_of_the_batch_is_shared_anew_and_counts_as_in_the_whole() -> None:
    """Half of seven samples on two processes: one and two of them; the weighted mean of the weighted means is the mean."""
    values, total = torch.arange(3.0), 0.0
    for rank in range(2):
        generator = seeded(rank, 2)
        assert isinstance(generator, Shared)
        with sharing(3, generator) as weight:
            mine = own(values, generator)
            assert count(len(mine), generator) == 3
            total += float(weight * mine.mean()) * len(Team(rank, (CPU,) * 2).share(SIZE)) / SIZE
        assert generator.size == SIZE and generator.share == Team(rank, (CPU,) * 2).share(SIZE)
    assert total == pytest.approx(float(values.mean()))
    with sharing(3, torch.Generator()) as weight:
        assert weight == 1.0


def test_a_part_that_is_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="penalty_batch"), sharing(1, seeded(0, 2)):
        pass
