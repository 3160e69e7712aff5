"""Where a process lives: the members of the axis, as data."""

from typing import Annotated, Literal

from pydantic import Field

from sciimg.augmenters.settings import Schedule, Settings


class PixelSpace(Settings):
    """The images themselves."""

    kind: Literal["pixel"] = "pixel"

    @property
    def halvings(self) -> int:
        return 0


class KLSpace(Settings):
    """A convolutional autoencoder with a Gaussian bottleneck (Rombach et al. 2022); per-channel latent mean and std."""

    kind: Literal["kl"] = "kl"
    latent_channels: int = Field(default=4, gt=0)
    widths: tuple[int, ...] = Field(default=(64,), description="One width for each halving of the grid.")
    blocks: int = Field(default=1, gt=0)
    kl_weight: float = Field(default=1e-5, ge=0)
    gradient_weight: float = Field(default=0.5, ge=0, description="Weight of the L1 error of finite differences.")
    residual: bool = Field(default=True, description="Draw the part that the latent leaves undetermined from its calibrated noise law.")
    spread_weight: float = Field(default=0.02, ge=0, description="Weight of the likelihood that teaches the decoder the size of that part.")
    training: Schedule

    @property
    def halvings(self) -> int:
        return len(self.widths)


SpaceSettings = Annotated[PixelSpace | KLSpace, Field(discriminator="kind")]
