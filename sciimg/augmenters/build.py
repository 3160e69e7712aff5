"""Data → modules: one ``match`` an axis of the recipe space."""

from typing import assert_never

from sciimg.augmenters.backbones.convnet import Discriminator, Generator
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.processes.adversarial import AdversarialProcess as AdversarialGame
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.recipes import Recipe
from sciimg.augmenters.settings import AdversarialProcess, ConvNetBackbone, DiffusionProcess, FlowProcess, KLSpace, PixelSpace, UNetBackbone
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.system import Process, Space, System, padded_shape
from sciimg.errors import InputError, Problem


def build(recipe: Recipe, schema: ConditionSchema, shape: tuple[int, ...]) -> System:
    """Return the networks of a recipe, untrained.

    Parameters
    ----------
    recipe : Recipe
    schema : ConditionSchema
    shape : tuple of int
        (C, [Z,] Y, X) of the images, of any size.
    """
    padded = padded_shape(shape, _multiple(recipe))
    space = _space(recipe, padded)
    return System(space, _process(recipe, schema, space, padded), shape)


def _multiple(recipe: Recipe) -> int:
    factor = recipe.space.factor if isinstance(recipe.space, KLSpace) else 1
    match recipe.backbone:
        case UNetBackbone(widths=widths):
            return factor << (len(widths) - 1)
        case ConvNetBackbone(generator=widths):
            return factor << len(widths)
        case _:
            assert_never(recipe.backbone)


def _space(recipe: Recipe, shape: tuple[int, ...]) -> Space:
    match recipe.space:
        case PixelSpace():
            return Pixels()
        case KLSpace():
            return KLAutoencoder(recipe.space, shape)
        case _:
            assert_never(recipe.space)


def _process(recipe: Recipe, schema: ConditionSchema, space: Space, shape: tuple[int, ...]) -> Process:
    points = space.shape(shape)
    channels, *grid = points
    sizes = (len(grid), channels, schema.maps * (shape[-1] // grid[-1]) ** len(grid), schema.vector)
    match recipe.process, recipe.backbone:
        case (FlowProcess() | DiffusionProcess()) as process, UNetBackbone() as backbone:
            return GaussianProcess(process, space, UNet(*sizes, backbone), recipe.training, recipe.conditioning.drop)
        case AdversarialProcess() as process, ConvNetBackbone() as backbone:
            return AdversarialGame(process, space, Generator(*sizes, backbone), Discriminator(*sizes, backbone), recipe.training, points)
        case process, backbone:
            message = f"Process {process.kind!r} cannot use backbone {backbone.kind!r}: flow and ddpm take a unet, adversarial a convnet."
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))
