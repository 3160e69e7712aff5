"""LPIPS beside the reference implementation (package ``lpips``), with the same random networks and its own channel weights."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut

from sciimg.validation.perceptual import load

register = torch.library.register_fake
torch.library.register_fake = lambda *a, **k: lambda f: f  # torchvision's compiled operators, built for CUDA, may be missing: none is used
try:
    reference = pytest.importorskip(
        "lpips", reason="pip install --no-deps lpips, and torchvision as your torch wants it", exc_type=ImportError
    )
finally:
    torch.library.register_fake = register


@pytest.mark.parametrize(("name", "short"), [("alexnet", "alex"), ("vgg16", "vgg")])
def test_lpips_equals_the_reference_implementation(tmp_path: Path, name: str, short: str) -> None:
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = reference.LPIPS(net=short, pnet_rand=True, verbose=False)  # random network, the published weights of channels
    state = {}
    for key, value in theirs.net.state_dict().items():
        _, number, what = key.split(".")
        state[f"features.{number}.{what}"] = value
    torch.save(state, tmp_path / f"{name}.pth")
    torch.save({k: v for k, v in theirs.state_dict().items() if k.startswith("lin") and "lins" not in k}, tmp_path / f"{short}.pth")
    own = load(tmp_path)
    grey = astronaut().mean(-1)
    rng = np.random.default_rng(0)
    for size in (64, 97):
        first = grey[:size, 100 : 100 + size]
        second = np.clip(first + rng.normal(0, 30, first.shape), 0, 255)
        pair = [torch.from_numpy(np.repeat((i / 127.5 - 1)[None, None], 3, 1)).float() for i in (first, second)]
        with torch.inference_mode():
            expected = float(theirs(*pair))
        assert own.distance(first, second, low=0, width=255) == pytest.approx(expected, rel=1e-5) and expected > 0
