"""A run folder made up for tests: real tissue, stand-ins for synthetic images, and invented evidence that says so.

Nothing here was measured. Every metric carries ``source="fixture"``.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage
from skimage import data, measure
from skimage.color import rgb_from_hed

from sciimg.decision import decide
from sciimg.files import write_json, write_text
from sciimg.io.image import Image
from sciimg.protocol import parse_study
from sciimg.records import Check, Metric, Null
from sciimg.store import CollectionWriter
from sciimg.types import Channel, Spacing
from sciimg.validation.gallery import write_arrays

STUDY = """
sciimg: 1
name: fixture
registered: 2026-01-15
title: Fixture study of colon immunohistochemistry patches
question: Does the report show everything that a made-up run holds?
context_of_use: Tests of the report.
excluded_uses: [Any conclusion about anything.]
limits:
  - Every number in this report was invented.
  - One image of one section.
sources:
  - name: ihc
    uri: package:skimage/data/ihc.png
    licence: CC0-1.0
    citation: Human Protein Atlas image as shipped in scikit-image
    modality: brightfield
    spacing: [1, 1]
    unit: pixel
    prepare: [{kind: stain-separation, stains: [haematoxylin, dab]}]
    labels: {kind: segment-nuclei, channel: haematoxylin}
split: {by: blocks, axis: x, calibration: 0.17, holdout: 0.28, guard_px: 16, cell: [64, 64]}
patches: {shape: [32, 32]}
conditions:
  - {kind: mask, name: mask}
  - {kind: scalar, name: dab-level, measure: channel-mean, channel: dab}
recipes:
  - {name: ldm, recipe: ldm, options: {training.steps: 300}}
  - {name: gan, recipe: gan, options: {}, role: comparator}
generate: {count: 64}
validation:
  samples: 32
  physics: [intensity-law, noise-law, power-spectrum, object-morphology]
  downstream: {seeds: 3, steps: 50, annotated_images: 8}
gates:
  - {name: verified, metric: verification-failures, at_most: 0, judged_on: value, why: Every closed-form test must hold on this machine.}
  - {name: noise, metric: noise-law_effect, at_most: 1, why: An effect of one is the edge of what real halves differ by.}
  - {name: spectrum, metric: power-spectrum_effect, at_most: 1, why: An effect of one is the edge of what real halves differ by.}
  - {name: intensity, metric: intensity-law_effect, at_most: 1, why: An effect of one is the edge of what real halves differ by.}
release: {dataset_id: fixture, version: 1.0.0, licence: CC0-1.0, creator: tests}
"""
PATCH = 32
_FIXTURE = {"source": "fixture", "n": 16, "unit_of_n": "groups"}


def densities():
    """Return the whole image as two stains, (2, 512, 512), with offset 0.2 and scale 10000."""
    density = -np.log10(np.maximum(data.immunohistochemistry(), 1) / 255.0)
    stains = np.linalg.lstsq(rgb_from_hed.T / np.linalg.norm(rgb_from_hed, axis=1), density.reshape(-1, 3).T, rcond=None)[0]
    return np.clip(np.rint(10000 * (stains[[0, 2]] + 0.2)), 0, 65535).astype(np.uint16).reshape(2, 512, 512)


def nuclei(image):
    """Return connected bright regions of haematoxylin, (512, 512)."""
    smooth = ndimage.gaussian_filter(image[0].astype(float), 1.5)
    return measure.label(smooth > np.quantile(smooth, 0.8)).astype(np.int32)


def tissue():
    """Return patches (N, 2, 32, 32) of the image and nuclei-like labels (N, 32, 32)."""
    image = densities()
    labels = nuclei(image)
    corners = [(y, x) for y in range(0, 256, PATCH) for x in range(128, 384, PATCH)]
    images = np.stack([image[:, y : y + PATCH, x : x + PATCH] for y, x in corners])
    return images, np.stack([labels[y : y + PATCH, x : x + PATCH] for y, x in corners])


def gallery(images, labels, made):
    """Return the arrays of a recipe whose images are ``made`` out of real ones."""
    error = np.clip(np.abs(made.astype(float) - images) / 5000, 0, 1).mean(1).astype(np.float32)
    frequency = np.linspace(0.03, 0.5, 8)
    edges = np.linspace(1000, 12000, 25)
    arrays = {
        "channels": np.array(["haematoxylin", "dab"]),
        "label-kind": np.array("instances"),
        "spacing": np.array([1.0, 1.0]),
        "unit": np.array("pixel"),
        "real.images": images[:8],
        "real.labels": labels[:8],
        "synthetic.images": made[8:16],
        "synthetic.labels": labels[8:16],
        "synthetic.read-back": labels[8:16] * (labels[8:16] % 5 > 0),
        "paired.real": images[16:24],
        "paired.synthetic": made[16:24],
        "paired.labels": labels[16:24],
        "paired.error": error[16:24],
        "reconstruction.real": images[16:24],
        "reconstruction.synthetic": made[16:24],
        "reconstruction.error": error[16:24],
        "nearest.synthetic": made[24:32],
        "nearest.train": images[25:33],
        "nearest.distance": np.linspace(0.4, 0.6, 8),
        "worst.synthetic": made[40:48],
        "worst.distance": np.linspace(2.0, 1.2, 8),
        "nearest.holdout": images[33:41],
        "nearest.holdout-train": images[41:49],
    }
    for part, source in (("real", images), ("synthetic", made)):
        for c, name in enumerate(("haematoxylin", "dab")):
            power = np.abs(np.fft.fft2(source[:, c].astype(float) - source[:, c].mean()))[:, 0, 1:9] ** 2
            arrays[f"physics.power-spectrum.{part}-{name}-power-db"] = 10 * np.log10(power.mean(0))
            arrays[f"physics.intensity-law.{part}-{name}-edges"] = edges
            arrays[f"physics.intensity-law.{part}-{name}-density"] = np.histogram(source[:, c], edges, density=True)[0]
            arrays[f"physics.noise-law.{part}-{name}-level-edges"] = np.arange(7.0)
            arrays[f"physics.noise-law.{part}-{name}-sigma"] = np.linspace(200, 500, 8) * (1 if part == "real" else 0.8)
        arrays[f"physics.power-spectrum.{part}-frequency"] = frequency
    return arrays


def _deep(arrays):
    """Return the pictures as volumes of 16 equal planes of 16 x 16."""
    out = {"channels": arrays["channels"], "spacing": np.ones(3)}
    for name, array in arrays.items():
        if array.ndim > 2 and not name.startswith("physics"):
            small = array[..., :16, :16]
            out[name] = np.repeat(small[..., None, :, :], 16, axis=-3)
    return out


def effect(name, value, half):
    controls = {"blur-1px": 6.2, "noise-1-sigma": 4.1}
    low, high = max(0.0, value - half), value + half
    return Metric(
        name=name, value=value, ci95=(low, high), null=Null(value=0.6, ci95=(0.3, 1.0)), detail={"controls": controls}, **_FIXTURE
    )


def metrics(shift, gain):
    """Return invented evidence; ``shift`` moves it away from real, ``gain`` is what downstream use brings."""
    near, far = Null(value=0.0, ci95=(-0.004, 0.005)), Null(value=0.96)
    likeness = {"features": "scattering", **_FIXTURE}
    return [
        Metric(name="kid_scattering", value=0.01 + shift, ci95=(shift, 0.02 + shift), null=near, **likeness),
        Metric(name="coverage_scattering", value=0.8 - shift, ci95=(0.7 - shift, 0.9 - shift), null=far, **likeness),
        Metric(name="control_blurred_scattering", value=12.0, ci95=(9.0, 15.0), **likeness),
        effect("noise-law_effect", 0.5 + shift, 0.2),
        effect("power-spectrum_effect", 0.8 + shift, 0.4),
        effect("intensity-law_effect", 0.6 + shift, 0.1),
        Metric.undefined("object-morphology_effect", "no independent segmenter was trained", **_FIXTURE),
        Metric(name="mask-dice", value=0.85 - shift, ci95=(0.8 - shift, 0.9 - shift), null=Null(value=0.88), **_FIXTURE),
        Metric(name="memorisation_ratio", value=1.02, ci95=(0.9, 1.1), **_FIXTURE),
        Metric(name="downstream_gain_over_real", value=gain, ci95=(gain - 0.01, gain + 0.01), **_FIXTURE),
        Metric(name="downstream_gain_over_classical", value=0.0, ci95=(-0.01, 0.01), **_FIXTURE),
        Metric(name="downstream_score_real", value=0.7, ci95=(0.65, 0.75), **_FIXTURE),
    ]  # fmt: skip


def make_run(folder: Path, *, good: bool = False, volumes: bool = False) -> Path:
    """Write a finished run folder; ``good`` makes its first recipe pass every gate, ``volumes`` makes its pictures three-dimensional."""
    study = parse_study(STUDY.encode(), "study.yaml").study
    write_text(folder / "study.yaml", STUDY)
    images, labels = tissue()
    _real(folder)
    blurred = np.rint(ndimage.gaussian_filter(images.astype(float), (0, 0, 0.8, 0.8))).astype(np.uint16)
    evidence = {"ldm": metrics(-0.2 if good else 0.7, 0.03), "gan": metrics(0.1, -0.04)}
    for name, made in (("ldm", images[::-1].copy()), ("gan", blurred)):
        write_json(folder / f"validate-{name}/evidence.json", {"metrics": [m.as_json() for m in evidence[name]]})
        arrays = gallery(images, labels, made)
        write_arrays(folder / f"validate-{name}/gallery.npz", _deep(arrays) if volumes else arrays)
        losses = [1 / (1 + s / 50) for s in range(5, 300, 10)]
        looks = list(range(50, 301, 50))
        curves = {
            "generator.loss": losses,
            "generator.gradient": losses,
            "held-out": [1.1 / (1 + s / 60) for s in looks],
            "held-out.step": looks,
        }
        write_json(folder / f"train-{name}/model/curves.json", {"process": curves})
        write_json(folder / f"train-{name}/model/model.json", {"steps": {"process": 300}, "parameters": {"process": 123456}})
    checks = [Check(name="schedule-marginals", expected=1.0, got=1.0 + 1e-9, tolerance=1e-6, passed=True, source="fixture")]
    write_json(folder / "verify/evidence.json", {"checks": [c.as_json() for c in checks]})
    common = [Metric(name="verification-failures", value=0.0), Metric(name="split-failures", value=0.0, **_FIXTURE)]
    write_json(folder / "split/evidence.json", {"metrics": [common[1].as_json()]})
    write_json(folder / "decide/decision.json", decide(study, evidence, common).as_json())
    return folder


def _real(folder: Path) -> None:
    with CollectionWriter(folder / "ingest/collection", synthetic=False) as collection:
        channels = (Channel("haematoxylin"), Channel("dab"))
        image = Image.from_array(densities(), "cyx", spacing=Spacing((1.0, 1.0), "pixel"), channels=channels, source="ihc.png")
        collection.add("ihc", image, group="ihc", labels=nuclei(densities()), label_kind="instances")
    problem = {"where": "cut.png", "kind": "truncated", "message": "The file ends before its image does. Copy it again."}
    write_json(folder / "ingest/rejected.json", {"rejected": [{"source": "cut.png", "problems": [problem]}]})
    regions = [
        {"image": "ihc", "part": part, "group": "", "start": f"[0, {a}]", "stop": f"[512, {b}]", "cell": "[64, 64]"}
        for part, a, b in (("train", 0, 266), ("calibration", 282, 360), ("holdout", 376, 512))
    ]
    (folder / "split").mkdir()
    pd.DataFrame(regions).to_parquet(folder / "split/regions.parquet")
