"""Baseline and validation of a small study on real tissue: complete, repeatable, resumable, and never a crash on bad images."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tissue
from least_study import least_study

from sciimg.errors import InputError
from sciimg.io.image import Image
from sciimg.patches.regions import Region, to_table
from sciimg.patches.split import make_split
from sciimg.protocol.models import Study
from sciimg.protocol.validation import WeightsFile
from sciimg.randomness import generator
from sciimg.records import Metric
from sciimg.stages import baseline as baseline_stage
from sciimg.stages import validate as validate_stage
from sciimg.stages.baseline import baseline
from sciimg.stages.judging.case import Case
from sciimg.stages.judging.conditions import inception
from sciimg.stages.judging.subgroups import subgroups
from sciimg.stages.ledger import folder_digest
from sciimg.stages.validate import checked_weights, validate
from sciimg.store import Collection, CollectionWriter
from sciimg.types import PatchSet
from sciimg.validation.material import real_data
from sciimg.validation.physics.controls import noisier

CHANNELS = ("haematoxylin", "dab")

STUDY = least_study(
    source={"name": "ihc", "modality": "brightfield"},
    split={"by": "blocks", "axis": "x", "calibration": 0.2, "holdout": 0.3, "guard_px": 8, "cell": [64, 64]},
    conditions=[{"kind": "mask"}, {"kind": "scalar", "name": "dab-level", "measure": "channel-mean", "channel": "dab"}],
    validation={
        "samples": 48,
        "bootstrap": 50,
        "physics": ["intensity-law", "noise-law", "snr", "no-such-check"],
        "downstream": {"seeds": 2, "steps": 3, "annotated_images": 4, "synthetic_only": True, "ratios": [2, 8]},
        "segmenter_steps": 40,
        "encoder_steps": 3,
    },
)


def write(path: Path, patches: PatchSet, *, paired: bool = False) -> Path:
    """Write patches as a synthetic collection, whose conditions are those of the patches."""
    with CollectionWriter(path, synthetic=True) as writer:
        for i in range(len(patches)):
            row = patches.table.iloc[i]
            conditions = {"dab-level": float(row["dab-level"])}
            if paired:
                conditions |= {"real_image": row["image"], "real_origin": row["origin"]}
            image = Image.from_array(patches.images[i], "cyx", patches.spacing, CHANNELS)
            labels = None if patches.labels is None else patches.labels[i]
            kind = None if labels is None else "instances"
            writer.add(f"s{i:03d}", image, group=str(patches.groups[i]), conditions=conditions, labels=labels, label_kind=kind)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the real collection, its split, the baseline and three collections to judge."""
    folder = tmp_path_factory.mktemp("made")
    image, nuclei = tissue.section()
    with CollectionWriter(folder / "real", synthetic=False) as writer:
        pixels = Image.from_array(image[:, :320], "cyx", tissue.patches("train", 64).spacing, CHANNELS)
        writer.add("ihc", pixels, group="ihc", labels=nuclei[:320], label_kind="instances")
    regions = make_split(Collection(folder / "real"), STUDY.split, STUDY.patches.shape)
    regions.to_parquet(folder / "regions.parquet")
    data = real_data(STUDY, folder / "real", regions)
    write(folder / "synthetic", noisier(0.05)(data.sources["train"].draw(("fake",), range(24)), generator("fake")))
    write(folder / "paired", noisier(0.05)(data.holdout.take(list(range(20))), generator("fake")), paired=True)
    baseline(STUDY, real=folder / "real", regions=folder / "regions.parquet", out=folder / "baseline")
    return folder


def judge(made: Path, out: Path, synthetic: str = "synthetic", **more: Path | None) -> dict[str, Metric]:
    about = {"real": made / "real", "regions": made / "regions.parquet", "made_baseline": made / "baseline"} | more
    metrics = validate(STUDY, synthetic=made / synthetic, out=out, **about)  # type: ignore[arg-type]
    stored = json.loads((out / "evidence.json").read_text())["metrics"]
    assert stored == [m.as_json() for m in metrics]
    return {m.name: m for m in metrics}


@pytest.fixture(scope="module")
def judged(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Metric], Path]:
    out = tmp_path_factory.mktemp("judged")
    return judge(made, out, paired=made / "paired", reconstruction=made / "paired"), out


def test_every_family_reports(judged: tuple[dict[str, Metric], Path]) -> None:
    metrics, _ = judged
    expected = {
        "kid_scattering", "kid_effect_encoder", "coverage_ratio_texture_paired", "control_blurred_scattering",
        "intensity-law_outliers",
        "intensity-law_effect", "noise-law_effect_paired", "snr_effect", "mask-dice", "mask-fidelity_paired", "mask-object-f1",
        "condition_dab-level_correlation", "paired_ssim", "reconstruction_psnr", "downstream_score_combined",
        "downstream_gain_over_classical", "downstream_f1_gain_over_classical", "c2st_texture", "membership-auc_scattering",
        "nearer-train_encoder", "leaked-holdout",
    }  # fmt: skip
    assert expected <= set(metrics)
    assert "control_blurred_scattering_paired" not in metrics
    control = metrics["copy-control"].value
    assert "copy-rate" in metrics and control is not None and control > 0.9
    assert metrics["condition_dab-level_correlation"].value == pytest.approx(1, abs=1e-3)
    assert metrics["downstream_score_ratio-2"].detail["synthetic_images"] == 8
    assert metrics["downstream_gain_synthetic-only_over_real"].ci95 is not None
    assert metrics["downstream_gain_ratio-8_over_real"].reason == "ratio-8 needs 32 synthetic images; there are 24"
    assert metrics["snr_effect"].reason and metrics["no-such-check_effect"].reason


def test_the_gallery_holds_what_its_description_says(judged: tuple[dict[str, Metric], Path]) -> None:
    with np.load(judged[1] / "gallery.npz") as gallery:
        shapes = {name: gallery[name].shape for name in gallery.files}
        assert gallery["channels"].tolist() == list(CHANNELS)
        assert float(gallery["paired.error"].max()) <= 1
    assert shapes["real.images"] == shapes["synthetic.images"] == shapes["paired.synthetic"] == (12, 2, 32, 32)
    assert shapes["synthetic.read-back"] == shapes["paired.error"] == (12, 32, 32)
    assert shapes["worst.synthetic"][0] == shapes["worst.distance"][0] == 12
    assert "physics.noise-law.synthetic-dab-sigma" in shapes and "reconstruction.real" in shapes


def test_a_killed_validation_goes_on_and_ends_in_the_same_bytes(
    made: Path, judged: tuple[dict[str, Metric], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(case: object) -> None:
        raise KeyboardInterrupt

    more = {"paired": made / "paired", "reconstruction": made / "paired"}
    with monkeypatch.context() as patched:
        patched.setattr(validate_stage, "conditions", killed)
        with pytest.raises(KeyboardInterrupt):
            judge(made, tmp_path, **more)
    assert not (tmp_path / "evidence.json").exists()
    with monkeypatch.context() as patched:
        patched.setattr(validate_stage, "likeness", killed)  # done before the kill: not asked for again
        judge(made, tmp_path, **more)
    assert folder_digest(tmp_path) == folder_digest(judged[1])


def test_a_repeated_baseline_has_the_same_bytes(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = {"real": made / "real", "regions": made / "regions.parquet", "out": tmp_path / "b"}
    with monkeypatch.context() as patched:
        patched.setattr(baseline_stage, "_students", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            baseline(STUDY, **about)
    baseline(STUDY, **about)
    assert folder_digest(tmp_path / "b") == folder_digest(made / "baseline")


def test_validation_leaves_the_baseline_alone_and_reads_no_rehearsal(
    made: Path, judged: tuple[dict[str, Metric], Path], tmp_path: Path
) -> None:
    shutil.copytree(made / "baseline", tmp_path / "baseline")
    (tmp_path / "baseline/rehearsal.json").write_text("{}")
    before = folder_digest(tmp_path / "baseline")
    judge(made, tmp_path / "out", paired=made / "paired", reconstruction=made / "paired", made_baseline=tmp_path / "baseline")
    assert folder_digest(tmp_path / "baseline") == before
    assert folder_digest(tmp_path / "out") == folder_digest(judged[1])


def test_a_baseline_of_other_data_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "baseline", tmp_path / "baseline")
    place = tmp_path / "baseline/parts/downstream-real-0.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"key": "sha256:0"}))
    with pytest.raises(InputError, match="downstream-real-0"):
        judge(made, tmp_path / "out", made_baseline=tmp_path / "baseline")


def _bad(name: str, patches: PatchSet) -> PatchSet:
    shape = patches.images.shape
    match name:
        case "constant":
            return replace(patches, images=np.full(shape, 7, np.uint16))
        case "single":
            return patches.take([0])
        case "unlabelled":
            return replace(patches, labels=None, label_kind=None)
        case "other dtype":
            return replace(patches, images=patches.images.astype(np.float32))
        case "larger":
            return replace(
                patches,
                images=np.tile(patches.images, (1, 1, 2, 2)),
                labels=np.tile(patches.labels, (1, 2, 2)) if patches.labels is not None else None,
            )
    raise AssertionError(name)


@pytest.mark.parametrize("fault", ["constant", "single", "unlabelled", "other dtype", "larger", "empty"])
def test_bad_collections_give_reasons_and_never_a_crash(made: Path, tmp_path: Path, fault: str) -> None:
    data = real_data(STUDY, made / "real", pd.read_parquet(made / "regions.parquet"))
    draw = data.sources["train"].draw(("bad",), range(12))
    patches = draw.take([]) if fault == "empty" else _bad(fault, draw)
    write(tmp_path / "bad", patches)
    metrics = judge(made, tmp_path / "out", synthetic=str(tmp_path / "bad"))
    undefined = {name for name, m in metrics.items() if m.status == "undefined"}
    assert all(metrics[name].reason for name in undefined)
    if fault in ("constant", "empty", "other dtype"):
        own = {n for n in metrics if not n.startswith("control_")} - {"leaked-holdout"}  # that looks at real images alone
        assert undefined >= own
    if fault == "unlabelled":
        assert {"mask-fidelity", "downstream_gain_over_classical"} <= undefined


def test_a_collection_can_be_judged_without_a_split(made: Path, tmp_path: Path) -> None:
    """Real images that are all holdout, no training images: what needs them is undefined, with the reason."""
    metrics = validate(STUDY, real=made / "synthetic", regions=None, synthetic=made / "paired", out=tmp_path)
    by_name = {m.name: m for m in metrics}
    assert by_name["mask-fidelity"].status == "undefined" and "segmenter" in by_name["mask-fidelity"].reason
    assert "training" in by_name["downstream_gain_over_classical"].reason
    assert by_name["noise-law_effect"].value is not None


def test_weights_are_those_that_the_study_registers(tmp_path: Path) -> None:
    (tmp_path / "n.pt").write_bytes(b"weights")
    right = {"path": "n.pt", "sha256": hashlib.sha256(b"weights").hexdigest()}

    def checked(weights: dict[str, str] | None) -> Path | None:
        plan = STUDY.validation.model_copy(update={"weights": weights and WeightsFile(**weights)})
        return checked_weights(STUDY.model_copy(update={"validation": plan}), tmp_path)

    assert checked(None) is None and checked(right) == tmp_path / "n.pt"
    for wrong, kind in ((right | {"path": "m.pt"}, "not-found"), (right | {"sha256": "0" * 64}, "other-weights")):
        with pytest.raises(InputError) as error:
            checked(wrong)
        assert [p.kind for p in error.value.problems] == [kind]


def test_folders_of_files_are_judged_from_the_command_line(made: Path, tmp_path: Path) -> None:
    """Images made elsewhere, with a study of a few lines: no split, no training images, no labels."""
    import tifffile
    import yaml

    data = real_data(STUDY, made / "real", pd.read_parquet(made / "regions.parquet"))
    for name, count in (("real", 24), ("synthetic", 24)):
        (tmp_path / name).mkdir()
        for i, image in enumerate(data.sources["train"].draw((name,), range(count)).images):
            tifffile.imwrite(tmp_path / name / f"{i:02d}.tif", image, metadata={"axes": "CYX"}, photometric="minisblack")
    study = STUDY.model_dump(mode="json") | {"conditions": []}
    study["sources"][0] |= {"spacing": [1, 1], "unit": "pixel", "uri": str(tmp_path / "real")}
    study["validation"] |= {"physics": ["noise-law", "power-spectrum"], "downstream": None}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    arguments = (tmp_path / "study.yaml", tmp_path / "real", tmp_path / "synthetic", None, tmp_path / "out")
    found = {m["name"]: m for m in validate_stage.validate_command(*arguments)["metrics"]}
    assert found["noise-law_effect"]["value"] < 1.5 and found["power-spectrum_effect"]["value"] < 1.5
    assert found["kid_effect_scattering"]["status"] == "ok", found["kid_effect_scattering"]["reason"]
    assert found == {m["name"]: m for m in validate_stage.validate_command(*arguments)["metrics"]}


def _unconditional() -> Study:
    return STUDY.model_copy(update={"conditions": ()})


def _flat(path: Path, sides: list[int]) -> Path:
    with CollectionWriter(path, synthetic=False) as writer:
        for i, side in enumerate(sides):
            pixels = np.random.default_rng(i).integers(0, 255, (2, side, 40)).astype(np.uint8)
            writer.add(f"i{i:02d}", Image.from_array(pixels, "cyx", tissue.patches("train", 64).spacing, CHANNELS), group=f"i{i:02d}")
    return path


@pytest.mark.parametrize("small", ["real", "synthetic", "train"])
def test_no_judge_looks_at_mirrored_pixels(tmp_path: Path, small: str) -> None:
    """Images smaller than a patch are refused, all of them or some, before anything is trained."""
    plain = _unconditional()
    large = _flat(tmp_path / "large", [32] * 9)
    for name, sides, said in (
        ("all", [8] * 9, "9 of 9 images .* first i00 with 8 x 40"),
        ("one", [32] * 8 + [31], "1 of 9 .* i08 with 31 x"),
    ):
        given = dict.fromkeys(("real", "synthetic", "train"), large) | {small: _flat(tmp_path / name, sides)}
        with pytest.raises(InputError, match=f"32 x 32 px; {said}.*too-small"):
            validate(plain, regions=None, out=tmp_path / "out", **given)
        assert not (tmp_path / "out").exists()


def test_a_split_whose_holdout_is_smaller_than_a_patch_is_refused_and_one_of_training_is_not(tmp_path: Path) -> None:
    collection = _flat(tmp_path / "c", [32, 8])
    rows = [Region("i00", "holdout", "a", (0, 0), (32, 40)), Region("i00", "calibration", "a", (0, 0), (32, 40))]
    real_data(_unconditional(), collection, to_table([*rows, Region("i01", "train", "b", (0, 0), (8, 40))]))
    for part in ("holdout", "calibration"):
        more = [*rows, Region("i00", "train", "b", (0, 0), (32, 40)), Region("i01", part, "b", (0, 0), (8, 40))]
        with pytest.raises(InputError, match=f"{part}.*too-small"):
            real_data(_unconditional(), collection, to_table(more))


def test_subgroups_are_judged_apart_and_the_worst_is_reported(tmp_path: Path) -> None:
    """Two kinds of textures; synthetic ones of kind b are blurred, and those of kind c were never made."""
    from scipy import ndimage

    from sciimg.stages.parts import Parts
    from sciimg.types import Spacing
    from sciimg.workers import HERE

    rng = np.random.default_rng(0)

    def texture(coarse: float) -> np.ndarray:
        smooth = ndimage.gaussian_filter(rng.standard_normal((32, 32)), coarse * rng.uniform(0.7, 1.4))
        return 2000 + 300 * rng.uniform(0.7, 1.3) * smooth / smooth.std() + 60 * rng.standard_normal((32, 32))

    def collection(name: str, kinds: str, blur: float) -> Path:
        with CollectionWriter(tmp_path / name, synthetic=name != "real") as writer:
            for i in range(20 * len(kinds)):
                kind = kinds[i % len(kinds)]
                pixels = texture({"a": 0.8, "b": 1.6}.get(kind, 3))
                pixels = ndimage.gaussian_filter(pixels, blur) if kind == "b" and blur else pixels
                image = Image.from_array(pixels.astype(np.uint16), "yx", Spacing((1.0, 1.0), "pixel"), ("x",))
                writer.add(f"{name}{i:03d}", image, group=f"{name}{i}", conditions={"kind": kind})
        return tmp_path / name

    value = STUDY.model_dump(mode="json") | {"conditions": [{"kind": "class", "name": "type", "column": "kind"}]}
    value["validation"] |= {"physics": ["power-spectrum"], "downstream": None, "subgroups": ["kind"], "samples": 64}
    study = Study.model_validate(value)
    assert study.digest != Study.model_validate(value | {"validation": value["validation"] | {"subgroups": None}}).digest
    value["conditions"] = []
    study = Study.model_validate(value)

    def judged(kinds: str, column: str = "kind") -> dict[str, Metric]:
        real, made = collection(f"real-{kinds}" if kinds != "ab" else "real", kinds, 0), collection(f"made-{kinds}", "ab", 1.0)
        parts = Parts(tmp_path / "out", "x")
        case = Case(study, real_data(study, real, None), made, None, None, None, tmp_path, None, parts, parts, HERE)
        return {m.name: m for m in subgroups(case, column)[0]}

    found = judged("ab")
    worst = found["kid_effect_texture_worst-kind"]
    assert worst.detail["worst"] == "b" and set(worst.detail["subgroups"]) == {"a", "b"}, worst.reason
    assert worst.value > 2 > worst.detail["subgroups"]["a"]["value"]
    assert found["power-spectrum_effect_worst-kind"].status in ("ok", "undefined")
    assert "no real training images" in found["membership-auc_texture_worst-kind"].reason
    missing = judged("abc")["kid_effect_texture_worst-kind"]
    assert missing.status == "undefined" and "of 3 subgroups of kind" in missing.reason
    assert missing.detail["subgroups"]["c"] == {"reason": "no synthetic images"}
    unknown = judged("ab"[::-1], "site")["kid_effect_texture_worst-site"]
    assert "do not say which site" in unknown.reason


def test_the_inception_score_reports_where_there_is_a_class_condition(tmp_path: Path) -> None:
    from scipy import ndimage

    from sciimg.stages.parts import Parts
    from sciimg.types import Spacing
    from sciimg.workers import HERE

    def collection(name: str, synthetic: bool, kinds: str = "ab") -> Path:
        """Noise of two grains, of which a synthetic collection was asked for `kinds`."""
        with CollectionWriter(tmp_path / name, synthetic=synthetic) as writer:
            for i in range(24):
                kind, rng = kinds[i % len(kinds)], np.random.default_rng([i, len(name)])
                grain = ndimage.gaussian_filter(rng.normal(0, 1, (1, 32, 32)), (0, *(2 * [0.5 if kind == "a" else 1.5])))
                image = Image.from_array(
                    (1000 + 200 * grain / grain.std()).astype(np.float32), "cyx", Spacing((1.0, 1.0), "pixel"), ("grey",)
                )
                writer.add(f"{name}-{i:02d}", image, group=f"g{i}", conditions={"type" if synthetic else "kind": kind})
        return tmp_path / name

    value = STUDY.model_dump(mode="json") | {"conditions": [{"kind": "class", "name": "type", "column": "kind"}]}
    value["validation"] |= {"physics": [], "downstream": None, "samples": 24, "features": ["texture"]}
    study, parts = Study.model_validate(value), Parts(tmp_path / "out", "x")

    def found(study: Study, made: Path) -> list[Metric]:
        data = real_data(study, tmp_path / "real", None, train=tmp_path / "train")
        return inception(Case(study, data, made, None, None, None, tmp_path, None, parts, parts, HERE))[0]

    for name in ("real", "train"):
        collection(name, False)
    (alike,), (collapsed,) = (found(study, collection(name, True, kinds)) for name, kinds in (("alike", "ab"), ("collapsed", "a")))
    assert alike.name == "inception_score_texture" and alike.value > 1.5 and alike.detail["condition"] == "type"
    assert collapsed.value == pytest.approx(1, abs=0.1)
    assert found(Study.model_validate(value | {"conditions": []}), tmp_path / "alike") == []


def test_a_study_without_subgroups_keeps_its_digest() -> None:
    assert "subgroups" in STUDY.validation.model_dump() and STUDY.validation.subgroups is None
    assert STUDY.validation.downstream is not None
    usual = STUDY.validation.downstream.model_copy(update={"synthetic_only": False, "ratios": None})
    plain = STUDY.model_copy(update={"validation": STUDY.validation.model_copy(update={"downstream": usual})})
    assert plain.digest == "sha256:d1aadcf1af291f9c205d48fd90aa3eef083c4c980cd87f46061a58318318a0ab"
