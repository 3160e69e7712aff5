"""Encoders of captions and of images."""

from collections.abc import Callable

from sciimg.augmenters.backbones.settings import ViTBackbone
from sciimg.augmenters.backbones.vit import ViT
from sciimg.augmenters.conditioning.pretrained import PretrainedImages, PretrainedText
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.conditioning.text import TextEncoder
from sciimg.augmenters.processes.contrastive import TwoTowers
from sciimg.augmenters.processes.settings import ContrastiveProcess
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.system import FieldSizes
from sciimg.errors import InputError, Problem

Reader = Callable[[int], TextEncoder | PretrainedText | None]


def towers(process: ContrastiveProcess, backbone: ViTBackbone, sizes: FieldSizes, reader: Reader) -> TwoTowers:
    """Return the encoders of images and of captions."""
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


def reader_of(recipe: Recipe, schema: ConditionSchema) -> Reader:
    """Return what makes the text encoder for a number of features; None where no caption is told."""

    def made(features: int) -> TextEncoder | PretrainedText | None:
        if schema.text is None:
            return None
        if recipe.conditioning.text_encoder == "own":
            return TextEncoder(schema.words, features)
        return PretrainedText(recipe.conditioning.text_encoder, schema.text.words, features)

    return made
