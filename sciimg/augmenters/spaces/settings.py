"""Where a process lives: the members of the axis, as data."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

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


class VQSpace(Settings):
    """A convolutional autoencoder whose latents are codes of a book: one level (VQ-VAE), two (VQ-VAE-2), or residual scales (VAR)."""

    kind: Literal["vq"] = "vq"
    quantiser: Literal["nearest", "gumbel"] = Field(default="nearest", description="Nearest code (VQ-VAE) or Gumbel-softmax (dVAE).")
    codes: int = Field(default=256, gt=1, description="Size of the book; every level or scale has its own.")
    code_channels: int = Field(default=8, gt=0)
    widths: tuple[int, ...] = Field(default=(32, 64), min_length=1, description="One width for each halving of the grid.")
    top: tuple[int, ...] = Field(
        default=(), description="Widths of the halvings from there to a coarser level (VQ-VAE-2); none: one level."
    )
    scales: int = Field(default=1, gt=0, description="Residual scales, each of half the samples an axis, coarsest first (VAR).")
    blocks: int = Field(default=1, gt=0)
    commitment: float = Field(default=0.25, ge=0, description="Weight that keeps latents near their codes.")
    decay: float = Field(default=0.95, ge=0, lt=1, description="Of the running averages that the codes are.")
    dead: float = Field(default=0.05, ge=0, lt=1, description="Share of an even use of the book below which a code is restarted.")
    soft: float = Field(default=0.0625, gt=0, le=1, description="Temperature at which the Gumbel-softmax ends; it starts at 1.")
    evenness: float = Field(default=1e-3, ge=0, description="Weight of the divergence of the Gumbel codes from an even use of the book.")
    gradient_weight: float = Field(default=0.5, ge=0, description="Weight of the L1 error of finite differences.")
    residual: bool = Field(default=True, description="Draw the part that the codes leave undetermined from its calibrated noise law.")
    spread_weight: float = Field(default=0.02, ge=0, description="Weight of the likelihood that teaches the decoder the size of that part.")
    training: Schedule

    @property
    def halvings(self) -> int:
        return len(self.widths) + len(self.top)

    @model_validator(mode="after")
    def _one_hierarchy(self) -> Self:
        if self.top and self.scales > 1:
            raise ValueError("levels (top) and residual scales are two hierarchies; choose one: top=() or scales=1")
        if self.quantiser == "nearest" and self.training.ema:
            raise ValueError("training.ema must be 0: the codes are running averages that belong to the last weights, not to averaged ones")
        return self


class PixelTokenSpace(Settings):
    """Intensities in steps, channel after channel, on a grid that may be coarser than the image's."""

    kind: Literal["pixel-tokens"] = "pixel-tokens"
    intensities: int = Field(default=16, gt=1)
    halvings: int = Field(default=0, ge=0)


SpaceSettings = Annotated[PixelSpace | KLSpace | VQSpace | PixelTokenSpace, Field(discriminator="kind")]
