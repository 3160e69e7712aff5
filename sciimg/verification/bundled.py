"""Real images that are always there: the stained colon section of scikit-image, ingested, labelled and split as a study would."""

from pathlib import Path

from sciimg.io.derive import prepare
from sciimg.io.expand import package_file
from sciimg.io.nuclei import segment_nuclei
from sciimg.io.open import open_image
from sciimg.patches.source import PatchSource
from sciimg.patches.split import make_split
from sciimg.protocol.data import Condition, MaskCondition, ScalarCondition, SegmentNuclei, SplitByBlocks, StainSeparation
from sciimg.store import Collection, CollectionWriter
from sciimg.types import Part, Spacing

SIDE = 16  # of a patch, in pixels
CONDITIONS: tuple[Condition, ...] = (
    MaskCondition(kind="mask"),
    ScalarCondition(kind="scalar", name="level", measure="channel-mean", channel="dab"),
)
_FILE = "package:skimage/data/ihc.png"
_NUCLEI = SegmentNuclei(kind="segment-nuclei", channel="haematoxylin", subtract="dab")
_STRIPS = SplitByBlocks(by="blocks", axis="x", cell=(4 * SIDE, 4 * SIDE))


def tissue(folder: Path) -> Path:
    """Make a collection of the section in an empty folder: haematoxylin and DAB, nuclei as labels; return its path."""
    image = prepare(open_image(package_file(_FILE), spacing=Spacing((1.0, 1.0), "pixel")), (StainSeparation(kind="stain-separation"),))
    haematoxylin, dab = image.read()
    with CollectionWriter(folder / "tissue", synthetic=False) as writer:
        writer.add("ihc", image, group="ihc", labels=segment_nuclei(haematoxylin, dab, _NUCLEI), label_kind="instances")
    return folder / "tissue"


def part_of(path: Path, part: Part, conditions: tuple[Condition, ...] = CONDITIONS) -> PatchSource:
    """Return patches of one part of the section; parts are strips with a gap between them."""
    collection = Collection(path)
    return PatchSource(collection, make_split(collection, _STRIPS, (SIDE, SIDE)), part, (SIDE, SIDE), conditions, min_foreground=0.05)
