"""Networks that turn one image into another, and one that judges patches of the result; the same code in 2D and 3D."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, Embedding, Up, conv, depth_to_space, memory_format, norm, space_to_depth
from sciimg.augmenters.backbones.settings import TranslatorBackbone
from sciimg.augmenters.draws import own, whole
from sciimg.augmenters.grid import Step
from sciimg.augmenters.system import Condition

_ACT = nn.LeakyReLU(0.2)


class Translator(nn.Module):
    """Source channels, scalars and classes → an image on the same grid.

    Parameters
    ----------
    dims : int
    inputs, outputs : int
        Channels.
    vector : int
        Length of ``condition.vector``.
    steps : sequence of Step
        From the image to the first level and between the levels, finest first.
    settings : TranslatorBackbone
        ``unet`` adds what each scale of the way down saw on the way up; ``resnet`` hands on nothing but the coarsest scale, so that
        little of the source's fine detail can be smuggled through. The finest grid is folded into channels, which loses nothing. With
        ``as_source`` what is learned is added to a mixture of the source's channels, at first their mean: where no pairs say which value
        means what, training begins at "the same", not at any of its inversions.

    References
    ----------
    Isola et al. 2017, arXiv:1611.07004 (unet); Johnson et al. 2016, arXiv:1603.08155, and Zhu et al. 2017, arXiv:1703.10593 (resnet).
    """

    def __init__(self, dims: int, inputs: int, outputs: int, vector: int, steps: Sequence[Step], settings: TranslatorBackbone) -> None:
        super().__init__()
        widths, features = settings.widths, settings.features
        self.dims, self.bridges, self.fold = dims, settings.network == "unet", steps[0]
        levels, folded = steps[1 : len(widths)], math.prod(steps[0])

        def block(width: int) -> Block:
            return Block(dims, width, width, embedding=features, dropout=settings.dropout)

        self.embed = Embedding(vector, features, timed=False)
        self.enter = conv(dims, inputs * folded, widths[0])
        self.descent = nn.ModuleList(block(width) for width in widths[:-1]) if self.bridges else nn.ModuleList()
        self.down = nn.ModuleList(Down(dims, a, b, step) for (a, b), step in zip(pairwise(widths), levels, strict=True))
        self.middle = nn.ModuleList(block(widths[-1]) for _ in range(settings.residual_blocks))
        self.up = nn.ModuleList(Up(dims, b, a, step) for (a, b), step in zip(pairwise(widths), levels, strict=True))
        self.ascent = nn.ModuleList(block(width) for width in widths[:-1])
        self.leave = nn.Sequential(norm(widths[0]), nn.SiLU(), conv(dims, widths[0], outputs * folded, zero=True))
        self.mixture = conv(dims, inputs, outputs, 1) if settings.as_source else None
        if self.mixture is not None:
            nn.init.constant_(self.mixture.weight, 1 / inputs)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, source: Tensor, condition: Condition) -> Tensor:
        """Return the image (N, outputs, [Z,] Y, X) of ``source`` (N, inputs, [Z,] Y, X); places of the condition are not read."""
        told = self.embed(condition.vector, condition.keep)
        h = self.enter(space_to_depth(source.contiguous(memory_format=memory_format(self.dims)), self.fold))
        skips = []
        for level, down in enumerate(self.down):
            if self.bridges:
                h = cast(Block, self.descent[level])(h, told)
                skips.append(h)
            h = down(h)
        for block in self.middle:
            h = block(h, told)
        for level in reversed(range(len(self.up))):
            h = self.up[level](h)
            if self.bridges:
                h = h + skips.pop()
            h = cast(Block, self.ascent[level])(h, told)
        made = depth_to_space(self.leave(h), self.fold).float()
        return made if self.mixture is None else made + self.mixture(source).float()


class PatchCritic(nn.Module):
    """One logit a patch: a fully convolutional discriminator that sees no farther than its receptive field (PatchGAN).

    Parameters
    ----------
    dims : int
    inputs : int
        Channels.
    widths : sequence of int
        Every layer but the last halves the grid, as ``steps`` say.
    steps : sequence of Step

    Notes
    -----
    Kernels of 4, as in the paper, whose widths (64, 128, 256, 512) judge patches of 70 pixels; 3 along an axis that a layer does not halve
    (coarse slices). There is no normalisation: its statistics would let every logit see the whole image.

    References
    ----------
    Isola et al. 2017, arXiv:1611.07004, section 3.2.2 and appendix 6.1.2.
    """

    def __init__(self, dims: int, inputs: int, widths: Sequence[int], steps: Sequence[Step]) -> None:
        super().__init__()
        self.dims = dims
        kind = nn.Conv2d if dims == 2 else nn.Conv3d
        layers: list[nn.Module] = []
        for width, step in zip(widths[:-1], steps, strict=False):
            kernel = tuple(4 if factor == 2 else 3 for factor in step)
            layers += [kind(inputs, width, kernel, stride=step, padding=1), _ACT]  # type: ignore[arg-type]
            inputs = width
        # a border of two, so that the smallest grid gives a logit too
        layers += [kind(inputs, widths[-1], 4, padding=2), _ACT, kind(widths[-1], 1, 4, padding=2)]
        self.layers = nn.Sequential(*layers)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 1, ...) of images (N, inputs, [Z,] Y, X)."""
        out: Tensor = self.layers(images.contiguous(memory_format=memory_format(self.dims)))
        return out.float()

    @property
    def reach(self) -> tuple[int, ...]:
        """Pixels along each axis that one logit depends on: r ← (r - 1) stride + kernel, from the last layer to the first."""
        seen = [1] * self.dims
        for layer in reversed(self.layers):
            if isinstance(layer, nn.Conv2d | nn.Conv3d):
                seen = [(r - 1) * s + k for r, s, k in zip(seen, layer.stride, layer.kernel_size, strict=True)]
        return tuple(seen)


class ImageBuffer(nn.Module):
    """Images made earlier, shown to a discriminator again so that it does not forget them.

    Parameters
    ----------
    size : int
    shape : tuple of int
        (C, [Z,] Y, X).

    Notes
    -----
    The images are a registered buffer, so that a killed training goes on with the same ones. It holds as many as were put in, takes the
    size of what is restored, and is empty in a finished model.

    References
    ----------
    Shrivastava et al. 2017, arXiv:1612.07828, section 2.3; as used by Zhu et al. 2017, arXiv:1703.10593, section 4.
    """

    held: Tensor

    def __init__(self, size: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("held", torch.zeros(0, *shape))

    def exchanged(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return each image or, half of the time once the buffer is full, an earlier one in whose place it is kept."""
        out = []
        for image in whole(images.detach().float(), generator):
            if len(self.held) < self.size:
                self.held = torch.cat([self.held, image[None]])
                out.append(image)
                continue
            swap, place = (
                float(torch.rand(1, generator=generator, device=generator.device)) < 0.5,
                int(torch.randint(self.size, (1,), generator=generator, device=generator.device)),
            )
            out.append(self.held[place].clone() if swap else image)
            if swap:
                self.held[place] = image
        return own(torch.stack(out), generator)

    def clear(self) -> None:
        self.held = self.held[:0].clone()

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *about: object) -> None:
        if (stored := state_dict.get(f"{prefix}held")) is not None:
            self.held = torch.empty_like(stored)
        super()._load_from_state_dict(state_dict, prefix, *about)
