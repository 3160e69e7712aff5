"""ControlNet: a base that learned without masks, and a trained copy of its way down that steers it."""

from dataclasses import replace

from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import conv, memory_format
from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.backbones.unet import Descent, UNet
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes, Stage


class ControlNet(FieldNetwork):
    """Add to the features of a frozen UNet what a copy of its way down makes of input and label maps.

    Parameters
    ----------
    sizes : FieldSizes
    settings : UNetBackbone
        Of the base.

    Notes
    -----
    Everything that the copy adds passes convolutions that start at zero, so that the second stage starts as the base exactly. Without maps
    (``condition.maps`` has no channel) the network is the base.

    References
    ----------
    Zhang et al. 2023, arXiv:2302.05543, section 3.1.
    """

    def __init__(self, sizes: FieldSizes, settings: UNetBackbone) -> None:
        super().__init__()
        dims, first = sizes.dims, settings.widths[0]
        self.base = UNet(replace(sizes, maps=sizes.image), settings)
        self.copy = Descent(sizes, settings, sizes.image)
        self.hint = nn.Sequential(conv(dims, sizes.masks, first), nn.SiLU(), conv(dims, first, first, zero=True))
        self.leave = nn.ModuleList(conv(dims, width, width, 1, zero=True) for width in settings.widths)
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def stages(self) -> tuple[Stage, ...]:
        base = Stage("process", (self.base,), told=lambda condition, _: condition.without("maps"))
        return base, Stage("control", (self.copy, self.hint, self.leave), begin=self._start_as_base)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        rest = condition.without("maps")
        told = self.base.tell(time, rest)
        features = self.base.descend(x, rest, told)
        if condition.maps.shape[1]:
            hint = self.hint(condition.maps.contiguous(memory_format=memory_format(x.ndim - 2)))
            copied = self.copy(self.base.beside(x, rest), told, hint=hint)
            features = [own + leave(more) for own, leave, more in zip(features, self.leave, copied, strict=True)]
        return self.base.ascend(features, told)

    def _start_as_base(self) -> None:
        self.copy.load_state_dict(self.base.descent.state_dict())
