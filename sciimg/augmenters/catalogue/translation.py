"""One image into another: another contrast, another stain. An image condition of the study names the channels that are given."""

from sciimg.augmenters.backbones.settings import TranslatorBackbone, UNetBackbone
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.processes.settings import CycleProcess, FlowProcess, TranslationProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Training
from sciimg.augmenters.spaces.settings import PixelSpace

_PAIRED = Conditioning(uses=("mask", "scalar", "class", "image"), needs=("image",), drop=0.0)
_GAN = Training(
    steps=1500, batch=16, learning_rate=1e-3, final_rate=0.05, betas=(0.5, 0.99), weight_decay=0.0, clip=1000.0, ema=0.99, warmup=20
)
_ONCE = SamplerSettings(name="one-step", steps=1)

RECIPES = (
    Recipe(
        name="pix2pix",
        systems=("Pix2Pix", "PatchGAN"),
        space=PixelSpace(),
        process=TranslationProcess(),
        backbone=TranslatorBackbone(network="unet", dropout=0.1),
        conditioning=_PAIRED,
        sampler=_ONCE,
        training=_GAN,
        in_3d={"training.batch": 4, "training.symmetries": "flips"},
        cites=("Isola et al. 2017, arXiv:1611.07004",),
        reach=Reach(
            measure="translation",
            at_least=0.1,
            data="translation",
            options={"training.steps": 400},
            options_3d={"training.steps": 300},
        ),
    ),
    Recipe(
        name="cyclegan",
        systems=("CycleGAN", "unpaired cross-modality translation"),
        space=PixelSpace(),
        process=CycleProcess(),
        backbone=TranslatorBackbone(network="resnet", widths=(32, 64), residual_blocks=3, as_source=True),
        conditioning=Conditioning(uses=("image",), needs=("image",), drop=0.0),
        sampler=_ONCE,
        training=_GAN,
        in_3d={"training.batch": 4, "training.symmetries": "flips", "process.buffer": 16},
        cites=("Zhu et al. 2017, arXiv:1703.10593", "Shrivastava et al. 2017, arXiv:1612.07828"),
        reach=Reach(
            measure="unpaired-translation",
            at_least=0.1,
            data="contrasts",
            # in so few steps the weights of the paper, made for 200 epochs, leave the source as it is
            # the identity loss would be skipped here in any case: one channel is given, two are made
            options={"training.steps": 400, "process.cycle": 1.0, "process.identity": 0.0},
            options_3d={"training.steps": 1000, "training.batch": 6},
        ),
    ),
    Recipe(
        name="flow-translation",
        systems=("Palette", "cross-modality translation"),
        space=PixelSpace(),
        process=FlowProcess(time_mean=0.5),  # at noisy times the source is all that there is to go by
        backbone=UNetBackbone(widths=(32, 64, 128), blocks=(1, 1, 1)),
        conditioning=_PAIRED,
        sampler=SamplerSettings(name="heun", steps=8),
        training=Training(steps=1500, batch=16, learning_rate=2e-3),
        in_3d={"training.batch": 4, "training.symmetries": "flips"},
        cites=("Saharia et al. 2022, arXiv:2111.05826", "Liu et al. 2022, arXiv:2209.03003"),
        reach=Reach(
            measure="translation",
            at_least=0.1,
            data="translation",
            options={"training.steps": 2000},
            options_3d={"training.steps": 500, "backbone.widths": [16, 32, 64]},
        ),
    ),
)
