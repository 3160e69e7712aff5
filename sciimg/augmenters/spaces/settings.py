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


class WaveletSpace(Settings):
    """Haar coefficients, standardised band by band: exact and without training (WDM; Friedrich et al. 2024)."""

    kind: Literal["wavelet"] = "wavelet"
    levels: int = Field(default=1, gt=0, description="Levels of the pyramid; finer bands are folded onto the coarsest grid.")

    @property
    def halvings(self) -> int:
        return self.levels


class ELBO(Settings):
    """Train the autoencoder on the evidence lower bound (Kingma & Welling 2014): its latent then has the standard normal as prior."""

    beta: float = Field(default=1.0, gt=0, description="Weight of the divergence (beta-VAE; Higgins et al. 2017); 1 is the bound itself.")
    warmup: float = Field(default=0.25, ge=0, le=1, description="Share of the steps over which that weight rises from 0.")


class ConsistencyDecoder(Settings):
    """Draw what the latent leaves undetermined with a consistency model (Song et al. 2023), given what the plain decoder says."""

    width: int = Field(default=32, gt=0)
    blocks: int = Field(default=3, gt=0, description="Residual blocks, on the grid of the first halving.")
    evaluations: int = Field(default=2, gt=0, description="Evaluations of the network in a draw; 1 is a single step from noise.")
    training: Schedule


class KLSpace(Settings):
    """A convolutional autoencoder with a Gaussian bottleneck (Rombach et al. 2022); per-channel latent mean and std."""

    kind: Literal["kl"] = "kl"
    latent_channels: int = Field(
        default=6, gt=0, description="At most: never more than a block of pixels has values. Few lose fine texture."
    )
    widths: tuple[int, ...] = Field(default=(64,), description="One width for each halving of the grid.")
    blocks: int = Field(default=1, gt=0)
    elbo: ELBO | None = Field(default=None, description="Train on the evidence lower bound; else an L1 loss and a light KL term.")
    conditional: bool = Field(default=False, description="Tell encoder and decoder the condition (CVAE; Sohn et al. 2015).")
    kl_weight: float = Field(default=1e-5, ge=0, description="Of the light KL term.")
    gradient_weight: float = Field(default=0.5, ge=0, description="Weight of the L1 error of finite differences beside the light KL term.")
    consistency: ConsistencyDecoder | None = Field(default=None, description="Decoder of fine texture; else the residual noise law.")
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


SpaceSettings = Annotated[PixelSpace | WaveletSpace | KLSpace | VQSpace | PixelTokenSpace, Field(discriminator="kind")]
