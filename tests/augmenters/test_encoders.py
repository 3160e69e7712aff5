"""Encoders: losses with a closed form, fillings that do not see what they fill, refusals."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures
from torch import nn

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.backbones.settings import ViTBackbone
from sciimg.augmenters.backbones.vit import ViT, positions_on
from sciimg.augmenters.conditioning.text import TextEncoder
from sciimg.augmenters.processes.contrastive import TwoTowers
from sciimg.augmenters.processes.masked import MaskedEncoder
from sciimg.augmenters.processes.settings import ContrastiveProcess, MaskedProcess
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.spaces.pixel import Pixels
from sciimg.augmenters.system import Condition, FieldSizes
from sciimg.augmenters.training import fit
from sciimg.errors import InputError
from sciimg.generation.request import requested

SIZES = {2: FieldSizes(2, (8, 12), ((2, 2), (2, 2))), 3: FieldSizes(1, (4, 8, 8), ((1, 2, 2), (2, 2, 2)))}


@pytest.mark.parametrize("dims", [2, 3])
def test_patches_are_the_image_and_see_their_places(dims: int) -> None:
    torch.manual_seed(0)
    sizes = SIZES[dims]
    vit = ViT(sizes, ViTBackbone(width=24, depth=1))
    x = torch.randn(2, sizes.channels, *sizes.grid)
    patches = vit.patches(x)
    assert patches.shape == (2, vit.count, vit.inside) and torch.equal(vit.images(patches), x)
    assert len(torch.unique(positions_on(vit.grid, 24).round(decimals=4), dim=0)) == vit.count
    features = vit(torch.zeros_like(patches))
    assert not torch.allclose(features[:, 0], features[:, 1])


@pytest.mark.parametrize("dims", [2, 3])
def test_a_filled_patch_does_not_see_itself(dims: int) -> None:
    torch.manual_seed(0)
    sizes = SIZES[dims]
    process = MaskedEncoder(MaskedProcess(), Pixels(), ViT(sizes, ViTBackbone(width=24, depth=1)), Schedule(steps=1)).eval()
    x = torch.randn(1, sizes.channels, *sizes.grid)
    patches = process.network.patches(x)
    other = patches.clone()
    other[:, 1] += 5.0
    with torch.no_grad():
        before, after = (process.network.patches(process.filled(process.network.images(p))) for p in (patches, other))
    torch.testing.assert_close(after[:, 1], before[:, 1])
    assert not torch.allclose(after[:, 0], before[:, 0])


class Given(nn.Module):
    """Stands for an image encoder that has found these features already."""

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        return points[:, None]


def towers(words: int = 4) -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(ContrastiveProcess(embedding=4), Given(), 4, TextEncoder(words, 8)).eval()


def captions(tokens: list[list[int]]) -> Condition:
    n = len(tokens)
    return Condition(torch.zeros(n, 0), torch.zeros(n, 0), torch.ones(n, 1), tokens=torch.tensor(tokens))


def test_the_contrastive_loss_is_log_n_where_nothing_is_told_apart() -> None:
    pair = towers()
    nn.init.constant_(pair.sharpness, -30.0)  # all pairs are as near
    for tokens in ([[1], [2], [3], [4]], [[1], [1], [3], [4]]):
        assert pair.loss(torch.randn(4, 4), captions(tokens)).item() == pytest.approx(math.log(4), abs=1e-4)


def test_images_with_the_same_caption_are_no_negatives() -> None:
    pair = towers()
    same = pair.loss(torch.randn(1, 4).expand(3, 4), captions([[2], [2], [2]]))
    assert same.item() == pytest.approx(math.log(3), abs=1e-5)  # all are right answers: there is nothing more to learn
    same.backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e-5 for p in pair.of_image.parameters())


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("clip") / "model"
    source = Textures()
    fit(shrunk(get_recipe("clip")), source, Textures(part="calibration"), CONDITIONS, key=("k",), out=out, provenance={})
    return out


def test_an_encoder_gives_features_and_refuses_to_draw(model: Path) -> None:
    loaded = Augmenter.load(model)
    images = Textures().draw(("f",), range(9)).images
    features = loaded.features(images)
    assert features.shape == (9, 8) and np.allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)
    assert loaded.reconstruct(images) is None
    for ask in (lambda: loaded.sampler(), lambda: requested(loaded.card, 2, [], None, 0)):
        with pytest.raises(InputError) as caught:
            ask()
        (problem,) = caught.value.problems
        assert problem.kind == "draws-nothing" and "'clip' is an encoder" in problem.message


def test_a_recipe_that_needs_captions_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs a condition of kind text.*Add `- kind: text` to conditions"):
        fit(shrunk(get_recipe("clip")), Textures(), Textures(), CONDITIONS[:3], key=("k",), out=tmp_path / "m", provenance={})
    with pytest.raises(InputError, match="no-encoder"):
        _pixel_flow(tmp_path).features(np.zeros((1, 2, 16, 16), np.uint16))


def _pixel_flow(folder: Path) -> Augmenter:
    out = folder / "flow"
    fit(shrunk(get_recipe("pixel-flow")), Textures(), Textures(), CONDITIONS, key=("k",), out=out, provenance={})
    return Augmenter.load(out)
