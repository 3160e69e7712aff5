"""How a recipe is trained, as frozen data, and the base of all settings.

The axes of the recipe space (space x process x backbone x conditioning x sampler) keep theirs in ``settings.py`` of their own folder. None
of them imports torch, so that recipes can be listed at once; :mod:`sciimg.augmenters.build` meets each union with one ``match``.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Schedule(Settings):
    """How one phase (or one player of it) is optimised. Budgets are steps, never seconds: results must repeat."""

    steps: int = Field(gt=0)
    batch: int = Field(default=32, gt=0)
    learning_rate: float = Field(default=1e-3, gt=0)
    final_rate: float = Field(default=0.02, ge=0, le=1, description="Share of the learning rate that the cosine ends at.")
    warmup: int = Field(default=50, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.01, ge=0)
    clip: float = Field(default=1.0, gt=0, description="Largest norm of the gradient.")
    ema: float = Field(default=0.995, ge=0, lt=1, description="Decay of the running average of weights; 0 keeps the last weights.")
    precision: Literal["bf16", "fp32"] = "bf16"
    held_out_every: int = Field(default=100, gt=0)
    patience: int | None = Field(default=None, gt=0, description="Stop after this many held-out looks without a better one.")
    checkpoint_every: int = Field(default=200, gt=0)


class Training(Schedule):
    """How the process is trained, and how training data are drawn."""

    threads: int = Field(default=1, gt=0, description="Intra-op threads; part of the recipe because their number changes the last bits.")
    symmetries: Literal["none", "flips", "all"] = Field(default="all", description="Flips, or flips and exchanges of like axes.")
    tell_symmetry: bool = Field(default=False, description="Tell the networks which symmetry was applied, so that it does not leak.")
    held_out_patches: int = Field(default=96, gt=0)
