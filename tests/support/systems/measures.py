"""The measures by name; a family of systems keeps its own in a module beside this one."""

from types import MappingProxyType

from . import adversarial, autoencoders, cascade, common, control, diffusion, editing, latent, physics, text, tokens, translation
from .subject import Measure

_FAMILIES = (
    adversarial,
    autoencoders,
    cascade,
    common,
    control,
    diffusion,
    editing,
    latent,
    physics,
    text,
    tokens,
    translation,
)
MEASURES: MappingProxyType[str, Measure] = MappingProxyType({name: own for family in _FAMILIES for name, own in family.MEASURES.items()})
