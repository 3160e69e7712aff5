"""Data → modules: one ``match`` an axis of the recipe space."""

from typing import assert_never

from sciimg.augmenters.backbones.convnet import Discriminator
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.processes.adversarial import AdversarialProcess as AdversarialGame
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.recipes import Recipe
from sciimg.augmenters.settings import AdversarialProcess, DiffusionProcess, FlowProcess, KLSpace, PixelSpace
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.system import Process, Space, System, padded_shape


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
    return factor << (len(recipe.backbone.widths) - 1)


def _space(recipe: Recipe, shape: tuple[int, ...]) -> Space:
    match recipe.space:
        case PixelSpace():
            return Pixels()
        case KLSpace():
            return KLAutoencoder(recipe.space, shape)
        case _:
            assert_never(recipe.space)


def _process(recipe: Recipe, schema: ConditionSchema, space: Space, shape: tuple[int, ...]) -> Process:
    channels, *grid = space.shape(shape)
    maps = schema.maps * (shape[-1] // grid[-1]) ** len(grid)
    network = UNet(len(grid), channels, maps, schema.vector, recipe.backbone)
    match recipe.process:
        case FlowProcess() | DiffusionProcess():
            return GaussianProcess(recipe.process, space, network, recipe.training, recipe.conditioning.drop)
        case AdversarialProcess():
            judge = Discriminator(len(grid), channels, maps, schema.vector, recipe.process.discriminator)
            return AdversarialGame(recipe.process, space, network, judge, recipe.training)
        case _:
            assert_never(recipe.process)
