"""The suite passes on sound machinery and finds broken machinery: every single check has a fault that it must notice."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from sciimg.augmenters.samplers.solvers import ddim_inversion
from sciimg.records import Check
from sciimg.verification import adversarial, agreement, checks, determinism, folds, latents, metrics, paths, samplers, store, suite
from sciimg.verification.suite import THEMES, run

Theme = Callable[[], Iterator[Check]]


def failed(theme: Theme) -> set[str]:
    return {c.name for c in theme() if not c.passed}


@pytest.fixture(scope="module")
def sound() -> dict[Theme, list[Check]]:
    """Return every theme's checks of the machinery as it is; the suite is run once for all tests."""
    return {theme: list(theme()) for theme in THEMES}


def test_sound_machinery_passes_and_every_check_names_its_source_once(sound: dict[Theme, list[Check]]) -> None:
    found = [check for theme in THEMES for check in sound[theme]]
    assert [c.name for c in found if not c.passed] == []
    assert len({c.name for c in found}) == len(found) > 150
    assert all(len(c.source) > 10 for c in found)


def test_a_run_goes_through_every_theme_and_says_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    themes = (lambda: iter([checks.check("a", 1, 1, 0, "-")]), lambda: iter([checks.check("b", 1, 2, 0.5, "-")]))
    monkeypatch.setattr(suite, "THEMES", themes)
    said: list[str] = []
    assert [(c.name, c.passed) for c in run(said.append)] == [("a", True), ("b", False)]
    assert said == ["a: ok", "b: FAILED"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_fails(value: float) -> None:
    assert not checks.check("x", 0, value, 1e9, "-").passed


# ---------------------------------------------------------------- faults


@dataclass(frozen=True)
class Fault:
    """One component replaced by a broken one, where the suite finds it; ``noticed`` are names, or beginnings that end in ``*``."""

    name: str
    where: Any
    what: str
    broken: Any
    noticed: Sequence[str]
    theme: Theme


def solver(name: str, broken: Any, theme: Theme, *noticed: str) -> Fault:
    return Fault(name, samplers, "SAMPLERS", {**samplers.SAMPLERS, name: broken}, noticed, theme)


def alters(where: Any, what: str, change: Callable[[Any], Any]) -> Any:
    """Return the function with something done to what it returns."""
    sound = getattr(where, what)
    return lambda *a, **k: change(sound(*a, **k))


def shortened(noise: float, by: float) -> Any:
    """Return ancestral steps with fresh noise of another size, ending beside the mean."""
    sound = samplers.SAMPLERS["ancestral"]
    return lambda predict, path, x, times, normal: sound(predict, path, x, times, lambda shape: noise * normal(shape)) + by


def shifted(by: float, of: str) -> Any:
    sound = samplers.SAMPLERS[of]
    return lambda *a: sound(*a) + by


class Shared:
    """Noise that belongs to the batch."""

    device = torch.device("cpu")

    def __init__(self, key: object, indices: Sequence[int], device: object = None) -> None:
        self.n, self.generator = len(list(indices)), torch.Generator().manual_seed(0)

    def normal(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.randn((self.n, *shape), generator=self.generator)


def bent(cls: type, what: str) -> Any:
    """Return the method with an error that grows with time."""
    sound = getattr(cls, what)

    def method(self: Any, t: float) -> Any:
        value = sound(self, t)
        return tuple(v * (1 + t) for v in value) if isinstance(value, tuple) else value * (1 + t)

    return method


def _path_faults() -> Iterator[Fault]:
    names = {"linear": paths.LinearPath, "cosine": paths.CosinePath, "vp": paths.VariancePreservingPath}
    names |= {"ve": paths.VarianceExplodingPath, "edm": paths.NoiseLevelPath}
    at_sigma = {
        "linear": ("path-linear-sum", "path-linear-ends"),
        "cosine": ("path-cosine-variance", "path-cosine-ends"),
        "vp": ("path-vp-variance",),
        "ve": (),
        "edm": (),
    }
    every = paths._schedules
    for name, cls in names.items():
        noticed = (*at_sigma[name], f"path-{name}-time-of-level", f"path-{name}-slopes")
        yield Fault(f"{name} sigma", cls, "sigma", bent(cls, "sigma"), noticed, every)
        yield Fault(f"{name} time", cls, "time_of", lambda self, level: 0.9 * level, (f"path-{name}-time-of-level",), every)
        yield Fault(f"{name} falls", cls, "sigma", lambda self, t: 1.0 - t, (f"path-{name}-noise-grows",), every)
    wide = alters(paths.Path, "spread", lambda spread: 1.1 * spread)
    yield Fault("prior", paths.Path, "spread", wide, ("prior-kl-*",), paths._priors)
    for cls, noticed in ((paths.VariancePreservingPath, "path-vp-drift"), (paths.VarianceExplodingPath, "path-ve-diffusion")):
        yield Fault("drift", cls, "slopes", bent(cls, "slopes"), (noticed,), every)
    for kind, cls in (("velocity", paths.Velocity), ("epsilon", paths.Epsilon), ("v", paths.V), ("preconditioned", paths.Preconditioned)):
        broken = alters(cls, "split", lambda pair: (pair[0] * 1.001, pair[1]))
        known = [n for n in names if kind != "v" or n not in ("ve", "edm")]
        yield Fault(f"{kind} identity", cls, "split", broken, [f"path-{n}-{kind}-identity" for n in known], paths._identities)
    yield Fault("edm scale", paths.Preconditioned, "scale", lambda self, path, t: 1.0, ("edm-preconditioning",), paths._identities)
    louder = alters(paths.GaussianProcess, "loss", lambda loss: 1.1 * loss)
    yield Fault("losses", paths.GaussianProcess, "loss", louder, ("loss-of-silence-*",), paths._losses)


def _sampler_faults() -> Iterator[Fault]:
    solvers = samplers.SAMPLERS
    first, second = (
        dict.fromkeys(("heun", "dpm-solver++", "unipc-2", "unipc-3"), solvers["ddim"]),
        dict.fromkeys(("euler", "ddim"), solvers["heun"]),
    )
    yield Fault("orders", samplers, "SAMPLERS", {**solvers, **first, **second}, ("order-*",), samplers._orders)
    yield solver("ancestral", solvers["ddim"], samplers._ancestral, "ancestral-variance-*", "posterior-variance-*", "posterior-weight-*")
    yield solver("ancestral", shifted(0.1, "ancestral"), samplers._ancestral, "ancestral-mean-*")
    broken = {"ancestral": shortened(0.5, 0.05), "predictor-corrector": shortened(0.5, 0.05)}
    yield Fault(
        "moments", samplers, "SAMPLERS", {**solvers, **broken}, ("ancestral-moments-*", "predictor-corrector-moments-*"), samplers._moments
    )
    yield solver("heun", shifted(0.01, "heun"), samplers._flow, "flow-map-linear", "flow-map-cosine")
    yield solver("ddim", shifted(0.01, "ddim"), samplers._flow, "ddim-is-euler-on-straight-paths")
    yield Fault("inverse", samplers, "invert", lambda p, path, x, times: x, ("flow-map-inverted-*",), samplers._flow)
    once = lambda *args, rounds: ddim_inversion(*args, rounds=1)  # noqa: E731
    yield Fault("inversion", samplers, "ddim_inversion", once, ("ddim-inversion-round-trip-*",), samplers._inversion)
    nowhere = lambda p, path, x, times, rounds: x  # noqa: E731
    yield Fault("code", samplers, "ddim_inversion", nowhere, ("ddim-inversion-code-*",), samplers._inversion)
    volume = lambda predict, path, x, times, probes=None: x.sum(1)  # noqa: E731
    yield Fault("likelihood", samplers, "log_likelihood", volume, ("likelihood-*",), samplers._likelihood)


class Coarse:
    """An intensity scale that forgets the last two digits."""

    def forward(self, images: Any) -> Any:
        return images // 100 * 100

    def inverse(self, images: Any) -> Any:
        return images


class Half:
    """The training phase with half of its divergence."""

    def __init__(self, phase: Any) -> None:
        self.prepare, self.finish, self.sound = phase.prepare, phase.finish, phase.loss

    def loss(self, player: str, batch: Any) -> dict[str, torch.Tensor]:
        return {"kl": 0.5 * self.sound(player, batch)["kl"]}


def _latent_faults() -> Iterator[Fault]:
    space, every = latents.KLAutoencoder, latents.checks
    raw = lambda self, images, condition=None: self.posterior(images)[0] * 3 + 1  # noqa: E731
    yield Fault("raw latents", space, "encode", raw, ("latent-mean", "latent-std", "latent-scale-*"), every)
    phases = space.phases
    yield Fault("kl", space, "phases", lambda self: (Half(phases(self)[0]),), ("gaussian-kl",), every)
    yield Fault("intensity", latents, "learn_scale", lambda *_: Coarse(), ("intensity-round-trip",), every)


def _game_faults() -> Iterator[Fault]:
    every = adversarial.checks
    half = alters(adversarial, "relativistic", lambda loss: 0.5 * loss)
    yield Fault("relativistic", adversarial, "relativistic", half, ("relativistic-*",), every)
    told = adversarial.told_apart
    yield Fault(
        "biased games",
        adversarial,
        "told_apart",
        lambda *a: told(*a) + 0.1,
        ("hinge-loss-*", "wasserstein-loss-*", "non-saturating-loss-*", "non-saturating-best-judge", "wasserstein-of-two-laws"),
        every,
    )
    swapped = lambda loss, real, made: told(loss, made, real)  # noqa: E731
    yield Fault("swapped sides", adversarial, "told_apart", swapped, ("non-saturating-best-judge-slope", "wasserstein-of-two-laws"), every)
    yield Fault(
        "rootless", adversarial, "gradient_penalty", alters(adversarial, "gradient_penalty", torch.sqrt), ("gradient-penalty-*",), every
    )
    own = adversarial.augment
    other = lambda points, condition, g, p: (own(points, condition, g, p)[0][:1] + own(points, condition, g, p)[0][1:], condition)  # noqa: E731
    yield Fault("leaking augmentation", adversarial, "augment", other, ("augmentation-treats-all-alike",), every)


def _store_faults() -> Iterator[Fault]:
    volume, written = store.Volume, store.Collection
    every = store.checks
    read, labels = volume.read, volume.read_labels
    coarse = lambda self, box=None, level=0: read(self, box, level) // 2 * 2  # noqa: E731
    yield Fault("lossy", volume, "read", coarse, ("store-voxels-changed", "store-coarse-level", "catalogue-pixels-changed"), every)
    yield Fault("labels", volume, "read_labels", lambda self: labels(self) + 1, ("store-labels-changed",), every)
    yield Fault("digest", volume, "measured_digest", lambda self: "sha256:0", ("store-digest-repeats", "catalogue-faults"), every)
    yield Fault("blind", written, "verify", lambda self: [], ("catalogue-finds-damage",), every)
    short = property(lambda self: store_catalogue(self).iloc[::-1])
    yield Fault("rows", written, "catalogue", short, ("catalogue-rows-changed",), every)
    yield Fault("rebuilt", written, "digest", property(lambda self: str(id(self))), ("catalogue-rebuilt",), every)


def store_catalogue(collection: Any) -> Any:
    from sciimg.store.catalogue import read_catalogue

    return read_catalogue(collection.path / "catalogue.parquet")


def _metric_faults() -> Iterator[Fault]:
    every = metrics.checks
    plain: list[tuple[str, Any, tuple[str, ...]]] = [
        ("ssim", lambda a, b, data_range: 0.9, ("ssim-*",)),
        ("ms_ssim", lambda a, b, data_range: 0.9, ("ms-ssim-of-itself",)),
        ("psnr", lambda a, b, data_range: 40.0, ("psnr-*",)),
        ("ncc", lambda a, b: 0.99, ("ncc-*",)),
        ("nrmse", lambda a, b: 0.2, ("nrmse-*",)),
        ("mutual_information", lambda a, b: 0.0, ("mutual-information-*",)),
        ("frechet", lambda a, b: 0.0, ("fd-*",)),
        ("kid", lambda a, b: 0.0, ("kid-by-hand",)),
        ("dice", lambda a, b: 0.6, ("dice-*",)),
        ("coverage_ceiling", lambda n, m, k: 1.0, ("coverage-ceiling",)),
        ("proportion_interval", lambda k, n: (0.0, 0.3), ("interval-*",)),
        ("permutation_p", lambda seen, permuted: float(np.mean(permuted >= seen)), ("permutation-p-*",)),
        ("half_interval", lambda halves, groups: (-0.5, 0.5), ("half-sampling-width",)),
        ("mean_interval", lambda values, groups, rng, rounds: (-0.5, 0.5), ("bootstrap-width-*",)),
    ]
    for what, broken, noticed in plain:
        yield Fault(what, metrics, what, broken, noticed, every)
    off = alters(metrics, "prdc", lambda m: replace(m, precision=m.precision / 3, recall=1 - m.recall, density=0.9, coverage=0.5))
    noticed = ("precision-by-hand", "recall-*", "density-by-hand", "coverage-by-hand", "coverage-of-a-copy")
    yield Fault("prdc", metrics, "prdc", off, noticed, every)


def _agreement_faults() -> Iterator[Fault]:
    every = agreement.checks
    less = lambda estimate: replace(estimate, value=estimate.value * 0.99)  # noqa: E731
    for what, noticed in (("fleiss_kappa", "fleiss-*"), ("gwet_ac", "gwet-*"), ("krippendorff_alpha", "krippendorff-*")):
        yield Fault(what, agreement, what, alters(agreement, what, less), (noticed,), every)
    yield Fault("d'", agreement, "d_prime", alters(agreement, "d_prime", lambda d: 1.01 * d), ("d-prime-of-rates", "d-prime-of-a-*"), every)
    yield Fault("d' of pairs", agreement, "d_prime_2afc", lambda *counts: math.sqrt(2), ("d-prime-of-pairs",), every)
    yield Fault("p", agreement, "binomial_p", alters(agreement, "binomial_p", lambda p: p / 2), ("binomial-p-*",), every)
    yield Fault("limits", agreement, "binomial_interval", lambda k, n: (0.04, 0.3), ("accuracy-interval-*",), every)
    lenient = alters(agreement, "equivalence", lambda e: replace(e, equivalent=True))
    yield Fault("lenient", agreement, "equivalence", lenient, ("equivalence-*",), agreement._equivalence)


def _determinism_faults() -> Iterator[Fault]:
    every = determinism.checks
    yield Fault("shared noise", determinism, "Noise", Shared, ("noise-belongs-to-samples",), every)
    yield Fault("mixing", determinism, "_sample", lambda neighbour: np.full(3, neighbour, np.float32), ("samples-do-not-mix",), every)
    yield Fault("seed", determinism, "seed_of", lambda *key: 7, ("seed-is-stable",), every)
    fresh = iter(range(10**6))
    yield Fault("generator", determinism, "generator", lambda *key: np.random.default_rng(next(fresh)), ("generator-repeats",), every)

    every = determinism._batches

    def careless(self: Any, labels: Any, table: Any, *, key: Any, indices: Sequence[int], steps: int, workers: int) -> Any:
        made = np.arange(len(indices), dtype=float) + workers
        return np.broadcast_to(made[:, None], (len(indices), 4))

    yield Fault("careless", determinism.Augmenter, "sample", careless, ("workers-change-nothing", "batches-change-nothing"), every)
    same = lambda self, labels, table, *, indices, **_: np.zeros((len(indices), 4))  # noqa: E731
    yield Fault("one image", determinism.Augmenter, "sample", same, ("samples-differ",), every)


def _fold_faults() -> Iterator[Fault]:
    every = folds.checks
    yield Fault(
        "forgetful parts", folds, "part_of", lambda share, fold, n: "holdout" if share != fold else "train", ("*-not-held-out-once",), every
    )
    turn = iter(range(10**6))
    parts = ("train", "calibration", "holdout")
    yield Fault(
        "lost groups", folds, "shares_of_groups", lambda groups, n, strata: dict.fromkeys(groups[1:], 0), ("*-groups-crossing",), every
    )
    yield Fault("random parts", folds, "part_of", lambda share, fold, n: parts[next(turn) % 2], ("*-not-held-out-once",), every)
    blind = lambda groups, n, strata: {g: i // 6 % n for i, g in enumerate(groups)}  # noqa: E731
    yield Fault("blind to strata", folds, "shares_of_groups", blind, ("folds-rare-stratum-uneven",), every)
    touching = lambda length, n, guard: [(i * length // n, (i + 1) * length // n) for i in range(n)]  # noqa: E731
    yield Fault("no guard", folds, "fold_strips", touching, ("folds-strips-guard", "folds-strips-cover"), every)


FAULTS: dict[ModuleType, Callable[[], Iterator[Fault]]] = {
    paths: _path_faults,
    samplers: _sampler_faults,
    latents: _latent_faults,
    adversarial: _game_faults,
    store: _store_faults,
    metrics: _metric_faults,
    agreement: _agreement_faults,
    determinism: _determinism_faults,
    folds: _fold_faults,
}


def matching(names: set[str], pattern: str) -> set[str]:
    """Return the names that a pattern with at most one ``*`` stands for."""
    first, star, last = pattern.partition("*")
    return {n for n in names if (n.startswith(first) and n.endswith(last) if star else n == pattern)}


@pytest.mark.parametrize("module", FAULTS, ids=lambda m: m.__name__.rsplit(".", 1)[-1])
def test_every_check_fails_when_what_it_checks_is_broken(
    module: ModuleType, sound: dict[Theme, list[Check]], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {c.name for c in sound[module.checks]}
    seen: set[str] = set()
    for fault in FAULTS[module]():
        with monkeypatch.context() as broken:
            broken.setattr(fault.where, fault.what, fault.broken)
            found = failed(fault.theme)
        for pattern in fault.noticed:
            asked = matching(names, pattern)
            assert asked and asked <= found, f"{fault.name}: {pattern} stayed silent about {sorted(asked - found)}"
        seen |= found
    assert seen == names  # no check is beyond failing


def test_every_theme_has_faults() -> None:
    assert {module.checks for module in FAULTS} == set(THEMES)
