"""The words that a study may use for checks and metrics, so that a misspelt gate is found before a run and not after it.

A check or metric that is added to the judges is added here, with what it needs; ``tests/protocol/test_vocabulary.py`` keeps both in step.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sciimg.protocol.data import Condition
from sciimg.protocol.validation import LARGEST_RATIO, ReviewPlan

Need = Literal[
    "mask", "class", "instances", "classes", "downstream", "synthetic-only", "ratio", "review", "physics", "features", "folds", "watermark"
]

MODALITIES = ("fluorescence", "brightfield", "electron", "mri")
_MICROSCOPY = ("fluorescence", "brightfield", "electron")


@dataclass(frozen=True)
class Physics:
    """A physics check: the modalities it makes sense for, and the labels it needs."""

    modalities: tuple[str, ...]
    needs: Literal["instances", "classes"] | None = None


FOLDS = "_folds"  # ends the name of a metric that is pooled over the folds of a cross-validation

PHYSICS: dict[str, Physics] = {
    "intensity-law": Physics(MODALITIES),
    "noise-law": Physics(_MICROSCOPY),
    "power-spectrum": Physics(MODALITIES),
    "object-morphology": Physics(_MICROSCOPY, "instances"),
    "point-pattern": Physics(_MICROSCOPY, "instances"),
    "resolution": Physics(_MICROSCOPY),
    "detector-range": Physics(_MICROSCOPY),
    "grey-level-comb": Physics(MODALITIES),
    "bleed-through": Physics(("fluorescence", "brightfield")),
    "photon-transfer": Physics(_MICROSCOPY),
    "noise-whiteness": Physics(MODALITIES),
    "optical-cutoff": Physics(("fluorescence", "brightfield")),
    "dose-linearity": Physics(MODALITIES),
    "snr": Physics(("mri",)),
    "tissue-snr": Physics(("mri",), "classes"),
    "contrast-order": Physics(("mri",), "classes"),
    "tissue-volumes": Physics(("mri",), "classes"),
    "image-quality": Physics(("mri",), "classes"),
    "air-quality": Physics(("mri",)),
    "rician-noise": Physics(("mri",)),
    "bias-field": Physics(("mri",)),
    "ghosting": Physics(("mri",)),
    "k-space-slope": Physics(("mri",)),
    "ringing": Physics(("mri",)),
    "symmetry": Physics(("mri",)),
}

SPACES = ("scattering", "encoder", "texture", "spectrum", "cooccurrence", "weights")  # the last is a network of the user's
USUAL_SPACES = SPACES[:3]  # where a study names none
_SETS = (
    "kid", "mmd", "fd", "fd_infinity", "swd", "precision", "recall", "density", "coverage", "vendi", "authenticity", "ct", "c2st",
    "kid_effect", "mmd_effect", "fd_effect", "swd_effect", "kid_per_blur",
    "precision_ratio", "recall_ratio", "coverage_ratio", "vendi_ratio", "authenticity_ratio",
    "control_blurred", "control_noisier", "control_mode-dropped", "control_duplicated",
)  # fmt: skip
_MEMBERSHIP = ("membership-auc", "membership-tpr", "nearer-train")
_PAIRS = ("ssim", "ssim_uniform", "ms_ssim", "psnr", "nrmse", "ncc", "mutual_information")
_WATERMARK = ("z", "z_unmarked", "z_cropped", "z_eight-bit", "z_noisier", "z_together", "psnr", "ssim", "dice-change")
_ARMS = ("score_real", "score_classical", "score_synthetic", "score_combined")
_GAINS = ("gain_over_real", "gain_over_classical", "gain_added_to_classical", "classical_gain")
_SYNTHETIC_ONLY = ("score_synthetic-only", "gain_synthetic-only_over_real")
_RATIOS = tuple(stem for n in range(1, LARGEST_RATIO + 1) for stem in (f"score_ratio-{n}", f"gain_ratio-{n}_over_real"))
_BY_CONDITION = {"scalar": ("correlation", "slope", "error"), "class": ("accuracy", "accuracy-ratio"), "mask": (), "image": (), "text": ()}


def metrics(
    conditions: Iterable[Condition], subgroups: Iterable[str] = (), review: ReviewPlan | None = None
) -> dict[str, tuple[Need, ...]]:
    """Return every metric that the judges of a study can report, by name, with what each needs of the study.

    Metrics of the whole study come first; ``<check>_effect`` and ``<check>_outliers`` need their physics check to be asked for,
    ``<metric>_worst-<column>`` that subgroups are made by the column. :func:`over_folds` gives those of a cross-validation.
    """
    whole: dict[str, tuple[Need, ...]] = {
        "verification-failures": (),
        "split-failures": (),
        "split-closest-match": (),
        "folds-failures": ("folds",),
    }
    whole |= dict.fromkeys(review_metrics(review), ("review",))
    return whole | _of_a_recipe(conditions, subgroups)


def over_folds(conditions: Iterable[Condition], subgroups: Iterable[str] = ()) -> dict[str, tuple[Need, ...]]:
    """Return every metric that a cross-validation can pool, with what each needs: all that judges report of a recipe."""
    return {name + FOLDS: (*needs, "folds") for name, needs in _of_a_recipe(conditions, subgroups).items()}


def _of_a_recipe(conditions: Iterable[Condition], subgroups: Iterable[str]) -> dict[str, tuple[Need, ...]]:
    names: dict[str, tuple[Need, ...]] = {
        "copy-rate": (),
        "copy-control": (),
        "nearest-correlation": (),
        "leaked-holdout": (),
    }
    names |= {f"{check}_effect{suffix}": ("physics",) for check in PHYSICS for suffix in ("", "_paired")}
    names |= {f"{check}_outliers": ("physics",) for check in PHYSICS}
    names |= {f"{stem}_{space}": ("features",) for space in SPACES for stem in (*_SETS, *_MEMBERSHIP)}
    names |= {f"{stem}_{space}_paired": ("features",) for space in SPACES for stem in _SETS if not stem.startswith("control")}
    names |= {f"inception_score_{space}": ("features", "class") for space in SPACES}
    names |= {f"{side}_{pair}": () for side in ("paired", "reconstruction") for pair in _PAIRS}
    names |= {f"mask-{what}{suffix}": ("mask",) for what in ("dice", "fidelity") for suffix in ("", "_paired")}
    names |= {f"mask-object-{what}{suffix}": ("mask", "instances") for what in ("f1", "fidelity") for suffix in ("", "_paired")}
    arms: dict[str, tuple[Need, ...]] = dict.fromkeys((*_ARMS, *_GAINS), ("downstream",))
    arms |= dict.fromkeys(_SYNTHETIC_ONLY, ("downstream", "synthetic-only")) | dict.fromkeys(_RATIOS, ("downstream", "ratio"))
    names |= {f"downstream_{stem}": needs for stem, needs in arms.items()}
    names |= {f"downstream_f1_{stem}": (*needs, "instances") for stem, needs in arms.items()}
    names |= {f"condition_{c.name}_{part}": () for c in conditions for part in _BY_CONDITION[c.kind]}
    names |= {f"watermark-{what}": ("watermark",) for what in _WATERMARK}
    split: dict[str, tuple[Need, ...]] = {f"{check}_effect": ("physics",) for check in PHYSICS}
    split |= {f"{stem}_{space}": () for space in SPACES for stem in (*_SETS, *_MEMBERSHIP) if not stem.startswith("control")}
    names |= {worst_name(name, column): needs for column in subgroups for name, needs in split.items()}
    return names


def review_metrics(plan: ReviewPlan | None) -> list[str]:
    """Return the metrics of a reader study; differences are synthetic less real."""
    names = ["readers", "accuracy", "accuracy-clustered", "d-prime", "margin", "agreement", "repeatability", "catches"]
    if plan is not None:
        names += [f"{what}_{c.name}" for c in plan.criteria for what in ("difference", "superiority")]
        names += [f"artefact_{name}" for name in plan.artefacts]
    return [f"review-{name}" for name in names]


def ratio_of(metric: str) -> int:
    """Return how many synthetic images for each annotated one a downstream metric speaks of."""
    return int(metric.removesuffix(FOLDS).partition("ratio-")[2].partition("_")[0])


def space_of(metric: str) -> str:
    """Return the feature space of a metric of sets."""
    return metric.removesuffix(FOLDS).removesuffix("_paired").rpartition("_")[2]


def worst_name(metric: str, column: str) -> str:
    """Return what a metric of the worst subgroup is called: ``METRIC_worst-COLUMN``, in letters that a gate may use."""
    plain = "".join(c if c.isalnum() and c.isascii() else "-" for c in column.lower())
    return f"{metric}_worst-{plain}"


def physics_of(metric: str) -> str:
    """Return the physics check of a metric ``<check>_effect``, paired, of a subgroup or over folds, or of ``<check>_outliers``."""
    return metric.removesuffix(FOLDS).split("_worst-")[0].removesuffix("_paired").removesuffix("_effect").removesuffix("_outliers")
