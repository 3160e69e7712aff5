"""What a study is made of: sources and how they are read, the split, and what images are conditioned on."""

from typing import Annotated, Literal

from pydantic import Field

from sciimg.protocol.base import Fraction, Model, Name
from sciimg.types import LabelKind, Unit

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
