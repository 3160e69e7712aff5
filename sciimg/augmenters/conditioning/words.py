"""Captions as vectors: a small embedding that a network learns together with its task."""

import torch
from torch import Tensor, nn


class Words(nn.Module):
    """Word numbers → one vector a word, and one for the whole caption.

    Parameters
    ----------
    words : int
        Size of the vocabulary; numbers go from 1 to it, and 0 is no word.
    features : int

    Notes
    -----
    A convolution over neighbouring words tells "few large nuclei, pale stain" from "few pale nuclei, large stain"; captions made from a
    table are short, so nothing farther is looked at.
    """

    def __init__(self, words: int, features: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words + 1, features, padding_idx=0)
        self.neighbours = nn.Conv1d(features, features, 3, padding=1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return vectors (N, T, features) for word numbers (N, T); zero where there is no word."""
        alone = self.embedding(tokens)
        together = self.neighbours(alone.transpose(1, 2)).transpose(1, 2)
        out: Tensor = (alone + together) * (tokens > 0).unsqueeze(2)
        return out

    def sentence(self, tokens: Tensor) -> Tensor:
        """Return the mean over the words of each caption, shape (N, features); zero for a caption of no words."""
        told = (tokens > 0).sum(1, keepdim=True).clamp_min(1)
        mean: Tensor = self(tokens).sum(1) / told
        return mean


class WordAttention(nn.Module):
    """Every place looks at the words of the caption and adds what it finds (AttnGAN; Xu et al. 2018, arXiv:1711.10485, eq. 7).

    Parameters
    ----------
    channels : int
        Of the places.
    words : int
        Size of the vocabulary.
    features : int
        Length of a word's vector.
    """

    def __init__(self, channels: int, words: int, features: int) -> None:
        super().__init__()
        self.words = Words(words, features)
        self.query, self.value = nn.Linear(channels, features), nn.Linear(features, channels)

    def weights(self, places: Tensor, tokens: Tensor) -> Tensor:
        """Return how much each place (N, P, channels) looks at each word: shape (N, P, T), rows sum to 1 (to 0 where no word is told)."""
        told = (tokens > 0).unsqueeze(1)
        likeness = self.query(places) @ self.words(tokens).transpose(1, 2) / self.query.out_features**0.5
        likeness = likeness.float().masked_fill(~told, torch.finfo(torch.float32).min)
        weights: Tensor = likeness.softmax(2) * told
        return weights

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return ``x``, shape (N, channels, [Z,] Y, X), with what its places found in the captions (N, T)."""
        places = x.flatten(2).transpose(1, 2)
        found = self.weights(places, tokens) @ self.words(tokens).float()
        out: Tensor = x + self.value(found).transpose(1, 2).reshape(x.shape)
        return out
