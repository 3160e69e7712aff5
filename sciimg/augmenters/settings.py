"""The choices that span the recipe space, as frozen data: space x process x backbone x conditioning x sampler, and how to train.

Nothing here imports torch, so that recipes can be listed at once. :mod:`sciimg.augmenters.build` meets each union with one ``match``.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Schedule(Settings):
    """How one phase (or one player of it) is optimised. Budgets are steps, never seconds: results must repeat."""

    steps: int = Field(gt=0)
    batch: int = Field(default=32, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    final_rate: float = Field(default=0.02, ge=0, le=1, description="Share of the learning rate that the cosine ends at.")
    warmup: int = Field(default=50, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    ema: float = Field(default=0.995, ge=0, lt=1, description="Decay of the running average of weights; 0 keeps the last weights.")
    precision: Literal["bf16", "fp32"] = "bf16"
    held_out_every: int = Field(default=100, gt=0)
    patience: int | None = Field(default=None, gt=0, description="Stop after this many held-out looks without a better one.")
    checkpoint_every: int = Field(default=200, gt=0)


class Training(Schedule):
    """How the process is trained, and how training data are drawn."""

    threads: int = Field(default=1, gt=0, description="Intra-op threads; part of the recipe because their number changes the last bits.")
    symmetries: Literal["none", "flips", "all"] = Field(default="all", description="Flips, or flips and exchanges of like axes.")
    tell_symmetry: bool = Field(default=False, description="Tell the networks which symmetry was applied, so that it does not leak.")
    held_out_patches: int = Field(default=96, gt=0)


# ---------------------------------------------------------------- spaces


class PixelSpace(Settings):
    """The images themselves."""

    kind: Literal["pixel"] = "pixel"


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
    def factor(self) -> int:
        return int(2 ** len(self.widths))


SpaceSettings = Annotated[PixelSpace | KLSpace, Field(discriminator="kind")]


# ---------------------------------------------------------------- processes


class FlowProcess(Settings):
    """Rectified flow (Liu 2022, Lipman 2022): velocity between noise and data on straight lines; logit-normal times (Esser 2024)."""

    kind: Literal["flow"] = "flow"
    time_mean: float = 0.0
    time_std: float = Field(default=1.0, gt=0)


class DiffusionProcess(Settings):
    """Variance-preserving diffusion (Ho 2020) in continuous time with a cosine schedule; predicts noise or v (Salimans & Ho 2022)."""

    kind: Literal["ddpm"] = "ddpm"
    predict: Literal["epsilon", "v"] = "v"


class AdversarialProcess(Settings):
    """Generator against discriminator, relativistic and paired, with zero-centred penalties (R3GAN; Huang 2024), and an energy score."""

    kind: Literal["adversarial"] = "adversarial"
    gamma: float = Field(default=0.1, ge=0, description="Weight of the gradient penalties R1 and R2.")
    penalty_every: int = Field(default=4, gt=0)
    penalty_batch: int = Field(default=8, gt=0)
    discriminator_rate: float = Field(default=1.0, gt=0, description="Learning rate of the discriminator over that of the generator.")
    ramp: float = Field(default=0.1, gt=0, le=1, description="Share of the steps over which the game fades in for the generator.")
    energy: float = Field(default=1.0, ge=0, description="Weight of the energy score, which keeps layout, levels and variety.")
    energy_of_means: float = Field(default=1.0, ge=0, description="Share of it that compares block means up to the whole sample.")
    shift: float = Field(default=0.125, ge=0, lt=1, description="Largest shift of the discriminator's view, as a share of each axis.")
    colour: float = Field(default=0.2, ge=0, description="Strength of changes of brightness and contrast in that view.")
    cut: float = Field(default=0.0, ge=0, le=1, description="Share of samples that lose a box in that view.")


ProcessSettings = Annotated[FlowProcess | DiffusionProcess | AdversarialProcess, Field(discriminator="kind")]


# ---------------------------------------------------------------- backbones, conditioning, samplers


class UNetBackbone(Settings):
    """Small residual UNet, 2D or 3D; condition maps are concatenated, time and vector modulate each block (FiLM)."""

    kind: Literal["unet"] = "unet"
    widths: tuple[int, ...] = (64, 128)
    blocks: tuple[int, ...] = Field(default=(2, 2), description="Residual blocks a level, on the way down and again on the way up.")
    features: int = Field(default=128, gt=0, description="Length of the vector that carries time, scalars and classes.")
    dropout: float = Field(default=0.0, ge=0, lt=1)


class ConvNetBackbone(Settings):
    """Generator and discriminator of an adversarial process; widths and residual blocks a scale."""

    kind: Literal["convnet"] = "convnet"
    generator: tuple[int, ...] = Field(default=(96, 64, 48), min_length=1, description="Coarsest first; the last grid is half the image's.")
    generator_blocks: tuple[int, ...] = (1, 1, 2)
    discriminator: tuple[int, ...] = Field(default=(48, 64, 96), min_length=1, description="Finest first.")
    discriminator_blocks: tuple[int, ...] = (1, 1, 1)
    features: int = Field(default=64, gt=0, description="Length of the vector that carries scalars, classes and the noise vector.")
    noise_vector: int = Field(default=16, gt=0)
    noise_maps: int = Field(default=8, gt=0, description="Noise images at every scale.")

    @model_validator(mode="after")
    def _scales_agree(self) -> Self:
        lengths = {len(self.generator), len(self.generator_blocks), len(self.discriminator), len(self.discriminator_blocks)}
        if len(lengths) > 1:
            raise ValueError(f"generator, discriminator and their blocks need one entry a scale each; got {sorted(lengths)} entries")
        return self


BackboneSettings = Annotated[UNetBackbone | ConvNetBackbone, Field(discriminator="kind")]


class Conditioning(Settings):
    """How conditions enter and how often they are withheld while training (classifier-free guidance)."""

    mask: Literal["concat"] = "concat"
    vector: Literal["film"] = "film"
    drop: float = Field(default=0.1, ge=0, lt=1)


class SamplerSettings(Settings):
    """How samples are drawn: solver, number of steps, guidance strength (1 is none)."""

    name: Literal["euler", "heun", "ddim", "ancestral", "one-step"] = "heun"
    steps: int = Field(default=12, gt=0)
    guidance: float = Field(default=1.0, ge=0)
