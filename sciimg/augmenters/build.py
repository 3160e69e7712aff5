"""Data → modules: one ``match`` an axis of the recipe space."""

import math
from dataclasses import replace
from typing import assert_never

from sciimg.augmenters.backbones.convnet import Discriminator, Generator
from sciimg.augmenters.backbones.dit import DiT
from sciimg.augmenters.backbones.planes import Planes
from sciimg.augmenters.backbones.settings import ConvNetBackbone, DiTBackbone, NoBackbone, PlanesBackbone, UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.conditioning.controlnet import ControlNet
from sciimg.augmenters.conditioning.ip_adapter import IPAdapter
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.conditioning.t2i_adapter import T2IAdapter
from sciimg.augmenters.grid import Step, coarser, halvings, product
from sciimg.augmenters.processes.adversarial import AdversarialProcess as AdversarialGame
from sciimg.augmenters.processes.cascade import CascadeProcess as Cascade
from sciimg.augmenters.processes.classifier import Classifier
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.prior import PriorProcess
from sciimg.augmenters.processes.settings import (
    AdversarialProcess,
    CascadeProcess,
    DiffusionProcess,
    EDMProcess,
    FlowProcess,
    GaussianSettings,
    ScoreProcess,
    VAEProcess,
)
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace, WaveletSpace
from sciimg.augmenters.spaces.wavelet import Wavelets
from sciimg.augmenters.system import FieldNetwork, FieldSizes, Process, Space, System, padded_shape
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
    process = _process(recipe, schema, space, padded, steps[inside:])
    if recipe.sampler.name not in process.samplers:
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
        case _:
            assert_never(recipe.space)


def _process(recipe: Recipe, schema: ConditionSchema, space: Space, shape: tuple[int, ...], steps: tuple[Step, ...]) -> Process:
    channels, *grid = space.shape(shape)
    fold = 1
    for image, point in zip(shape[1:], grid, strict=True):
        fold *= image // point
    image = len(schema.image.channels) * fold if schema.image else 0
    sizes = FieldSizes(channels, tuple(grid), steps, schema.spatial * fold, schema.vector, schema.words, image)
    match recipe.process, recipe.backbone:
        case (
            FlowProcess() | DiffusionProcess() | EDMProcess() | ScoreProcess()
        ) as process, UNetBackbone() | DiTBackbone() | PlanesBackbone():
            classifier = _classifier(recipe.name, process, schema, sizes)
            network = _field_network(recipe, sizes)
            return GaussianProcess(process, space, network, recipe.training, recipe.conditioning.drop, classifier)
        case CascadeProcess() as process, UNetBackbone() | DiTBackbone() | PlanesBackbone():
            return _cascade(recipe, process, schema, space, sizes)
        case VAEProcess(), NoBackbone():
            if not (isinstance(recipe.space, KLSpace) and recipe.space.elbo is not None):
                message = "Process 'vae' draws from the prior, which only a kl space trained with space.elbo has; set it."
                raise InputError(Problem(f"{recipe.name}: space", "bad-option", message))
            return PriorProcess()
        case AdversarialProcess() as process, ConvNetBackbone() as backbone:
            generator, discriminator = Generator(sizes, backbone), Discriminator(sizes, backbone)
            return AdversarialGame(process, space, generator, discriminator, recipe.training, (channels, *grid))
        case process, backbone:
            takes = "flow, ddpm, edm, score and cascade take a unet, a dit or planes, adversarial a convnet, vae none"
            message = f"Process {process.kind!r} cannot use backbone {backbone.kind!r}: {takes}."
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))


def _classifier(name: str, process: GaussianSettings, schema: ConditionSchema, sizes: FieldSizes) -> Classifier | None:
    if process.classifier is None:
        return None
    if not schema.scalars and not schema.classes:
        message = "Classifier guidance reads scalars and classes; the study has neither. Add one, or set process.classifier to null."
        raise InputError(Problem(f"{name}: process.classifier", "no-condition", message))
    return Classifier(sizes, len(schema.scalars), tuple(len(c.values) for c in schema.classes), process.classifier.width)


def _cascade(recipe: Recipe, process: CascadeProcess, schema: ConditionSchema, space: Space, sizes: FieldSizes) -> Cascade:
    """Give each process the steps below its own grid; the second is told the coarse image and its noise as an image and a scalar more."""
    factor = product(sizes.steps[: process.halvings], sizes.dims)
    low, beside = None, sizes.image
    if process.low is None:
        if schema.image is None or not schema.image.made:
            message = "Without a low process the coarse image is given: the study needs an image condition of all channels with made: true."
            raise InputError(Problem(f"{recipe.name}: process.low", "no-source", message))
        beside = 0
    else:
        fold = math.prod(factor)
        grid, steps = coarser(sizes.grid, factor), sizes.steps[process.halvings :]
        low = _field_network(recipe, replace(sizes, grid=grid, steps=steps, maps=sizes.maps * fold, image=sizes.image * fold))
    image = beside + sizes.channels
    told = replace(sizes, steps=sizes.steps[: recipe.backbone.halvings], maps=sizes.masks + image, image=image, vector=sizes.vector + 1)
    return Cascade(process, space, low, _field_network(recipe, told), factor, recipe.training, recipe.conditioning.drop)


def _field_network(recipe: Recipe, sizes: FieldSizes) -> FieldNetwork:
    """Return the backbone with the ways in which its conditions enter; what is not told needs no way."""
    how = recipe.conditioning
    match recipe.backbone:
        case UNetBackbone() as backbone:
            if how.image == "tokens" and sizes.image:
                if how.mask != "concat":
                    raise _cannot(recipe, "conditioning.mask", "Beside a reference image as tokens, masks enter by concat.")
                return IPAdapter(sizes, backbone)
            if how.mask == "controlnet" and sizes.masks:
                return ControlNet(sizes, backbone)
            if how.mask == "t2i-adapter" and sizes.masks:
                return T2IAdapter(sizes, backbone)
            return UNet(sizes, backbone, "spade" if how.mask == "spade" else "concat")
        case PlanesBackbone() as backbone:
            if sizes.dims != 3:
                raise _cannot(recipe, "backbone", "Backbone 'planes' makes volumes; images take a unet.")
            if how.image != "concat" or how.mask not in ("concat", "spade"):
                raise _cannot(
                    recipe, "conditioning", "Backbone 'planes' has no side networks: masks enter by concat or spade, images by concat."
                )
            return Planes(sizes, backbone, how.mask)
        case DiTBackbone() as backbone:
            if how.image != "concat" or how.mask != "concat":
                raise _cannot(recipe, "conditioning", "Backbone 'dit' has no side networks: masks and images enter by concat.")
            return DiT(sizes, backbone)
        case _:
            raise _cannot(recipe, "backbone", f"Backbone {recipe.backbone.kind!r} predicts no field.")


def _cannot(recipe: Recipe, place: str, message: str) -> InputError:
    return InputError(Problem(f"{recipe.name}: {place}", "bad-option", message))
