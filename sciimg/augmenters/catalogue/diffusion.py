"""Flow, diffusion and score-based models, in pixels and in latent spaces, and what draws from them."""

from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.catalogue.budgets import LATENT_VOLUMES, PIXEL_VOLUMES
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.processes.settings import (
    DiffusionProcess,
    Distil,
    EDMProcess,
    FlowProcess,
    GaussianSettings,
    NoisyClassifier,
    Reflow,
    ScoreProcess,
)
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule, Training
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace

_LATENT_DIFFUSION = "Rombach et al. 2022, arXiv:2112.10752"
_RECTIFIED_FLOW = "Liu et al. 2022, arXiv:2209.03003"
_DDPM, _DDIM = "Ho et al. 2020, arXiv:2006.11239", "Song et al. 2021, arXiv:2010.02502"
_SCORE, _EDM = "Song et al. 2021, arXiv:2011.13456", "Karras et al. 2022, arXiv:2206.00364"
_V = "Salimans & Ho 2022, arXiv:2202.00512"
_GUIDANCE = "Ho & Salimans 2022, arXiv:2207.12598"
_KL = KLSpace(training=Schedule(steps=400, learning_rate=2e-3, warmup=30, ema=0.99))

_IN_3D = {"training.batch": 4, "training.symmetries": "flips", "training.tell_symmetry": True}
_LATENT_IN_3D = _IN_3D | {"training.batch": 8, "space.training.batch": 8}

_OPTIONS = {"training.steps": 500, "training.batch": 16}
_PIXELS = Reach(measure="mask-obedience", at_least=0.7, options=_OPTIONS, options_3d=PIXEL_VOLUMES)
_LATENT = Reach(
    measure="mask-obedience",
    at_least=0.7,
    options=_OPTIONS | {"space.training.steps": 120},
    options_3d=LATENT_VOLUMES,
)
# what samplers and parameterisations do shows in small networks
_SHORT = {"training.steps": 400, "training.batch": 16, "training.learning_rate": 2e-3, "backbone.widths": [16, 32, 64]}
_SHORT_3D = {"training.steps": 600, "training.batch": 4}
_SHORT_REFLOW = {"process.reflow.training.steps": 150, "process.reflow.steps": 8}
_OBEYS = Reach(measure="mask-obedience", at_least=0.7, options=_SHORT, options_3d=_SHORT_3D)
# in volumes noise that is predicted as such, and scores over orders of magnitude of noise, are learned later than velocities
_LONGER_3D = {"training.steps": 1500}
_ALL = Conditioning()
_SECOND = Schedule(steps=300, batch=16, learning_rate=5e-4, ema=0.99)  # phases after the flow is learned


def _pixels(
    name: str,
    systems: tuple[str, ...],
    process: GaussianSettings,
    sampler: SamplerSettings,
    cites: tuple[str, ...],
    reach: Reach = _OBEYS,
    conditioning: Conditioning = _ALL,
    in_3d: dict[str, object] | None = None,
) -> Recipe:
    """Return a recipe in pixels that differs from others in process and sampler alone."""
    return Recipe(
        name=name,
        systems=systems,
        space=PixelSpace(),
        process=process,
        backbone=UNetBackbone(widths=(32, 64, 128), blocks=(1, 1, 1)),
        conditioning=conditioning,
        sampler=sampler,
        training=Training(steps=800),
        in_3d=_IN_3D | (in_3d or {}),
        cites=cites,
        reach=reach,
    )


RECIPES = (
    Recipe(
        name="ldm",
        systems=("LDM", "latent rectified flow"),
        space=_KL,
        process=FlowProcess(),
        backbone=UNetBackbone(widths=(64, 128, 192), blocks=(1, 1, 1)),
        sampler=SamplerSettings(name="unipc-3", steps=10),  # as near to real images as 12 Heun steps, for fewer than half the evaluations
        training=Training(steps=1200, learning_rate=2e-3),
        in_3d=_LATENT_IN_3D,
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
        in_3d=_LATENT_IN_3D,
        cites=(_LATENT_DIFFUSION, _DDPM, _DDIM, _GUIDANCE),
        reach=_LATENT,
    ),
    _pixels(
        "pixel-flow",
        ("rectified flow",),
        FlowProcess(),
        SamplerSettings(name="heun", steps=12),
        (_RECTIFIED_FLOW, _GUIDANCE),
        _PIXELS,
    ),
    _pixels(
        "pixel-ddpm",
        ("DDPM", "DDIM"),
        DiffusionProcess(predict="epsilon"),
        SamplerSettings(name="ancestral", steps=100),
        (_DDPM, _DDIM, _GUIDANCE),
        _PIXELS.model_copy(update={"options_3d": PIXEL_VOLUMES | _LONGER_3D}),
    ),
    _pixels(
        "ddim",
        ("DDIM",),
        DiffusionProcess(predict="v"),
        SamplerSettings(name="ddim", steps=25),
        (_DDIM, _V),
        Reach(measure="round-trip", at_least=0.6, options=_SHORT, options_3d=_SHORT_3D),
    ),
    _pixels(
        "dpm-solver++",
        ("DPM-Solver++",),
        DiffusionProcess(predict="v"),
        SamplerSettings(name="dpm-solver++", steps=12),
        ("Lu et al. 2022, arXiv:2211.01095", _V),
    ),
    _pixels(
        "unipc",
        ("UniPC",),
        DiffusionProcess(predict="v"),
        SamplerSettings(name="unipc-3", steps=10),
        ("Zhao et al. 2023, arXiv:2302.04867", _V),
    ),
    _pixels(
        "edm",
        ("EDM",),
        EDMProcess(),
        SamplerSettings(name="heun", steps=10, grid="karras"),
        (_EDM,),
        Reach(measure="kid-over-real", at_most=5.0, options=_SHORT, options_3d=_SHORT_3D),
    ),
    _pixels(
        "score-vp",
        ("Score SDE (VP)", "predictor-corrector"),
        ScoreProcess(sde="vp"),
        SamplerSettings(name="predictor-corrector", steps=50),
        (_SCORE,),
    ),
    _pixels(
        "score-ve",
        ("Score SDE (VE)", "NCSN++"),
        ScoreProcess(sde="ve"),
        SamplerSettings(name="predictor-corrector", steps=50),
        (_SCORE, "Song & Ermon 2019, arXiv:1907.05600"),
        _OBEYS.model_copy(update={"options_3d": _SHORT_3D | _LONGER_3D}),
    ),
    _pixels(
        "rectified-flow",
        ("Rectified flow", "reflow"),
        FlowProcess(reflow=Reflow(training=_SECOND)),
        SamplerSettings(name="euler", steps=2),
        (_RECTIFIED_FLOW,),
        Reach(
            measure="one-step",
            at_most=1.5,
            options=_SHORT | _SHORT_REFLOW,
            options_3d=_SHORT_3D,
        ),
        in_3d={"process.reflow.training.batch": 4},
    ),
    _pixels(
        "instaflow",
        ("InstaFlow",),
        FlowProcess(reflow=Reflow(training=_SECOND), distil=Distil(training=_SECOND)),
        SamplerSettings(name="one-step", steps=1),
        ("Liu et al. 2023, arXiv:2309.06380", _RECTIFIED_FLOW),
        Reach(
            measure="one-step",
            at_most=1.5,
            options=_SHORT | _SHORT_REFLOW | {"process.distil.training.steps": 150, "process.distil.steps": 8},
            options_3d=_SHORT_3D,
        ),
        in_3d={"process.reflow.training.batch": 4, "process.distil.training.batch": 4},
    ),
    _pixels(
        "classifier-guidance",
        ("Classifier guidance",),
        DiffusionProcess(predict="v", classifier=NoisyClassifier(training=Schedule(steps=400, batch=16, learning_rate=1e-3))),
        SamplerSettings(name="ddim", steps=25, guidance=8.0, guidance_interval=(0.0, 20.0)),
        ("Dhariwal & Nichol 2021, arXiv:2105.05233",),
        Reach(
            measure="guidance-obedience",
            at_least=0.5,
            options=_SHORT | {"process.classifier.training.steps": 150, "process.classifier.width": 16},
            options_3d=_SHORT_3D,
        ),
        Conditioning(uses=("scalar", "class")),
        in_3d={"process.classifier.training.batch": 4},
    ),
    _pixels(
        "cfg",
        ("Classifier-free guidance", "interval guidance"),
        FlowProcess(),
        SamplerSettings(name="heun", steps=12, guidance=1.5, guidance_interval=(0.2, 80.0)),
        (_GUIDANCE, "Kynkaanniemi et al. 2024, arXiv:2404.07724"),
        Reach(measure="guidance-obedience", at_least=0.5, options=_SHORT, options_3d=_SHORT_3D),
        Conditioning(drop=0.15),
    ),
)
