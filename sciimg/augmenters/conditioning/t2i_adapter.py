"""T2I-Adapter: a base that learned without masks, and a small pyramid whose features are added to it."""

from dataclasses import replace
from itertools import pairwise

from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, conv, memory_format
from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes, Stage


class T2IAdapter(FieldNetwork):
    """Add features of the label maps to every level of the way down of a frozen UNet.

    Parameters
    ----------
    sizes : FieldSizes
    settings : UNetBackbone
        Of the base.

    Notes
    -----
    The features depend on the maps alone, not on the noisy input or the time: an adapter is far smaller than a copy of the base. They pass
    convolutions that start at zero. Without maps the network is the base.

    References
    ----------
    Mou et al. 2024, arXiv:2302.08453, section 3.2.
    """

    def __init__(self, sizes: FieldSizes, settings: UNetBackbone) -> None:
        super().__init__()
        dims, widths = sizes.dims, settings.widths
        self.base = UNet(replace(sizes, maps=sizes.image), settings)
        self.enter = conv(dims, sizes.masks, widths[0])
        self.blocks = nn.ModuleList(Block(dims, width, width) for width in widths)
        self.down = nn.ModuleList(Down(dims, a, b, step) for (a, b), step in zip(pairwise(widths), sizes.steps, strict=True))
        self.leave = nn.ModuleList(conv(dims, width, width, 1, zero=True) for width in widths)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def stages(self) -> tuple[Stage, ...]:
        base = Stage("process", (self.base,), told=lambda condition, _: condition.without("maps"))
        return base, Stage("adapter", (self.enter, self.blocks, self.down, self.leave))

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        rest = condition.without("maps")
        told = self.base.tell(time, rest)
        if not condition.maps.shape[1]:
            return self.base.ascend(self.base.descend(x, rest, told), told)
        added = self._pyramid(condition.maps.contiguous(memory_format=memory_format(x.ndim - 2)))
        return self.base.ascend(self.base.descend(x, rest, told, lambda level, h: h + added[level]), told)

    def _pyramid(self, maps: Tensor) -> list[Tensor]:
        h, out = self.enter(maps), []
        for level, (block, leave) in enumerate(zip(self.blocks, self.leave, strict=True)):
            h = block(self.down[level - 1](h) if level else h)
            out.append(leave(h))
        return out
