"""Flows that begin from real images: the same networks as elsewhere, with a task for the sampler."""

from typing import Any

from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.catalogue.budgets import LATENT_VOLUMES, PIXEL_VOLUMES
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.processes.settings import FlowProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings, Task
from sciimg.augmenters.settings import Schedule, Training
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace, SpaceSettings

_FLOW = "Liu et al. 2022, arXiv:2209.03003"
_LATENT_DIFFUSION = "Rombach et al. 2022, arXiv:2112.10752"
_PALETTE = "Saharia et al. 2022, arXiv:2111.05826"
_REPAINT = "Lugmayr et al. 2022, arXiv:2201.09865"
_INVERSION = "Song et al. 2021, arXiv:2010.02502"
_OPTIONS = {"training.steps": 500, "training.batch": 16}
_BORDERS = _OPTIONS | {"training.steps": 1000, "training.learning_rate": 2e-3}
_LATENT_OPTIONS = {"space.training.steps": 120}
_ALL = Conditioning()
_KL = KLSpace(training=Schedule(steps=400, learning_rate=2e-3, warmup=30, ema=0.99))


def _recipe(
    name: str,
    systems: tuple[str, ...],
    task: Task,
    cites: tuple[str, ...],
    reach: Reach,
    space: SpaceSettings | None = None,
    conditioning: Conditioning = _ALL,
    holes: bool = False,
    rounds: int = 1,
    in_3d: dict[str, Any] | None = None,
) -> Recipe:
    batch_3d = {"training.batch": 4} if space is None else {"training.batch": 8, "space.training.batch": 8}
    return Recipe(
        name=name,
        systems=systems,
        space=space or PixelSpace(),
        process=FlowProcess(holes=holes),
        backbone=UNetBackbone(widths=(32, 64, 128) if space is None else (64, 128, 192), blocks=(1, 1, 1)),
        conditioning=conditioning,
        sampler=SamplerSettings(name="heun", steps=12, task=task, rounds=rounds),
        training=Training(steps=800) if space is None else Training(steps=900, learning_rate=2e-3),
        in_3d=batch_3d | {"training.symmetries": "flips", "training.tell_symmetry": True} | (in_3d or {}),
        cites=(*cites, _FLOW),
        reach=reach,
    )


RECIPES = (
    _recipe(
        "inpainting",
        ("inpainting", "RePaint"),
        "inpaint",
        (_REPAINT, _PALETTE),
        Reach(measure="seam-of-known", at_most=0.05, options=_BORDERS, options_3d=PIXEL_VOLUMES | {"training.steps": 2000}),
        holes=True,
    ),
    _recipe(
        "outpainting",
        ("outpainting",),
        "outpaint",
        (_REPAINT, _PALETTE, _LATENT_DIFFUSION),
        Reach(
            measure="seam-of-known", at_most=0.05, options=_BORDERS | _LATENT_OPTIONS, options_3d=LATENT_VOLUMES | {"training.steps": 1800}
        ),
        space=_KL,
        holes=True,
        rounds=2,  # what a latent space knows of the pixels beside it is coarse
    ),
    _recipe(  # all noise is redrawn: of copies that keep 3 % of its variance, a third can still be matched to their sources
        "anonymised-copy",
        ("anonymised copy", "partial inversion"),
        "copy",
        (_INVERSION,),
        Reach(measure="anonymous-copy", at_least=0.7, options=_OPTIONS, options_3d=PIXEL_VOLUMES),
    ),
    _recipe(
        "interpolation",
        ("interpolation of latents",),
        "interpolate",
        (_INVERSION, "Shoemake 1985, doi:10.1145/325165.325242"),
        Reach(measure="passage", at_least=0.7, options=_OPTIONS, options_3d=PIXEL_VOLUMES),
        conditioning=Conditioning(uses=("scalar", "class")),
    ),
    _recipe(
        "attribute-editing",
        ("attribute editing",),
        "edit",
        (_INVERSION, "Hertz et al. 2022, arXiv:2208.01626"),
        Reach(measure="attribute", at_least=0.7, options=_OPTIONS, options_3d=PIXEL_VOLUMES | {"training.steps": 1200}),
        # a tissue map says nearly all of the level: a network that has both does not listen to the number
        in_3d={"conditioning.uses": ("scalar", "class")},
    ),
)
