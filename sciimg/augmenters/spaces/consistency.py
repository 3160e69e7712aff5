"""A consistency decoder: draws in a step or two what the plain decoder's mean leaves out, given that mean.

A consistency model maps every point of the path from data to noise to the data at its end. This one lives on the residual, image minus
decoded mean, in units of its spread, so that the latent's information is used once and the model spends itself on fine texture.
"""

import math

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import depth_to_space, space_to_depth
from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.draws import normal, picked
from sciimg.augmenters.grid import Step, coarser
from sciimg.augmenters.spaces.settings import ConsistencyDecoder
from sciimg.augmenters.system import Condition, FieldSizes, Noise

_NOISIEST, _CALMEST = 20.0, 0.02  # in units of the residual's spread
_LAST = 0.8  # noise of the last evaluation of a draw
_RHO = 7.0  # Karras et al. 2022, arXiv:2206.00364, eq. 5
_FEWEST, _DOUBLINGS = 10, 3  # noise levels at first, and how often their number doubles
_LOG_MEAN, _LOG_STD = -0.4, 1.6  # where noise levels are trained
_HUBER = 0.00054  # Song & Dhariwal 2023, section 3.3; a sample's share of the root of its length


class ConsistencyTexture(nn.Module):
    """The residual of decoded images as a consistency model.

    Parameters
    ----------
    settings : ConsistencyDecoder
    shape : tuple of int
        (C, [Z,] Y, X) of the images, padded as the networks see them.
    finest : Step
        First halving of the grid: the network works on images folded by it.

    References
    ----------
    Song et al. 2023, arXiv:2303.01469; training without a teacher: Song & Dhariwal 2023, arXiv:2310.14189; as a decoder of latents: Betker
    et al. 2023 (DALL-E 3), section 3.1.
    """

    scale: Tensor

    def __init__(self, settings: ConsistencyDecoder, shape: tuple[int, ...], finest: Step) -> None:
        super().__init__()
        channels, dims, fold = shape[0], len(shape) - 1, math.prod(finest)
        self.settings, self.finest = settings, finest
        sizes = FieldSizes(channels * fold, coarser(shape[1:], finest), (), maps=2 * channels * fold)
        self.network = UNet(sizes, UNetBackbone(widths=(settings.width,), blocks=(settings.blocks,), features=settings.width))
        self.register_buffer("scale", torch.ones(1, channels, *([1] * dims)))

    def measure(self, residual: Tensor) -> None:
        """Learn the spread of residuals (N, C, [Z,] Y, X)."""
        self.scale.copy_(residual.std((0, *range(2, residual.ndim)), keepdim=True).clamp_min(1e-6))

    def told(self, decoded: Tensor, log_spread: Tensor) -> Condition:
        """Return what the network is told: the plain decoder's mean and log spread, both (N, C, [Z,] Y, X)."""
        maps = space_to_depth(torch.cat([decoded, log_spread], dim=1), self.finest)
        return Condition(maps, maps.new_zeros(len(maps), 0), maps.new_ones(len(maps), 1))

    def forward(self, x: Tensor, sigma: Tensor, told: Condition) -> Tensor:
        """Return the residual at the end of the path through ``x`` (N, C, [Z,] Y, X) at noise ``sigma`` (N,); ``x`` itself at 0."""
        column = sigma.view(-1, *([1] * (x.ndim - 1)))
        root = (1 + column.square()).sqrt()
        output = depth_to_space(self.network(space_to_depth(x / root, self.finest), sigma / (1 + sigma), told), self.finest)
        end: Tensor = x / root.square() + column / root * output  # Song et al. 2023, eq. 5, with data of unit variance
        return end

    def loss(self, residual: Tensor, told: Condition, progress: float, generator: torch.Generator) -> Tensor:
        """Compare the ends of the path from two neighbouring noise levels (Song & Dhariwal 2023, algorithm 1)."""
        data = residual / self.scale
        levels = noise_levels(_FEWEST * 2 ** min(_DOUBLINGS, int(progress * (_DOUBLINGS + 1)))).to(data.device)
        lower = picked(_shares(levels), len(data), generator)
        near, far = levels[lower].float(), levels[lower + 1].float()
        noise = normal(data.shape, generator)
        column = (-1, *([1] * (data.ndim - 1)))
        guess = self(data + far.view(column) * noise, far, told)
        with torch.no_grad():
            wanted = self(data + near.view(column) * noise, near, told)
        distance = ((guess - wanted).square().flatten(1).mean(1) + _HUBER**2).sqrt() - _HUBER
        mean: Tensor = (distance / (far - near)).mean()
        return mean

    def draw(self, decoded: Tensor, log_spread: Tensor, noise: Noise) -> Tensor:
        """Return decoded images (N, C, [Z,] Y, X) with a drawn residual added (Song et al. 2023, algorithm 1)."""
        told, shape, count = self.told(decoded, log_spread), decoded.shape[1:], self.settings.evaluations
        sigmas = [_NOISIEST * (_LAST / _NOISIEST) ** (i / max(1, count - 1)) for i in range(count)]
        data = torch.zeros_like(decoded)
        for sigma in sigmas:
            noisy = data + sigma * noise.normal(shape).to(data.device)
            data = self(noisy, torch.full((len(data),), sigma, device=data.device), told)
        return decoded + self.scale * data


def noise_levels(count: int) -> Tensor:
    """Return ``count`` rising noise levels (Karras et al. 2022, eq. 5)."""
    ends = _CALMEST ** (1 / _RHO), _NOISIEST ** (1 / _RHO)
    levels: Tensor = torch.linspace(*ends, count, dtype=torch.float64, device="cpu") ** _RHO
    return levels


def _shares(levels: Tensor) -> Tensor:
    """Return how often each pair of neighbouring levels is trained: a log-normal law (Song & Dhariwal 2023, section 3.5)."""
    return torch.erf((levels.log() - _LOG_MEAN) / (math.sqrt(2) * _LOG_STD)).diff()
