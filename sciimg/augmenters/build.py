"""Data → modules: one ``match`` an axis of the recipe space."""

from dataclasses import replace
from typing import assert_never

from sciimg.augmenters.backbones.settings import (
    ConvNetBackbone,
    DCGANBackbone,
    DiTBackbone,
    NoBackbone,
    PlanesBackbone,
    ProgressiveBackbone,
    StackedBackbone,
    StyleBackbone,
    TranslatorBackbone,
    UNetBackbone,
    ViTBackbone,
)
from sciimg.augmenters.backbones.translators import PatchCritic, Translator
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.backbones.vit import ViT
from sciimg.augmenters.build_fields import cascade, classifier, field_network, with_known
from sciimg.augmenters.build_pairs import stages
from sciimg.augmenters.build_text import reader_of, towers
from sciimg.augmenters.build_tokens import token_process
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.grid import Step, halvings, product
from sciimg.augmenters.processes.adversarial import AdversarialProcess as AdversarialGame
from sciimg.augmenters.processes.contrastive import ContrastiveEncoder
from sciimg.augmenters.processes.cycle import CycleProcess as CycleGame
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.masked import MaskedEncoder
from sciimg.augmenters.processes.prior import PriorProcess
from sciimg.augmenters.processes.settings import (
    AdversarialProcess,
    AutoregressiveProcess,
    CascadeProcess,
    ContrastiveProcess,
    CycleProcess,
    DiffusionProcess,
    EDMProcess,
    FlowProcess,
    MaskedProcess,
    NextScaleProcess,
    ScoreProcess,
    TranslationProcess,
    UnclipProcess,
    VAEProcess,
)
from sciimg.augmenters.processes.translation import TranslationProcess as TranslationGame
from sciimg.augmenters.processes.unclip import Unclip
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.spaces.pixel_tokens import PixelTokens
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace, PixelTokenSpace, VQSpace, WaveletSpace
from sciimg.augmenters.spaces.tokens import TokenSpace
from sciimg.augmenters.spaces.vq import VQAutoencoder
from sciimg.augmenters.spaces.wavelet import Wavelets
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
    levels = recipe.backbone.halvings + (recipe.process.halvings if isinstance(recipe.process, CascadeProcess) else 0)
    steps = halvings(shape[1:], spacing or (1.0,) * dims, inside + levels)
    padded = padded_shape(shape, product(steps, dims))
    space = _space(recipe, schema, padded, steps[:inside])
    process: Process
    if isinstance(space, TokenSpace):
        process = token_process(recipe, schema, space, padded, steps[:inside])
    else:
        process = _process(recipe, schema, space, padded, steps[inside:])
    if recipe.draws and recipe.sampler.name not in process.samplers:
        message = f"The process is sampled by {', '.join(process.samplers)}; got {recipe.sampler.name!r}."
        raise InputError(Problem(f"{recipe.name}: sampler.name", "bad-option", message))
    return System(space, process, shape, padded)


def _space(recipe: Recipe, schema: ConditionSchema, shape: tuple[int, ...], steps: tuple[Step, ...]) -> Space:
    match recipe.space:
        case PixelSpace():
            return Pixels()
        case KLSpace():
            return KLAutoencoder(recipe.space, shape, steps, (schema.spatial, schema.vector))
        case WaveletSpace():
            return Wavelets(shape[0], len(shape) - 1, steps)
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
    image = len(schema.image.channels) * fold if schema.image else 0
    sizes = FieldSizes(
        channels,
        tuple(grid),
        steps,
        schema.spatial * fold,
        schema.vector,
        schema.words,
        image,
        recipe.conditioning.text == "cross-attention",
    )
    reader = reader_of(recipe, schema)
    match recipe.process, recipe.backbone:
        case (
            FlowProcess() | DiffusionProcess() | EDMProcess() | ScoreProcess()
        ) as process, UNetBackbone() | DiTBackbone() | PlanesBackbone():
            guide = classifier(recipe.name, process, schema, sizes)
            network = field_network(recipe, with_known(recipe, process, sizes), reader)
            return GaussianProcess(process, space, network, recipe.training, recipe.conditioning.drop, guide)
        case CascadeProcess() as process, UNetBackbone() | DiTBackbone() | PlanesBackbone():
            return cascade(recipe, process, schema, space, sizes, reader)
        case VAEProcess(), NoBackbone():
            if not (isinstance(recipe.space, KLSpace) and recipe.space.elbo is not None):
                message = "Process 'vae' draws from the prior, which only a kl space trained with space.elbo has; set it."
                raise InputError(Problem(f"{recipe.name}: space", "bad-option", message))
            return PriorProcess()
        case AdversarialProcess() as process, (
            ConvNetBackbone() | DCGANBackbone() | ProgressiveBackbone() | StyleBackbone() | StackedBackbone()
        ) as backbone:
            return AdversarialGame(process, space, stages(sizes, backbone), recipe.training)
        case TranslationProcess() as process, TranslatorBackbone() as backbone:
            translator = Translator(sizes.dims, sizes.maps, channels, sizes.vector, steps, backbone)
            critic = PatchCritic(sizes.dims, sizes.maps + channels, backbone.critic, steps)
            return TranslationGame(process, space, translator, critic, recipe.training)
        case CycleProcess() as process, TranslatorBackbone() as backbone:
            there = Translator(sizes.dims, sizes.maps, channels, sizes.vector, steps, backbone)
            back = Translator(sizes.dims, channels, sizes.maps, sizes.vector, steps, backbone)
            of_made, of_given = (PatchCritic(sizes.dims, inputs, backbone.critic, steps) for inputs in (channels, sizes.maps))
            shapes = (channels, *grid), (sizes.maps, *grid)
            return CycleGame(process, space, there, back, of_made, of_given, recipe.training, *shapes)
        case ContrastiveProcess() as process, ViTBackbone() as backbone:
            return ContrastiveEncoder(space, towers(process, backbone, sizes, reader), recipe.training)
        case MaskedProcess() as process, ViTBackbone() as backbone:
            return MaskedEncoder(process, space, ViT(sizes, backbone), recipe.training)
        case UnclipProcess() as process, UNetBackbone() as backbone:
            pair = towers(process.contrastive, process.encoder, sizes, reader)
            decoder = UNet(replace(sizes, vector=sizes.vector + process.contrastive.embedding), backbone)
            return Unclip(process, space, pair, decoder, recipe.training, recipe.conditioning.drop)
        case process, backbone:
            takes = (
                "flow, ddpm, edm, score and cascade take a unet, a dit or planes; vae takes none; "
                "adversarial the pairs; translation and cycle a translator; contrastive and masked a vit, unclip a unet"
            )
            message = f"Process {process.kind!r} cannot use backbone {backbone.kind!r}: {takes}."
            if isinstance(process, AutoregressiveProcess | NextScaleProcess):
                message = f"Process {process.kind!r} predicts codes; it needs space vq or pixel-tokens, not {recipe.space.kind!r}."
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))
