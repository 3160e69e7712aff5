"""Data → modules: one ``match`` an axis of the recipe space."""

from typing import assert_never

from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.conditioning.schema import ConditionSchema
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
        case ConvNetBackbone():
            return factor
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
    match recipe.process:
        case FlowProcess() | DiffusionProcess():
            network = _network(recipe, schema, space, shape)
            return GaussianProcess(recipe.process, space, network, recipe.training, recipe.conditioning.drop)
        case AdversarialProcess():
            raise InputError(Problem(recipe.name, "not-available", "The adversarial process is not in this version."))
        case _:
            assert_never(recipe.process)


def _network(recipe: Recipe, schema: ConditionSchema, space: Space, shape: tuple[int, ...]) -> UNet:
    channels, *grid = space.shape(shape)
    maps = schema.maps * (shape[-1] // grid[-1]) ** len(grid)
    match recipe.backbone:
        case UNetBackbone():
            return UNet(len(grid), channels, maps, schema.vector, recipe.backbone)
        case ConvNetBackbone():
            message = "A convnet backbone needs an adversarial process; give a unet."
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))
        case _:
            assert_never(recipe.backbone)
