"""Diffusion and flow, in pixels and in latent spaces."""

from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.processes.settings import DiffusionProcess, FlowProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule, Training
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace

_LATENT_DIFFUSION = "Rombach et al. 2022, arXiv:2112.10752"
_RECTIFIED_FLOW = "Liu et al. 2022, arXiv:2209.03003"
_GUIDANCE = "Ho & Salimans 2022, arXiv:2207.12598"
_KL = KLSpace(training=Schedule(steps=400, learning_rate=2e-3, warmup=30, ema=0.99))

_OPTIONS = {"training.steps": 500, "training.batch": 16}
_OPTIONS_3D = {"training.steps": 150, "training.batch": 4}
_PIXELS = Reach(measure="mask-obedience", at_least=0.7, options=_OPTIONS, options_3d=_OPTIONS_3D)
_LATENT = Reach(
    measure="mask-obedience",
    at_least=0.7,
    options=_OPTIONS | {"space.training.steps": 120},
    options_3d=_OPTIONS_3D | {"space.training.steps": 60, "space.training.batch": 4},
)

RECIPES = (
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
        reach=_LATENT,
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
        reach=_LATENT,
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
        reach=_PIXELS,
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
        reach=_PIXELS,
    ),
)
