"""The images themselves as the space."""

from torch import Tensor

from sciimg.augmenters.system import Condition, Noise, Space


class Pixels(Space):
    """Identity: images are normalised already."""

    exact = True

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        return image_shape

    def encode(self, images: Tensor, condition: Condition | None = None) -> Tensor:
        return images

    def decode(self, points: Tensor, noise: Noise | None = None, condition: Condition | None = None) -> Tensor:
        return points
