"""The measures by name; a family of systems keeps its own in a module beside this one."""

from types import MappingProxyType

from . import common, editing
from .subject import Measure

_FAMILIES = (common, editing)
MEASURES: MappingProxyType[str, Measure] = MappingProxyType({name: own for family in _FAMILIES for name, own in family.MEASURES.items()})
