"""Data → modules: one ``match`` an axis of the recipe space."""

from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from sciimg.augmenters.backbones.convnet import Discriminator, Generator
from sciimg.augmenters.backbones.settings import ConvNetBackbone, UNetBackbone, ViTBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.backbones.vit import ViT
from sciimg.augmenters.conditioning.pretrained import PretrainedImages, PretrainedText
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

Reader = Callable[[int], TextEncoder | PretrainedText | None]
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
    reader = _reader(recipe, schema)
    match recipe.process, recipe.backbone:
        case (FlowProcess() | DiffusionProcess()) as process, UNetBackbone() as backbone:
            return GaussianProcess(
                process, space, UNet(sizes, backbone, reader(backbone.features)), recipe.training, recipe.conditioning.drop
            )
        case AdversarialProcess() as process, ConvNetBackbone() as backbone:
            generator, discriminator = Generator(sizes, backbone), Discriminator(sizes, backbone)
            return AdversarialGame(process, space, generator, discriminator, recipe.training, (channels, *grid))
        case ContrastiveProcess() as process, ViTBackbone() as backbone:
            return ContrastiveEncoder(space, _towers(process, backbone, sizes, reader), recipe.training)
        case MaskedProcess() as process, ViTBackbone() as backbone:
            return MaskedEncoder(process, space, ViT(sizes, backbone), recipe.training)
        case UnclipProcess() as process, UNetBackbone() as backbone:
            towers = _towers(process.contrastive, process.encoder, sizes, reader)
            decoder = UNet(replace(sizes, vector=sizes.vector + process.contrastive.embedding), backbone, None)
            return Unclip(process, space, towers, decoder, recipe.training, recipe.conditioning.drop)
        case process, backbone:
            message = f"Process {process.kind!r} cannot use backbone {backbone.kind!r}: {_FITTING}"
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))


def _towers(process: ContrastiveProcess, backbone: ViTBackbone, sizes: FieldSizes, reader: Reader) -> TwoTowers:
    captions = reader(process.words_width)
    assert captions is not None  # the recipe needs captions
    if process.image_encoder == "own":
        return TwoTowers(process, ViT(sizes, backbone), backbone.width, captions)
    if sizes.dims != 2:
        raise InputError(
            Problem("process.image_encoder", "dimensions", "Pretrained image encoders look at 2D images; use own for volumes.")
        )
    images = PretrainedImages(process.image_encoder)
    return TwoTowers(process, images, images.features, captions)


def _reader(recipe: Recipe, schema: ConditionSchema) -> Reader:
    """Return what makes the text encoder for a number of features; None where no caption is told."""

    def made(features: int) -> TextEncoder | PretrainedText | None:
        if schema.text is None:
            return None
        if recipe.conditioning.text_encoder == "own":
            return TextEncoder(schema.words, features)
        return PretrainedText(recipe.conditioning.text_encoder, schema.text.words, features)

    return made
