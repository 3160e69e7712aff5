"""Generators against discriminators."""

from sciimg.augmenters.backbones.settings import ConvNetBackbone
from sciimg.augmenters.processes.settings import AdversarialProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Training
from sciimg.augmenters.spaces.settings import PixelSpace

_GAME = Reach(
    measure="mask-obedience",
    at_least=0.7,
    options={"training.steps": 500, "training.batch": 16},
    options_3d={"training.steps": 150, "training.batch": 4},
)

RECIPES = (
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
        reach=_GAME,
    ),
)
