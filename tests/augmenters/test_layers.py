import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sciimg.augmenters.backbones.autoencoder import Decoder, Encoder, start_linear
from sciimg.augmenters.backbones.layers import depth_to_space, space_to_depth
from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.backbones.unet import UNet
from sciimg.augmenters.system import Condition, FieldSizes


@settings(max_examples=25)
@given(dims=st.sampled_from([2, 3]), factor=st.sampled_from([1, 2, 4]), channels=st.integers(1, 3), last=st.booleans())
def test_folding_is_exact_and_undone(dims: int, factor: int, channels: int, last: bool) -> None:
    x = torch.randn(2, channels, *[8] * dims)
    if last:
        x = x.contiguous(memory_format=torch.channels_last if dims == 2 else torch.channels_last_3d)
    folded = space_to_depth(x, factor)
    assert folded.shape == (2, channels * factor**dims, *[8 // factor] * dims)
    assert torch.equal(depth_to_space(folded, factor), x)
    corner = x[0][(slice(None), *[slice(-factor, None)] * dims)]
    assert torch.equal(folded[(0, slice(None), *[-1] * dims)].sort().values, corner.flatten().sort().values)  # a block stays in its place


@pytest.mark.parametrize("dims", [2, 3])
def test_unet_keeps_the_grid_and_starts_at_zero(dims: int) -> None:
    net = UNet(FieldSizes(2, (8,) * dims, ((2,) * dims,), 3, 4), UNetBackbone(widths=(8, 16), blocks=(1, 1)))
    x, told = torch.randn(2, 2, *[8] * dims), Condition(torch.rand(2, 3, *[8] * dims), torch.randn(2, 4), torch.ones(2, 1))
    out = net(x, torch.tensor([0.2, 0.9]), told)
    assert out.shape == x.shape and out.dtype == torch.float32
    assert float(out.detach().abs().max()) == 0.0  # the last layer is zero: the first step predicts the mean


def test_samples_of_a_batch_do_not_mix() -> None:
    torch.manual_seed(0)
    net = UNet(FieldSizes(1, (8, 8), ()), UNetBackbone(widths=(8,), blocks=(1,)))
    for p in net.parameters():
        torch.nn.init.normal_(p, 0, 0.2)
    x = torch.randn(3, 1, 8, 8)
    told = Condition(torch.zeros(3, 0, 8, 8), torch.zeros(3, 0), torch.ones(3, 1))
    y = net(x, torch.full((3,), 0.5), told).detach()
    x[1:] = 100.0
    assert torch.allclose(net(x, torch.full((3,), 0.5), told).detach()[0], y[0], atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 8, 8, 8)])
def test_linear_start_is_the_best_linear_autoencoder(shape: tuple[int, ...]) -> None:
    """With as many latents as pixels in a block it is the identity; with fewer, its error is the sum of the eigenvalues left out."""
    dims, channels = len(shape) - 1, shape[0]
    images = torch.randn(64, *shape, generator=torch.Generator().manual_seed(1))
    images = images + images.roll(1, -1) + 3
    full = channels * 2**dims
    for latent in (full, full // 2):
        steps = ((2,) * dims,)
        encoder, decoder = Encoder(steps, channels, latent, (8,), 1), Decoder(steps, latent, channels, (8,), 1)
        start_linear(encoder, decoder, images)
        with torch.no_grad():
            z = encoder(images)[0]
            back = decoder(z)[0]
        assert torch.allclose(z.transpose(0, 1).flatten(1).var(1), torch.ones(latent), rtol=1e-3)
        values = torch.linalg.eigvalsh(torch.cov(space_to_depth(images, 2).transpose(0, 1).flatten(1)))
        assert float((back - images).square().mean()) == pytest.approx(float(values[: full - latent].sum()) / full, rel=0.01, abs=1e-6)
