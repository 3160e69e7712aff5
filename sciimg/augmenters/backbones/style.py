"""StyleGAN: a mapping network makes styles, styles modulate convolutions, noise adds what no style decides.

Mapping, noise inputs, style mixing and truncation: Karras et al. 2019, arXiv:1812.04948. Weight demodulation and summed outputs instead of
a growing network: Karras et al. 2020, arXiv:1912.04958. Fields are made finer by linear interpolation, a low-pass filter, as StyleGAN3
asks (Karras et al. 2021, arXiv:2106.12423); its filtered non-linearities are left out.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import conv, depth_to_space, memory_format, space_to_depth
from sciimg.augmenters.backbones.opponents import PointGenerator, Told
from sciimg.augmenters.backbones.pyramid import band_spreads, block_means, doubled
from sciimg.augmenters.backbones.settings import StyleBackbone
from sciimg.augmenters.grid import coarser, product
from sciimg.augmenters.system import Condition, FieldSizes


def modulated(x: Tensor, weight: Tensor, style: Tensor, *, demodulate: bool = True) -> Tensor:
    """Convolve each sample with weights scaled by its own style (Karras 2020, eq. 1 to 3).

    Parameters
    ----------
    x : Tensor, shape (N, I, [Z,] Y, X)
    weight : Tensor, shape (O, I, ...)
    style : Tensor, shape (N, I)
    demodulate : bool
        Divide each output by the norm of its scaled weights, so that white input of unit variance keeps it.

    Notes
    -----
    Scaling the input instead of the weights is the same, and lets all samples share one convolution.
    """
    ones = [1] * (x.ndim - 2)
    convolve = F.conv3d if x.ndim == 5 else F.conv2d
    out = convolve(x * style.view(*style.shape, *ones), weight, padding=weight.shape[-1] // 2)
    if demodulate:
        with torch.autocast(x.device.type, enabled=False):
            norms = style.float().square() @ weight.float().square().flatten(2).sum(2).T
        out = out * (norms + 1e-8).rsqrt().view(*norms.shape, *ones).to(out.dtype)
    return out


class StyleLayer(nn.Module):
    """Modulated convolution, noise, bias, non-linearity."""

    def __init__(self, dims: int, inputs: int, outputs: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *([3] * dims)) / math.sqrt(inputs * 3**dims))
        self.style = nn.Linear(features, inputs)
        nn.init.normal_(self.style.weight, 0.0, 1 / math.sqrt(features))
        nn.init.ones_(self.style.bias)
        self.strength = nn.Parameter(torch.full((1, outputs, *([1] * dims)), 0.1))
        self.bias = nn.Parameter(torch.zeros(1, outputs, *([1] * dims)))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        x = modulated(x, self.weight, self.style(style)) + self.strength * noise + self.bias
        return math.sqrt(2) * F.leaky_relu(x, 0.2)


class Leave(nn.Module):
    """Modulated projection to channels, not demodulated: here a style decides levels."""

    def __init__(self, dims: int, inputs: int, outputs: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, *([1] * dims)) * 0.5 / math.sqrt(inputs))
        self.style = nn.Linear(features, inputs)
        nn.init.ones_(self.style.bias)
        self.bias = nn.Parameter(torch.zeros(1, outputs, *([1] * dims)))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        return (modulated(x, self.weight, self.style(style), demodulate=False) + self.bias).float()


class Mapping(nn.Module):
    """Noise vector and everything told of the sample → a style."""

    def __init__(self, sizes: FieldSizes, settings: StyleBackbone) -> None:
        super().__init__()
        self.told = Told(sizes, settings.features, settings.noise_vector)
        self.layers = nn.ModuleList(nn.Linear(settings.features, settings.features) for _ in range(settings.mapping))

    def forward(self, noise: Tensor, condition: Condition) -> Tensor:
        x = self.told(condition, noise * (noise.square().mean(1, keepdim=True) + 1e-8).rsqrt())
        for layer in self.layers:
            x = math.sqrt(2) * F.leaky_relu(layer(x), 0.2)
        out: Tensor = x.float()
        return out


class StyleGenerator(PointGenerator):
    """Condition and noise → points through styles.

    Parameters
    ----------
    sizes : FieldSizes
        Its steps are one a level, finest first.
    settings : StyleBackbone

    Notes
    -----
    The noise vector holds two latents and a number that says, while training, from which level on the second one's style rules.
    """

    bands: Tensor
    centre: Tensor

    def __init__(self, sizes: FieldSizes, settings: StyleBackbone) -> None:
        super().__init__()
        dims, widths, features = sizes.dims, settings.generator, settings.features
        self.dims, self.channels, self.steps, self.settings = dims, sizes.channels, sizes.steps, settings
        fold = math.prod(sizes.steps[0])
        self.register_buffer("bands", torch.ones(len(widths) + 1, sizes.channels))  # spread of each scale, finest first
        self.register_buffer("centre", torch.zeros(features))  # mean style
        self.mapping = Mapping(sizes, settings)
        self.start = nn.Parameter(torch.randn(1, widths[0], *coarser(sizes.grid, product(sizes.steps, dims))))
        self.enter = nn.ModuleList(conv(dims, sizes.maps * fold, width) for width in widths) if sizes.maps else None
        self.first = nn.ModuleList(StyleLayer(dims, a, b, features) for a, b in pairwise((widths[0], *widths)))
        self.second = nn.ModuleList(StyleLayer(dims, width, width, features) for width in widths)
        outputs = [sizes.channels] * (len(widths) - 1) + [sizes.channels * (1 + fold)]  # the last also makes what is finer than its grid
        self.leave = nn.ModuleList(Leave(dims, width, out, features) for width, out in zip(widths, outputs, strict=True))
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def noise_shapes(self, grid: Sequence[int]) -> list[tuple[int, ...]]:
        """Return the shapes of both latents with the place of mixing, and of the noise images, two a level, coarsest first."""
        images = [(2, *coarser(grid, product(self.steps[: i + 1], self.dims))) for i in range(len(self.steps))][::-1]
        return [(2 * self.settings.noise_vector + 1,), *images]

    def measure(self, points: Tensor) -> None:
        self.bands.copy_(band_spreads(points, self.steps))

    def settle(self, condition: Condition, generator: torch.Generator) -> None:
        """Learn the mean style, to which truncation draws."""
        noise = torch.randn(len(condition), self.settings.noise_vector, generator=generator, device=generator.device)
        self.centre.copy_(self.mapping(noise.to(self.centre.device), condition).mean(0))

    def forward(self, noise: Sequence[Tensor], condition: Condition, *, progress: float = 1.0, truncation: float = 1.0) -> Tensor:
        latent, other, place = noise[0].split([self.settings.noise_vector, self.settings.noise_vector, 1], dim=1)
        style = self.mapping(latent, condition)
        if truncation < 1:
            style = torch.lerp(self.centre, style, truncation)
        styles = style.unsqueeze(1).expand(-1, len(self.first), -1)
        if self.training and self.settings.mixing and len(self.first) > 1:
            styles = torch.where(self._crossed(place).unsqueeze(2), self.mapping(other, condition).unsqueeze(1), styles)
        return self.synthesise(styles, noise[1:], condition)

    def synthesise(self, styles: Tensor, images: Sequence[Tensor], condition: Condition) -> Tensor:
        """Return points for styles (N, levels, features), coarsest first, and noise images."""
        layout, levels = memory_format(self.dims), len(self.first)
        maps = space_to_depth(condition.spatial.contiguous(memory_format=layout), self.steps[0])
        x = self.start.expand(len(styles), *self.start.shape[1:]).contiguous(memory_format=layout)
        made = fine = torch.zeros((), device="cpu")  # a number, of any device
        for i in range(levels):
            step = self.steps[levels - i] if i else 1
            x = doubled(x, step) if i else x
            x = self.first[i](x, styles[:, i], images[i][:, :1])
            if self.enter is not None:
                x = x + self.enter[i](block_means(maps, product(self.steps[1 : levels - i], self.dims)))
            x = self.second[i](x, styles[:, i], images[i][:, 1:])
            field, fine = self.leave[i](x, styles[:, i]).tensor_split([self.channels], dim=1)
            made = field * self._spread(levels - i) + (doubled(made, step) if i else made)
        return doubled(made, self.steps[0]) + depth_to_space(fine, self.steps[0]) * self._spread(0)

    def _crossed(self, place: Tensor) -> Tensor:
        """Return which levels of each sample take the other style, shape (N, levels)."""
        share, levels = 0.5 * (1 + torch.erf(place / math.sqrt(2))), len(self.first)
        first = 1 + (share / self.settings.mixing * (levels - 1)).floor()
        return (torch.arange(levels, device=place.device) >= first) & (share < self.settings.mixing)

    def _spread(self, band: int) -> Tensor:
        return self.bands[band].view(1, -1, *([1] * self.dims))
