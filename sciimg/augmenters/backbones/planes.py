"""A volume from a model of planes: a 2D UNet sees the planes along all three axes, and its fields are averaged."""

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn

from sciimg.augmenters.backbones.settings import PlanesBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.system import Condition, FieldNetwork, FieldSizes

_AXES = 3


class Planes(FieldNetwork):
    """Predict the field of a volume from its planes.

    Parameters
    ----------
    sizes : FieldSizes
        Of a volume.
    settings : PlanesBackbone
    mask : {"concat", "spade"}
        As for :class:`UNet`.

    Notes
    -----
    A model of planes across one axis leaves neighbouring planes independent of each other. Poole and others make a 3D scene all of whose
    views satisfy a 2D model; Lee and others take the product of models of orthogonal planes, whose score is a sum. Here the three
    orientations count alike: the field at a voxel is the mean of what the three planes through it say.

    While it learns, the network sees one orientation a step (a draw like dropout's), so that each learns to be right alone: it stays a
    model of planes. Orientations whose planes get coarser by the same steps share one network; for cubic voxels that is all three. A
    plane's axes are taken in cyclic order, so a cyclic exchange of the volume's axes exchanges the orientations and nothing else.

    References
    ----------
    Poole et al. 2022, arXiv:2209.14988; Lee et al. 2023, arXiv:2303.08440, eq. 10.
    """

    def __init__(self, sizes: FieldSizes, settings: PlanesBackbone, mask: Literal["concat", "spade"] = "concat") -> None:
        super().__init__()
        self.tell_axis = settings.tell_axis
        self.networks = nn.ModuleList()
        self.network_of: list[int] = []
        known: list[tuple[tuple[int, ...], ...]] = []
        for axis in range(_AXES):
            inside = _inside(axis)
            steps = tuple(tuple(step[a] for a in inside) for step in sizes.steps)
            if steps not in known:
                grid = tuple(sizes.grid[a] for a in inside)
                plane = replace(sizes, grid=grid, steps=steps, vector=sizes.vector + _AXES * self.tell_axis)
                known.append(steps)
                self.networks.append(UNet(plane, settings.plane, mask))
            self.network_of.append(known.index(steps))

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Return the mean of the fields of three orientations; in training, of one that is drawn."""
        axes = [int(torch.randint(_AXES, (), device="cpu"))] if self.training else range(_AXES)
        return torch.stack([self.field(axis, x, time, condition) for axis in axes]).mean(0)

    def field(self, axis: int, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        """Return what the planes across one axis say, each for itself; (N, C, Z, Y, X) as the volume."""
        count = x.shape[2 + axis]
        vector = condition.vector
        if self.tell_axis:
            vector = torch.cat([vector, vector.new_zeros(len(x), _AXES).index_fill_(1, torch.tensor(axis, device=x.device), 1.0)], dim=1)
        told = Condition(
            to_planes(condition.maps, axis),
            vector.repeat_interleave(count, 0),
            condition.keep.repeat_interleave(count, 0),
            None if condition.image is None else to_planes(condition.image, axis),
            None if condition.tokens is None else condition.tokens.repeat_interleave(count, 0),
        )
        network = self.networks[self.network_of[axis]]
        return from_planes(network(to_planes(x, axis), time.repeat_interleave(count, 0), told), axis, count)


def to_planes(x: Tensor, axis: int) -> Tensor:
    """Return the planes across an axis as samples: (N, C, Z, Y, X) → (N · size, C, following axis, the one after it)."""
    return x.permute(0, 2 + axis, 1, *(2 + a for a in _inside(axis))).flatten(0, 1)


def from_planes(planes: Tensor, axis: int, count: int) -> Tensor:
    """Undo :func:`to_planes`."""
    order = (axis, *_inside(axis))  # of the volume's axes, as they stand now at 1, 3 and 4
    at = (1, 3, 4)
    volumes: Tensor = planes.unflatten(0, (-1, count))
    return volumes.permute(0, 2, *(at[order.index(a)] for a in range(_AXES)))


def _inside(axis: int) -> tuple[int, int]:
    return (axis + 1) % _AXES, (axis + 2) % _AXES
