"""How samples are drawn, as data."""

from typing import Literal

from pydantic import Field

from sciimg.augmenters.settings import Settings


class SamplerSettings(Settings):
    """How samples are drawn: solver, number of steps, guidance strength (1 is none)."""

    name: Literal["euler", "heun", "ddim", "ancestral", "one-step"] = "heun"
    steps: int = Field(default=12, gt=0)
    guidance: float = Field(default=1.0, ge=0)
    truncation: float = Field(default=1.0, gt=0, le=1, description="Below 1, noise (or style) nearer to its centre: safer, less varied.")
