"""A study: everything that is decided before any result exists, as frozen models.

The YAML file is read by :func:`sciimg.protocol.load_study`, which reports every problem at once. The canonical digest of these models
is carried by every artefact made under the study; a changed study is another study.
"""

import datetime
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import Field

from sciimg.protocol.base import Model, Name
from sciimg.protocol.data import Condition, Source, Split
from sciimg.protocol.validation import Gate, ReviewPlan, ValidationPlan, VerificationPlan
from sciimg.records import Digest, digest_of

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


class Risk(Model):
    """What hangs on the synthetic images, judged before any result (model influence and decision consequence of ASME V&V 40)."""

    influence: Literal["low", "medium", "high"] = Field(description="How much a decision leans on them, beside other evidence.")
    consequence: Literal["low", "medium", "high"] = Field(description="What a wrong decision does.")
    because: str


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
