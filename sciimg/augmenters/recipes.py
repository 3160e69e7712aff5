"""Named recipes: points in the space of choices, with what they stand for and what they must reach. Pure data; no torch."""

from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field, ValidationError

from sciimg.augmenters.settings import (
    AdversarialProcess,
    BackboneSettings,
    Conditioning,
    ConvNetBackbone,
    DiffusionProcess,
    FlowProcess,
    KLSpace,
    PixelSpace,
    ProcessSettings,
    SamplerSettings,
    Schedule,
    Settings,
    SpaceSettings,
    Training,
    UNetBackbone,
)
from sciimg.errors import InputError, Problem


class Recipe(Settings):
    """A generative system as data."""

    name: str
    systems: tuple[str, ...] = Field(description="Names under which the literature knows it.")
    dims: tuple[Literal[2, 3], ...] = (2, 3)
    space: SpaceSettings
    process: ProcessSettings
    backbone: BackboneSettings
    conditioning: Conditioning = Conditioning()
    sampler: SamplerSettings
    training: Training
    in_3d: dict[str, Any] = Field(default_factory=dict, description="Dotted settings that differ for volumes.")
    cites: tuple[str, ...]
    must_reach: str = Field(description="What its conformance test asks of it.")


def get_recipe(name: str, options: dict[str, Any] | None = None, dims: Literal[2, 3] = 2) -> Recipe:
    """Return a named recipe for images of ``dims`` dimensions, with options in place.

    Parameters
    ----------
    name : str
    options : dict, optional
        Dotted settings, e.g. ``{"training.steps": 200, "space.latent_channels": 8}``. They win over ``in_3d``.
    dims : {2, 3}

    Raises
    ------
    InputError
        Kinds ``unknown-recipe``, ``unknown-option``, ``bad-option``; every problem at once.
    """
    if name not in RECIPES:
        message = f"There is no recipe {name!r}; there are: {', '.join(sorted(RECIPES))}. `sciimg recipes list` describes them."
        raise InputError(Problem(name, "unknown-recipe", message))
    recipe = RECIPES[name]
    if dims not in recipe.dims:
        raise InputError(Problem(name, "dimensions", f"The recipe works in {recipe.dims} dimensions, not in {dims}."))
    data = recipe.model_dump(mode="json")
    overrides = (recipe.in_3d if dims == 3 else {}) | (options or {})
    problems = [problem for path, value in overrides.items() if (problem := _override(data, name, path, value)) is not None]
    if problems:
        raise InputError(problems)
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise InputError(_bad_options(name, error)) from None


def summaries() -> list[dict[str, Any]]:
    """Return one line a recipe: its place on every axis of the space of choices."""
    return [
        {
            "name": recipe.name,
            "systems": list(recipe.systems),
            "dims": list(recipe.dims),
            "space": recipe.space.kind,
            "process": recipe.process.kind,
            "backbone": recipe.backbone.kind,
            "conditioning": {"mask": recipe.conditioning.mask, "vector": recipe.conditioning.vector},
            "sampler": recipe.sampler.name,
            "cites": list(recipe.cites),
        }
        for recipe in RECIPES.values()
    ]


def _override(data: dict[str, Any], name: str, path: str, value: Any) -> Problem | None:
    *parents, last = path.split(".")
    place: Any = data
    for part in parents:
        place = place.get(part) if isinstance(place, dict) else None
    if not isinstance(place, dict) or last not in place or (not parents and last not in _OPEN):
        known = ", ".join(f"{a}.{b}" for a in sorted(_OPEN) for b in sorted(data[a]))
        return Problem(f"{name}: {path}", "unknown-option", f"The recipe has no setting {path!r}; it has: {known}.")
    place[last] = value
    return None


def _bad_options(name: str, error: ValidationError) -> list[Problem]:
    return [
        Problem(f"{name}: {'.'.join(str(part) for part in item['loc'])}", "bad-option", f"{item['msg']}; got {item['input']!r}.")
        for item in error.errors()
    ]


_OPEN = frozenset({"space", "process", "backbone", "conditioning", "sampler", "training"})
_LATENT_DIFFUSION = "Rombach et al. 2022, arXiv:2112.10752"
_RECTIFIED_FLOW = "Liu et al. 2022, arXiv:2209.03003"
_GUIDANCE = "Ho & Salimans 2022, arXiv:2207.12598"
_KL = KLSpace(training=Schedule(steps=400, learning_rate=2e-3, warmup=30, ema=0.99))
_REACH = (
    "power spectrum within 3 dB, condition read back, fails for an untrained network, the blurred mean and a replay of the training set"
)

_ALL = (
    Recipe(
        name="ldm",
        systems=("LDM", "latent rectified flow"),
        space=_KL,
        process=FlowProcess(),
        backbone=UNetBackbone(widths=(64, 128, 192), blocks=(1, 1, 1)),
        sampler=SamplerSettings(name="heun", steps=12),
        training=Training(steps=900, learning_rate=2e-3),
        in_3d={"training.batch": 8, "space.training.batch": 8, "training.symmetries": "flips", "training.tell_symmetry": True},
        cites=(_LATENT_DIFFUSION, _RECTIFIED_FLOW, _GUIDANCE, "Esser et al. 2024, arXiv:2403.03206"),
        must_reach=_REACH,
    ),
    Recipe(
        name="ldm-ddpm",
        systems=("LDM", "DDPM", "DDIM"),
        space=_KL,
        process=DiffusionProcess(predict="v"),
        backbone=UNetBackbone(widths=(64, 128, 192), blocks=(1, 1, 1)),
        sampler=SamplerSettings(name="ddim", steps=25),
        training=Training(steps=900, learning_rate=2e-3),
        in_3d={"training.batch": 8, "space.training.batch": 8, "training.symmetries": "flips", "training.tell_symmetry": True},
        cites=(_LATENT_DIFFUSION, "Ho et al. 2020, arXiv:2006.11239", "Song et al. 2021, arXiv:2010.02502", _GUIDANCE),
        must_reach=_REACH,
    ),
    Recipe(
        name="pixel-flow",
        systems=("rectified flow",),
        space=PixelSpace(),
        process=FlowProcess(),
        backbone=UNetBackbone(widths=(32, 64, 128), blocks=(1, 1, 1)),
        sampler=SamplerSettings(name="heun", steps=12),
        training=Training(steps=800),
        in_3d={"training.batch": 4, "training.symmetries": "flips", "training.tell_symmetry": True},
        cites=(_RECTIFIED_FLOW, _GUIDANCE),
        must_reach=_REACH,
    ),
    Recipe(
        name="pixel-ddpm",
        systems=("DDPM", "DDIM"),
        space=PixelSpace(),
        process=DiffusionProcess(predict="epsilon"),
        backbone=UNetBackbone(widths=(32, 64, 128), blocks=(1, 1, 1)),
        sampler=SamplerSettings(name="ancestral", steps=100),
        training=Training(steps=800),
        in_3d={"training.batch": 4, "training.symmetries": "flips", "training.tell_symmetry": True},
        cites=("Ho et al. 2020, arXiv:2006.11239", "Song et al. 2021, arXiv:2010.02502", _GUIDANCE),
        must_reach=_REACH,
    ),
    Recipe(
        name="gan",
        systems=("cGAN", "R3GAN", "DiffAugment"),
        space=PixelSpace(),
        process=AdversarialProcess(),
        backbone=ConvNetBackbone(),
        sampler=SamplerSettings(name="one-step", steps=1),
        training=Training(
            steps=900, batch=16, learning_rate=1e-3, final_rate=0.1, betas=(0.0, 0.99), weight_decay=0.0, clip=10.0, ema=0.99, warmup=20
        ),
        in_3d={"training.steps": 600, "training.batch": 8, "training.symmetries": "flips", "training.tell_symmetry": True},
        cites=(
            "Huang et al. 2024, arXiv:2501.05441",
            "Zhao et al. 2020, arXiv:2006.10738",
            "Gneiting & Raftery 2007, doi:10.1198/016214506000001437",
        ),
        must_reach=_REACH,
    ),
)

RECIPES: MappingProxyType[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _ALL})
