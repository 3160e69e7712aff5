"""A cascade: a process on a coarse grid, then one on the fine grid that is told what the first made; or the second alone."""

from dataclasses import replace

import torch
from torch import Tensor

from sciimg.augmenters.backbones.pyramid import block_means, doubled, repeated
from sciimg.augmenters.draws import normal, uniform
from sciimg.augmenters.grid import Step, coarser
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.settings import CascadeProcess as Choices
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.samplers.solvers import SAMPLERS
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.system import Condition, FieldNetwork, Noise, Phase, Process, Space


class CascadeProcess(Process):
    """Coarse means first, then everything finer.

    Parameters
    ----------
    settings : CascadeProcess
    space : Space
    low : FieldNetwork or None
        On the coarse grid; None where the coarse image is given.
    high : FieldNetwork
        Told ``C`` more channels of image, the coarse one, and one more scalar, its noise.
    factor : Step
        Of the coarse grid.
    schedule : Schedule
        Of both.
    drop : float

    References
    ----------
    Saharia et al. 2022, arXiv:2205.11487, section 2.3; noise on the coarse image: Ho et al. 2022, arXiv:2106.15282, section 4.
    """

    samplers = tuple(SAMPLERS)

    def __init__(
        self, settings: Choices, space: Space, low: FieldNetwork | None, high: FieldNetwork, factor: Step, schedule: Schedule, drop: float
    ) -> None:
        super().__init__()
        self.settings, self.factor = settings, factor
        self.low: GaussianProcess | None = None
        if settings.low is not None and low is not None:
            self.low = GaussianProcess(settings.low, CoarseMeans(space, factor), low, schedule, drop)
        self.high = SuperResolution(settings, space, high, factor, schedule, drop)
        self._space = (space,)  # in a tuple: the space's weights are not this module's

    def phases(self) -> tuple[Phase, ...]:
        return (*(_named("low", self.low.phases()) if self.low is not None else ()), *_named("high", self.high.phases()))

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        if self.low is None:
            assert condition.image is not None
            given = block_means(self._space[0].encode(condition.image, condition), self.factor)
            return self.high.refine(given, 0.0, condition.without("image"), noise, shape, settings)
        made = self.low.sample(condition, noise, (shape[0], *coarser(shape[1:], self.factor)), settings)
        return self.high.refine(made, self.settings.level, condition, noise, shape, settings)


class CoarseMeans(Space):
    """Means over blocks of another space's points: where the first process of a cascade lives."""

    def __init__(self, space: Space, factor: Step) -> None:
        super().__init__()
        self.factor = factor
        self._space = (space,)

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        channels, *grid = self._space[0].shape(image_shape)
        return (channels, *coarser(grid, self.factor))

    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        return block_means(self._space[0].encode(images, condition), self.factor)

    def decode(self, points: Tensor, noise: Noise | None = None, condition: Condition | None = None) -> Tensor:
        return self._space[0].decode(doubled(points, self.factor), noise, condition)


class SuperResolution(GaussianProcess):
    """A process that is told its own means over blocks, with noise of a known level on them.

    Where there is none, every prediction of the data is given exactly these means, and so are the samples: the part of the image that is
    known is kept, the part of which the means say nothing is made (Wang et al. 2023, arXiv:2212.00490, eq. 13).
    """

    def __init__(self, settings: Choices, space: Space, network: FieldNetwork, factor: Step, schedule: Schedule, drop: float) -> None:
        super().__init__(settings.high, space, network, schedule, drop)
        self.most, self.given, self.factor = settings.augmentation, settings.low is None, factor

    def told(self, data: Tensor, condition: Condition, generator: torch.Generator) -> Condition:
        coarse = block_means(data, self.factor)
        level = self.most * uniform((len(data),), generator)
        fresh = normal(coarse.shape, generator)
        return self._beside(coarse, level, fresh, condition.without("image") if self.given else condition)

    def predict(
        self, x: Tensor, time: float, condition: Condition, guidance: float, network: FieldNetwork | None = None
    ) -> tuple[Tensor, Tensor]:
        data, noise = super().predict(x, time, condition, guidance, network)
        assert condition.image is not None
        told = condition.image[:, -x.shape[1] :].double()
        exact = (condition.vector[:, -1] == 0).view(-1, *([1] * (x.ndim - 1)))
        kept = data + exact * (told - repeated(block_means(data, self.factor), self.factor))
        a, s = self.path.alpha(time), self.path.sigma(time)
        return kept, noise + a / s * (data - kept)  # x stays a * data + s * noise

    def refine(
        self, coarse: Tensor, level: float, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings
    ) -> Tensor:
        """Return points of shape (N, *shape) for coarse ones; the condition is on the grid of the images."""
        fresh = noise.normal(coarse.shape[1:])
        told = self._beside(coarse, torch.full((len(coarse),), level, device=coarse.device), fresh, condition.resized(shape[1:]))
        return self.sample(told, noise, shape, settings)

    def _beside(self, coarse: Tensor, level: Tensor, fresh: Tensor, condition: Condition) -> Condition:
        angle = 0.5 * torch.pi * level.view(-1, *([1] * (coarse.ndim - 1)))  # the variance-preserving path, whatever the process's own is
        seen = repeated(angle.cos() * coarse + angle.sin() * fresh, self.factor)
        image = seen if condition.image is None else torch.cat([condition.image, seen], dim=1)
        return replace(condition, image=image, vector=torch.cat([condition.vector, level[:, None]], dim=1))


def _named(part: str, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    for phase in phases:
        phase.name = f"{part}.{phase.name}"
    return phases
