"""How a study is judged: checks and their sizes, the bars that they have to reach, readers, and the machine itself."""

from typing import Annotated, Literal

from pydantic import Field

from sciimg.protocol.base import Fraction, Model, Name

LARGEST_RATIO = 8  # synthetic images for each annotated one, in a curve


class DownstreamPlan(Model):
    """Segmenters trained on real, real + classical augmentation, real + synthetic; tested on the real holdout."""

    seeds: int = Field(default=3, ge=2)
    steps: int = Field(default=200, gt=0)
    annotated_groups: int | None = Field(default=None, gt=0, description="How many training groups count as annotated (few-shot).")
    annotated_images: int = Field(default=8, gt=0)
    synthetic_per_real: float = Field(default=1.0, gt=0)
    synthetic_only: bool = Field(default=False, description="Also train on synthetic images alone.")
    ratios: tuple[Annotated[int, Field(ge=1, le=LARGEST_RATIO)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Also train with so many different synthetic images for each annotated one, e.g. [1, 2, 4]: how gains grow.",
    )


class WeightsFile(Model):
    """A network of yours as one more feature space, `weights`; it judges if it tells planted faults from real images, as any space must."""

    path: str = Field(
        description="Relative to the study file. FILE.safetensors: an encoder that sciimg has trained. FILE.pt: TorchScript, float32 "
        "images (N, channels, [z,] y, x) of any N, each channel with mean 0 and standard deviation 1 on training images, to vectors (N, D)."
    )
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the file; another one is refused.")


class CrossValidation(Model):
    """Recipes are trained again without a share of the data, which then judges them, for each share in turn.

    Shares are whole groups (strips, where the study splits by blocks) of the training and calibration parts; the holdout takes no part.
    Either ``folds`` or ``leave_one_out`` is given. A gate names a pooled metric as ``METRIC_folds``.
    """

    folds: int | None = Field(default=None, ge=3, description="How many shares: one is held out, one calibrates, the others train.")
    leave_one_out: bool = Field(default=False, description="A share for every group of the training and calibration parts.")
    recipes: tuple[Name, ...] | None = Field(default=None, min_length=1, description="By default all recipes of the study.")


FeatureName = Literal["scattering", "encoder", "texture", "spectrum", "cooccurrence"]


class ValidationPlan(Model):
    """Which families of checks run, and how many samples they use."""

    samples: int = Field(default=128, ge=8, description="Real holdout and synthetic samples used by the set metrics.")
    bootstrap: int = Field(default=200, ge=50)
    physics: tuple[Name, ...] = ()
    downstream: DownstreamPlan | None = None
    segmenter_steps: int = Field(default=200, gt=0)
    encoder_steps: int = Field(default=200, gt=0)
    features: tuple[FeatureName, ...] | None = Field(
        default=None, min_length=1, description="Feature spaces of the set metrics; by default scattering, encoder and texture."
    )
    weights: WeightsFile | None = None
    dose: Name | None = Field(
        default=None,
        description="Scalar condition that intensities should follow in a straight line (dose, exposure, concentration), for the physics "
        "check dose-linearity.",
    )
    subgroups: tuple[str, ...] | None = Field(
        default=None,
        min_length=1,
        description="Columns of the catalogue (class, site, acquisition) by whose values set metrics, physics checks and membership are "
        "judged as well; a gate may name the worst subgroup as METRIC_worst-COLUMN.",
    )
    cross_validation: CrossValidation | None = None


class Gate(Model):
    """One bar. The conservative end of the interval must clear it; an interval that straddles the bar is inconclusive."""

    name: Name
    metric: Name
    at_least: float | None = None
    at_most: float | None = None
    judged_on: Literal["interval", "value"] = "interval"
    why: str = Field(min_length=10, description="How the bound was derived.")


REVIEW_COLUMNS = ("reader", "item", "answer", "confidence", "comment", "seconds", "truth")  # of every table of answers


class Criterion(Model):
    """One question about every picture of a reader study, answered on a scale of ordered steps.

    ``anchors`` say what the steps mean, from 1 upward; the scale has as many steps as there are anchors.
    """

    name: Name
    question: str
    anchors: tuple[str, ...] = Field(default=("very poor", "poor", "fair", "good", "very good"), min_length=3, max_length=9)
    level: Literal["ordinal", "interval"] = Field(
        default="ordinal", description="Whether only the order of the steps counts, or also that they are equally far apart."
    )


class ReviewPlan(Model):
    """Blinded reader study. ``readers: 0`` means none is asked for, and the report says so."""

    readers: int = Field(default=0, ge=0)
    items: int = Field(default=40, ge=4)
    repeats: Fraction = 0.1
    catch_pairs: int = Field(default=2, ge=0)
    task: Literal["yes-no", "2afc"] = Field(
        default="yes-no",
        description="yes-no: is this image real or synthetic? 2afc: an item is a pair, which of the two images is the synthetic one?",
    )
    criteria: tuple[Criterion, ...] = Field(default=(), description="What readers rate on every image, blind to what it is.")
    artefacts: tuple[Name, ...] = Field(default=(), description="A checklist: what readers tick where they see it.")
    confidence: bool = Field(default=True, description="Whether readers are asked how sure they are, from 1 (a guess) to 5 (certain).")
    minimum_seconds: float = Field(default=0, ge=0, description="How long an item is shown at least before its answer is taken.")
    margin: float = Field(default=0.15, gt=0, lt=0.5, description="Accuracy within this of 0.5 counts as guessing.")


class VerificationPlan(Model):
    """What is asked of the machine itself, beside the closed forms that every study asks for."""

    benchmarks: bool = Field(
        default=False,
        description="Also train and judge one small recipe of each family on real images that ship inside scikit-image, and hold the "
        "scores against recorded bands; a score outside counts in verification-failures.",
    )
