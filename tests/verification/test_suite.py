"""The suite passes on sound machinery and finds broken machinery: every theme has a fault that it must notice."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from sciimg.augmenters.samplers.solvers import ddim_inversion
from sciimg.records import Check
from sciimg.verification import checks, determinism, latents, metrics, paths, samplers, store
from sciimg.verification.suite import THEMES, run


def failed(theme: Callable[[], Iterator[Check]]) -> set[str]:
    return {c.name for c in theme() if not c.passed}


@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.__module__.rsplit(".", 1)[-1])
def test_sound_machinery_passes(theme: Callable[[], Iterator[Check]]) -> None:
    assert failed(theme) == set()


def test_every_check_names_its_source_once() -> None:
    found = run()
    assert len({c.name for c in found}) == len(found) > 40
    assert all(c.source for c in found)


def test_a_number_that_is_not_finite_fails() -> None:
    assert not checks.check("x", 0, float("nan"), 1e9, "-").passed


def test_a_wrong_schedule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths.CosinePath, "sigma", lambda self, t: t)
    assert {"path-cosine-variance", "path-cosine-slopes"} <= failed(paths.checks)


def test_a_wrong_loss_target_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths.GaussianProcess, "loss", lambda self, data, condition, g: data.square().mean())
    assert "loss-of-silence-flow-velocity" in failed(paths.checks)


def test_a_first_order_heun_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "SAMPLERS", {**samplers.SAMPLERS, "heun": samplers.SAMPLERS["euler"]})
    assert failed(samplers.checks) == {"order-heun-linear", "order-heun-cosine"}


def test_ancestral_steps_without_fresh_noise_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "SAMPLERS", {**samplers.SAMPLERS, "ancestral": samplers.SAMPLERS["ddim"]})
    assert "ancestral-variance-linear" in failed(samplers.checks)


def test_a_multistep_solver_that_forgets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "SAMPLERS", {**samplers.SAMPLERS, "dpm-solver++": samplers.SAMPLERS["ddim"]})
    assert failed(samplers.checks) == {"order-dpm-solver++-linear", "order-dpm-solver++-cosine"}


def test_a_likelihood_without_the_divergence_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "log_likelihood", lambda predict, path, x, times, probes=None: x.sum(1))
    assert {"likelihood-exact-linear", "likelihood-hutchinson-edm"} <= failed(samplers.checks)


def test_an_inversion_that_does_not_solve_its_steps_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "ddim_inversion", lambda *args, rounds: ddim_inversion(*args, rounds=1))
    assert "ddim-inversion-round-trip-linear" in failed(samplers.checks)


def test_a_wrong_preconditioning_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths.Preconditioned, "scale", lambda self, path, t: 1.0)
    assert failed(paths.checks) >= {"edm-preconditioning"}


def test_unscaled_latents_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latents.KLAutoencoder, "encode", lambda self, images: self.posterior(images)[0] * 3)
    assert "latent-std" in failed(latents.checks)


def test_a_lossy_store_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    read = store.Volume.read
    monkeypatch.setattr(store.Volume, "read", lambda self, box=None, level=0: read(self, box, level) // 2 * 2)
    assert "store-voxels-changed" in failed(store.checks)


@pytest.mark.parametrize(
    ("name", "broken", "noticed"),
    [
        ("ssim", lambda a, b, data_range: 1.0, "ssim-against-scikit-image"),
        ("psnr", lambda a, b, data_range: 40.0, "psnr-of-a-constant-error"),
        ("frechet", lambda a, b: 0.0, "fd-of-a-shift"),
        ("kid", lambda a, b: 0.0, "kid-by-hand"),
        ("dice", lambda a, b: 0.6, "dice-of-half-overlap"),
        ("proportion_interval", lambda k, n: (0.0, 0.3), "interval-upper-tail"),
    ],
)
def test_a_broken_metric_is_found(monkeypatch: pytest.MonkeyPatch, name: str, broken: Callable[..., object], noticed: str) -> None:
    monkeypatch.setattr(metrics, name, broken)
    assert noticed in failed(metrics.checks)


def test_noise_that_depends_on_the_batch_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shared:
        device = torch.device("cpu")

        def __init__(self, key: object, indices: object, device: object = None) -> None:
            self.n = len(list(indices))  # type: ignore[call-overload]
            self.generator = torch.Generator().manual_seed(0)

        def normal(self, shape: tuple[int, ...]) -> torch.Tensor:
            return torch.randn((self.n, *shape), generator=self.generator)

    monkeypatch.setattr(determinism, "Noise", Shared)
    assert "noise-belongs-to-samples" in failed(determinism.checks)


def test_samples_that_mix_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(determinism, "_sample", lambda neighbour: np.full(3, neighbour, np.float32))
    assert "samples-do-not-mix" in failed(determinism.checks)
