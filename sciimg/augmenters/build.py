"""Data → modules: one ``match`` an axis of the recipe space."""

from dataclasses import replace
from typing import assert_never

from sciimg.augmenters.backbones.convnet import Discriminator, Generator
from sciimg.augmenters.backbones.settings import ConvNetBackbone, UNetBackbone, ViTBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.backbones.vit import ViT
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.conditioning.text import TextEncoder
from sciimg.augmenters.grid import Step, halvings, product
from sciimg.augmenters.processes.adversarial import AdversarialProcess as AdversarialGame
from sciimg.augmenters.processes.contrastive import ContrastiveEncoder, TwoTowers
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.masked import MaskedEncoder
from sciimg.augmenters.processes.settings import (
    AdversarialProcess,
    ContrastiveProcess,
    DiffusionProcess,
    FlowProcess,
    MaskedProcess,
    UnclipProcess,
)
from sciimg.augmenters.processes.unclip import Unclip
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace
from sciimg.augmenters.system import FieldSizes, Process, Space, System, padded_shape
from sciimg.errors import InputError, Problem

_FITTING = "flow, ddpm and unclip take a unet, adversarial a convnet, contrastive and masked a vit."


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
    sizes = FieldSizes(
        channels, tuple(grid), steps, schema.spatial * fold, schema.vector, schema.words, recipe.conditioning.text == "cross-attention"
    )
    match recipe.process, recipe.backbone:
        case (FlowProcess() | DiffusionProcess()) as process, UNetBackbone() as backbone:
            return GaussianProcess(process, space, UNet(sizes, backbone), recipe.training, recipe.conditioning.drop)
        case AdversarialProcess() as process, ConvNetBackbone() as backbone:
            generator, discriminator = Generator(sizes, backbone), Discriminator(sizes, backbone)
            return AdversarialGame(process, space, generator, discriminator, recipe.training, (channels, *grid))
        case ContrastiveProcess() as process, ViTBackbone() as backbone:
            return ContrastiveEncoder(space, _towers(process, backbone, sizes), recipe.training)
        case MaskedProcess() as process, ViTBackbone() as backbone:
            return MaskedEncoder(process, space, ViT(sizes, backbone), recipe.training)
        case UnclipProcess() as process, UNetBackbone() as backbone:
            towers = _towers(process.contrastive, process.encoder, sizes)
            decoder = UNet(replace(sizes, words=0, vector=sizes.vector + process.contrastive.embedding), backbone)
            return Unclip(process, space, towers, decoder, recipe.training, recipe.conditioning.drop)
        case process, backbone:
            message = f"Process {process.kind!r} cannot use backbone {backbone.kind!r}: {_FITTING}"
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))


def _towers(process: ContrastiveProcess, backbone: ViTBackbone, sizes: FieldSizes) -> TwoTowers:
    return TwoTowers(process, ViT(sizes, backbone), backbone.width, TextEncoder(sizes.words, process.words_width))
