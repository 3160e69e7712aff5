"""Every feature space by its name: those that need no training, the self-supervised encoder, and the user's own weights."""

from collections.abc import Mapping
from types import MappingProxyType

from sciimg.validation.features.cooccurrence import cooccurrence
from sciimg.validation.features.space import Embed
from sciimg.validation.features.spectrum import spectrum
from sciimg.validation.features.texture import texture
from sciimg.validation.features.wavelets import scattering

FIXED: Mapping[str, Embed] = MappingProxyType(
    {"scattering": scattering, "texture": texture, "spectrum": spectrum, "cooccurrence": cooccurrence}
)
ENCODER, WEIGHTS = "encoder", "weights"
