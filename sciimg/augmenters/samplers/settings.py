"""How samples are drawn, as data."""

from typing import Literal

from pydantic import Field

from sciimg.augmenters.settings import Settings


class SamplerSettings(Settings):
    """How samples are drawn: solver, number of steps, guidance strength (1 is none)."""

    name: Literal["euler", "heun", "ddim", "ancestral", "one-step", "next-token", "next-scale"] = "heun"
    steps: int = Field(default=12, gt=0)
    guidance: float = Field(default=1.0, ge=0)
    temperature: float = Field(default=1.0, gt=0, description="Of tokens: logits are divided by it.")
    top_k: int | None = Field(default=None, gt=0, description="Of tokens: only that many of the likeliest codes are drawn from.")
    candidates: int = Field(default=1, gt=0, description="Samples drawn for each that is kept: the one that fits its caption best.")
