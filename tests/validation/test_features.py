from dataclasses import replace

import numpy as np
import pytest
import torch
from patchsets import images_2d
from scipy import ndimage
from tissue import patches

from sciimg.validation.distribution import set_metrics
from sciimg.validation.features import cooccurrence, wavelets
from sciimg.validation.features.encoder import TrainedEncoder, contrastive_loss, train_encoder
from sciimg.validation.features.named import FIXED
from sciimg.validation.features.space import Scale, fit_space
from sciimg.validation.features.spectrum import spectrum
from sciimg.validation.features.texture import texture
from sciimg.validation.features.wavelets import bank, directions, scale_count, scattering
from sciimg.validation.outcome import UndefinedError
from sciimg.validation.physics.controls import blurred, noisier


@pytest.fixture(scope="module")
def tissue():
    return patches("train", 64)


def wave(shape, period, angle=0.0):
    y, x = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    return np.sin(2 * np.pi * (np.cos(angle) * x + np.sin(angle) * y) / period)[None, None].astype(np.float32)


def first_order(image):
    """(J, L) of a one-channel 64 x 64 image: after mean and spread come, per scale, L first and then the second orders."""
    row, scales, out, at = scattering(image)[0], 4, [], 2
    for j in range(scales):
        out.append(row[at : at + 4])
        at += 4 + scales - 1 - j
    return np.array(out)


def test_coarse_octaves_on_a_coarse_grid_see_the_same():
    images = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((3, 2, 64, 64)), (0, 0, 1, 1)).astype(np.float32)
    ours = scattering(images)
    filters = bank((64, 64))
    full = np.fft.fftn(np.pad(images, [(0, 0), (0, 0), *[(16, n - 80) for n in filters.padded]], mode="symmetric"), axes=(2, 3))
    for j, octave in enumerate(filters.octaves):
        wavelet = wavelets._morlet(filters.padded, directions(2)[1], 2**j)
        response = np.abs(np.fft.ifftn(full * wavelet, axes=(2, 3)))[:, :, 16:80, 16:80].mean(axis=(2, 3))
        column = 4 + sum(4 + 3 - i for i in range(j)) * 2 + 2
        assert ours[:, column : column + 2] == pytest.approx(np.log(response + 0.01 * octave.gains[1]), abs=0.04)


def test_wavelets_see_scale_and_orientation():
    fine, coarse = first_order(wave((64, 64), 2 * np.pi / (3 * np.pi / 4))), first_order(wave((64, 64), 8 * 2 * np.pi / (3 * np.pi / 4)))
    assert fine.max(axis=1).argmax() == 0 and coarse.max(axis=1).argmax() == 3
    along_x, along_y = first_order(wave((64, 64), 8)), first_order(wave((64, 64), 8, np.pi / 2))
    best = along_x.max(axis=1).argmax()
    assert np.abs(directions(2)[along_x[best].argmax()]) == pytest.approx([0, 1], abs=1e-9)
    assert np.abs(directions(2)[along_y[best].argmax()]) == pytest.approx([1, 0], abs=1e-9)


def test_wavelets_are_blind_to_a_constant_and_calibrated_on_white_noise():
    filters = bank((64, 64))
    assert all(np.abs(octave.oriented[:, 0, 0]).max() < 1e-6 for octave in filters.octaves)
    noise = np.random.default_rng(0).standard_normal((80, 1, 64, 64)).astype(np.float32)
    expected = np.log([octave.gains * 1.01 for octave in filters.octaves])
    assert np.mean([first_order(image[None]) for image in noise], axis=0) == pytest.approx(expected, abs=0.15)


def test_what_lies_below_the_floor_is_not_seen():
    base = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((1, 1, 64, 64)), (0, 0, 8, 8)).astype(np.float32) * 10
    grain = np.random.default_rng(1).standard_normal(base.shape).astype(np.float32)
    assert np.abs(scattering(base + 0.001 * grain) - scattering(base)).max() < 0.15
    assert np.abs(scattering(base + 0.05 * grain) - scattering(base)).max() > 1


def test_coherence_tells_channels_that_go_together():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1, 1, 64, 64)).astype(np.float32)
    same, other = (scattering(np.concatenate([a, c], axis=1))[0, -4:] for c in (a, b))
    assert same == pytest.approx(np.ones(4), abs=0.01)
    assert np.abs(other).max() < 0.4
    assert scattering(np.concatenate([a, -a], axis=1))[0, -4:] == pytest.approx(-np.ones(4), abs=0.01)


@pytest.mark.parametrize("shape", [(64, 64), (33, 70), (16, 16), (5, 5), (24, 20, 28), (3, 40, 40)])
@pytest.mark.parametrize("compute", FIXED.values(), ids=FIXED)
def test_any_size_gives_finite_features_that_do_not_depend_on_the_batch(compute, shape):
    images = np.random.default_rng(0).standard_normal((5, 2, *shape)).astype(np.float32)
    images[0] = 0
    together = compute(images)
    assert together.shape[0] == 5 and np.isfinite(together).all()
    assert np.concatenate([compute(images[i : i + 1]) for i in range(5)]) == pytest.approx(together, abs=1e-4)
    assert scale_count(shape) >= 1


def test_white_noise_has_one_power_in_every_ring_and_a_wave_in_one():
    rng = np.random.default_rng(0)
    for shape in ((64, 64), (40, 64), (16, 16, 16)):
        flat = spectrum(rng.standard_normal((60, 1, *shape)).astype(np.float32))[:, 1:]
        assert np.log(np.exp(flat).mean(axis=0)) == pytest.approx(np.zeros(flat.shape[1]), abs=0.25)
    wavelike = spectrum(3 + wave((64, 64), 8))[0]
    assert wavelike[0] == pytest.approx(3, abs=0.05) and wavelike[1:].argmax() == 3  # 1/8 of a cycle lies in the ring from 3/32 to 4/32
    assert np.delete(wavelike[1:], [2, 3, 4]).max() < wavelike[4] - 4


def test_co_occurrence_equals_scikit_image():
    from skimage.feature import graycomatrix, graycoprops

    levels = cooccurrence.grey_levels(np.random.default_rng(0).standard_normal((2, 20, 24)))
    ours = dict(zip(cooccurrence.TEXTURES, cooccurrence.textures(cooccurrence.matrices(levels))[1], strict=True))
    counts = graycomatrix(levels[1].astype(np.uint8), [1], np.arange(4) * np.pi / 4, cooccurrence.LEVELS, symmetric=True)
    shares = counts.sum(axis=3, keepdims=True) / counts.sum()
    assert cooccurrence.matrices(levels)[1] == pytest.approx(shares[:, :, 0, 0])
    names = {"contrast": "contrast", "inverse-difference-moment": "homogeneity", "angular-second-moment": "ASM"}
    names |= {"correlation": "correlation", "difference-average": "dissimilarity"}
    for name, theirs in names.items():
        assert ours[name] == pytest.approx(graycoprops(shares, theirs).item()), name


def test_co_occurrence_in_space_counts_every_pair_of_neighbours():
    levels = np.random.default_rng(0).integers(0, 4, (1, 3, 4, 5))
    counts = np.zeros((cooccurrence.LEVELS,) * 2)
    for a in np.ndindex(3, 4, 5):
        for b in np.ndindex(3, 4, 5):
            if a != b and max(abs(i - j) for i, j in zip(a, b, strict=True)) == 1:
                counts[levels[0][a], levels[0][b]] += 1
    assert cooccurrence.matrices(levels)[0] == pytest.approx(counts / counts.sum())
    assert len(cooccurrence.neighbours(3)) == 13
    flat = cooccurrence.textures(cooccurrence.matrices(np.full((1, 8, 8), 5)))[0]
    expected = dict.fromkeys(cooccurrence.TEXTURES, 0.0) | {"joint-average": 6.0}  # levels count from 1
    expected |= dict.fromkeys(("joint-maximum", "angular-second-moment", "inverse-difference-moment", "correlation"), 1.0)
    assert flat == pytest.approx(list(expected.values()))


def test_seven_directions_in_space_and_no_two_opposite():
    vectors = directions(3)
    assert len(vectors) == 7
    cosines = np.abs(vectors @ vectors.T) - np.eye(7)
    assert cosines.max() < 0.99


@pytest.mark.parametrize("compute", FIXED.values(), ids=FIXED)
def test_a_space_is_fixed_on_the_reference_and_sees_blur_and_noise(compute, tissue):
    space = fit_space("x", compute, tissue)
    rng = np.random.default_rng(0)
    real = space.transform(tissue)
    assert np.abs(real.mean(axis=0)).max() < 1e-4 + 0.2
    spread = np.linalg.norm(real - real.mean(axis=0), axis=1).mean()
    for plant in (blurred(1.0), noisier(1.0)):
        moved = np.linalg.norm(space.transform(plant(tissue, rng)) - real, axis=1).mean()
        assert moved > spread
    assert space.transform(tissue.take([3])) == pytest.approx(real[3:4], abs=1e-3)


def test_vectors_do_not_depend_on_how_many_are_computed_at_once(tissue, monkeypatch):
    space = fit_space("x", texture, tissue)
    together = space.transform(tissue)
    monkeypatch.setattr("sciimg.validation.features.space._BATCH_VOXELS", 5 * tissue.images[0].size)
    assert space.transform(tissue) == pytest.approx(together, abs=1e-4)
    assert space.transform(tissue.take([])).shape == (0, together.shape[1])


def test_units_of_the_images_do_not_matter(tissue):
    other = replace(tissue, images=tissue.images.astype(np.float64) * 7 + 1000)
    ours, theirs = (fit_space("x", texture, p).transform(p) for p in (tissue, other))
    assert np.abs(ours) == pytest.approx(np.abs(theirs), abs=0.05)


def test_a_reference_without_variation_gives_no_space():
    with pytest.raises(UndefinedError, match="do not differ"):
        fit_space("x", texture, images_2d(np.full((8, 1, 16, 16), 3, np.uint8)))


def test_the_encoder_repeats_bit_by_bit_and_survives_a_file(tissue, tmp_path):
    images = Scale.of(tissue).apply(tissue.images)
    first, again, other = (train_encoder(images, steps=4, key=(k,)) for k in ("a", "a", "b"))
    assert first.losses == again.losses and len(first.losses) == 4
    assert np.array_equal(first.embed(images), again.embed(images))
    assert not np.array_equal(first.embed(images), other.embed(images))
    first.save(tmp_path / "encoder.safetensors")
    loaded = TrainedEncoder.load(tmp_path / "encoder.safetensors")
    assert np.array_equal(loaded.embed(images), first.embed(images)) and loaded.losses == first.losses


def test_the_encoder_leaves_the_global_generator_alone(tissue):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train_encoder(Scale.of(tissue).apply(tissue.images[:8]), steps=1, key=("a",))
    assert torch.equal(torch.rand(3), expected)


def test_the_encoder_learns_in_3d_and_takes_any_size():
    images = np.random.default_rng(0).standard_normal((6, 1, 18, 20, 22)).astype(np.float32)
    encoder = train_encoder(images, steps=2, key=("v",))
    assert np.isfinite(encoder.embed(images)).all()
    assert encoder.embed(images[:, :, :7, :9, :11]).shape == encoder.embed(images).shape


def test_contrastive_loss_by_hand():
    codes = torch.eye(2).repeat(3, 1)  # two images: both views equal, the faulty view equal too
    expected = -np.log(np.exp(5) / (2 * np.exp(5) + 3 * np.exp(0)))
    assert float(contrastive_loss(codes, 2)) == pytest.approx(expected, rel=1e-5)


def test_one_wild_image_is_far_away_and_not_infinitely_far(tissue):
    space = fit_space("x", texture, tissue)
    wild = replace(tissue.take([0]), images=np.full_like(tissue.images[:1], 65535))
    length = np.linalg.norm(space.transform(wild)) / np.sqrt(space.axes.shape[1])
    typical = np.linalg.norm(space.transform(tissue), axis=1) / np.sqrt(space.axes.shape[1])
    assert length == pytest.approx(3) and typical.max() < 2
    assert space.axes.shape[1] <= len(tissue) // 2


def test_a_small_set_does_not_judge_itself_by_axes_fitted_to_itself():
    """Fitted on the real set alone, as without training images: another sample of one population must not look different."""
    rng = np.random.default_rng(0)

    def draw(n):
        sigmas, levels = rng.uniform(0.7, 3, n), rng.uniform(0.5, 2, (n, 1, 1))
        grain = np.stack([ndimage.gaussian_filter(rng.standard_normal((32, 32)), s) for s in sigmas])
        grain = levels * grain / grain.std(axis=(1, 2), keepdims=True) + 0.2 * rng.standard_normal((n, 32, 32))
        return images_2d((2000 + 150 * grain)[:, None].astype(np.uint16))

    effects = []
    for i in range(8):
        real, other = draw(40), draw(40)
        metrics = {m.name: m for m in set_metrics(real, other, [fit_space("x", texture, real)], rounds=40, key=("t", i))}
        effects.append(metrics["kid_effect_x"].value)
    assert np.median(effects) < 0.75 and np.max(effects) < 4
