"""What a recipe is: a point in the space of choices, the papers it comes from, and what it must reach. Pure data; no torch."""

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field

from sciimg.augmenters.backbones.settings import BackboneSettings
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.formation.settings import FormationSettings
from sciimg.augmenters.processes.settings import ProcessSettings
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Settings, Training
from sciimg.augmenters.spaces.settings import SpaceSettings
from sciimg.errors import InputError, Problem


class Reach(Settings):
    """What the conformance suite asks of a trained recipe, and what trivial answers must not reach.

    The measure is taken after verbatim copies of training images are thrown out; an untrained network, a blurred training mean and a
    replay of the training set must all miss the threshold.
    """

    measure: str = Field(description="Name of a measure of the conformance suite.")
    at_least: float | None = None
    at_most: float | None = None
    in_3d: float | None = Field(default=None, description="Threshold for volumes, where it differs.")
    data: str = Field(default="default", description="Name of the real images on which it is asked.")
    options: dict[str, Any] = Field(default_factory=dict, description="Dotted settings of the short training after which it is asked.")
    options_3d: dict[str, Any] = Field(default_factory=dict, description="The same for volumes, over ``options``.")

    def threshold(self, dims: int) -> float:
        own = self.at_least if self.at_least is not None else self.at_most
        assert own is not None
        return self.in_3d if dims == 3 and self.in_3d is not None else own

    def budget(self, dims: int) -> dict[str, Any]:
        return self.options | (self.options_3d if dims == 3 else {})

    def passed(self, value: float | None, dims: int) -> bool:
        """Return whether a value is good enough; what could not be measured is not."""
        if value is None:
            return False
        return value >= self.threshold(dims) if self.at_least is not None else value <= self.threshold(dims)


class Recipe(Settings):
    """A generative system as data."""

    name: str
    systems: tuple[str, ...] = Field(description="Names under which the literature knows it.")
    dims: tuple[Literal[2, 3], ...] = (2, 3)
    space: SpaceSettings
    process: ProcessSettings
    backbone: BackboneSettings
    conditioning: Conditioning = Conditioning()
    sampler: SamplerSettings
    training: Training
    formation: FormationSettings | None = Field(default=None, description="Optics and noise that are not learned but computed.")
    in_3d: dict[str, Any] = Field(default_factory=dict, description="Dotted settings that differ for volumes.")
    cites: tuple[str, ...]
    reach: Reach | None = Field(default=None, description="What the catalogue's own is held to; a trained model's is not.")

    @property
    def draws(self) -> bool:
        """Whether the system makes images; an encoder reads them only."""
        return self.sampler.name != "none"

    def check_told(self, kinds: Iterable[str]) -> None:
        """Refuse a study whose conditions lack a kind that the recipe cannot do without.

        Raises
        ------
        InputError
            Kind ``needs-condition``.
        """
        if missing := [kind for kind in self.conditioning.needs if kind not in set(kinds)]:
            told = ", ".join(missing)
            message = (
                f"Recipe {self.name!r} needs a condition of kind {told}, and the study has none. Add `- kind: {missing[0]}` to conditions."
            )
            raise InputError(Problem("conditions", "needs-condition", message))


def refuse_encoders(recipe: Recipe) -> None:
    """Refuse to draw from a recipe that cannot.

    Raises
    ------
    InputError
        Kind ``draws-nothing``.
    """
    if not recipe.draws:
        message = f"Recipe {recipe.name!r} is an encoder: it reads images and draws none. Generate with a recipe that has a sampler."
        raise InputError(Problem("recipe", "draws-nothing", message))
