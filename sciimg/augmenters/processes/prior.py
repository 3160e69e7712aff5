"""The prior of a variational autoencoder as the process: standard normal points, nothing to train."""

from torch import Tensor

from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.system import Condition, Noise, Phase, Process


class PriorProcess(Process):
    """z ~ N(0, I), whatever the condition: a conditional decoder listens to it (Sohn et al. 2015, NeurIPS, section 4.1)."""

    samplers = ("one-step",)

    def phases(self) -> tuple[Phase, ...]:
        return ()

    def sample(self, condition: Condition, noise: Noise, shape: tuple[int, ...], settings: SamplerSettings) -> Tensor:
        return noise.normal(shape)
