"""Data → modules: one ``match`` an axis of the recipe space."""

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
    ProgressiveBackbone,
    StackedBackbone,
    StyleBackbone,
    UNetBackbone,
)
from sciimg.augmenters.backbones.stacked import Refiner
from sciimg.augmenters.backbones.style import StyleGenerator
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.grid import Step, coarser, halvings, product
from sciimg.augmenters.processes.adversarial import AdversarialProcess as AdversarialGame
from sciimg.augmenters.processes.adversarial import Stage
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.settings import AdversarialProcess, DiffusionProcess, FlowProcess
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace
from sciimg.augmenters.system import FieldSizes, Process, Space, System, padded_shape
from sciimg.errors import InputError, Problem


def build(recipe: Recipe, schema: ConditionSchema, shape: tuple[int, ...], spacing: tuple[float, ...] | None = None) -> System:
    """Return the networks of a recipe, untrained.

    Parameters
    ----------
    recipe : Recipe
    schema : ConditionSchema
    shape : tuple of int
        (C, [Z,] Y, X) of the images, of any size.
    spacing : tuple of float, optional
        Of the spatial axes; coarse axes are halved later. All alike when left out.
    """
    dims, inside = len(shape) - 1, recipe.space.halvings
    steps = halvings(shape[1:], spacing or (1.0,) * dims, inside + recipe.backbone.halvings)
    padded = padded_shape(shape, product(steps, dims))
    space = _space(recipe, padded, steps[:inside])
    process = _process(recipe, schema, space, padded, steps[inside:])
    return System(space, process, shape, padded)


def _space(recipe: Recipe, shape: tuple[int, ...], steps: tuple[Step, ...]) -> Space:
    match recipe.space:
        case PixelSpace():
            return Pixels()
        case KLSpace():
            return KLAutoencoder(recipe.space, shape, steps)
        case _:
            assert_never(recipe.space)


def _process(recipe: Recipe, schema: ConditionSchema, space: Space, shape: tuple[int, ...], steps: tuple[Step, ...]) -> Process:
    channels, *grid = space.shape(shape)
    fold = 1
    for image, point in zip(shape[1:], grid, strict=True):
        fold *= image // point
    sizes = FieldSizes(channels, tuple(grid), steps, schema.spatial * fold, schema.vector, schema.words)
    match recipe.process, recipe.backbone:
        case (FlowProcess() | DiffusionProcess()) as process, UNetBackbone() as backbone:
            return GaussianProcess(process, space, UNet(sizes, backbone), recipe.training, recipe.conditioning.drop)
        case AdversarialProcess() as process, (
            ConvNetBackbone() | DCGANBackbone() | ProgressiveBackbone() | StyleBackbone() | StackedBackbone()
        ) as backbone:
            return AdversarialGame(process, space, _stages(sizes, backbone), recipe.training)
        case process, backbone:
            message = (
                f"Process {process.kind!r} cannot use backbone {backbone.kind!r}: flow and ddpm take a unet, "
                "adversarial a convnet, dcgan, progressive, style or stacked."
            )
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))


def _stages(
    sizes: FieldSizes, backbone: ConvNetBackbone | DCGANBackbone | ProgressiveBackbone | StyleBackbone | StackedBackbone
) -> tuple[Stage, ...]:
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
