"""Codes drawn by the inverse of their distribution function, great circles between noises, and noise redrawn in part."""

import math

import numpy as np
import pytest
import torch

from sciimg.augmenters.samplers.inverse_cdf import draw
from sciimg.augmenters.samplers.inversion import remixed, slerp

SHARES = np.array([0.1, 0.4, 0.2, 0.3])
LOGITS = torch.from_numpy(np.log(SHARES) + 5.0)[None, None]  # a constant changes nothing


def drawn(numbers: list[float], **how: float | int) -> list[int]:
    uniform = torch.tensor([numbers], dtype=torch.float64)
    codes = draw(LOGITS.expand(1, len(numbers), 4), uniform, **how)  # type: ignore[arg-type]
    assert codes.shape == (1, len(numbers)) and codes.dtype == torch.int64
    return [int(code) for code in codes[0]]


def test_a_code_is_where_the_distribution_function_passes_the_number() -> None:
    assert drawn([0.0, 0.09, 0.11, 0.49, 0.51, 0.69, 0.71, 0.999]) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert draw(torch.zeros(1, 1, 4), torch.tensor([[0.25]], dtype=torch.float64)).item() == 1  # on the edge begins the next
    assert drawn([1.0]) == [3]  # what rounding leaves over belongs to the last


def test_even_numbers_give_the_shares() -> None:
    numbers = ((np.arange(2000) + 0.5) / 2000).tolist()
    assert np.bincount(drawn(numbers), minlength=4) / 2000 == pytest.approx(SHARES)
    colder = SHARES**2 / np.sum(SHARES**2)  # logits divided by one half
    assert np.bincount(drawn(numbers, temperature=0.5), minlength=4) / 2000 == pytest.approx(colder, abs=1e-3)


@pytest.mark.parametrize(("k", "kept"), [(1, [1]), (2, [1, 3]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])])
def test_codes_less_likely_than_the_kth_are_never_drawn(k: int, kept: list[int]) -> None:
    numbers = ((np.arange(1000) + 0.5) / 1000).tolist()
    shares = np.where(np.isin(np.arange(4), kept), SHARES, 0)
    found = np.bincount(drawn(numbers, top_k=k), minlength=4) / 1000
    assert found == pytest.approx(shares / shares.sum(), abs=2e-3)


def test_every_place_has_its_own_number() -> None:
    logits = torch.zeros(2, 3, 5, dtype=torch.float32)
    uniform = torch.tensor([[0.1, 0.3, 0.5], [0.7, 0.9, 0.999999]], dtype=torch.float64)
    assert draw(logits, uniform).tolist() == [[0, 1, 2], [3, 4, 4]]


# ---------------------------------------------------------------- great circles


def test_between_orthogonal_noises_lies_a_quarter_circle() -> None:
    a, b = torch.tensor([[[1.0, 0.0]], [[2.0, 0.0]]], dtype=torch.float64), torch.tensor([[[0.0, 1.0]], [[0.0, 2.0]]], dtype=torch.float64)
    got = slerp(a, b, torch.tensor([1 / 3, 1 / 2]))
    turn = math.pi / 6
    assert got[0].flatten().tolist() == pytest.approx([math.cos(turn), math.sin(turn)])
    assert got[1].flatten().tolist() == pytest.approx([math.sqrt(2), math.sqrt(2)])
    assert torch.allclose(slerp(a, b, torch.tensor([0.0, 1.0])), torch.stack([a[0], b[1]]))


def test_noises_at_any_angle_keep_their_length_and_share_the_angle() -> None:
    lengths, angles, shares = (3.0, 1.0), (2.0, 0.9), (0.25, 0.6)
    a = torch.tensor([[length, 0.0] for length in lengths], dtype=torch.float64)
    b = torch.tensor([[n * math.cos(t), n * math.sin(t)] for n, t in zip(lengths, angles, strict=True)], dtype=torch.float64)
    got = slerp(a, b, torch.tensor(shares, dtype=torch.float64))
    for row, length, angle, share in zip(got, lengths, angles, shares, strict=True):
        assert row.tolist() == pytest.approx([length * math.cos(share * angle), length * math.sin(share * angle)])


def test_noises_in_one_direction_are_joined_by_a_line_and_nothing_stays_nothing() -> None:
    a = torch.tensor([[1.0, 2.0]], dtype=torch.float64)
    assert torch.allclose(slerp(a, 3 * a, torch.tensor([0.25])), 1.5 * a)
    assert torch.allclose(slerp(a, a, torch.tensor([0.7])), a)
    assert slerp(0 * a, 0 * a, torch.tensor([0.5])).tolist() == [[0.0, 0.0]]
    assert slerp(a.float(), a.float(), torch.tensor([0.5], dtype=torch.float64)).dtype == torch.float32


def test_a_share_of_the_variance_is_redrawn() -> None:
    old, new = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert remixed(old, new, 0.36).tolist() == pytest.approx([0.8, 0.6])
    assert remixed(old, new, 0.0).tolist() == [1.0, 0.0] and remixed(old, new, 1.0).tolist() == [0.0, 1.0]
