"""The judges' own small U-Net, 2D or 3D in one code; it shares nothing with the networks that generate.

Two poolings, group normalisation, nearest-neighbour upsampling (Ronneberger et al. 2015, doi:10.1007/978-3-319-24574-4_28).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MULTIPLE = 4  # sides must be multiples of this


class _Block(nn.Module):
    def __init__(self, dims: int, inputs: int, outputs: int) -> None:
        super().__init__()
        conv = nn.Conv2d if dims == 2 else nn.Conv3d
        self.layers = nn.Sequential(
            conv(inputs, outputs, 3, padding=1),
            nn.GroupNorm(4, outputs),
            nn.ReLU(inplace=True),
            conv(outputs, outputs, 3, padding=1),
            nn.GroupNorm(4, outputs),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class UNet(nn.Module):
    """Images (N, C, [Z,] Y, X) to class logits (N, K, [Z,] Y, X)."""

    def __init__(self, dims: int, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.pool = F.max_pool2d if dims == 2 else F.max_pool3d
        self.fine = _Block(dims, inputs, width)
        self.middle = _Block(dims, width, 2 * width)
        self.coarse = _Block(dims, 2 * width, 4 * width)
        self.up_middle = _Block(dims, 6 * width, 2 * width)
        self.up_fine = _Block(dims, 3 * width, width)
        self.head = (nn.Conv2d if dims == 2 else nn.Conv3d)(width, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        middle = self.middle(self.pool(fine, 2))
        coarse = self.coarse(self.pool(middle, 2))
        middle = self.up_middle(torch.cat([F.interpolate(coarse, scale_factor=2.0), middle], 1))
        fine = self.up_fine(torch.cat([F.interpolate(middle, scale_factor=2.0), fine], 1))
        out: Tensor = self.head(fine)
        return out


def new_unet(dims: int, inputs: int, outputs: int, width: int, seed: int) -> UNet:
    """Return a U-Net whose weights depend on the seed alone (He initialisation), whatever was drawn before."""
    with torch.device("meta"):
        network = UNet(dims, inputs, outputs, width)
    network.to_empty(device="cpu")
    rng = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=rng)
        else:
            nn.init.constant_(parameter, 1.0 if name.endswith("weight") else 0.0)
    return network
