"""How noise or tokens become data: the members of the axis, as data."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sciimg.augmenters.backbones.settings import ViTBackbone
from sciimg.augmenters.settings import Schedule, Settings


class NoisyClassifier(Settings):
    """A network that reads the scalars and classes off noised points; its gradient guides a model that is told nothing (Dhariwal 2021)."""

    width: int = Field(default=32, gt=0)
    training: Schedule = Schedule(steps=400)


class Gaussian(Settings):
    """What every process on a Gaussian path may have."""

    classifier: NoisyClassifier | None = Field(default=None, description="Guide by a classifier in place of telling the network.")
    holes: bool = Field(default=False, description="Learn from images with parts given: what is made then goes on from what is known.")


class Reflow(Settings):
    """Train once more on the pairs (noise, data) that the flow itself joins: its lines get straight (Liu 2022, section 2.2)."""

    steps: int = Field(default=12, gt=0, description="Of the teacher's solver, DPM-Solver++(2M).")
    training: Schedule = Schedule(steps=400)


class Distil(Settings):
    """Teach a copy of the network to go the whole way in one step (InstaFlow; Liu 2023)."""

    steps: int = Field(default=12, gt=0, description="Of the teacher's solver, DPM-Solver++(2M).")
    training: Schedule = Schedule(steps=400)


class FlowProcess(Gaussian):
    """Rectified flow (Liu 2022, Lipman 2022): velocity between noise and data on straight lines; logit-normal times (Esser 2024)."""

    kind: Literal["flow"] = "flow"
    time_mean: float = Field(default=-0.5, description="Of the logit of training times; lower: more of the training on fine detail.")
    time_std: float = Field(default=1.4, gt=0, description="Wide: what decides layout (t near 1) and fine texture (t near 0) is seen too.")
    reflow: Reflow | None = None
    distil: Distil | None = None


class DiffusionProcess(Gaussian):
    """Variance-preserving diffusion (Ho 2020) in continuous time with a cosine schedule; predicts noise or v (Salimans & Ho 2022)."""

    kind: Literal["ddpm"] = "ddpm"
    predict: Literal["epsilon", "v"] = "v"


class EDMProcess(Gaussian):
    """Diffusion by noise level with a preconditioned denoiser and log-normal levels in training (Karras 2022)."""

    kind: Literal["edm"] = "edm"
    sigma_data: float = Field(default=1.0, gt=0, description="Standard deviation of points of the space.")
    sigma_max: float = Field(default=80.0, gt=0)
    level_mean: float = Field(default=-0.4, description="Mean of the logarithm of the noise levels of training.")
    level_std: float = Field(default=1.2, gt=0)


class ScoreProcess(Gaussian):
    """Score matching along an SDE that keeps (VP) or explodes (VE) the variance (Song 2021)."""

    kind: Literal["score"] = "score"
    sde: Literal["vp", "ve"] = "vp"


GaussianSettings = FlowProcess | DiffusionProcess | EDMProcess | ScoreProcess


class CascadeProcess(Settings):
    """A coarse image first, then its detail (Imagen; Saharia 2022): two processes of the Gaussian family, one after the other.

    The second is told a coarse image with noise on it, and how much, so that it forgives the first its errors (Ho 2022).
    """

    kind: Literal["cascade"] = "cascade"
    low: FlowProcess | DiffusionProcess | None = Field(
        default=FlowProcess(), discriminator="kind", description="None: the coarse image is given (super-resolution)."
    )
    high: FlowProcess | DiffusionProcess = Field(default=FlowProcess(), discriminator="kind")
    halvings: int = Field(default=2, gt=0, description="How often the grid of the first is halved.")
    augmentation: float = Field(default=0.5, ge=0, lt=1, description="Most noise on the coarse image in training, as a time of its path.")
    level: float = Field(default=0.1, ge=0, lt=1, description="Noise on a made coarse image in sampling; a given one has none.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.high.holes or (self.low is not None and self.low.holes):
            raise ValueError("the processes of a cascade are told no known parts: leave holes out")
        return self


class AdversarialProcess(Settings):
    """Generator against discriminator, and an energy score; by default relativistic and paired, with zero-centred penalties (R3GAN)."""

    kind: Literal["adversarial"] = "adversarial"
    loss: Literal["relativistic", "non-saturating", "hinge", "wasserstein"] = "relativistic"
    penalty: Literal["r1+r2", "r1", "interpolated"] = Field(
        default="r1+r2", description="Slopes at real and made, at real (zero-centred), or between both (one-centred; Gulrajani 2017)."
    )
    gamma: float = Field(default=0.1, ge=0, description="Weight of the gradient penalty.")
    penalty_every: int = Field(default=4, gt=0)
    penalty_batch: int = Field(default=8, gt=0)
    critic_steps: int = Field(default=1, gt=0, description="The generator moves on every so many steps.")
    discriminator_rate: float = Field(default=1.0, gt=0, description="Learning rate of the discriminator over that of the generator.")
    mismatched: float = Field(default=0.0, ge=0, description="Weight of real images under another's condition, which count as made.")
    orthogonal: float = Field(default=0.0, ge=0, description="Weight of the generator's orthogonal regularisation.")
    ramp: float = Field(default=0.1, gt=0, le=1, description="Share of the steps over which the game fades in for the generator.")
    energy: float = Field(default=1.0, ge=0, description="Weight of the energy score, which keeps layout, levels and variety.")
    energy_of_means: float = Field(default=1.0, ge=0, description="Share of it that compares block means up to the whole sample.")
    shift: float = Field(default=0.125, ge=0, lt=1, description="Largest shift of the discriminator's view, as a share of each axis.")
    colour: float = Field(default=0.2, ge=0, description="Strength of changes of brightness and contrast in that view.")
    cut: float = Field(default=0.0, ge=0, le=1, description="Share of samples that lose a box in that view.")


class VAEProcess(Settings):
    """Draw from the prior of a space trained on the evidence lower bound (Kingma & Welling 2014); nothing to train."""

    kind: Literal["vae"] = "vae"


class AutoregressiveProcess(Settings):
    """One token after another, each given all before it (PixelCNN, VQ-VAE priors, DALL-E)."""

    kind: Literal["autoregressive"] = "autoregressive"
    text_weight: float = Field(default=0.125, ge=0, lt=1, description="Share of the loss that predicts the caption's words.")
    scorer: Schedule | None = Field(default=None, description="Training of the image-text score that chooses among candidates.")


class NextScaleProcess(Settings):
    """All tokens of a scale at once, given all coarser scales (VAR; Tian 2024)."""

    kind: Literal["next-scale"] = "next-scale"


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

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.path.holes:
            raise ValueError("embeddings and what is made of them are told no known parts: leave holes out")
        return self


TokenSettings = AutoregressiveProcess | NextScaleProcess
TranslationSettings = TranslationProcess | CycleProcess
TextSettings = ContrastiveProcess | MaskedProcess | UnclipProcess
ProcessSettings = Annotated[
    GaussianSettings | CascadeProcess | AdversarialProcess | VAEProcess | TokenSettings | TranslationSettings | TextSettings,
    Field(discriminator="kind"),
]
