"""How noise or tokens become data: the members of the axis, as data."""

from typing import Annotated, Literal

from pydantic import Field

from sciimg.augmenters.backbones.settings import ViTBackbone
from sciimg.augmenters.settings import Schedule, Settings


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


class ContrastiveProcess(Settings):
    """Images and their captions drawn together (Radford 2021); an encoder."""

    kind: Literal["contrastive"] = "contrastive"
    embedding: int = Field(default=32, gt=0, description="Length of the vectors that images and captions become.")
    words_width: int = Field(default=64, gt=0, description="Features of a word.")
    image_encoder: str = Field(
        default="own",
        description="own: the backbone; else torchvision:MODEL:WEIGHTS or radimagenet:WEIGHTS, frozen, 2D.",
    )


class MaskedProcess(Settings):
    """Hidden patches told from the others (He 2022); an encoder."""

    kind: Literal["masked"] = "masked"
    hidden: float = Field(default=0.75, gt=0, lt=1, description="Share of patches that are hidden.")
    decoder_depth: int = Field(default=2, gt=0)


class UnclipProcess(Settings):
    """Caption → embedding of an image → image, on top of contrastive towers (Ramesh 2022)."""

    kind: Literal["unclip"] = "unclip"
    contrastive: ContrastiveProcess = ContrastiveProcess()
    contrastive_training: Schedule
    encoder: ViTBackbone = ViTBackbone()
    prior_training: Schedule
    prior_width: int = Field(default=128, gt=0)
    path: FlowProcess = FlowProcess()


ProcessSettings = Annotated[
    FlowProcess | DiffusionProcess | AdversarialProcess | ContrastiveProcess | MaskedProcess | UnclipProcess, Field(discriminator="kind")
]
