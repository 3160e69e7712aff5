"""Networks of diffusion and flow, with the ways in which conditions enter, and the processes that are made of several."""

import math
from dataclasses import replace

from sciimg.augmenters.backbones.dit import DiT
from sciimg.augmenters.backbones.planes import Planes
from sciimg.augmenters.backbones.settings import DiTBackbone, PlanesBackbone, UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.build_text import Reader
from sciimg.augmenters.conditioning.controlnet import ControlNet
from sciimg.augmenters.conditioning.ip_adapter import IPAdapter
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.conditioning.t2i_adapter import T2IAdapter
from sciimg.augmenters.grid import coarser, product
from sciimg.augmenters.processes.cascade import CascadeProcess as Cascade
from sciimg.augmenters.processes.classifier import Classifier
from sciimg.augmenters.processes.settings import CascadeProcess, GaussianSettings
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.system import FieldNetwork, FieldSizes, Space
from sciimg.errors import InputError, Problem


def classifier(name: str, process: GaussianSettings, schema: ConditionSchema, sizes: FieldSizes) -> Classifier | None:
    if process.classifier is None:
        return None
    if not schema.scalars and not schema.classes:
        message = "Classifier guidance reads scalars and classes; the study has neither. Add one, or set process.classifier to null."
        raise InputError(Problem(f"{name}: process.classifier", "no-condition", message))
    return Classifier(sizes, len(schema.scalars), tuple(len(c.values) for c in schema.classes), process.classifier.width)


def cascade(recipe: Recipe, process: CascadeProcess, schema: ConditionSchema, space: Space, sizes: FieldSizes, reader: Reader) -> Cascade:
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
        low = field_network(recipe, replace(sizes, grid=grid, steps=steps, maps=sizes.maps * fold, image=sizes.image * fold), reader)
    image = beside + sizes.channels
    told = replace(sizes, steps=sizes.steps[: recipe.backbone.halvings], maps=sizes.masks + image, image=image, vector=sizes.vector + 1)
    return Cascade(process, space, low, field_network(recipe, told, reader), factor, recipe.training, recipe.conditioning.drop)


def with_known(recipe: Recipe, process: GaussianSettings, sizes: FieldSizes) -> FieldSizes:
    """Return sizes with the channels of what is known, for a process that is told it; they go with those of the source image."""
    if not process.holes:
        return sizes
    if recipe.conditioning.image != "concat":
        raise _cannot(recipe, "process.holes", "Known parts enter as channels; a reference image as tokens leaves them no way.")
    return replace(sizes, maps=sizes.maps + sizes.channels + 1, image=sizes.image + sizes.channels + 1)


def field_network(recipe: Recipe, sizes: FieldSizes, reader: Reader) -> FieldNetwork:
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
            return UNet(sizes, backbone, "spade" if how.mask == "spade" else "concat", reader(backbone.features))
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
