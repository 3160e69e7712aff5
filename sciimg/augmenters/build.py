"""Data → modules: one ``match`` an axis of the recipe space."""

from typing import assert_never

from sciimg.augmenters.backbones.convnet import Discriminator, Generator
from sciimg.augmenters.backbones.dit import DiT
from sciimg.augmenters.backbones.settings import ConvNetBackbone, DiTBackbone, NoBackbone, UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.conditioning.schema import ConditionSchema
from sciimg.augmenters.grid import Step, halvings, product
from sciimg.augmenters.processes.adversarial import AdversarialProcess as AdversarialGame
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.prior import PriorProcess
from sciimg.augmenters.processes.settings import AdversarialProcess, DiffusionProcess, FlowProcess, VAEProcess
from sciimg.augmenters.recipe import Recipe
from sciimg.augmenters.spaces.kl import KLAutoencoder
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.spaces.settings import KLSpace, PixelSpace, WaveletSpace
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
    steps = halvings(shape[1:], spacing or (1.0,) * dims, inside + recipe.backbone.halvings)
    padded = padded_shape(shape, product(steps, dims))
    space = _space(recipe, schema, padded, steps[:inside])
    process = _process(recipe, schema, space, padded, steps[inside:])
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
    sizes = FieldSizes(channels, tuple(grid), steps, schema.spatial * fold, schema.vector, schema.words)
    match recipe.process, recipe.backbone:
        case (FlowProcess() | DiffusionProcess()) as process, UNetBackbone() as backbone:
            return GaussianProcess(process, space, UNet(sizes, backbone), recipe.training, recipe.conditioning.drop)
        case (FlowProcess() | DiffusionProcess()) as process, DiTBackbone() as backbone:
            return GaussianProcess(process, space, DiT(sizes, backbone), recipe.training, recipe.conditioning.drop)
        case VAEProcess(), NoBackbone():
            if not (isinstance(recipe.space, KLSpace) and recipe.space.elbo is not None):
                message = "Process 'vae' draws from the prior, which only a kl space trained with space.elbo has; set it."
                raise InputError(Problem(f"{recipe.name}: space", "bad-option", message))
            return PriorProcess()
        case AdversarialProcess() as process, ConvNetBackbone() as backbone:
            generator, discriminator = Generator(sizes, backbone), Discriminator(sizes, backbone)
            return AdversarialGame(process, space, generator, discriminator, recipe.training, (channels, *grid))
        case process, backbone:
            fitting = "flow and ddpm take a unet or a dit, adversarial a convnet, vae none"
            message = f"Process {process.kind!r} cannot use backbone {backbone.kind!r}: {fitting}."
            raise InputError(Problem(f"{recipe.name}: backbone", "bad-option", message))
