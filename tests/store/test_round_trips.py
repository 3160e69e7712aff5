"""Whatever an image may be, a collection gives it back bit for bit, with all that is known of it, whole and in parts."""

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sciimg.io.image import Image
from sciimg.store import Collection, CollectionWriter
from sciimg.types import AXES, SPATIAL, Channel, Spacing

PIXELS = 8000  # an image; with pieces as small as here it is some hundred chunks in some ten shards
DTYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
LENGTH = st.floats(1e-6, 1e6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


def extremes(dtype: np.dtype[Any]) -> list[Any]:
    """Values that a conversion on the way would lose: the ends of the range, negative zero, denormal numbers, neighbours of 1."""
    if dtype.kind != "f":
        info = np.iinfo(dtype)
        return [info.min, info.max, 0, 1, info.max - 1, info.max // 2 + 1]
    real = np.finfo(dtype)
    return [real.min, real.max, 0.0, -0.0, real.smallest_subnormal, -real.smallest_subnormal, real.tiny, 1 + real.eps, 1.0]


@st.composite
def shapes(draw: st.DrawFn) -> tuple[str, tuple[int, ...]]:
    """Any axes that a store keeps; one axis may be some hundred long, the others are as long as ``PIXELS`` leaves room for."""
    axes = "".join(a for a in AXES if a in "yx" or draw(st.booleans()))
    room, lengths = PIXELS, {}
    for axis in draw(st.permutations(axes)):
        lengths[axis] = draw(st.integers(1, min(room, {"t": 7, "c": 5}.get(axis, 330))))
        room //= lengths[axis]
    return axes, tuple(lengths[a] for a in axes)


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...]) -> Any:
    """Noise over the whole range, extremes of the type, or one value everywhere, which stores may leave out."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    edge = np.array(extremes(dtype), dtype)
    match draw(st.sampled_from(["bits", "extremes", "constant", "patches"])):
        case "bits":
            array = np.frombuffer(rng.bytes(math.prod(shape) * dtype.itemsize), dtype).reshape(shape)
            return np.where(np.isfinite(array), array, edge[0]) if dtype.kind == "f" else array
        case "extremes":
            return rng.choice(edge, shape)
        case "constant":
            return np.full(shape, draw(st.sampled_from(list(edge))))
        case _:  # one value in a corner, nothing anywhere else
            array = np.zeros(shape, dtype)
            array[tuple(slice(0, -(-n // 2)) for n in shape)] = draw(st.sampled_from(list(edge)))
            return array


@st.composite
def images(draw: st.DrawFn) -> tuple[Image, Any]:
    """An image and its pixels; it is handed over with its axes in any order and in either byte order."""
    axes, shape = draw(shapes())
    pixels = draw(arrays(shape))
    order = "".join(draw(st.permutations(axes)))
    given = pixels.transpose([axes.index(a) for a in order]).astype(pixels.dtype.newbyteorder(draw(st.sampled_from("<>"))))
    unit = draw(st.sampled_from(["nanometer", "micrometer", "millimeter", "pixel"]))
    spacing = Spacing(tuple(draw(LENGTH) for a in axes if a in SPATIAL), unit)
    count = dict(zip(axes, shape, strict=True)).get("c", 1)
    channels = tuple(Channel(draw(TEXT), draw(st.none() | st.floats(200, 2000))) for _ in range(count))
    affine = None
    if draw(st.booleans()):
        turn, _ = np.linalg.qr(np.random.default_rng(draw(st.integers(0, 99))).normal(size=(3, 3)))
        affine = np.eye(4)
        affine[:3, :3] = turn * [draw(LENGTH) for _ in range(3)]
        affine[:3, 3] = [draw(st.floats(-1e6, 1e6)) for _ in range(3)]
    acquisition = draw(st.dictionaries(TEXT, JSON, max_size=3))
    return Image.from_array(given, order, spacing, channels, affine, acquisition), pixels


@st.composite
def labelled(draw: st.DrawFn) -> tuple[Image, Any, Any, Any]:
    image, pixels = draw(images())
    if not draw(st.booleans()):
        return image, pixels, None, None
    shape = [n for a, n in zip(image.axes, image.shape, strict=True) if a != "c"]
    top = draw(st.sampled_from([1, 7, 2**31 - 1]))
    labels = np.random.default_rng(top).integers(0, top, shape, endpoint=True).astype(draw(st.sampled_from(["i4", "u4", "i8"])))
    return image, pixels, labels, draw(st.sampled_from(["instances", "classes"]))


def box_of(data: st.DataObject, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(*sorted((data.draw(st.integers(0, n)), data.draw(st.integers(0, n))))) for n in shape)


@settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(labelled(), st.data())
def test_a_collection_gives_back_what_it_was_given(small_pieces: int, drawn: tuple[Image, Any, Any, Any], data: st.DataObject) -> None:
    image, pixels, labels, kind = drawn
    with TemporaryDirectory() as folder:
        with CollectionWriter(Path(folder) / "c", synthetic=False) as writer:
            digest = writer.add("a", image, group="g", labels=labels, label_kind=kind)
        collection = Collection(Path(folder) / "c")
        volume = collection.volume("a")
        assert (volume.axes, volume.shape, volume.dtype) == (image.axes, pixels.shape, pixels.dtype)
        assert volume.dtype.isnative
        assert volume.read().tobytes() == pixels.tobytes()  # bit for bit: -0.0 is not 0.0
        assert (volume.spacing, volume.channels, volume.acquisition) == (image.spacing, image.channels, dict(image.acquisition))
        assert (volume.affine is None) == (image.affine is None)
        if image.affine is not None:
            assert volume.affine.tobytes() == image.affine.tobytes()
        assert volume.label_kind == kind
        for _ in range(4):
            box = box_of(data, pixels.shape)
            assert volume.read(box).tobytes() == pixels[box].tobytes()
        if labels is not None:
            part = box_of(data, labels.shape)
            assert np.array_equal(volume.read_labels(), labels)
            assert np.array_equal(volume.read_labels(part), labels[part])
        assert digest == volume.digest == volume.measured_digest() == collection.catalogue["digest"][0]
        assert collection.verify() == []
