"""How samples are drawn, as data."""

from typing import Literal, Self

from pydantic import Field, model_validator

from sciimg.augmenters.settings import Settings

SamplerName = Literal[
    "euler",
    "heun",
    "ddim",
    "dpm-solver++",
    "unipc-2",
    "unipc-3",
    "ancestral",
    "predictor-corrector",
    "one-step",
    "next-token",
    "next-scale",
    "none",
]
Task = Literal["sample", "inpaint", "outpaint", "copy", "interpolate", "edit"]
Grid = Literal["uniform", "karras", "logsnr"]


class SamplerSettings(Settings):
    """How samples are drawn: solver, number of steps, guidance strength (1 is none); an encoder draws nothing and has none."""

    name: SamplerName = "heun"
    steps: int = Field(default=12, gt=0)
    grid: Grid = Field(default="uniform", description="Steps alike in time, in a root of the noise level (Karras 2022), or in log-SNR.")
    guidance: float = Field(default=1.0, ge=0, description="Power of p(condition | x): 0 does not listen, 1 is what was learned.")
    guidance_interval: tuple[float, float] | None = Field(
        default=None, description="Noise levels sigma/alpha between which guidance acts (Kynkaanniemi 2024); outside it is 1. None: all."
    )
    churn: float = Field(default=0.0, ge=0, description="Fresh noise of the heun solver (S_churn of Karras 2022, algorithm 2).")
    corrector_snr: float = Field(default=0.16, gt=0, description="Length of the corrector's Langevin steps (r of Song 2021, algorithm 2).")
    truncation: float = Field(default=1.0, gt=0, le=1, description="Below 1, noise (or style) nearer to its centre: safer, less varied.")
    temperature: float = Field(default=1.0, gt=0, description="Of tokens: logits are divided by it.")
    top_k: int | None = Field(default=None, gt=0, description="Of tokens: only that many of the likeliest codes are drawn from.")
    candidates: int = Field(default=1, gt=0, description="Samples drawn for each that is kept: the one that fits its caption best.")
    task: Task = Field(default="sample", description="Other than 'sample': begins from real images (--source).")
    rounds: int = Field(default=1, gt=0, description="How often each step is taken where pixels are known (inpaint, outpaint).")
    strength: float = Field(default=1.0, ge=0, le=1, description="Share of a real image's noise that is redrawn (copy).")

    @model_validator(mode="after")
    def _interval_rises(self) -> Self:
        if self.guidance_interval is not None and not 0 <= self.guidance_interval[0] < self.guidance_interval[1]:
            raise ValueError(f"guidance_interval needs two rising noise levels, as in [0.2, 5]; got {list(self.guidance_interval)}")
        return self
