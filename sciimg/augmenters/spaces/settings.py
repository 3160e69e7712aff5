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
    latent_channels: int = Field(default=4, gt=0)
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


SpaceSettings = Annotated[PixelSpace | WaveletSpace | KLSpace, Field(discriminator="kind")]
