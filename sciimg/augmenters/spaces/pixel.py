"""The images themselves as the space."""

from torch import Tensor

from sciimg.augmenters.system import Noise, Space


class Pixels(Space):
    """Identity: images are normalised already."""

    def shape(self, image_shape: tuple[int, ...]) -> tuple[int, ...]:
        return image_shape

    def encode(self, images: Tensor) -> Tensor:
        return images

    def decode(self, points: Tensor, noise: Noise | None = None) -> Tensor:
        return points
