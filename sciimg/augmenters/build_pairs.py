"""Generators and their opponents."""

import math
from dataclasses import replace
from typing import assert_never

from sciimg.augmenters.backbones.convnet import Discriminator, Generator
from sciimg.augmenters.backbones.dcgan import DCGenerator, DCJudge
from sciimg.augmenters.backbones.opponents import Judge, PointGenerator
from sciimg.augmenters.backbones.progressive import ProgressiveGenerator, ProgressiveJudge
from sciimg.augmenters.backbones.settings import (
    ConvNetBackbone,
    DCGANBackbone,
    PairSettings,
    ProgressiveBackbone,
    StackedBackbone,
    StyleBackbone,
)
from sciimg.augmenters.backbones.stacked import Refiner
from sciimg.augmenters.backbones.style import StyleGenerator
from sciimg.augmenters.grid import Step, coarser
from sciimg.augmenters.processes.adversarial import Stage
from sciimg.augmenters.system import FieldSizes


def stages(sizes: FieldSizes, backbone: PairSettings) -> tuple[Stage, ...]:
    """Return the pairs of an adversarial process, coarse ones first."""
    whole = (1,) * sizes.dims

    def stage(generator: PointGenerator, discriminator: Judge, of: FieldSizes = sizes, factor: Step = whole) -> Stage:
        return Stage(generator, discriminator, of.channels, of.grid, factor)

    match backbone:
        case ConvNetBackbone():
            return (stage(Generator(sizes, backbone), Discriminator(sizes, backbone)),)
        case DCGANBackbone():
            return (stage(DCGenerator(sizes, backbone), _judge(sizes, backbone)),)
        case ProgressiveBackbone():
            return (stage(ProgressiveGenerator(sizes, backbone), ProgressiveJudge(sizes, backbone)),)
        case StyleBackbone():
            return (stage(StyleGenerator(sizes, backbone), Discriminator(sizes, backbone)),)
        case StackedBackbone(coarse=own):
            first, *rest = sizes.steps
            small = replace(sizes, grid=coarser(sizes.grid, first), steps=tuple(rest), maps=sizes.maps * math.prod(first))
            generator = DCGenerator(small, own)
            fine = replace(sizes, steps=sizes.steps[: len(own.discriminator)])
            return (
                stage(generator, _judge(small, own), small, first),
                stage(Refiner(sizes, backbone, generator), _judge(fine, own)),
            )
        case _:
            assert_never(backbone)


def _judge(sizes: FieldSizes, backbone: DCGANBackbone) -> Judge:
    return DCJudge(sizes, backbone) if backbone.judge == "logit" else Discriminator(sizes, backbone)
