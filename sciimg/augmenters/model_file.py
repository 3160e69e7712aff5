"""The model folder: ``model.safetensors`` (weights), ``model.json`` (what they are and know), ``curves.json`` (how they were learned).

Beside them ``training.json`` says how long that took and what it waited for; no digest counts it.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.formation.formation import Formation
from sciimg.augmenters.intensity import IntensityScale
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.settings import Settings
from sciimg.augmenters.system import System
from sciimg.errors import InputError, Problem
from sciimg.files import write_bytes, write_json
from sciimg.records import Digest, canonical_json, digest_file, digest_of
from sciimg.types import LabelKind, Unit

WEIGHTS, CARD, CURVES, TIMES = "model.safetensors", "model.json", "curves.json", "training.json"


class ModelCard(Settings):
    """Everything about a model but its weights."""

    format: Literal[1] = 1
    recipe: Recipe
    shape: tuple[int, ...] = Field(description="(C, [Z,] Y, X) of a sample.")
    conditions: ConditionSchema
    intensity: IntensityScale
    formation: Formation | None = None
    spacing: tuple[float, ...]
    unit: Unit
    label_kind: LabelKind | None
    attributes: dict[str, Any] = Field(default_factory=dict, description="Acquisition metadata of the training images.")
    provenance: dict[str, Any]
    versions: dict[str, str]
    device: str = Field(default="cpu", description="Where it was trained; only the CPU's bits repeat everywhere.")
    steps: dict[str, int] = Field(default_factory=dict)
    parameters: dict[str, int] = Field(default_factory=dict)

    @field_validator("recipe")
    @classmethod
    def _as_trained(cls, recipe: Recipe) -> Recipe:
        """Leave out what the test suite asks of the recipe: it says nothing of this model, and its samples are keyed by this card."""
        return recipe.model_copy(update={"reach": None})


def write_model(folder: Path, system: System, card: ModelCard, curves: dict[str, Any]) -> None:
    """Write the three files into an existing folder."""
    from safetensors.torch import save

    weights = {name: value.detach().contiguous() for name, value in system.state_dict().items()}
    about = {"format": "sciimg-model-1", "recipe": card.recipe.name, "study": str(card.provenance.get("study"))}
    # one key: safetensors writes several in an order of its own, another one each time
    write_bytes(folder / WEIGHTS, save(weights, {"sciimg": canonical_json(about).decode()}))
    write_json(folder / CARD, card.model_dump(mode="json"))
    write_json(folder / CURVES, curves)


def model_digest(folder: Path) -> Digest:
    """Return the digest that lineage cites: of the weights and of the card."""
    return digest_of({name: digest_file(folder / name) for name in (WEIGHTS, CARD)})


def read_card(folder: Path) -> ModelCard:
    """Read a model's description.

    Raises
    ------
    InputError
        Kinds ``not-a-model``, ``other-version``, ``damaged``.
    """
    path = folder / CARD
    if not path.is_file() or not (folder / WEIGHTS).is_file():
        message = f"A model folder holds {CARD} and {WEIGHTS}; this one does not. Give the folder that `sciimg train` wrote."
        raise InputError(Problem(str(folder), "not-a-model", message))
    try:
        data = json.loads(path.read_text())
    except ValueError:
        raise InputError(Problem(str(path), "damaged", "The model's description is not JSON. Train again, or restore the file.")) from None
    found = data.get("format") if isinstance(data, dict) else None
    if found != 1:
        raise InputError(
            Problem(str(path), "other-version", f"The model has format {found!r}; this version of sciimg reads format 1. Train again.")
        )
    try:
        return ModelCard.model_validate(data)
    except ValidationError as error:
        fields = ", ".join(".".join(str(part) for part in item["loc"]) for item in error.errors()[:5])
        message = f"The model's description does not fit this version of sciimg (at {fields}). Train again with this version."
        raise InputError(Problem(str(path), "other-version", message)) from None


def read_weights(folder: Path, system: System, recipe: str) -> None:
    """Load weights into a built system; the name of the recipe must agree, and every name and shape.

    Raises
    ------
    InputError
        Kinds ``damaged``, ``other-recipe``.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    try:
        weights = load_file(path)
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {}).get("sciimg", "{}"))
    except (SafetensorError, OSError, ValueError):
        raise InputError(
            Problem(str(path), "damaged", "The weights cannot be read as safetensors. Train again, or restore the file.")
        ) from None
    if about.get("recipe", recipe) != recipe:
        message = f"The weights are those of recipe {about['recipe']!r}, and the model's description is of {recipe!r}. Restore the files."
        raise InputError(Problem(str(path), "other-recipe", message))
    expected = {name: tuple(value.shape) for name, value in system.state_dict().items()}
    got = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != got:
        differing = sorted(name for name in {*expected, *got} if expected.get(name) != got.get(name))
        message = f"The weights belong to another recipe or version: {len(differing)} of {len(expected)} differ, first {differing[0]}."
        raise InputError(Problem(str(path), "other-recipe", message))
    system.load_state_dict(weights)
