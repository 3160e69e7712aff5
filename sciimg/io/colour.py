"""Grey images that were saved as colour."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.io.faults import refuse
from sciimg.io.image import Box, Image, default_channels


def luminance(image: Image) -> Image:
    """Return the one plane of a grey image that was saved as colour, without its channel axis.

    Raises
    ------
    InputError
        Kind ``not-grey``, when read, if the colours differ.
    """
    if image.channel_names[:3] != ("red", "green", "blue"):
        message = f"Luminance is taken of RGB(A) images; the channels are {', '.join(image.channel_names)}. Remove the step."
        raise refuse(image.source, "not-rgb", message)
    at = image.axes.index("c")

    def load(box: Box) -> NDArray[Any]:
        colours = image.read((*box[:at], slice(0, 3), *box[at:]))
        return grey_of(colours, at, image.source)

    return replace(
        image,
        load=load,
        axes=image.axes.replace("c", ""),
        shape=(*image.shape[:at], *image.shape[at + 1 :]),
        channels=default_channels(1),
        acquisition=image.recorded({"kind": "luminance"}),
    )


def grey_of(colours: NDArray[Any], at: int, source: str) -> NDArray[Any]:
    """Return one of three equal colour planes along axis ``at``.

    Raises
    ------
    InputError
        Kind ``not-grey``.
    """
    red: NDArray[Any] = colours.take(0, at)
    if not all(np.array_equal(red, colours.take(i, at)) for i in (1, 2)):
        raise refuse(source, "not-grey", "Red, green and blue must be equal in a grey image saved as colour; here they differ.")
    return red
