"""Networks: the members of the axis, as data."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sciimg.augmenters.settings import Settings


class UNetBackbone(Settings):
    """Small residual UNet, 2D or 3D; condition maps are concatenated, time and vector modulate each block (FiLM)."""

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


class PairBackbone(Settings):
    """What every pair of generator and discriminator with a noise vector has: one width a scale on either side."""

    generator: tuple[int, ...] = Field(default=(96, 64, 48), min_length=1, description="Coarsest first; the last grid is half the image's.")
    discriminator: tuple[int, ...] = Field(default=(48, 64, 96), min_length=1, description="Finest first.")
    noise_vector: int = Field(default=64, gt=0)
    features: int = Field(default=64, gt=0, description="Length of the vector that carries scalars, classes, captions, or a style.")

    @property
    def halvings(self) -> int:
        return len(self.generator)

    @model_validator(mode="after")
    def _scales_agree(self) -> Self:
        if len(self.generator) != len(self.discriminator):
            raise ValueError(
                f"generator and discriminator need one width a scale each; got {len(self.generator)} and {len(self.discriminator)}"
            )
        return self


class DCGANBackbone(PairBackbone):
    """A noise vector through doubling convolutions, and halving convolutions to one logit (Radford 2016)."""

    kind: Literal["dcgan"] = "dcgan"
    generator: tuple[int, ...] = Field(default=(128, 96, 64, 48), min_length=1)
    discriminator: tuple[int, ...] = Field(default=(32, 48, 64, 96), min_length=1)
    judge: Literal["logit", "pyramid"] = Field(
        default="logit", description="One logit a sample as in the paper, or the convnet's judge of every scale, which learns much sooner."
    )
    skip_noise: bool = Field(default=False, description="Let a part of the noise vector of its own modulate every level (BigGAN).")


class ProgressiveBackbone(PairBackbone):
    """A pair that grows: levels are added from coarse to fine while training, each faded in (Karras 2018)."""

    kind: Literal["progressive"] = "progressive"
    growing: float = Field(default=0.5, gt=0, le=1, description="Share of the steps after which the last level is fully there.")


class StyleBackbone(PairBackbone):
    """Mapping network and modulated convolutions (Karras 2019, 2020), judged at every scale by the convnet's discriminator."""

    kind: Literal["style"] = "style"
    mapping: int = Field(default=4, gt=0, description="Layers of the mapping network.")
    mixing: float = Field(default=0.5, ge=0, le=1, description="Share of training samples whose fine levels take another style.")


class StackedBackbone(Settings):
    """Two pairs, one after the other: a small image, then its refinement at twice the size, with or without attention to words."""

    kind: Literal["stacked"] = "stacked"
    coarse: DCGANBackbone = DCGANBackbone()
    refine: int = Field(default=64, gt=0, description="Width of the refinement.")
    refine_blocks: int = Field(default=2, gt=0)
    attention: bool = Field(default=False, description="Let every place of the refinement look at the words of the caption (AttnGAN).")

    @property
    def halvings(self) -> int:
        return self.coarse.halvings + 1


BackboneSettings = Annotated[
    UNetBackbone | ConvNetBackbone | DCGANBackbone | ProgressiveBackbone | StyleBackbone | StackedBackbone, Field(discriminator="kind")
]
