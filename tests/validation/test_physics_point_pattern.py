"""Ripley's L and the pair correlation against point processes whose curves are known in closed form."""

from dataclasses import replace

import numpy as np
import pytest
from patchsets import images_2d

from sciimg.types import PatchSet, Spacing
from sciimg.validation.physics.controls import repeated
from sciimg.validation.physics.point_pattern import PointPattern, pair_counts

CHECK = PointPattern()
RNG = np.random.default_rng(0)


def poisson(density: float, window: tuple[float, ...]) -> np.ndarray:
    return RNG.random((RNG.poisson(density * np.prod(window)), len(window))) * window


def thomas(parents: float, children: float, spread: float, side: float) -> np.ndarray:
    """Clusters around Poisson parents, drawn beyond the window as far as they reach into it."""
    pad = 5 * spread
    centres = poisson(parents, (side + 2 * pad,) * 2) - pad
    points = [c + spread * RNG.standard_normal((RNG.poisson(children), 2)) for c in centres]
    every = np.concatenate([*points, np.zeros((0, 2))])
    return every[np.all((every >= 0) & (every < side), axis=1)]


def k_function(patterns: list[np.ndarray], window: tuple[float, ...], edges: np.ndarray) -> np.ndarray:
    pairs = sum(pair_counts(p, window, edges) for p in patterns)
    return np.cumsum(pairs) / sum(len(p) * (len(p) - 1) / np.prod(window) for p in patterns)


@pytest.mark.parametrize(("window", "density"), [((50.0, 50.0), 0.02), ((30.0, 90.0), 0.02), ((20.0, 24.0, 30.0), 0.004)])
def test_a_poisson_process_has_the_k_of_the_ball(window: tuple[float, ...], density: float) -> None:
    edges = np.linspace(0, min(window) / 3, 7)
    ball = np.pi * edges[1:] ** 2 if len(window) == 2 else 4 / 3 * np.pi * edges[1:] ** 3
    got = k_function([poisson(density, window) for _ in range(300)], window, edges)
    assert got[2:] == pytest.approx(ball[2:], rel=0.04)


def test_intensity_that_differs_between_samples_is_no_clustering() -> None:
    edges = np.linspace(0, 12, 7)
    patterns = [poisson(0.005 if i % 2 else 0.05, (50.0, 50.0)) for i in range(200)]
    assert k_function(patterns, (50.0, 50.0), edges)[1:] == pytest.approx(np.pi * edges[2:] ** 2, rel=0.05)


def test_a_thomas_process_has_its_k() -> None:
    """K(r) = pi r^2 + (1 - exp(-r^2 / 4 s^2)) / parents: Diggle 2013, section 6.3, for windows far larger than the clusters."""
    parents, spread, side = 0.003, 2.0, 150.0
    edges = np.linspace(0, 12, 7)
    got = k_function([thomas(parents, 5, spread, side) for _ in range(40)], (side, side), edges)
    r = edges[1:]
    assert got == pytest.approx(np.pi * r**2 + (1 - np.exp(-(r**2) / (4 * spread**2))) / parents, rel=0.1)


def drawn(points: np.ndarray, shape: tuple[int, ...], number: int = 0) -> np.ndarray:
    """One-pixel objects at whole places."""
    label = np.zeros(shape, np.int32)
    for k, place in enumerate(np.unique(np.floor(points).astype(int), axis=0)):
        label[tuple(place)] = k + 1
    return label


def pattern(labels: np.ndarray, spacing: tuple[float, ...] | None = None) -> PatchSet:
    made = images_2d(labels[:, None].astype(np.uint16), labels)
    return replace(made, spacing=Spacing(spacing or (1.0,) * (labels.ndim - 1), "micrometer"))


def test_random_objects_in_images_have_a_pair_correlation_of_one() -> None:
    labels = np.stack([drawn(poisson(0.01, (80.0, 80.0)), (80, 80)) for _ in range(100)])
    made = pattern(labels)
    frame = CHECK.frame(made)
    curves = CHECK.curves(CHECK.measure(made, frame).sum(axis=0), frame)
    assert curves["g"][1:] == pytest.approx(1, abs=0.13)  # below two pixels the grid shows
    assert np.abs(curves["l-minus-r"][2:]).max() < 0.4


def test_objects_that_keep_their_distance_have_no_pair_below_it() -> None:
    y, x = np.mgrid[4:80:8, 4:80:8]
    grid = np.column_stack([y.ravel(), x.ravel()])
    labels = np.stack([drawn(grid + RNG.integers(-1, 2, grid.shape), (80, 80)) for _ in range(20)])
    made = pattern(labels)
    frame = CHECK.frame(made)
    curves = CHECK.curves(CHECK.measure(made, frame).sum(axis=0), frame)
    near = frame.edges[1:] < 6
    assert np.all(curves["g"][near] == 0)
    assert curves["l-minus-r"][near] == pytest.approx(-frame.edges[1:][near])


def outside(made: PatchSet, real: PatchSet) -> float:
    """Return the share of images outside the envelope of real ones."""
    frame = CHECK.frame(real)
    return float(CHECK.curves(CHECK.measure(made, frame).sum(axis=0), frame)["outside-envelope"][0])


def scattered(n: int, kind: str, rng: np.random.Generator) -> PatchSet:
    """Images of 25 objects or so: at random, in clusters, or each alone in a cell of a grid."""
    labels = []
    for _ in range(n):
        points = rng.random((rng.poisson(25), 2)) * 60
        if kind == "clustered":
            points = (np.repeat(points[::5], 5, axis=0) + 2 * rng.standard_normal((5 * len(points[::5]), 2))).clip(0, 59.9)
        if kind == "hard-core":
            corner = np.stack(np.meshgrid(*(np.arange(0, 60, 12),) * 2), axis=-1).reshape(-1, 2)
            points = corner + rng.random(corner.shape) * 4
        labels.append(drawn(points, (60, 60)))
    return replace(pattern(np.stack(labels)), groups=np.array([f"g{i // 3}" for i in range(n)]))


def test_the_envelope_has_its_level_and_sees_clusters_and_distances() -> None:
    """Of other images of the same process as many are outside as the level says; the bound holds in 997 of 1000 draws."""
    rng = np.random.default_rng(5)
    real, others = scattered(300, "random", rng), scattered(400, "random", rng)
    assert outside(real, real) <= 0.05 + 1e-9
    spread = np.sqrt(0.05 * 0.95 * (1 / 300 + 1 / 400))
    assert outside(others, real) == pytest.approx(0.05, abs=3 * spread)
    for kind in ("clustered", "hard-core"):
        assert outside(scattered(20, kind, rng), real) > 0.8, kind
    assert outside(scattered(20, "random", rng), scattered(40, "hard-core", rng)) > 0.8


def test_images_of_which_none_has_a_curve_are_far_and_no_crash() -> None:
    rng = np.random.default_rng(6)
    real = scattered(30, "random", rng)
    frame = CHECK.frame(real)
    empty = pattern(np.zeros((4, 60, 60), np.int32))
    rows = CHECK.measure(empty, frame)
    assert np.all(rows == 0)
    assert np.isnan(CHECK.distance(CHECK.measure(real, frame).sum(0)[None], rows.sum(0)[None], frame)["outside-envelope"]).all()
    assert CHECK.frame(empty).critical == np.inf


def test_one_group_of_many_images_does_not_set_the_envelope() -> None:
    """Sixty images of one clustered group are one group of twenty-one: the others decide where the envelope lies."""
    rng = np.random.default_rng(7)
    many, odd = scattered(60, "random", rng), scattered(60, "clustered", rng)
    both = pattern(np.concatenate([many.labels, odd.labels]))
    alike = replace(both, groups=np.array([*many.groups, *(["odd"] * 60)]))
    apart = replace(both, groups=np.array([f"g{i}" for i in range(120)]))
    assert outside(odd, alike) > outside(odd, apart) + 0.2


def test_distances_are_physical() -> None:
    """Planes three times as far apart: random places in micrometres stay random, which they are not where pixels count as distances."""
    points = [poisson(0.004, (36.0, 36.0, 36.0)) for _ in range(16)]
    fine = pattern(np.stack([drawn(p, (36, 36, 36)) for p in points]))
    coarse = pattern(np.stack([drawn(p / np.array([3, 1, 1]), (12, 36, 36)) for p in points]), (3.0, 1.0, 1.0))
    wrong = replace(coarse, spacing=fine.spacing)
    frame = CHECK.frame(fine)
    far = [CHECK.curves(CHECK.measure(p, frame).sum(axis=0), frame)["l-minus-r"][-4:] for p in (fine, coarse)]
    assert np.abs(far).max() < 0.3
    frame = CHECK.frame(wrong)
    assert frame.edges[-1] < 4


def test_too_few_pairs_and_no_objects_are_refused() -> None:
    labels = np.zeros((10, 64, 64), np.int32)
    assert "pairs of objects" in CHECK.obstacle(pattern(labels))
    assert "no labels" in CHECK.obstacle(images_2d(np.zeros((4, 1, 32, 32))))
    assert "these labels are classes" in CHECK.obstacle(images_2d(np.zeros((10, 1, 64, 64)), labels, "classes"))
    labels[:] = 1
    assert "as wide as the images" in CHECK.obstacle(pattern(labels))


def test_a_repeated_texture_has_its_period() -> None:
    images = RNG.integers(0, 200, (2, 1, 40, 40)).astype(np.uint8)
    planted = repeated(0.2)(images_2d(images), RNG).images
    assert np.array_equal(planted[..., 8:, :], planted[..., :-8, :]) and np.array_equal(planted[..., 8:], planted[..., :-8])
    assert np.array_equal(planted[..., :8, :8], images[..., 16:24, 16:24])


def test_two_points_are_a_pair_by_hand() -> None:
    """Three and four apart in a window of 10 by 20: shifted by that much, it keeps 7/10 of 16/20 of itself."""
    found = pair_counts(np.array([[1.0, 1.0], [4.0, 5.0]]), (10.0, 20.0), np.array([0.0, 4.9, 5.1, 9.0]))
    assert found == pytest.approx([0, 2 / (0.7 * 0.8), 0])
    assert pair_counts(np.array([[1.0, 1.0]]), (10.0, 20.0), np.array([0.0, 9.0])).tolist() == [0]


def test_an_object_that_only_touches_the_border_counts() -> None:
    labels = np.zeros((2, 40, 40), np.int32)
    labels[:, :2, 10:12], labels[:, 20:22, 20:22], labels[:, :2, 16:18] = 1, 2, 3
    labels[1, :2, 16:18] = 0
    made = pattern(labels)
    frame = CHECK.frame(made)
    assert frame.margin == (1, 1)  # centres of objects that touch lie there
    assert CHECK.measure(made, frame)[:, len(frame.volumes)] == pytest.approx(np.array([6, 2]) / 38**2)


def test_the_distance_is_that_of_the_curves() -> None:
    rng = np.random.default_rng(8)
    real, far, other = (scattered(12, kind, rng) for kind in ("random", "clustered", "clustered"))
    frame = CHECK.frame(real)
    sums = [CHECK.measure(p, frame).sum(axis=0) for p in (far, real, other)]
    one, *others = (CHECK.curves(total, frame) for total in sums)
    found = CHECK.distance(np.stack([sums[0]] * 2), np.stack(sums[1:]), frame)
    reach = one["l-distance"][-1]
    assert one["outside-envelope"][0] > 0.5 and others[1]["outside-envelope"][0] > 0.5
    assert found["l-function"] == pytest.approx([max(abs(one["l-minus-r"] - o["l-minus-r"])) / reach for o in others])
    assert found["pair-correlation"] == pytest.approx([np.sqrt(np.mean(np.square(one["g"] - o["g"]))) for o in others])
    assert found["outside-envelope"] == pytest.approx([abs(one["outside-envelope"][0] - o["outside-envelope"][0]) for o in others])
