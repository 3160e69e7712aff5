"""How samples are drawn, as data."""

from typing import Literal

from pydantic import Field

from sciimg.augmenters.settings import Settings

Task = Literal["sample", "inpaint", "outpaint", "copy", "interpolate", "edit"]


class SamplerSettings(Settings):
    """How samples are drawn: solver, number of steps, guidance strength (1 is none); what is done with a real image."""

    name: Literal["euler", "heun", "ddim", "ancestral", "one-step"] = "heun"
    steps: int = Field(default=12, gt=0)
    guidance: float = Field(default=1.0, ge=0)
    task: Task = Field(default="sample", description="Other than 'sample': begins from real images (--source).")
    rounds: int = Field(default=1, gt=0, description="How often each step is taken where pixels are known (inpaint, outpaint).")
    strength: float = Field(
        default=1.0, ge=0, le=1, description="Share of a real image's noise that is redrawn (copy); less can be traced."
    )
