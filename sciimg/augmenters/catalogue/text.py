"""Images and captions: text to image, encoders of both, and encoders of images alone."""

from sciimg.augmenters.backbones.settings import UNetBackbone, ViTBackbone
from sciimg.augmenters.catalogue.budgets import LATENT_VOLUMES
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.processes.settings import ContrastiveProcess, FlowProcess, MaskedProcess, UnclipProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule, Training
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace

_LATENT_DIFFUSION = "Rombach et al. 2022, arXiv:2112.10752"
_GUIDANCE = "Ho & Salimans 2022, arXiv:2207.12598"
_CAPTIONS = Conditioning(uses=("text",), needs=("text",), text="cross-attention", drop=0.1)

_OPTIONS = {"training.steps": 300, "training.batch": 16}
_ENCODED = {"training.steps": 400, "training.batch": 16}
_ENCODED_3D = {"training.steps": 250, "training.batch": 8}
_VOLUMES = {"training.batch": 8, "training.symmetries": "flips", "training.tell_symmetry": True}

_NO_SAMPLER = SamplerSettings(name="none", steps=1)
_ENCODER = Training(steps=1500, batch=32, learning_rate=1e-3)

RECIPES = (
    Recipe(
        name="text-ldm",
        systems=("Stable Diffusion", "LDM with text"),
        space=KLSpace(training=Schedule(steps=400, learning_rate=2e-3, warmup=30, ema=0.99)),
        process=FlowProcess(),
        backbone=UNetBackbone(widths=(64, 96, 128), blocks=(1, 1, 1)),
        conditioning=_CAPTIONS,
        sampler=SamplerSettings(name="heun", steps=12, guidance=2.0),
        training=Training(steps=900, learning_rate=2e-3),
        in_3d=_VOLUMES | {"space.training.batch": 8},
        cites=(_LATENT_DIFFUSION, "Liu et al. 2022, arXiv:2209.03003", _GUIDANCE),
        reach=Reach(
            measure="caption-score",
            at_least=0.6,
            data="captions",
            options=_OPTIONS | {"space.training.steps": 120, "space.training.batch": 16},
            options_3d=LATENT_VOLUMES,
        ),
    ),
    Recipe(
        name="glide",
        systems=("GLIDE",),
        dims=(2,),
        space=PixelSpace(),
        process=FlowProcess(),
        backbone=UNetBackbone(widths=(32, 64, 96), blocks=(1, 1, 1)),
        conditioning=_CAPTIONS,
        sampler=SamplerSettings(name="heun", steps=12, guidance=3.0),
        training=Training(steps=900),
        cites=("Nichol et al. 2021, arXiv:2112.10741", _GUIDANCE),
        reach=Reach(measure="caption-score", at_least=0.6, data="captions", options=_OPTIONS),
    ),
    Recipe(
        name="clip",
        systems=("CLIP",),
        space=PixelSpace(),
        process=ContrastiveProcess(),
        backbone=ViTBackbone(),
        conditioning=_CAPTIONS.model_copy(update={"text": "pooled"}),
        sampler=_NO_SAMPLER,
        training=_ENCODER,
        in_3d=_VOLUMES | {"backbone.halvings": 2},
        cites=("Radford et al. 2021, arXiv:2103.00020", "Yang et al. 2022, arXiv:2204.03610"),
        reach=Reach(
            measure="retrieval",
            at_least=1.3,
            data="captions",
            options={"training.steps": 200, "training.batch": 16},
            options_3d=_ENCODED_3D | {"training.steps": 150},
        ),
    ),
    Recipe(
        name="mae",
        systems=("MAE", "ViT"),
        space=PixelSpace(),
        process=MaskedProcess(),
        backbone=ViTBackbone(),
        conditioning=Conditioning(uses=()),
        sampler=_NO_SAMPLER,
        training=_ENCODER,
        in_3d=_VOLUMES | {"backbone.halvings": 2},
        cites=("He et al. 2022, arXiv:2111.06377", "Dosovitskiy et al. 2021, arXiv:2010.11929"),
        # what stands beside a patch is learned late: after 400 steps its features say no more of it than random ones do
        reach=Reach(
            measure="linear-probe",
            at_least=0.02,
            options=_ENCODED | {"training.steps": 2000},
            options_3d=_ENCODED_3D | {"training.steps": 1200},
        ),
    ),
    Recipe(
        name="dall-e-2",
        systems=("DALL-E 2", "unCLIP"),
        dims=(2,),
        space=PixelSpace(),
        process=UnclipProcess(
            contrastive_training=Schedule(steps=600, batch=64, learning_rate=1e-3),
            prior_training=Schedule(steps=1000, batch=64, learning_rate=1e-3),
        ),
        backbone=UNetBackbone(widths=(32, 48, 64, 96), blocks=(1, 1, 1, 1)),
        conditioning=_CAPTIONS.model_copy(update={"text": "pooled"}),
        sampler=SamplerSettings(name="heun", steps=12, guidance=2.0),
        training=Training(steps=900),
        cites=("Ramesh et al. 2022, arXiv:2204.06125", _GUIDANCE),
        reach=Reach(
            measure="prior-cosine",
            at_least=0.02,
            data="captions",
            options={
                "training.steps": 600,
                "training.batch": 16,
                "process.contrastive_training.steps": 200,
                "process.contrastive_training.batch": 16,
                "process.prior_training.steps": 600,
                "process.prior_training.batch": 16,
            },
        ),
    ),
)
