"""Networks that predict tokens, and the processes that draw with them."""

from sciimg.augmenters.backbones.pixelcnn import PixelCNN
from sciimg.augmenters.backbones.settings import PixelCNNBackbone, TransformerBackbone
from sciimg.augmenters.backbones.token_network import TokenSizes
from sciimg.augmenters.backbones.transformer import TokenTransformer
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.grid import Step
from sciimg.augmenters.processes.reranking import ImageTextScorer
from sciimg.augmenters.processes.settings import AutoregressiveProcess, NextScaleProcess
from sciimg.augmenters.processes.tokens import TokenProcess
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.spaces.pixel_tokens import PixelTokens
from sciimg.augmenters.spaces.tokens import TokenSpace
from sciimg.errors import InputError, Problem


def token_process(
    recipe: Recipe, schema: ConditionSchema, space: TokenSpace, shape: tuple[int, ...], steps: tuple[Step, ...]
) -> TokenProcess:
    """Return the process of a space of tokens with its network."""
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
