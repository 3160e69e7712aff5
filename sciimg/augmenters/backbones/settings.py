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


class PlanesBackbone(Settings):
    """A 2D UNet on the planes of a volume along all three axes, whose fields are averaged."""

    kind: Literal["planes"] = "planes"
    plane: UNetBackbone = UNetBackbone()
    tell_axis: bool = Field(default=True, description="Tell the network across which axis a plane lies; not where no direction is special.")

    @property
    def halvings(self) -> int:
        return self.plane.halvings


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


class DiTBackbone(Settings):
    """Transformer over patches, modulated by time and vector (DiT; Peebles & Xie 2023); condition maps are concatenated to the channels."""

    kind: Literal["dit"] = "dit"
    width: int = Field(default=192, gt=0, description="Length of a token; a multiple of heads.")
    depth: int = Field(default=4, gt=0)
    heads: int = Field(default=4, gt=0)
    patch: int = Field(default=1, ge=0, description="Halvings of the grid inside a patch: 1 makes patches of 2 samples an axis.")
    stem: int = Field(default=32, gt=0, description="Width of the convolutions before and after the patches.")
    features: int = Field(default=128, gt=0, description="Length of the vector that carries time, scalars and classes.")

    @property
    def halvings(self) -> int:
        return self.patch

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads; got {self.width} and {self.heads} heads")
        return self


class NoBackbone(Settings):
    """A process without a network of its own: the convolutional autoencoder of the space is all there is."""

    kind: Literal["none"] = "none"

    @property
    def halvings(self) -> int:
        return 0


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


class TransformerBackbone(Settings):
    """Causal transformer over tokens; conditions are a prefix, or are added where they hold."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(default=128, gt=0)
    depth: int = Field(default=4, gt=0)
    heads: int = Field(default=4, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def halvings(self) -> int:
        return 0

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width must be a multiple of heads; got {self.width} and {self.heads}")
        return self


class PixelCNNBackbone(Settings):
    """Gated convolutions that see only what was drawn before (van den Oord 2016)."""

    kind: Literal["pixelcnn"] = "pixelcnn"
    width: int = Field(default=48, gt=0)
    depth: int = Field(default=5, gt=0)
    features: int = Field(default=64, gt=0, description="Length of the vector that carries scalars and classes.")

    @property
    def halvings(self) -> int:
        return 0


class TranslatorBackbone(Settings):
    """Image → image, and a discriminator that judges patches of the result (PatchGAN)."""

    kind: Literal["translator"] = "translator"
    network: Literal["unet", "resnet"] = Field(
        default="unet", description="Skips at every scale, or residual blocks on the coarsest alone."
    )
    widths: tuple[int, ...] = Field(default=(32, 64, 96), min_length=1, description="Finest first; the first grid is half the image's.")
    residual_blocks: int = Field(default=2, gt=0, description="On the coarsest scale.")
    features: int = Field(default=64, gt=0, description="Length of the vector that carries scalars and classes.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="In training only: a translation is a function of its source.")
    as_source: bool = Field(default=False, description="Begin as the mean of the source's channels, and learn what to add.")
    critic: tuple[int, ...] = Field(default=(32, 64, 96), min_length=1, description="Widths; every layer but the last halves the grid.")

    @property
    def halvings(self) -> int:
        return max(len(self.widths), len(self.critic) - 1)


class ViTBackbone(Settings):
    """Vision transformer, 2D or 3D: patches as words."""

    kind: Literal["vit"] = "vit"
    halvings: int = Field(default=3, ge=0, description="A patch is what so many halvings of the grid make one point of.")
    width: int = Field(default=96, gt=0)
    depth: int = Field(default=4, gt=0)


PairSettings = ConvNetBackbone | DCGANBackbone | ProgressiveBackbone | StyleBackbone | StackedBackbone
FieldSettings = UNetBackbone | PlanesBackbone | DiTBackbone
TokenSettings = TransformerBackbone | PixelCNNBackbone
BackboneSettings = Annotated[
    FieldSettings | TokenSettings | PairSettings | TranslatorBackbone | ViTBackbone | NoBackbone, Field(discriminator="kind")
]
