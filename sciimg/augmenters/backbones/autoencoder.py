"""Encoder and decoder of the KL space: no convolution runs on a grid finer than half the image's."""

from torch import Tensor, nn

from sciimg.augmenters.backbones.layers import Block, Down, Up, conv, depth_to_space, memory_format, norm, space_to_depth


class Encoder(nn.Module):
    """Images → features on a grid that is ``2 ** len(widths)`` times coarser."""

    def __init__(self, dims: int, channels: int, outputs: int, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.dims = dims
        layers: list[nn.Module] = [conv(dims, channels * 2**dims, widths[0])]
        for level, width in enumerate(widths):
            if level:
                layers.append(Down(dims, widths[level - 1], width))
            layers += [Block(dims, width, width) for _ in range(blocks)]
        self.body = nn.Sequential(*layers, norm(widths[-1]), nn.SiLU(), conv(dims, widths[-1], outputs))
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        folded = space_to_depth(images.contiguous(memory_format=memory_format(self.dims)), 2)
        out: Tensor = self.body(folded)
        return out.float()


class Decoder(nn.Module):
    """Points on the coarse grid → images."""

    def __init__(self, dims: int, inputs: int, channels: int, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.dims = dims
        widths = widths[::-1]
        layers: list[nn.Module] = [conv(dims, inputs, widths[0])]
        for level, width in enumerate(widths):
            if level:
                layers.append(Up(dims, widths[level - 1], width))
            layers += [Block(dims, width, width) for _ in range(blocks)]
        self.body = nn.Sequential(*layers, norm(widths[-1]), nn.SiLU(), conv(dims, widths[-1], channels * 2**dims))
        self.to(memory_format=memory_format(dims))  # type: ignore[call-overload]

    def forward(self, points: Tensor) -> Tensor:
        h = points.contiguous(memory_format=memory_format(self.dims))
        return depth_to_space(self.body(h), 2).float()
