"""How noise or tokens become data: the members of the axis, as data."""

from typing import Annotated, Literal

from pydantic import Field

from sciimg.augmenters.settings import Settings


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


class TranslationProcess(Settings):
    """One image into another, learned from pairs: a distance, and a discriminator that judges patches (pix2pix; Isola 2017).

    In a study: an image condition names the channels that are given; the recipe makes the others.
    """

    kind: Literal["translation"] = "translation"
    distance: float = Field(default=100.0, ge=0, description="Weight of the mean absolute difference from the true counterpart.")


class CycleProcess(Settings):
    """One image into another, learned without pairs: two translators that undo each other (CycleGAN; Zhu 2017).

    In a study, "turn A into B, unpaired" is said as with pairs: an image condition names the channels that are given (A), and the others
    are made (B). The recipe does not look at which A belongs to which B: in every step the given and the made channels are taken from
    different patches, so that stacks whose channels do not belong together train it just as well.
    """

    kind: Literal["cycle"] = "cycle"
    cycle: float = Field(default=10.0, ge=0, description="Weight of the difference from the source after the way there and back.")
    identity: float = Field(
        default=0.5,
        ge=0,
        description="Share of it for leaving alone what is in the wanted domain already; where both have as many channels.",
    )
    buffer: int = Field(default=50, gt=0, description="Earlier samples that the discriminator is shown again (Shrivastava 2017).")


ProcessSettings = Annotated[
    FlowProcess | DiffusionProcess | AdversarialProcess | TranslationProcess | CycleProcess, Field(discriminator="kind")
]
