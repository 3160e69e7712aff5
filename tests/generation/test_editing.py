"""Real images filled in, gone on from, copied, blended and changed: what is known stays bit for bit, and paths lead back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from textures import Textures
from torch import Tensor

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.processes.paths import CosinePath, LinearPath
from sciimg.augmenters.samplers.inversion import invert, remixed, slerp
from sciimg.augmenters.samplers.solvers import heun
from sciimg.augmenters.samplers.times import time_grid
from sciimg.augmenters.system import Noise
from sciimg.errors import InputError
from sciimg.generation.completion import carried_on, known_part
from sciimg.generation.editing import Editor
from tests.augmenters.test_training import small, train

HOW: dict[str, Any] = {"key": ("edit",), "indices": range(5)}


# ---------------------------------------------------------------- closed forms


def gaussian(path: Any, spread: float) -> Any:
    """The exact prediction for data of law N(0, spread^2)."""

    def predict(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        a, s = path.alpha(t), path.sigma(t)
        total = (a * spread) ** 2 + s**2
        return a * spread**2 / total * x, s / total * x

    return predict


@pytest.mark.parametrize("path", [LinearPath(), CosinePath()])
def test_the_way_back_is_of_second_order_and_ends_at_the_noise_of_the_closed_form(path: Any) -> None:
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[None]
    predict, errors, trips = gaussian(path, 0.5), [], []
    for steps in (20, 40, 80):
        noise = invert(predict, path, x, time_grid(steps))
        errors.append(float((noise - x / 0.5).abs().max()))  # the flow of a Gaussian scales by the ratio of the spreads
        trips.append(float((heun(predict, path, noise, time_grid(steps), torch.zeros) - x).abs().max()))
    assert errors[0] / errors[1] > 3.5 and errors[1] / errors[2] > 3.5 and errors[2] < 1e-3
    assert trips[2] < trips[0] < 0.02


def test_arcs_and_mixtures_of_noise_are_noise() -> None:
    a, b = (torch.randn(3, 4000, generator=torch.Generator().manual_seed(i), dtype=torch.float64) for i in (0, 1))
    share = torch.tensor([0.0, 0.3, 1.0])
    between = slerp(a, b, share)
    assert torch.allclose(between[0], a[0]) and torch.allclose(between[2], b[2])
    assert abs(float(between[1].std()) - 1) < 0.03 and abs(float(remixed(a, b, 0.6).std()) - 1) < 0.03
    assert torch.allclose(slerp(a, a, share), a)
    assert torch.equal(remixed(a, b, 0.0), a) and torch.equal(remixed(a, b, 1.0), b)


def test_a_draw_goes_on_from_known_pixels() -> None:
    distance = np.minimum(np.arange(32), 32 - np.arange(32)) ** 2
    root = torch.fft.rfftn(torch.from_numpy(np.exp(-np.add.outer(distance, distance) / 8.0))).real.clamp_min(0).sqrt()

    def texture(key: str) -> Tensor:
        white = Noise((key,), range(64)).normal((1, 32, 32)).double()
        return torch.fft.irfftn(torch.fft.rfftn(white, dim=(2, 3)) * root, s=(32, 32), dim=(2, 3))

    truth, free = texture("truth"), texture("draw")
    keep = torch.zeros(64, 1, 32, 32, dtype=torch.bool)
    keep[..., :16] = True
    made = free + carried_on(truth - free, keep)
    assert float((made - truth)[..., :16].square().mean()) < 0.02  # of variance 1: nearly the known pixels
    step, usual = (float((x[..., 16] - truth[..., 15]).square().mean()) for x in (made, truth))
    assert 0.7 < step / usual < 1.4 and float((free[..., 16] - truth[..., 15]).square().mean()) > 5 * usual
    assert abs(float(made[..., 20:28].std()) / float(truth.std()) - 1) < 0.1  # as wild as ever, away from the border


# ---------------------------------------------------------------- models


@pytest.fixture(scope="module", params=[("pixel-flow", 2), ("ldm", 2), ("ldm", 3), ("pixel-ddpm", 2)], ids=str)
def case(request: Any, tmp_path_factory: Any) -> tuple[Augmenter, Any]:
    name, dims = request.param
    out = tmp_path_factory.mktemp("editing") / "model"
    source = Textures((13, 18)) if dims == 2 else Textures((6, 9, 12), ("a",))
    train(out, small(name, dims, training__steps=2), source)
    model = Augmenter.load(out)
    told = source.draw(("told",), range(5))
    told.table["level"] = told.table["level"].clip(model.conditions.scalars[0].low, model.conditions.scalars[0].high)
    return model, told


def test_known_voxels_come_back_bit_for_bit_and_the_rest_owes_nothing_to_what_was_there(case: Any) -> None:
    model, told = case
    editor = Editor(model, steps=2, rounds=2)
    keep = np.stack([known_part(None, task, told.labels.shape[1:]) for task in ("inpaint", "outpaint") * 3][:5])  # type: ignore[arg-type]
    made = editor.complete(told.images, keep, told.labels, told.table, **HOW)
    everywhere = np.broadcast_to(keep[:, None], made.shape)
    assert made.dtype == told.images.dtype and np.array_equal(made[everywhere], told.images[everywhere])
    assert not np.array_equal(made, told.images)
    hidden = np.where(everywhere, told.images, 0).astype(told.images.dtype)
    assert np.array_equal(editor.complete(hidden, keep, told.labels, told.table, **HOW), made)
    rows = [3, 1]
    some = editor.complete(told.images[rows], keep[rows], told.labels[rows], told.table.iloc[rows], key=("edit",), indices=rows, workers=2)
    assert np.array_equal(some, made[rows])


def test_other_tasks_do_not_depend_on_the_company(case: Any) -> None:
    model, told = case
    editor = Editor(model, steps=2)
    other, wanted = told.images[::-1].copy(), told.table.assign(level=float(model.conditions.scalars[0].high))
    share = np.linspace(0, 1, 5)

    def tasks(rows: list[int]) -> list[Any]:
        how: dict[str, Any] = {"key": ("edit",), "indices": rows}
        images, labels, table = told.images[rows], told.labels[rows], told.table.iloc[rows]
        return [
            editor.copy(images, labels, table, **how),
            editor.interpolate(images, other[rows], share[rows], labels, (table, wanted.iloc[rows]), **how),
            editor.change(images, labels, table, wanted.iloc[rows], **how),
        ]

    for whole, some in zip(tasks(list(range(5))), tasks([4, 2]), strict=True):
        assert np.array_equal(whole[[4, 2]], some)


def test_boxes_are_checked() -> None:
    assert known_part("1:3,2:4", "outpaint", (6, 6)).sum() == 4 and known_part("1:3,2:4", "inpaint", (6, 6)).sum() == 32
    for wrong in ("1:3", "a:b,0:1", "0:9,0:1", "3:3,0:1"):
        with pytest.raises(InputError, match="bad-box"):
            known_part(wrong, "inpaint", (6, 6))


def test_a_process_without_a_path_is_refused(tmp_path: Path) -> None:
    from systems.shrunk import shrunk

    from sciimg.augmenters.recipes import get_recipe

    train(tmp_path / "model", shrunk(get_recipe("gan", {})))
    with pytest.raises(InputError, match="no-editing"):
        Editor(Augmenter.load(tmp_path / "model"))
