"""Images larger than a network's view: no seams, any worker, any order, and the same bytes after a kill."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clusters import Damaging, threads
from stores import files_of
from textures import Textures
from torch import Tensor

from sciimg.augmenters.grid_noise import GridNoise, WindowNoise
from sciimg.augmenters.model_file import read_card
from sciimg.augmenters.processes.gaussian import GaussianProcess
from sciimg.augmenters.processes.settings import FlowProcess
from sciimg.augmenters.samplers.settings import SamplerName, SamplerSettings
from sciimg.augmenters.samplers.solvers import SAMPLERS
from sciimg.augmenters.settings import Training
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.spaces.residual import ResidualNoise
from sciimg.augmenters.system import Condition, FieldNetwork
from sciimg.errors import InputError
from sciimg.generation import volume as volume_module
from sciimg.generation.fusion import Fields, draw_points
from sciimg.generation.volume import asked_by_hand, generate_volumes
from sciimg.generation.windows import Windows, covering
from sciimg.io.image import Image
from sciimg.randomness import generator
from sciimg.store import Collection, CollectionWriter
from sciimg.types import Spacing
from tests.augmenters.test_training import small, train

SHAPES = {2: (37, 41), 3: (11, 15, 23)}


# ---------------------------------------------------------------- geometry and noise


@pytest.mark.parametrize(
    ("wanted", "size", "first", "usable", "align"),
    [((100, 61), (16, 16), (0, 0), (16, 16), (1, 1)), ((9, 50, 64), (16, 32, 32), (2, 4, 0), (12, 24, 32), (1, 8, 16))],
)
def test_weights_sum_to_one_and_padding_counts_nothing(wanted: Any, size: Any, first: Any, usable: Any, align: Any) -> None:
    windows = covering(wanted, size, first, usable, align)
    total, owner = np.zeros(windows.shape), np.zeros(windows.shape, int)
    for index in windows.indices():
        weight = windows.weight(index)
        total[windows.window(index)] += weight
        owner[windows.cell(index)] += 1
        for axis, (i, lead) in enumerate(zip(index, first, strict=True)):
            assert not i or not weight.take(range(lead), axis).any()
        box = windows.cell(index)
        seeing = [
            w for w in windows.indices() if all(a.start < b.stop and b.start < a.stop for a, b in zip(windows.window(w), box, strict=True))
        ]
        assert seeing == windows.seen_by(index)
    assert np.abs(total - 1).max() < 1e-6 and (owner == 1).all()
    assert all(n - lead - w >= 0 for n, lead, w in zip(windows.shape, first, wanted, strict=True))
    assert all(s % a == 0 for s, a in zip(windows.stride, align, strict=True))


def test_windows_that_are_mostly_padding_are_refused() -> None:
    with pytest.raises(InputError, match="no-overlap"):
        covering((100,), (16,), (5,), (6,), (8,))


def test_noise_is_a_function_of_the_place() -> None:
    field = GridNoise(("k", 1))
    whole = field.box(2, (-40, 0), (100, 70))
    for start, shape in (((-40, 0), (3, 3)), ((-5, 20), (40, 33)), ((31, 31), (2, 2))):
        there = (slice(None), *(slice(a - o, a - o + n) for a, o, n in zip(start, (-40, 0), shape, strict=True)))
        assert torch.equal(field.box(2, start, shape), whole[there])
    assert abs(float(whole.mean())) < 0.05 and abs(float(whole.std()) - 1) < 0.05
    assert not torch.equal(field.under("other").box(2, (0, 0), (8, 8)), field.box(2, (0, 0), (8, 8)))


def test_noise_of_windows_agrees_where_they_overlap_on_every_scale() -> None:
    noise = WindowNoise(GridNoise(("k",)), [(0, 0), (0, 8)], (16, 16))
    vector, fine, coarse = noise.normal((5,)), noise.normal((2, 16, 16)), noise.normal((2, 4, 4))
    assert torch.equal(vector[0], vector[1])
    assert torch.equal(fine[0][..., 8:], fine[1][..., :8]) and torch.equal(coarse[0][..., 2:], coarse[1][..., :2])


# ---------------------------------------------------------------- a model with a closed form


class Wiener(FieldNetwork):
    """The exact velocity for a stationary Gaussian field of covariance rho^|distance|, as far as a window sees it."""

    def __init__(self, size: int, rho: float) -> None:
        super().__init__()
        places = torch.arange(size, dtype=torch.float64)
        values, self.vectors = torch.linalg.eigh(rho ** (places[:, None] - places).abs())
        self.values = torch.outer(values, values)

    def forward(self, x: Tensor, time: Tensor, condition: Condition) -> Tensor:
        t, waves = float(time[0]), self.vectors.T @ x.double() @ self.vectors
        data = (1 - t) * self.values / ((1 - t) ** 2 * self.values + t**2)
        return self.vectors @ (waves * (1 - (1 - t) * data) / t - waves * data) @ self.vectors.T if t else x


def drawn(folder: Path, windows: Windows, network: FieldNetwork, channels: int, sampler: SamplerName = "heun") -> Tensor:
    process = GaussianProcess(FlowProcess(), Pixels(), network, Training(steps=1, precision="fp32"), 0.0)

    def told(chunk: Any) -> Condition:
        n = len(chunk)
        return Condition(torch.zeros(n, 0, *windows.size), torch.zeros(n, 0), torch.ones(n, 1))

    fields = Fields(folder)
    name = draw_points(process, told, GridNoise(("k",)), channels, windows, SamplerSettings(name=sampler, steps=16), fields)
    return fields.read(name, windows, tuple(slice(0, n) for n in windows.shape))[0]


def test_fused_gaussian_field_has_its_covariance_across_seams(tmp_path: Path) -> None:
    rho, windows = 0.6, covering((28, 28), (16, 16), (0, 0), (16, 16), (1, 1))
    assert windows.counts == (2, 2) and windows.stride == (12, 12)
    x = drawn(tmp_path, windows, Wiener(16, rho), 1500).double()
    assert abs(float(x.square().mean()) - 1) < 0.03
    seam = slice(12, 16)  # where windows overlap
    assert abs(float(x[:, seam].square().mean()) - 1) < 0.04
    for lag in (1, 2, 3):
        across = [float((x[:, i] * x[:, i + lag]).mean()) for i in range(28 - lag)]
        assert max(abs(c - rho**lag) for c in across) < 0.06, (lag, across)
        assert abs(np.mean(across[11 : 16 - lag + 1]) - rho**lag) < 0.03


def test_independent_pixels_are_fused_exactly(tmp_path: Path) -> None:
    windows = covering((28, 40), (16, 16), (0, 0), (16, 16), (1, 1))
    x = drawn(tmp_path, windows, Wiener(16, 0.0), 3)
    expected = GridNoise(("k", "start")).box(3, (0, 0), windows.shape)  # variance 1 at every time along a curved path
    assert float(torch.corrcoef(torch.stack([x.flatten(), expected.flatten()]))[0, 1]) > 0.99999


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_field_of_one_window_is_what_the_solver_draws(tmp_path: Path, sampler: SamplerName) -> None:
    """All that a solver remembers is on disk; fresh noise is never used twice."""
    windows, network = covering((16, 16), (16, 16), (0, 0), (16, 16), (1, 1)), Wiener(16, 0.6)
    x = drawn(tmp_path, windows, network, 400, sampler).double()
    process = GaussianProcess(FlowProcess(), Pixels(), network, Training(steps=1, precision="fp32"), 0.0)
    told, fresh = Condition(torch.zeros(1, 0, 16, 16), torch.zeros(1, 0), torch.ones(1, 1)), torch.Generator().manual_seed(0)
    start = GridNoise(("k", "start")).box(400, (0, 0), (16, 16))[None]
    settings = SamplerSettings(name=sampler, steps=16)
    expected = process.decode(start, told, settings, lambda shape: torch.randn(1, *shape, generator=fresh))[0].double()
    if sampler in ("ancestral", "predictor-corrector"):
        assert float(x.square().mean()) == pytest.approx(float(expected.square().mean()), abs=0.02)
        assert abs(float(torch.corrcoef(torch.stack([x.flatten(), expected.flatten()]))[0, 1])) < 0.9
    else:
        assert torch.allclose(x, expected, atol=1e-5)


def test_the_residual_of_a_large_field_is_stationary() -> None:
    generator_ = torch.Generator().manual_seed(1)
    law = ResidualNoise((2, 16, 16))
    spectrum = torch.fft.rfftn(
        torch.from_numpy(np.exp(-np.add.outer(*(np.minimum(np.arange(16), 16 - np.arange(16)) ** 2 / 8.0,) * 2))), dim=(0, 1)
    )
    law.colour[0, 0, ..., 0] = law.colour[1, 1, ..., 0] = spectrum.real.float()
    law.strength.fill_(0.5)
    field = GridNoise(("texture",))

    def box(start: tuple[int, int], shape: tuple[int, int]) -> Tensor:
        calls = iter("ab")

        def white(channels: int, halo: Any) -> Tensor:
            return field.under(next(calls)).box(
                channels, [a - h for a, h in zip(start, halo, strict=True)], [n + 2 * h for n, h in zip(shape, halo, strict=True)]
            )[None]

        return law.spread_out(torch.zeros(1, 2, *shape), torch.zeros(1, 2, *shape), white)

    whole = box((0, 0), (96, 96))
    for start, shape in (((0, 0), (48, 48)), ((48, 10), (20, 33))):
        there = (..., *(slice(a, a + n) for a, n in zip(start, shape, strict=True)))
        assert torch.allclose(box(start, shape), whole[there], atol=1e-6)
    patch = law._texture(
        torch.zeros(64, 2, 16, 16), torch.randn(64, 2, 16, 16, generator=generator_), torch.randn(64, 1, 16, 16, generator=generator_)
    )
    assert abs(float(whole.std()) / (0.5 * float(patch.std())) - 1) < 0.06


# ---------------------------------------------------------------- whole collections


@pytest.fixture(scope="module", params=["ldm", "pixel-flow", "pixel-ddpm", "gan"])
def model(request: Any, tmp_path_factory: Any) -> Path:
    out: Path = tmp_path_factory.mktemp("volume") / "model"
    options = {"backbone__widths": [8, 8]} if request.param != "gan" else {}
    if request.param == "gan":
        from systems.shrunk import shrunk

        from sciimg.augmenters.recipes import get_recipe

        train(out, shrunk(get_recipe("gan", {})), Textures((32, 32)))
    else:
        train(out, small(request.param, training__steps=2, **options), Textures((16, 16)))
    return out


def masks_at(path: Path, shape: tuple[int, ...]) -> Path:
    labels = (generator("mask").random(shape) > 0.7).astype(np.int32)
    axes = "zyx"[-len(shape) :]
    with CollectionWriter(path, synthetic=False) as writer:
        image = Image.from_array(np.zeros(shape, np.uint16), axes, Spacing((1.0,) * len(shape), "pixel"))
        writer.add("one", image, group="g", labels=labels, label_kind="instances")
    return path


def make(model: Path, out: Path, masks: Path, shape: tuple[int, ...] = SHAPES[2], **how: Any) -> Path:
    card = read_card(model)
    level = f"level={card.conditions.scalars[0].low}..{card.conditions.scalars[0].high}"
    generate_volumes(
        model,
        out,
        asked_by_hand(card, 1, [level], masks, shape, 0),
        shape,
        seed=3,
        study=None,
        **{"steps": 2 if card.recipe.sampler.name != "one-step" else None} | how,
    )
    return out


def test_a_large_image_is_a_whole_sample_with_lineage_and_mask(model: Path, tmp_path: Path) -> None:
    masks = masks_at(tmp_path / "masks", SHAPES[2])
    made = Collection(make(model, tmp_path / "out", masks))
    volume = made.volume(made.catalogue["id"].iloc[0])
    assert made.synthetic and not made.verify() and volume.shape == (2, *SHAPES[2]) and volume.dtype == np.uint16
    assert np.array_equal(volume.read_labels(), Collection(masks).volume("one").read_labels())
    assert volume.attributes["lineage"]["seed"] == 3 and len(volume.attributes["lineage"]["condition"]["level"]) == 2
    assert not list(tmp_path.glob(".out*"))
    again = Collection(make(model, tmp_path / "again", masks, threads=3))
    assert again.digest == made.digest


@pytest.mark.parametrize("model", ["ldm"], indirect=True)
def test_workers_draw_the_same_image_also_where_one_damages_a_window(model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    masks, damaging = masks_at(tmp_path / "masks", SHAPES[2]), Damaging()
    made = make(model, tmp_path / "one", masks)
    monkeypatch.setattr(volume_module, "checksum", damaging)
    with threads() as several:
        spread = make(model, tmp_path / "several", masks, workers=several)
    assert damaging.harmed and files_of(made) == files_of(spread)


def test_order_of_tasks_and_a_kill_change_no_byte(model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    class Killed(BaseException):
        pass

    masks = masks_at(tmp_path / "masks", SHAPES[2])
    made = Collection(make(model, tmp_path / "out", masks))
    run_all, count = Fields._all, []

    def backwards(self: Fields, name: str, step: Any, chunks: list[Any], work: Any) -> None:
        def dying(chunk: Any) -> Any:
            count.append(chunk)
            if len(count) in (2, 4, 9, 23):
                raise Killed
            return work(chunk)

        run_all(self, name, step, chunks[::-1], dying)

    monkeypatch.setattr(Fields, "_all", backwards)
    while not (tmp_path / "killed").exists():
        try:
            make(model, tmp_path / "killed", masks)
        except Killed:
            assert list(tmp_path.glob(".killed.field")) and not (tmp_path / "killed").exists()
    assert len(count) > 4 and Collection(tmp_path / "killed").digest == made.digest


@pytest.mark.parametrize("model", ["ldm"], indirect=True)  # what is taken up is in files, whatever the recipe
def test_a_process_that_is_killed_is_taken_up(model: Path, tmp_path: Path) -> None:
    masks, shape = masks_at(tmp_path / "masks", (120, 160)), (120, 160)
    paths = ", ".join(f"Path({str(path)!r})" for path in (model, tmp_path / "out", masks))
    call = f"from pathlib import Path; from tests.generation.test_large_images import make; make({paths}, {shape})"
    process = subprocess.Popen([sys.executable, "-c", call], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    while process.poll() is None and len(list((tmp_path / ".out.field").glob("*/*.npy"))) < 20:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = list((tmp_path / ".out.field").glob("*/*.npy"))
    assert kept and not (tmp_path / "out").exists()
    before = {path: path.stat().st_mtime_ns for path in kept}
    first = min(before)
    make(model, tmp_path / "out", masks, shape)
    assert (
        not first.exists() and Collection(tmp_path / "out").digest == Collection(make(model, tmp_path / "undisturbed", masks, shape)).digest
    )


@pytest.mark.parametrize("name", ["pixel-flow", "ldm"])
def test_volumes_of_any_shape(name: str, tmp_path: Path) -> None:
    train(tmp_path / "model", small(name, 3, training__steps=2), Textures((8, 12, 12), ("a",)))
    made = Collection(make(tmp_path / "model", tmp_path / "out", masks_at(tmp_path / "masks", SHAPES[3]), SHAPES[3]))
    assert made.volume(made.catalogue["id"].iloc[0]).spatial_shape == SHAPES[3] and not made.verify()


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    train(tmp_path / "model", small("pixel-flow", training__steps=2))
    masks = masks_at(tmp_path / "masks", (20, 20))
    with pytest.raises(InputError, match="no-mask"):
        make(tmp_path / "model", tmp_path / "out", masks, (24, 24))
    with pytest.raises(InputError, match="dimensions"):
        generate_volumes(
            tmp_path / "model",
            tmp_path / "out",
            asked_by_hand(read_card(tmp_path / "model"), 1, [], masks, (20, 20), 0),
            (1, 20, 20),
            seed=0,
            study=None,
        )
    for asked_of in (masks, None):
        with pytest.raises(InputError, match=r"2 dimensions; --shape needs as many sizes above 0, got \(40, 40, 40\)"):
            asked_by_hand(read_card(tmp_path / "model"), 1, [], asked_of, (40, 40, 40), 0)
    assert not (tmp_path / "out").exists()
