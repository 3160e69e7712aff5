"""Codes and their laws: books that learn by closed forms, networks that cannot see ahead, draws that have the law they are drawn from."""

import math
from pathlib import Path

import pytest
import torch
from systems.shrunk import shrunk
from textures import CONDITIONS, Textures
from torch import Tensor

from sciimg.augmenters.backbones.pixelcnn import PixelCNN
from sciimg.augmenters.backbones.settings import PixelCNNBackbone, TransformerBackbone
from sciimg.augmenters.backbones.token_network import TokenNetwork, TokenSizes
from sciimg.augmenters.backbones.transformer import TokenTransformer
from sciimg.augmenters.model_file import TIMES
from sciimg.augmenters.processes.reranking import ImageTextScorer
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.samplers.inverse_cdf import draw
from sciimg.augmenters.settings import Schedule
from sciimg.augmenters.spaces.codebook import GumbelBook, NearestBook
from sciimg.augmenters.spaces.pixel_tokens import PixelTokens
from sciimg.augmenters.spaces.settings import PixelTokenSpace, VQSpace
from sciimg.augmenters.spaces.tokens import lengths
from sciimg.augmenters.spaces.vq import VQAutoencoder
from sciimg.augmenters.system import Condition
from sciimg.augmenters.training import fit
from sciimg.errors import InputError

SCHEDULE = Schedule(steps=1, ema=0.0)
N, CODES = 3, 7


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- books


def nearest_book(**changes: float) -> NearestBook:
    book = NearestBook(4, 2, **({"decay": 0.9, "dead": 0.0, "commitment": 0.25} | changes))  # type: ignore[arg-type]
    start = torch.tensor([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [9.0, 9.0]])
    book.codes.copy_(start)
    book.sums.copy_(start)
    return book


def test_gradients_go_straight_through_to_the_latents() -> None:
    latents = torch.randn(2, 2, 3, 3, generator=rng(), requires_grad=True)
    book = nearest_book(commitment=0.0)
    codes = book.codes.clone()
    quantised = book.learn(latents, rng(), 0.0)
    weights = torch.randn(2, 2, 3, 3, generator=rng(1))
    (quantised.vectors * weights).sum().backward()
    assert torch.equal(latents.grad, weights)  # type: ignore[arg-type]
    distances = torch.cdist(latents.detach().movedim(1, -1).reshape(-1, 2), codes)
    assert torch.allclose(quantised.vectors.detach().movedim(1, -1).reshape(-1, 2), codes[distances.argmin(1)], atol=1e-6)


def test_commitment_pulls_latents_to_their_codes() -> None:
    latents = torch.tensor([[[1.0]], [[0.0]]]).view(1, 2, 1, 1).requires_grad_()
    nearest_book().learn(latents, rng(), 0.0).penalty.backward()
    assert torch.allclose(latents.grad.flatten(), torch.tensor([0.25 * 2 * 1.0 / 2, 0.0]))  # type: ignore[union-attr]


def test_codes_are_running_averages() -> None:
    """Van den Oord 2017, eq. 6 to 8: N ← γN + (1-γ)n, m ← γm + (1-γ)Σz, e = m / N."""
    book = nearest_book()
    latents = torch.tensor([[1.0, 0.0], [0.0, 1.0], [5.0, 1.0]])
    book.update(latents, torch.tensor([0, 0, 1]), rng())
    assert torch.allclose(book.counts, torch.tensor([0.9 + 0.2, 0.9 + 0.1, 0.9, 0.9]))
    expected = torch.tensor([[0.1 / 1.1, 0.1 / 1.1], [(3.6 + 0.5) / 1.0, 0.1], [0.0, 4.0], [9.0, 9.0]])
    assert torch.allclose(book.codes, expected)


def test_dead_codes_are_restarted_at_latents_of_the_batch_and_repeat() -> None:
    latents = torch.randn(40, 2, generator=rng())
    books = [nearest_book(dead=0.1), nearest_book(dead=0.1)]
    for book in books:
        for _ in range(40):  # 0.9 ** 40 is far below a tenth of an even share
            book.update(latents, torch.zeros(40, dtype=torch.int64), rng(5))
        assert (torch.cdist(book.codes[1:], latents).min(1).values < 1e-3).all()
    assert all(torch.equal(a, b) for a, b in zip(books[0].state_dict().values(), books[1].state_dict().values(), strict=True))


def test_gumbel_codes_start_as_the_nearest_and_end_sharp() -> None:
    torch.manual_seed(0)
    book = GumbelBook(16, 3, soft=0.05, evenness=1e-3)
    latents = torch.randn(2, 3, 4, 4, generator=rng())
    nearest = torch.cdist(latents.movedim(1, -1).reshape(-1, 3), book.codes).argmin(1)
    assert torch.equal(book.number(latents).flatten(), nearest)
    assert book.temperature(0.0) == 1.0 and book.temperature(1.0) == pytest.approx(0.05)
    vectors = book.learn(latents, rng(), 1.0).vectors.detach().movedim(1, -1).reshape(-1, 3)
    assert torch.cdist(vectors, book.codes.detach()).min(1).values.median() < 0.05


def test_an_even_use_of_gumbel_codes_costs_nothing() -> None:
    book = GumbelBook(8, 3, soft=0.1, evenness=1.0)
    with torch.no_grad():
        book.weight.zero_()
        book.bias.zero_()
        assert float(book.learn(torch.randn(1, 3, 2, 2), rng(), 0.0).penalty) == pytest.approx(0.0, abs=1e-6)
        book.bias[0] = 100.0
        assert float(book.learn(torch.randn(1, 3, 2, 2), rng(), 0.0).penalty) == pytest.approx(math.log(8), rel=1e-5)


# ---------------------------------------------------------------- spaces


@pytest.mark.parametrize("shape", [(2, 16, 24), (1, 8, 16, 8)])
@pytest.mark.parametrize("changes", [{}, {"top": (8,)}, {"scales": 3}])
def test_what_is_learned_is_what_codes_say(shape: tuple[int, ...], changes: dict[str, object]) -> None:
    """Training sees the same latents as a decoder of the codes; levels add up."""
    torch.manual_seed(1)
    settings = VQSpace(codes=16, code_channels=3, widths=(8, 8), training=SCHEDULE.model_copy(update={"precision": "fp32"}), **changes)
    dims = len(shape) - 1
    space = VQAutoencoder(settings, shape, ((2,) * dims,) * settings.halvings)
    for book in space.books:
        book.codes.normal_(generator=rng(2))
    images = torch.randn(2, *shape, generator=rng(3))
    codes = space.encode(images)
    assert (
        codes.dtype == torch.int64 and codes.shape == (2, *space.shape(shape)) and space.shape(shape) == (sum(lengths(space.grids(shape))),)
    )
    said = space.latents(codes)
    seen, _ = space.learn(space.encoder(images)[0], rng(), 0.0)
    assert torch.allclose(seen, said, atol=1e-5)
    assert space.decode(codes).shape == images.shape


def test_residual_scales_pass_each_gradient_once() -> None:
    settings = VQSpace(codes=16, code_channels=3, widths=(8,), scales=3, commitment=0.0, training=SCHEDULE)
    space = VQAutoencoder(settings, (1, 16, 16), ((2, 2),))
    latents = torch.randn(1, 3, 8, 8, generator=rng(), requires_grad=True)
    weights = torch.randn(1, 3, 8, 8, generator=rng(1))
    (space.learn(latents, rng(), 0.0)[0] * weights).sum().backward()
    assert torch.equal(latents.grad, weights)  # type: ignore[arg-type]


def test_averaged_weights_do_not_go_with_a_book_of_buffers() -> None:
    with pytest.raises(InputError, match=r"training\.ema must be 0"):
        get_recipe("vq-vae", {"space.training.ema": 0.9})
    with pytest.raises(InputError, match="choose one"):
        get_recipe("vq-vae", {"space.top": [8], "space.scales": 2})


@pytest.mark.parametrize("steps", [(), ((2, 1),), ((2, 2), (2, 2))])
def test_pixel_tokens_err_by_half_a_step_at_most(steps: tuple[tuple[int, ...], ...]) -> None:
    space = PixelTokens(PixelTokenSpace(intensities=32), (2, 8, 12), steps)
    blocks = torch.rand(3, 2, *space.grids((2, 8, 12))[0], generator=rng()) * 6 - 3
    images = blocks.repeat_interleave(space.factor[0], 2).repeat_interleave(space.factor[1], 3)
    codes = space.encode(images)
    assert codes.shape == (3, *space.shape((2, 8, 12))) and int(codes.max()) < 32
    assert (space.decode(codes) - images).abs().max() <= 3.5 / 32 + 1e-6


# ---------------------------------------------------------------- networks


def condition(sizes: TokenSizes, image: tuple[int, ...], seed: int = 0) -> Condition:
    maps = torch.rand(N, sizes.maps, *image, generator=rng(seed))
    tokens = torch.randint(1, sizes.words + 1, (N, sizes.caption), generator=rng(seed)) if sizes.words else None
    return Condition(maps, torch.randn(N, sizes.vector, generator=rng(seed)), torch.ones(N, 1), None, tokens)


def networks() -> list[tuple[str, TokenNetwork, tuple[int, ...]]]:
    torch.manual_seed(0)
    backbone = TransformerBackbone(width=16, depth=2, heads=2)
    two, three = ((2, 3), (3, 5)), ((1, 1, 1), (2, 2, 3))
    told = {"maps": 3, "vector": 4, "words": 5, "caption": 3}
    return [
        ("token-2d", TokenTransformer(TokenSizes(CODES, two, **told), backbone, at_once=False, scene=False), (9, 10)),
        ("token-3d", TokenTransformer(TokenSizes(CODES, three, 2, 1), backbone, at_once=False, scene=False), (4, 4, 6)),
        ("scene-2d", TokenTransformer(TokenSizes(CODES, two, **told), backbone, at_once=False, scene=True), (9, 10)),
        ("scale-2d", TokenTransformer(TokenSizes(CODES, two, **told), backbone, at_once=True, scene=False), (9, 10)),
        ("scale-3d", TokenTransformer(TokenSizes(CODES, three, 2, 1), backbone, at_once=True, scene=True), (4, 4, 6)),
        ("pixelcnn", PixelCNN(TokenSizes(CODES, ((3, 4),) * 2, 3, 4), PixelCNNBackbone(width=8, depth=3, features=8)), (6, 8)),
    ]


def awake(network: TokenNetwork) -> TokenNetwork:
    """Layers that start at zero would hide what they let through."""
    generator = rng(9)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return network.eval()


CASES = networks()
IDS = [name for name, _, _ in CASES]


@pytest.mark.parametrize(("name", "network", "image"), CASES, ids=IDS)
@torch.no_grad()
def test_no_token_sees_its_own_part_or_a_later_one(name: str, network: TokenNetwork, image: tuple[int, ...]) -> None:
    awake(network)
    told = condition(network.sizes, image)  # type: ignore[arg-type]
    codes = torch.randint(0, CODES, (N, sum(network.parts)), generator=rng(3))
    logits, at = network(codes, told), 0
    felt = []
    for count in network.parts:
        changed = codes.clone()
        changed[:, at : at + count] = (changed[:, at : at + count] + 1) % CODES
        other = network(changed, told)
        assert torch.equal(other[:, : at + count], logits[:, : at + count])
        felt.append(not torch.equal(other[:, at + count :], logits[:, at + count :]))
        at += count
    assert all(felt[:-1])  # and every later one is told


@pytest.mark.parametrize(("name", "network", "image"), CASES, ids=IDS)
@torch.no_grad()
def test_part_after_part_equals_all_at_once(name: str, network: TokenNetwork, image: tuple[int, ...]) -> None:
    awake(network)
    told = condition(network.sizes, image)  # type: ignore[arg-type]
    codes = torch.randint(0, CODES, (N, sum(network.parts)), generator=rng(4))
    state, parts, at = network.begin(told), [], 0
    for count in network.parts:
        parts.append(network.following(state, codes[:, :at]))
        at += count
    assert torch.allclose(torch.cat(parts, dim=1), network(codes, told), atol=1e-4)


@pytest.mark.parametrize(("name", "network", "image"), CASES, ids=IDS)
@torch.no_grad()
def test_every_condition_reaches_every_network(name: str, network: TokenNetwork, image: tuple[int, ...]) -> None:
    awake(network)
    sizes: TokenSizes = network.sizes  # type: ignore[assignment]
    codes = torch.randint(0, CODES, (N, sum(network.parts)), generator=rng(4))
    one, other = condition(sizes, image, 0), condition(sizes, image, 1)
    plain = network(codes, one)
    mixed = [Condition(other.maps, one.vector, one.keep, None, one.tokens), Condition(one.maps, other.vector, one.keep, None, one.tokens)]
    if one.tokens is not None and not isinstance(network, PixelCNN):
        mixed.append(Condition(one.maps, one.vector, one.keep, None, other.tokens))
    assert all(not torch.equal(network(codes, each), plain) for each in mixed)


@torch.no_grad()
def test_a_caption_is_predicted_from_the_words_before_alone() -> None:
    network = awake(dict(zip(IDS, (n for _, n, _ in CASES), strict=True))["token-2d"])
    told = condition(network.sizes, (9, 10))  # type: ignore[arg-type]
    assert told.tokens is not None
    sizes: TokenSizes = network.sizes  # type: ignore[assignment]
    total = torch.zeros(())
    for word in range(sizes.words + 1):  # the law of the last word sums to one only if it does not see that word
        tokens = told.tokens[:1].clone()
        tokens[:, -1] = word
        loss = network.caption_loss(Condition(told.maps[:1], told.vector[:1], told.keep[:1], None, tokens))
        assert loss is not None
        total = total + (-loss * sizes.caption).exp()
    first = _first_words(network, told.first(1))
    assert float(total) == pytest.approx(float(first), rel=1e-4)


def _first_words(network: TokenNetwork, told: Condition) -> Tensor:
    """Return the probability of all words but the last, from the average over the last of the chain rule."""
    sizes: TokenSizes = network.sizes  # type: ignore[assignment]
    assert told.tokens is not None and isinstance(network, TokenTransformer) and network.word_head is not None
    x = network._prefix(told)[:, : sizes.caption]
    for layer in network.layers:
        x = layer(x, network.after[: sizes.caption, : sizes.caption])
    shares = network.word_head(network.norm(x)).softmax(-1)[0]
    return torch.stack([shares[i, word] for i, word in enumerate(told.tokens[0, :-1])]).prod()


# ---------------------------------------------------------------- draws


def test_draws_have_the_law_of_the_logits() -> None:
    logits = torch.tensor([0.5, -1.0, 2.0, 0.0])
    uniform = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    shares = torch.bincount(draw(logits.expand(1, 4000, 4), uniform[None])[0], minlength=4) / 4000
    assert torch.allclose(shares, logits.softmax(0), atol=1 / 2000)
    cold = torch.bincount(draw(logits.expand(1, 4000, 4), uniform[None], temperature=0.5)[0], minlength=4) / 4000
    assert torch.allclose(cold, (2 * logits).softmax(0), atol=1 / 2000)
    two = torch.bincount(draw(logits.expand(1, 4000, 4), uniform[None], top_k=2)[0], minlength=4) / 4000
    assert two[1] == two[3] == 0 and torch.allclose(two[[0, 2]], logits[[0, 2]].softmax(0), atol=1 / 2000)


def test_the_ends_of_the_uniform_law_are_codes_too() -> None:
    logits = torch.tensor([[[-100.0, 0.0, 0.0, -1000.0]]])
    assert draw(logits, torch.zeros(1, 1, dtype=torch.float64)).item() in (0, 1)
    assert draw(logits, torch.full((1, 1), 1 - 2**-53, dtype=torch.float64)).item() == 2


# ---------------------------------------------------------------- choice


def test_captions_that_are_the_same_are_no_contrast() -> None:
    torch.manual_seed(0)
    scorer = ImageTextScorer(1, ((2, 2), (2, 2)), 4, SCHEDULE)
    images, tokens = torch.randn(4, 1, 8, 8), torch.tensor([[1, 2]]).expand(4, 2)
    told = Condition(torch.zeros(4, 0, 8, 8), torch.zeros(4, 0), torch.ones(4, 1), None, tokens)
    with torch.no_grad():
        scorer.sharpness.fill_(math.log(1e-6))
        assert float(scorer.loss(images, told)) == pytest.approx(math.log(4), rel=1e-3)  # nothing to tell apart
        assert torch.allclose(scorer(images, told), (scorer.of_images(images) * scorer.of_captions(told)).sum(1))


def test_what_a_recipe_cannot_do_without_is_named() -> None:
    from sciimg.augmenters.build import build
    from sciimg.augmenters.conditioning.schema import ConditionSchema

    with pytest.raises(InputError, match="needs captions"):
        build(get_recipe("dall-e"), ConditionSchema(), (1, 16, 16))
    with pytest.raises(InputError, match="add a mask condition"):
        build(get_recipe("make-a-scene"), ConditionSchema(), (1, 16, 16))
    with pytest.raises(InputError, match="needs space vq"):
        recipe = get_recipe("vq-vae")
        build(recipe.model_copy(update={"space": get_recipe("pixel-flow").space}), ConditionSchema(), (1, 16, 16))


# ---------------------------------------------------------------- training


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def test_a_killed_book_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    recipe = shrunk(get_recipe("vq-vae-2"), steps=4)

    def train(name: str, at: tuple[str, int] | None = None) -> Path:
        def kill(phase: str, step: int, steps: int, values: dict[str, float]) -> None:
            if (phase, step) == at:
                raise Killed

        out, held_out = tmp_path / name, Textures(part="calibration")
        fit(recipe, Textures(), held_out, CONDITIONS, key=("study",), out=out, provenance={}, progress=kill)
        return out

    undisturbed = train("undisturbed")
    for at in (("tokeniser", 3), ("process", 2)):
        with pytest.raises(Killed):
            train("killed", at)
    killed = train("killed")
    for path in (p for p in undisturbed.iterdir() if p.name != TIMES):
        assert (killed / path.name).read_bytes() == path.read_bytes()
