"""How conditions enter the networks, as data."""

from typing import Literal

from pydantic import Field

from sciimg.augmenters.settings import Settings

Kind = Literal["mask", "scalar", "class", "image", "text"]


class Conditioning(Settings):
    """Which conditions a recipe listens to, how they enter, and how often they are withheld while training (classifier-free guidance)."""

    uses: tuple[Kind, ...] = Field(default=("mask", "scalar", "class"), description="Other conditions of a study are not told.")
    needs: tuple[Kind, ...] = Field(default=(), description="Conditions without which the recipe makes no sense.")
    mask: Literal["concat"] = "concat"
    vector: Literal["film"] = "film"
    image: Literal["concat"] = "concat"
    text: Literal["pooled", "cross-attention"] = Field(default="pooled", description="Captions as one vector, or word by word.")
    text_encoder: str = Field(
        default="own", description="own: a small transformer, trained along; else open_clip:MODEL:WEIGHTS or transformers:NAME_OR_FOLDER."
    )
    drop: float = Field(default=0.1, ge=0, lt=1)

    def listed(self) -> dict[str, str]:
        """Return how each kind of condition that the recipe listens to enters."""
        entries = {"mask": self.mask, "scalar": self.vector, "class": self.vector, "image": self.image, "text": self.text}
        return {kind: how for kind, how in entries.items() if kind in self.uses}
