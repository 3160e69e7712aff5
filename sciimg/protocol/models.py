"""A study: everything that is decided before any result exists, as frozen models.

The YAML file is read by :func:`sciimg.protocol.load_study`, which reports every problem at once. The canonical digest of these models
is carried by every artefact made under the study; a changed study is another study.
"""

import datetime
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sciimg.records import Digest, digest_of
from sciimg.types import LabelKind, Unit

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Fraction = Annotated[float, Field(gt=0, lt=1)]


class Model(BaseModel):
    """Base of all parts of a study: frozen, strict about unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# ---------------------------------------------------------------- data


class StainSeparation(Model):
    """Separate an RGB brightfield image into stains (Ruifrok & Johnston 2001), kept as uint16: (decadic optical density + offset) × scale.

    The offset keeps the small negative densities that noise and imperfect stain vectors give; without it they would pile up at 0. With
    the defaults, densities from -0.2 to 6.35 fit, where an 8-bit camera ends at 2.4.
    """

    kind: Literal["stain-separation"]
    stains: tuple[Literal["haematoxylin", "eosin", "dab"], ...] = ("haematoxylin", "dab")
    scale: float = Field(default=10000.0, gt=0)
    offset: float = Field(default=0.2, ge=0)


class Rescale(Model):
    """Map each image's intensity percentiles linearly to 0 … ``top`` (uint16), for scanners without an absolute scale."""

    kind: Literal["rescale"]
    percentiles: tuple[float, float] = (0.5, 99.5)
    top: int = Field(default=10000, gt=0, le=65535)
    headroom: float = Field(default=1.5, ge=1, description="Values above top are kept up to headroom x top, then clipped.")


class Luminance(Model):
    """Keep one plane of an RGB(A) file whose colours are equal (a grey image saved as colour); refuses a coloured one."""

    kind: Literal["luminance"]


Preparation = Annotated[StainSeparation | Rescale | Luminance, Field(discriminator="kind")]


class LabelFiles(Model):
    """Label images beside the images: one a stem, matched by name."""

    kind: Literal["files"]
    uri: str
    labels: LabelKind
    values: dict[Name, tuple[int, ...]] | None = Field(
        default=None, description="For classes: name to the values that mean it in the files; classes are numbered from 1 in this order."
    )


class SegmentNuclei(Model):
    """Nuclei by a classical segmentation: Gaussian, local threshold, watershed on distance and intensity.

    Intensities are counted in units of each channel's own range (1st to 99.8th percentile), so that the numbers carry over between
    stains, cameras and bit depths. See :mod:`sciimg.io.nuclei` for the steps.
    """

    kind: Literal["segment-nuclei"]
    channel: str
    subtract: str | None = Field(default=None, description="A channel that is dark in nuclei and bright around them (membranes).")
    subtract_weight: float = Field(default=0.5, ge=0)
    sigma_px: float = Field(default=1.5, ge=0)
    window_px: int = Field(default=51, ge=3, description="Odd width of the neighbourhood whose weighted mean is the local threshold.")
    offset: float = Field(default=0.04, description="How far above the local threshold a nucleus must be.")
    floor: float = Field(default=0.3, description="What the channel itself must reach, wherever it is.")
    split_depth: float = Field(default=0.6, ge=0, description="Two peaks are two nuclei when the saddle between is this much lower, in px.")
    split_intensity: float = Field(default=10.0, ge=0, description="How many px of depth the whole intensity range counts in that.")
    smooth_px: int = Field(default=2, ge=0, description="Radius of the opening that rounds every nucleus.")
    min_area_px: int = Field(default=40, ge=1)


class TissueMaps(Model):
    """Classes from tissue probability maps on the image's grid: the largest probability above ``threshold`` wins.

    Elsewhere the class is 0, or ``rest`` where the image is above zero, if ``rest`` is given.
    """

    kind: Literal["tissue-maps"]
    maps: dict[Name, str] = Field(min_length=1, description="Class name to file; classes are numbered from 1 in this order.")
    threshold: float = Field(default=0.3, gt=0, lt=1)
    rest: Name | None = Field(default=None, description="Last class: what no map claims in an image whose air is zero, e.g. fluid.")

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, numbered from 1."""
        return (*self.maps, *([self.rest] if self.rest else []))


Labels = Annotated[LabelFiles | SegmentNuclei | TissueMaps, Field(discriminator="kind")]


class Table(Model):
    """A CSV, TSV or XLSX file with one row an image: ``key`` matches the image's stem; other columns give groups and conditions."""

    uri: str
    key: str
    where: dict[str, tuple[str, ...]] = Field(default_factory=dict, description="Keep only rows whose column has one of these values.")


class Optics(Model):
    """What limits the detail that an objective passes, where the files do not say it; what stands here holds over what they say."""

    numerical_aperture: float = Field(gt=0, lt=2)
    wavelengths_nm: dict[str, Annotated[float, Field(gt=100, lt=5000)]] = Field(
        default_factory=dict, description="Channel to the wavelength that is seen: of the emission; in brightfield, of the light."
    )


class Detector(Model):
    """What a camera reads where no light falls; images alone do not tell it from the noise of reading."""

    offset: dict[str, float] = Field(min_length=1, description="Channel to its grey level without light, in the prepared images.")


class Source(Model):
    """Where real images come from. ``uri`` is a file, a folder, a glob relative to the study file, or ``package:NAME/path``."""

    name: Name
    uri: str
    licence: str
    citation: str
    modality: Literal["fluorescence", "brightfield", "electron", "mri"]
    spacing: tuple[float, ...] | None = Field(default=None, description="z, y, x; only where the files say nothing.")
    unit: Unit | None = None
    axes: str | None = Field(default=None, description="What the axes are where files hold a stack without naming them, e.g. tyx.")
    channels: tuple[str, ...] | None = Field(default=None, description="Names of the channels after preparation.")
    burned_in: Literal["refused", "accepted"] = Field(
        default="refused", description="What becomes of DICOM pixels declared to show annotations; accept them only where they name nobody."
    )
    names: Literal["pseudonyms", "kept"] = Field(
        default="pseudonyms",
        description="Whether images and units of the split are called after content, or keep their names, which name nobody.",
    )
    optics: Optics | None = None
    detector: Detector | None = None
    prepare: tuple[Preparation, ...] = ()
    labels: Labels | None = None
    table: Table | None = None


class SplitByColumn(Model):
    """Whole groups (subjects, fields) go to one part. ``column`` is a column of the source's table, or ``id``."""

    by: Literal["column"]
    column: str
    unit: str = Field(description="What a group is, in one word, e.g. subject, field.")
    calibration: Fraction = 0.2
    holdout: Fraction = 0.3
    stratify: str | None = None


class SplitByBlocks(Model):
    """Strips of every image along ``axis`` with a guard gap between parts; ``cell`` tiles a strip into groups for statistics.

    For one image there is no independent subject: the cells measure variation inside that image and nothing else.
    """

    by: Literal["blocks"]
    axis: Literal["z", "y", "x"]
    calibration: Fraction = 0.17
    holdout: Fraction = 0.28
    guard_px: int = Field(default=16, ge=0)
    cell: tuple[int | None, ...] = Field(description="Size of a group along each spatial axis in pixels; null spans the image.")
    unit: str = "block"


Split = Annotated[SplitByColumn | SplitByBlocks, Field(discriminator="by")]


# ---------------------------------------------------------------- conditions


class MaskCondition(Model):
    """The label image of the sample."""

    kind: Literal["mask"]
    name: Name = "mask"


class ScalarCondition(Model):
    """A number per sample, measured on the patch (mean of a channel, foreground fraction) or read from a column."""

    kind: Literal["scalar"]
    name: Name
    measure: Literal["channel-mean", "foreground-fraction", "column"]
    channel: str | None = None
    column: str | None = None


class ClassCondition(Model):
    """A category per sample from a column of the catalogue."""

    kind: Literal["class"]
    name: Name
    column: str


class ImageCondition(Model):
    """Channels of the image that are given, from which a recipe makes the others: another contrast, another stain.

    Recipes that translate hear it; what they generate holds the other channels only, and those alone are judged.

    Or, with ``made``, channels of an image like the one to make: a reference whose looks are followed, or the image itself, of which a
    recipe for super-resolution reads the coarse part alone. In training every image is its own reference.
    """

    kind: Literal["image"]
    name: Name = "source"
    channels: tuple[str, ...] = Field(min_length=1)
    made: bool = Field(default=False, description="The given channels are made as well.")


ACQUISITION = "acquisition."  # begins a field of a caption that the image files tell


class TextCondition(Model):
    """A caption per sample, made from other conditions, columns of the catalogue and acquisition metadata.

    ``template`` names them in braces, e.g. ``"{stain} tissue, {level} stained, {acquisition.magnification} times"``. Numbers become words:
    low, middle or high among the images of the training part.
    """

    kind: Literal["text"]
    name: Name = "caption"
    template: str


Condition = Annotated[MaskCondition | ScalarCondition | ClassCondition | ImageCondition | TextCondition, Field(discriminator="kind")]


# ---------------------------------------------------------------- what is made


class RecipePlan(Model):
    """One augmenter of the study: a named recipe, its options and its budget in steps (never in seconds: results must repeat)."""

    name: Name
    recipe: Name
    options: dict[str, Any] = Field(default_factory=dict)
    role: Literal["candidate", "comparator"] = "candidate"


class Patches(Model):
    """Shape of a sample along its spatial axes, in pixels."""

    shape: tuple[int, ...] = Field(min_length=2, max_length=3)
    min_foreground: float = Field(default=0.0, ge=0, le=1)
    balance: str | None = Field(
        default=None,
        description="What training sees equally often: a column of the catalogue or `group`, each value of which gives as many patches, or "
        "`labels`: whatever lies in the middle of a patch.",
    )


class GeneratedMasks(Model):
    """Masks drawn by a recipe that is trained on the masks of the training part."""

    recipe: Name = "pixel-flow"
    options: dict[str, Any] = Field(default_factory=dict)


class GenerationPlan(Model):
    """What is generated. Masks and scalars are drawn from the training part and changed, never copied from the holdout."""

    count: int = Field(gt=0)
    sampler: str | None = None
    steps: int | None = Field(default=None, gt=0)
    guidance: float | None = Field(default=None, ge=0)
    masks: Literal["perturbed", "recombined"] | GeneratedMasks | None = Field(
        default=None,
        description="Where masks come from: real ones bent and turned (the default), put together from objects and shapes of several, or "
        "drawn by a recipe.",
    )
    seed: int = Field(default=0, ge=0)


# ---------------------------------------------------------------- how it is judged


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


class Risk(Model):
    """What hangs on the synthetic images, judged before any result (model influence and decision consequence of ASME V&V 40)."""

    influence: Literal["low", "medium", "high"] = Field(description="How much a decision leans on them, beside other evidence.")
    consequence: Literal["low", "medium", "high"] = Field(description="What a wrong decision does.")
    because: str


class VerificationPlan(Model):
    """What is asked of the machine itself, beside the closed forms that every study asks for."""

    benchmarks: bool = Field(
        default=False,
        description="Also train and judge one small recipe of each family on real images that ship inside scikit-image, and hold the "
        "scores against recorded bands; a score outside counts in verification-failures.",
    )


class Watermark(Model):
    """A keyed mark in the noise of every generated image, put in before anything is judged: see :mod:`sciimg.watermark`."""

    alpha: float = Field(default=0.05, gt=0, le=0.1, description="Size of the mark in standard deviations of the local noise.")


class ReleasePlan(Model):
    """What leaves, under which identity."""

    dataset_id: Name
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    licence: str
    creator: str
    expires: datetime.date | None = Field(default=None, description="Last day on which the decision may be relied upon.")
    watermark: Watermark | None = None


_LATER: tuple[tuple[str, ...], ...] = (
    ("risk",),
    ("release", "expires"),
    ("generate", "masks"),
    ("patches", "balance"),
    ("validation", "features"),
    ("validation", "weights"),
    ("validation", "subgroups"),
    ("validation", "cross_validation"),
    ("review", "task"),
    ("review", "criteria"),
    ("review", "artefacts"),
    ("review", "confidence"),
    ("review", "minimum_seconds"),
    ("review", "margin"),
    ("validation", "dose"),
    ("sources", "optics"),
    ("sources", "detector"),
    ("verification",),
    ("release", "watermark"),
    ("validation", "downstream", "synthetic_only"),
    ("validation", "downstream", "ratios"),
)


class Study(Model):
    """The contract. Field order is the order of a run."""

    sciimg: Literal[1]
    name: Name
    registered: datetime.date
    title: str
    question: str
    context_of_use: str
    excluded_uses: tuple[str, ...] = Field(min_length=1)
    limits: tuple[str, ...] = Field(min_length=1, description="What the data cannot support, said before any result.")
    risk: Risk | None = None
    sources: tuple[Source, ...] = Field(min_length=1)
    split: Split
    patches: Patches
    conditions: tuple[Condition, ...] = ()
    recipes: tuple[RecipePlan, ...] = Field(min_length=1)
    generate: GenerationPlan
    validation: ValidationPlan
    gates: tuple[Gate, ...] = Field(min_length=1)
    review: ReviewPlan = ReviewPlan()
    verification: VerificationPlan | None = None
    release: ReleasePlan

    @property
    def digest(self) -> Digest:
        """SHA-256 of the study in canonical JSON, defaults included: formatting and comments do not change it.

        Keys that came with a later version count where they are used, so that a study registered before them keeps its digest.
        """
        data = self.model_dump(mode="json")
        for *parts, key in _LATER:
            for plan, place in _places(self, data, parts):
                if getattr(plan, key) == type(plan).model_fields[key].default:
                    del place[key]
        return digest_of(data)

    @property
    def folded(self) -> tuple[RecipePlan, ...]:
        """Recipes that are cross-validated."""
        plan = self.validation.cross_validation
        return () if plan is None else tuple(r for r in self.recipes if plan.recipes is None or r.name in plan.recipes)

    @property
    def dims(self) -> Literal[2, 3]:
        """Number of spatial dimensions of a sample."""
        return 3 if len(self.patches.shape) == 3 else 2


def _places(plan: Model, data: dict[str, Any], parts: Sequence[str]) -> Iterator[tuple[Model, dict[str, Any]]]:
    """Yield what a path of names leads to, each with its JSON: every member of a part that is a list."""
    if not parts:
        yield plan, data
        return
    own, value = getattr(plan, parts[0]), data[parts[0]]
    if own is None:
        return
    for member, told in zip(own, value, strict=True) if isinstance(own, tuple) else ((own, value),):
        yield from _places(member, told, parts[1:])
