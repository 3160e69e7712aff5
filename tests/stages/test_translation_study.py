"""A study that gives one stain and asks for the other, from its images to its judges, with budgets far too small to make good images."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sciimg.errors import InputError
from sciimg.protocol import load_study
from sciimg.protocol.load import LoadedStudy
from sciimg.stages.generate import generate_command, generate_recipe
from sciimg.stages.ingest import ingest_study
from sciimg.stages.launch import check_recipes
from sciimg.stages.split import REGIONS, split_collection
from sciimg.stages.train import train_recipe
from sciimg.stages.validate import validate
from sciimg.store import Collection, CollectionWriter
from sciimg.types import Spacing
from sciimg.validation.material import real_data, synthetic_set

ROOT = Path(__file__).parents[2]
SMOKE = (ROOT / "protocols/smoke.yaml").read_text()
OLD = SMOKE[SMOKE.index("conditions:\n") : SMOKE.index("generate:\n")]
NEW = """conditions:
  - {kind: image, channels: [haematoxylin]}
  - {kind: scalar, name: nuclei-level, measure: channel-mean, channel: haematoxylin}
recipes:
  - name: pix2pix
    recipe: pix2pix
    options: {training.steps: 2, training.batch: 2, training.held_out_patches: 4, backbone.widths: [8, 8], backbone.critic: [8, 8]}
"""
MASK_GATE = SMOKE[SMOKE.index("  - name: masks-followed") : SMOKE.index("release:\n")]
PLAN = SMOKE[SMOKE.index("  physics:") : SMOKE.index("  segmenter_steps")]
TEXT = (
    SMOKE.replace(OLD, NEW)
    .replace(MASK_GATE, "")
    .replace(PLAN, "  physics: [power-spectrum]\n")
    .replace("[64, 64]\nconditions", "[32, 32]\nconditions")
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[LoadedStudy, Path]:
    folder = tmp_path_factory.mktemp("translation")
    (folder / "study.yaml").write_text(TEXT)
    loaded = load_study(folder / "study.yaml")
    ingest_study(loaded, folder)
    split_collection(loaded.study, folder / "collection", folder / "split")
    about = (folder / "collection", folder / "split" / REGIONS)
    train_recipe(loaded.study, loaded.study.recipes[0], *about, folder / "model", lambda line: None)
    generate_recipe(loaded.study, loaded.study.recipes[0], folder / "model", *about, folder / "made")
    return loaded, folder


def test_what_is_made_is_the_other_channel_and_says_from_which_source(made: tuple[LoadedStudy, Path]) -> None:
    _, folder = made
    for name, count in (("synthetic", 24), ("paired", 24)):
        collection = Collection(folder / "made" / name)
        assert len(collection) == count and not collection.verify()
        volume = collection.volume(str(collection.catalogue["id"].iloc[0]))
        assert [c.name for c in volume.channels] == ["dab"] and volume.spatial_shape == (32, 32)
        sources = [json.loads(lineage)["condition"]["source"] for lineage in collection.catalogue["lineage"]]
        assert len(set(sources)) == count and all(s.startswith("sha256:") for s in sources)


def test_sources_of_what_is_released_are_of_the_training_part_and_no_patch_as_it_was(made: tuple[LoadedStudy, Path]) -> None:
    from sciimg.generation.conditions import draw_conditions
    from sciimg.patches.source import PatchSource

    loaded, folder = made
    study, regions = loaded.study, pd.read_parquet(folder / "split" / REGIONS)
    train = PatchSource(Collection(folder / "collection"), regions, "train", (32, 32), study.conditions)
    drawn = draw_conditions(train, range(6), ("k",), given=("haematoxylin",))
    real = train.draw(("k", "conditions"), range(6))
    assert drawn.source is not None and drawn.labels is not None and drawn.source.dtype == real.images.dtype
    turns = [[np.rot90(image[0][:, ::s], k) for k in range(4) for s in (1, -1)] for image in real.images]
    for bent, ways in zip(drawn.source[:, 0].astype(float), turns, strict=True):
        nearest = max(np.corrcoef(bent.ravel(), way.ravel())[0, 1] for way in ways)
        assert 0.3 < nearest < 0.999
        assert bent.min() >= ways[0].min() and bent.max() <= ways[0].max()
    pixels, nuclei = drawn.source[:, 0].astype(float), drawn.labels > 0
    assert pixels[nuclei].mean() > 1.2 * pixels[~nuclei].mean()  # the mask was bent with the image


def test_judges_see_the_made_channel_of_the_real_images(made: tuple[LoadedStudy, Path]) -> None:
    loaded, folder = made
    regions = folder / "split" / REGIONS
    real = real_data(loaded.study, folder / "collection", pd.read_parquet(regions))
    for patches in (real.holdout, real.train_draws(3, "x"), real.calibration):
        assert patches is not None and patches.channels == ("dab",) and patches.images.shape[1] == 1
    assert {piece.shape[0] for piece in real.train_pieces} == {1}
    paired = synthetic_set(loaded.study, folder / "made/paired")
    assert paired is not None and real.at(paired).images.shape == paired.images.shape
    whole = synthetic_set(loaded.study, folder / "collection")  # what a recipe makes that does not listen to the image
    assert whole is not None and whole.channels == ("dab",)
    about = {"real": folder / "collection", "regions": regions, "synthetic": folder / "made/synthetic", "paired": folder / "made/paired"}
    metrics = {m.name: m for m in validate(loaded.study, **about, out=folder / "judged")}
    assert metrics["paired_ssim"].status == "ok" and metrics["power-spectrum_effect"].status == "ok"
    assert "given, not made" in metrics["condition_nuclei-level_slope"].reason


def test_images_are_translated_by_hand(made: tuple[LoadedStudy, Path], tmp_path: Path) -> None:
    _, folder = made
    about = {"conditions": ["nuclei-level=3000"], "masks": None, "seed": 0, "sampler": None, "steps": None}
    generate_command(folder / "model", tmp_path / "out", count=5, source=folder / "collection", **about)
    table = Collection(tmp_path / "out").catalogue
    assert len(table) == 5 and table["source_image"].nunique() == 1 and table["source_origin"].nunique() == 5


@pytest.mark.parametrize(
    ("channels", "spacing", "unit", "kind"),
    [
        (("haematoxylin", "dab"), 1.0, "pixel", None),
        (("anything",), 1.0, "pixel", None),
        (("eosin", "dab"), 1.0, "pixel", "missing-channel"),
        (("haematoxylin", "dab"), 0.5, "micrometer", "other-spacing"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(
    made: tuple[LoadedStudy, Path], tmp_path: Path, channels: tuple[str, ...], spacing: float, unit: str, kind: str | None
) -> None:
    from sciimg.augmenters.model_file import read_card
    from sciimg.generation.request import requested
    from sciimg.io.image import Image

    with CollectionWriter(tmp_path / "c", synthetic=False) as writer:
        pixels = np.random.default_rng(0).integers(0, 1000, (len(channels), 40, 40)).astype(np.uint16)
        writer.add("i", Image.from_array(pixels, "cyx", Spacing((spacing, spacing), unit), channels), group="i")  # type: ignore[arg-type]
    card = read_card(made[1] / "model")
    if kind is None:
        wanted = requested(card, 3, [], None, 0, tmp_path / "c")
        assert wanted.source is not None and wanted.source.shape == (3, 1, 32, 32) and wanted.about is not None
        return
    with pytest.raises(InputError, match=kind):
        requested(card, 3, [], None, 0, tmp_path / "c")


def test_a_translation_without_a_source_is_refused_before_anything_is_done(made: tuple[LoadedStudy, Path], tmp_path: Path) -> None:
    from sciimg.augmenters.model_file import read_card
    from sciimg.generation.request import requested

    with pytest.raises(InputError, match="--source"):
        requested(read_card(made[1] / "model"), 3, [], None, 0)
    (tmp_path / "study.yaml").write_text(TEXT.replace("  - {kind: image, channels: [haematoxylin]}\n", ""))
    with pytest.raises(InputError, match="needs-condition"):
        check_recipes(tmp_path / "study.yaml")
