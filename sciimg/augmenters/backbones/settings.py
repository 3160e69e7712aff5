"""Networks: the members of the axis, as data."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sciimg.augmenters.settings import Settings


class UNetBackbone(Settings):
    """Small residual UNet, 2D or 3D; condition maps are concatenated, time, vector and captions modulate each block (FiLM)."""

    kind: Literal["unet"] = "unet"
    widths: tuple[int, ...] = (64, 128)
    blocks: tuple[int, ...] = Field(default=(2, 2), description="Residual blocks a level, on the way down and again on the way up.")
    features: int = Field(default=128, gt=0, description="Length of the vector that carries time, scalars and classes.")
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def halvings(self) -> int:
        return len(self.widths) - 1


class ConvNetBackbone(Settings):
    """Generator and discriminator of an adversarial process; widths and residual blocks a scale."""

    kind: Literal["convnet"] = "convnet"
    generator: tuple[int, ...] = Field(default=(96, 64, 48), min_length=1, description="Coarsest first; the last grid is half the image's.")
    generator_blocks: tuple[int, ...] = (1, 1, 2)
    discriminator: tuple[int, ...] = Field(default=(48, 64, 96), min_length=1, description="Finest first.")
    discriminator_blocks: tuple[int, ...] = (1, 1, 1)
    features: int = Field(default=64, gt=0, description="Length of the vector that carries scalars, classes and the noise vector.")
    noise_vector: int = Field(default=16, gt=0)
    noise_maps: int = Field(default=8, gt=0, description="Noise images at every scale.")

    @property
    def halvings(self) -> int:
        return len(self.generator)

    @model_validator(mode="after")
    def _scales_agree(self) -> Self:
        lengths = {len(self.generator), len(self.generator_blocks), len(self.discriminator), len(self.discriminator_blocks)}
        if len(lengths) > 1:
            raise ValueError(f"generator, discriminator and their blocks need one entry a scale each; got {sorted(lengths)} entries")
        return self


class ViTBackbone(Settings):
    """Vision transformer, 2D or 3D: patches as words."""

    kind: Literal["vit"] = "vit"
    halvings: int = Field(default=3, ge=0, description="A patch is what so many halvings of the grid make one point of.")
    width: int = Field(default=96, gt=0)
    depth: int = Field(default=4, gt=0)


BackboneSettings = Annotated[UNetBackbone | ConvNetBackbone | ViTBackbone, Field(discriminator="kind")]
