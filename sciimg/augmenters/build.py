"""Data → modules: one ``match`` an axis of the recipe space."""

from typing import assert_never

from sciimg.augmenters.backbones.convnet import Discriminator, Generator
from sciimg.augmenters.backbones.pixelcnn import PixelCNN
from sciimg.augmenters.backbones.settings import ConvNetBackbone, PixelCNNBackbone, TransformerBackbone, UNetBackbone
from sciimg.augmenters.backbones.token_network import TokenSizes
from sciimg.augmenters.backbones.transformer import TokenTransformer
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.grid import Step, halvings, product
from sciimg.augmenters.processes.adversarial import AdversarialProcess as AdversarialGame
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.reranking import ImageTextScorer
from sciimg.augmenters.processes.settings import (
    AdversarialProcess,
    AutoregressiveProcess,
    DiffusionProcess,
    FlowProcess,
    NextScaleProcess,
)
from sciimg.augmenters.processes.tokens import TokenProcess
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.spaces.pixel_tokens import PixelTokens
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace, PixelTokenSpace, VQSpace
from sciimg.augmenters.spaces.tokens import TokenSpace
from sciimg.augmenters.spaces.vq import VQAutoencoder
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
    if isinstance(space, TokenSpace):
        process: Process = _token_process(recipe, schema, space, padded, steps[:inside])
    else:
        process = _process(recipe, schema, space, padded, steps[inside:])
    return System(space, process, shape, padded)


def _space(recipe: Recipe, shape: tuple[int, ...], steps: tuple[Step, ...]) -> Space:
    match recipe.space:
        case PixelSpace():
            return Pixels()
        case KLSpace():
            return KLAutoencoder(recipe.space, shape, steps)
        case VQSpace():
            return VQAutoencoder(recipe.space, shape, steps)
        case PixelTokenSpace():
            return PixelTokens(recipe.space, shape, steps)
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
        case AdversarialProcess() as process, ConvNetBackbone() as backbone:
            generator, discriminator = Generator(sizes, backbone), Discriminator(sizes, backbone)
            return AdversarialGame(process, space, generator, discriminator, recipe.training, (channels, *grid))
        case process, backbone:
            message = f"Process {process.kind!r} cannot use backbone {backbone.kind!r}: flow and ddpm take a unet, adversarial a convnet."
            if isinstance(process, AutoregressiveProcess | NextScaleProcess):
                message = f"Process {process.kind!r} predicts codes; it needs space vq or pixel-tokens, not {recipe.space.kind!r}."
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))


def _token_process(recipe: Recipe, schema: ConditionSchema, space: TokenSpace, shape: tuple[int, ...], steps: tuple[Step, ...]) -> Process:
    caption = schema.text.length if schema.text else 0
    sizes = TokenSizes(space.vocabulary, space.grids(shape), schema.spatial, schema.vector, schema.words, caption)
    told, drop = recipe.conditioning, recipe.conditioning.drop
    if told.mask == "tokens" and not schema.maps:
        message = "The recipe draws an image from the tokens of its mask: add a mask condition to the study, or choose recipe vq-vae."
        raise InputError(Problem(f"{recipe.name}: conditioning.mask", "no-mask", message))
    match recipe.process, recipe.backbone:
        case AutoregressiveProcess() as process, TransformerBackbone() as backbone:
            network = TokenTransformer(sizes, backbone, at_once=False, scene=told.mask == "tokens")
            if process.scorer is None:
                return TokenProcess(process, space, network, recipe.training, drop)
            if not caption:
                message = (
                    "A scorer of images and captions needs captions: add a text condition to the study, or set process.scorer to null."
                )
                raise InputError(Problem(f"{recipe.name}: process.scorer", "no-caption", message))
            scorer = ImageTextScorer(shape[0], steps, schema.words, process.scorer)
            return TokenProcess(process, space, network, recipe.training, drop, scorer)
        case NextScaleProcess() as process, TransformerBackbone() as backbone:
            network = TokenTransformer(sizes, backbone, at_once=True, scene=told.mask == "tokens")
            return TokenProcess(process, space, network, recipe.training, drop)
        case AutoregressiveProcess() as process, PixelCNNBackbone() as backbone if isinstance(space, PixelTokens) and sizes.dims == 2:
            return TokenProcess(process, space, PixelCNN(sizes, backbone), recipe.training, drop)
        case process, backbone:
            message = (
                f"In a space of tokens, process {process.kind!r} cannot use backbone {backbone.kind!r}: autoregressive and next-scale take "
                "a transformer, and autoregressive on two-dimensional pixel-tokens a pixelcnn."
            )
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))
