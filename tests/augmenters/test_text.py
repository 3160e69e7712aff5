"""Layers for captions: what they must not depend on, and what they must."""

import pytest
import torch

from sciimg.augmenters.conditioning.text import CrossAttention, TextEncoder, attention, heads_of, positions


@pytest.fixture
def encoder() -> TextEncoder:
    torch.manual_seed(0)
    return TextEncoder(words=9, features=16).eval()


def test_blanks_behind_a_caption_say_nothing(encoder: TextEncoder) -> None:
    short, long = torch.tensor([[3, 1, 4]]), torch.tensor([[3, 1, 4, 0, 0]])
    torch.testing.assert_close(encoder(long)[0][:, :4], encoder(short)[0])


def test_the_order_of_words_is_heard_and_an_empty_caption_has_a_meaning(encoder: TextEncoder) -> None:
    one, other = (encoder(torch.tensor([words]))[0][:, 0] for words in ([1, 2], [2, 1]))
    assert not torch.allclose(one, other)
    assert encoder(torch.zeros(2, 4, dtype=torch.long))[0][:, 0].isfinite().all()


@pytest.mark.parametrize("shape", [(6, 5), (2, 3, 4)])
def test_cross_attention_begins_as_nothing_and_then_looks_only_at_told_words(encoder: TextEncoder, shape: tuple[int, ...]) -> None:
    layer = CrossAttention(len(shape), 8, 16)
    x = torch.randn(2, 8, *shape)
    words = encoder(torch.tensor([[1, 2, 0], [3, 0, 0]]))
    assert torch.equal(layer(x, words), x)
    torch.nn.init.normal_(layer.leave.weight)
    changed = words[0].clone()
    changed[0, 3] = changed[1, 2:] = 7.0  # places without a word
    torch.testing.assert_close(layer(x, (changed, words[1])), layer(x, words))
    changed[1, 1] = 7.0
    assert not torch.allclose(layer(x, (changed, words[1]))[1], layer(x, words)[1])


def test_attention_to_alike_words_is_their_mean() -> None:
    value = torch.randn(1, 3, 4)
    found = attention(torch.randn(1, 5, 4), torch.zeros(1, 3, 4), value, heads=2)
    torch.testing.assert_close(found, value.mean(1, keepdim=True).expand(1, 5, 4))


@pytest.mark.parametrize("features", [1, 8, 33, 64, 96, 100])
def test_heads_divide_features_and_places_differ(features: int) -> None:
    assert features % heads_of(features) == 0
    places = positions(7, features)
    assert places.shape == (7, features) and (features == 1 or len(torch.unique(places.round(decimals=4), dim=0)) == 7)
