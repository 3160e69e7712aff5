"""How samples are drawn, as data."""

from typing import Literal

from pydantic import Field

from sciimg.augmenters.settings import Settings


class SamplerSettings(Settings):
    """How samples are drawn: solver, number of steps, guidance strength (1 is none); an encoder draws nothing and has none."""

    name: Literal["euler", "heun", "ddim", "ancestral", "one-step", "none"] = "heun"
    steps: int = Field(default=12, gt=0)
    guidance: float = Field(default=1.0, ge=0)
