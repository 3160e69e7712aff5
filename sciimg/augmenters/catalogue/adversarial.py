"""Generators against discriminators."""

from typing import Any

from sciimg.augmenters.backbones.settings import ConvNetBackbone, DCGANBackbone, ProgressiveBackbone, StackedBackbone, StyleBackbone
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.processes.settings import AdversarialProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Training
from sciimg.augmenters.spaces.settings import PixelSpace

_ONE_STEP = SamplerSettings(name="one-step", steps=1)
_TRAINING = Training(
    steps=900, batch=16, learning_rate=1e-3, final_rate=0.1, betas=(0.0, 0.99), weight_decay=0.0, clip=10.0, ema=0.99, warmup=20
)
_IN_3D: dict[str, Any] = {"training.steps": 600, "training.batch": 8, "training.symmetries": "flips", "training.tell_symmetry": True}
_UNTOLD = Conditioning(uses=())
_CAPTIONS = Conditioning(uses=("text",), needs=("text",))

# Three things of the modern recipe stay in the classical ones. R1 is where the first papers had batch normalisation, which mixes samples:
# without either the game does not converge (Mescheder et al. 2018, arXiv:1801.04406). The energy score is what lets a game of some hundred
# steps find levels and keep variety: the classical losses alone collapsed in that time. The judge's view moves by a few samples, because
# one that always cuts the same blocks does not see a lattice that follows them.
_CLASSIC: dict[str, Any] = {"shift": 0.05, "colour": 0.0}
_CLASSIC_TRAINING = _TRAINING.model_copy(update={"betas": (0.5, 0.99)})
_UNTOLD_IN_3D: dict[str, Any] = {"training.steps": 600, "training.batch": 8, "training.symmetries": "flips"}
_DCGAN_IN_3D: dict[str, Any] = {"backbone.generator": [96, 64, 48], "backbone.discriminator": [32, 64, 96]}

_SMALL_PLAIN = DCGANBackbone(generator=(96, 64, 48), discriminator=(48, 64, 96))
_SMALL = DCGANBackbone(generator=(96, 64, 48), discriminator=(48, 64, 96), judge="pyramid")

_SHORT: dict[str, Any] = {"training.steps": 500, "training.batch": 16}
_SHORT_STAGES: dict[str, Any] = {"training.steps": 700, "training.batch": 16}  # in each of two
_SHORT_3D: dict[str, Any] = {"training.steps": 300, "training.batch": 4}
_UNTOLD_SHORT_3D: dict[str, Any] = {"training.steps": 600, "training.batch": 8}  # without a mask to follow, shape takes longer

RECIPES = (
    Recipe(
        name="gan",
        systems=("cGAN", "R3GAN", "DiffAugment"),
        space=PixelSpace(),
        process=AdversarialProcess(),
        backbone=ConvNetBackbone(),
        sampler=_ONE_STEP,
        training=_TRAINING,
        in_3d=_IN_3D,
        cites=(
            "Huang et al. 2024, arXiv:2501.05441",
            "Zhao et al. 2020, arXiv:2006.10738",
            "Gneiting & Raftery 2007, doi:10.1198/016214506000001437",
        ),
        reach=Reach(measure="mask-obedience", at_least=0.7, options=_SHORT, options_3d=_SHORT_3D),
    ),
    Recipe(
        name="gan-2014",
        systems=("GAN",),
        space=PixelSpace(),
        process=AdversarialProcess(loss="non-saturating", penalty="r1", **_CLASSIC),
        backbone=ConvNetBackbone(),
        conditioning=_UNTOLD,
        sampler=_ONE_STEP,
        training=_CLASSIC_TRAINING,
        in_3d=_UNTOLD_IN_3D,
        cites=("Goodfellow et al. 2014, arXiv:1406.2661",),
        reach=Reach(measure="kid-with-recall", at_most=0.7, options=_SHORT, options_3d=_UNTOLD_SHORT_3D),
    ),
    Recipe(
        name="dcgan",
        systems=("DCGAN",),
        space=PixelSpace(),
        process=AdversarialProcess(loss="non-saturating", penalty="r1", **_CLASSIC),
        backbone=DCGANBackbone(),
        conditioning=_UNTOLD,
        sampler=_ONE_STEP,
        training=_CLASSIC_TRAINING,
        in_3d=_UNTOLD_IN_3D | _DCGAN_IN_3D,
        cites=("Radford et al. 2016, arXiv:1511.06434",),
        reach=Reach(measure="kid-with-recall", at_most=0.7, options=_SHORT | {"training.steps": 2000}, options_3d=_UNTOLD_SHORT_3D),
    ),
    Recipe(
        name="cgan",
        systems=("cGAN",),
        space=PixelSpace(),
        process=AdversarialProcess(loss="non-saturating", penalty="r1", mismatched=0.5, **_CLASSIC),
        backbone=_SMALL_PLAIN,
        sampler=_ONE_STEP,
        training=_CLASSIC_TRAINING,
        in_3d=_IN_3D,
        cites=("Mirza & Osindero 2014, arXiv:1411.1784", "Miyato & Koyama 2018, arXiv:1802.05637", "Reed et al. 2016, arXiv:1605.05396"),
        reach=Reach(
            measure="condition-accuracy", at_least=0.5, data="described", options=_SHORT | {"training.steps": 2000}, options_3d=_SHORT_3D
        ),
    ),
    Recipe(
        name="wgan-gp",
        systems=("WGAN", "WGAN-GP"),
        space=PixelSpace(),
        process=AdversarialProcess(
            loss="wasserstein", penalty="interpolated", gamma=10.0, penalty_every=1, penalty_batch=8, critic_steps=3, **_CLASSIC
        ),
        backbone=_SMALL,
        conditioning=_UNTOLD,
        sampler=_ONE_STEP,
        training=_CLASSIC_TRAINING.model_copy(update={"learning_rate": 5e-4}),
        in_3d=_UNTOLD_IN_3D,
        cites=("Arjovsky et al. 2017, arXiv:1701.07875", "Gulrajani et al. 2017, arXiv:1704.00028"),
        reach=Reach(measure="critic-tracks-distance", at_least=0.6, options=_SHORT | {"training.steps": 1500}, options_3d=_UNTOLD_SHORT_3D),
    ),
    Recipe(
        name="r3gan",
        systems=("R3GAN", "DiffAugment"),
        space=PixelSpace(),
        process=AdversarialProcess(),
        backbone=ConvNetBackbone(),
        conditioning=_UNTOLD,
        sampler=_ONE_STEP,
        training=_TRAINING,
        in_3d=_UNTOLD_IN_3D,
        cites=("Huang et al. 2024, arXiv:2501.05441", "Zhao et al. 2020, arXiv:2006.10738"),
        reach=Reach(measure="kid-beside-dcgan", at_most=0.99, options=_SHORT, options_3d=_UNTOLD_SHORT_3D),  # beaten, not equalled
    ),
    Recipe(
        name="progan",
        systems=("ProGAN",),
        dims=(2,),
        space=PixelSpace(),
        process=AdversarialProcess(loss="non-saturating", penalty="r1", **_CLASSIC),
        backbone=ProgressiveBackbone(),
        conditioning=_UNTOLD,
        sampler=_ONE_STEP,
        training=_TRAINING.model_copy(update={"learning_rate": 2e-3}),
        cites=("Karras et al. 2018, arXiv:1710.10196",),
        reach=Reach(measure="kid-with-recall", at_most=0.7, options=_SHORT | {"training.steps": 3000}),
    ),
    Recipe(
        name="biggan",
        systems=("BigGAN",),
        dims=(2,),
        space=PixelSpace(),
        process=AdversarialProcess(loss="hinge", penalty="r1", orthogonal=1e-4, **_CLASSIC),
        backbone=DCGANBackbone(generator=(96, 64, 48), discriminator=(48, 64, 96), judge="pyramid", skip_noise=True),
        conditioning=Conditioning(uses=("class",)),
        sampler=_ONE_STEP,
        training=_CLASSIC_TRAINING,
        cites=("Brock et al. 2019, arXiv:1809.11096",),
        reach=Reach(measure="truncation-trade", at_least=0.2, data="described", options=_SHORT | {"training.steps": 800}),
    ),
    Recipe(
        name="stylegan",
        systems=("StyleGAN", "StyleGAN2"),
        space=PixelSpace(),
        process=AdversarialProcess(loss="non-saturating", penalty="r1", gamma=0.1),
        backbone=StyleBackbone(),
        conditioning=_UNTOLD,
        sampler=_ONE_STEP,
        training=_TRAINING,
        in_3d=_UNTOLD_IN_3D,
        cites=("Karras et al. 2019, arXiv:1812.04948", "Karras et al. 2020, arXiv:1912.04958"),
        reach=Reach(measure="style-mixing", at_least=0.3, options=_SHORT | {"training.steps": 800}, options_3d=_UNTOLD_SHORT_3D),
    ),
    Recipe(
        name="stackgan",
        systems=("StackGAN",),
        dims=(2,),
        space=PixelSpace(),
        process=AdversarialProcess(loss="non-saturating", penalty="r1", mismatched=0.5, **_CLASSIC),
        backbone=StackedBackbone(coarse=_SMALL_PLAIN),
        conditioning=_CAPTIONS,
        sampler=_ONE_STEP,
        training=_CLASSIC_TRAINING,
        cites=("Zhang et al. 2017, arXiv:1612.03242", "Reed et al. 2016, arXiv:1605.05396"),
        reach=Reach(measure="text-image-score", at_least=0.5, data="described", options=_SHORT_STAGES),
    ),
    Recipe(
        name="attngan",
        systems=("AttnGAN",),
        dims=(2,),
        space=PixelSpace(),
        process=AdversarialProcess(loss="non-saturating", penalty="r1", mismatched=0.5, **_CLASSIC),
        backbone=StackedBackbone(coarse=_SMALL_PLAIN, attention=True),
        conditioning=_CAPTIONS,
        sampler=_ONE_STEP,
        training=_CLASSIC_TRAINING,
        cites=("Xu et al. 2018, arXiv:1711.10485", "Reed et al. 2016, arXiv:1605.05396"),
        reach=Reach(measure="text-image-score", at_least=0.5, data="described", options=_SHORT_STAGES),
    ),
)
