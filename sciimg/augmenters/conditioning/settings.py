"""How conditions enter the networks, as data."""

from typing import Literal

from pydantic import Field

from sciimg.augmenters.settings import Settings

Kind = Literal["mask", "scalar", "class", "image", "text"]


class Conditioning(Settings):
    """Which conditions a recipe listens to, how they enter, and how often they are withheld while training (classifier-free guidance)."""

    uses: tuple[Kind, ...] = Field(default=("mask", "scalar", "class"), description="Other conditions of a study are not told.")
    needs: tuple[Kind, ...] = Field(default=(), description="Conditions without which the recipe makes no sense.")
    mask: Literal["concat", "spade", "controlnet", "t2i-adapter", "tokens"] = Field(
        default="concat",
        description="Beside the input; as modulation of every block; or by a side network of a base that learned without masks; "
        "or as tokens before those of the image.",
    )
    vector: Literal["film"] = "film"
    image: Literal["concat", "tokens"] = Field(
        default="concat", description="Beside the input, place by place; or as attention tokens that say what it looks like, not where."
    )
    text: Literal["pooled", "cross-attention", "tokens"] = Field(
        default="pooled", description="One vector, word by word, or tokens before those of the image."
    )
    text_encoder: str = Field(
        default="own", description="own: a small transformer, trained along; else open_clip:MODEL:WEIGHTS or transformers:NAME_OR_FOLDER."
    )
    drop: float = Field(default=0.1, ge=0, lt=1)

    def listed(self) -> dict[str, str]:
        """Return how each kind of condition that the recipe listens to enters."""
        entries = {"mask": self.mask, "scalar": self.vector, "class": self.vector, "image": self.image, "text": self.text}
        return {kind: how for kind, how in entries.items() if kind in self.uses}
