"""Diffusion and flow in other spaces and with other networks than the first: wavelets, a consistency decoder, transformers."""

from sciimg.augmenters.backbones.settings import DiTBackbone, UNetBackbone
from sciimg.augmenters.catalogue.budgets import FIRST_STAGE_VOLUMES, LATENT_GRID_VOLUMES
from sciimg.augmenters.processes.settings import DiffusionProcess, FlowProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule, Training
from sciimg.augmenters.spaces.settings import ConsistencyDecoder, KLSpace, WaveletSpace

_LATENT_DIFFUSION = "Rombach et al. 2022, arXiv:2112.10752"
_RECTIFIED_FLOW = "Liu et al. 2022, arXiv:2209.03003"
_TRANSFORMER = "Peebles & Xie 2023, arXiv:2212.09748"
_PATCHES = ("Bao et al. 2023, arXiv:2209.12152", "Xiao et al. 2021, arXiv:2106.14881")
_UNET = UNetBackbone(widths=(64, 128, 192), blocks=(1, 1, 1))
_STAGE_1 = Schedule(steps=400, learning_rate=2e-3, warmup=30, ema=0.99)
_IN_3D = {"training.batch": 8, "training.symmetries": "flips", "training.tell_symmetry": True}
_OPTIONS = {"training.steps": 500, "training.batch": 16}
_TOKENS_3D = {"training.steps": 300, "training.batch": 4}
_STAGE_1_OPTIONS = {"space.training.steps": 120}

RECIPES = (
    Recipe(
        name="wavelet-flow",
        systems=("WDM", "wavelet flow"),
        space=WaveletSpace(),
        process=FlowProcess(),
        backbone=_UNET,
        sampler=SamplerSettings(name="heun", steps=12),
        training=Training(steps=900, learning_rate=2e-3),
        in_3d=_IN_3D,
        cites=("Friedrich et al. 2024, arXiv:2402.19043", _RECTIFIED_FLOW),
        reach=Reach(measure="mask-obedience", at_least=0.7, options=_OPTIONS, options_3d=LATENT_GRID_VOLUMES),
    ),
    Recipe(
        name="ldm-consistency-decoder",
        systems=("consistency decoder", "DALL-E 3 decoder"),
        space=KLSpace(
            training=_STAGE_1,
            consistency=ConsistencyDecoder(training=Schedule(steps=600, batch=16, learning_rate=1e-3, warmup=30, ema=0.99)),
        ),
        process=FlowProcess(),
        backbone=_UNET,
        sampler=SamplerSettings(name="heun", steps=12),
        training=Training(steps=900, learning_rate=2e-3),
        in_3d=_IN_3D | {"space.training.batch": 8, "space.consistency.training.batch": 4},
        cites=("Song et al. 2023, arXiv:2303.01469", "Song & Dhariwal 2023, arXiv:2310.14189", _LATENT_DIFFUSION, _RECTIFIED_FLOW),
        reach=Reach(
            measure="sharpness",
            at_least=0.25,
            options={"training.steps": 500, "training.batch": 16, "space.consistency.training.steps": 250} | _STAGE_1_OPTIONS,
            options_3d=LATENT_GRID_VOLUMES
            | {"space.consistency.training.steps": 800, "space.consistency.training.batch": 8}
            | FIRST_STAGE_VOLUMES,
        ),
    ),
    Recipe(
        name="dit",
        systems=("DiT",),
        space=KLSpace(training=_STAGE_1),
        process=DiffusionProcess(predict="v"),
        backbone=DiTBackbone(patch=2),
        sampler=SamplerSettings(name="ddim", steps=25),
        training=Training(steps=1500, learning_rate=1e-3),
        in_3d=_IN_3D | {"space.training.batch": 8, "backbone.patch": 1},
        cites=(_TRANSFORMER, _LATENT_DIFFUSION, *_PATCHES),
        reach=Reach(
            measure="kid-beside-unet", at_most=1.1, options=_OPTIONS | _STAGE_1_OPTIONS, options_3d=_TOKENS_3D | FIRST_STAGE_VOLUMES
        ),
    ),
    Recipe(
        name="sit",
        systems=("SiT",),
        space=KLSpace(training=_STAGE_1),
        process=FlowProcess(),
        backbone=DiTBackbone(patch=2),
        sampler=SamplerSettings(name="heun", steps=12),
        training=Training(steps=1500, learning_rate=1e-3),
        in_3d=_IN_3D | {"space.training.batch": 8, "backbone.patch": 1},
        cites=("Ma et al. 2024, arXiv:2401.08740", _TRANSFORMER, _LATENT_DIFFUSION, _RECTIFIED_FLOW, *_PATCHES),
        reach=Reach(
            measure="kid-beside-unet", at_most=1.1, options=_OPTIONS | _STAGE_1_OPTIONS, options_3d=_TOKENS_3D | FIRST_STAGE_VOLUMES
        ),
    ),
)
