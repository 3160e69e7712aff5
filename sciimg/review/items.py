"""What each reader is shown, and in which order: drawn from the study, recorded in the key."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.protocol.models import ReviewPlan
from sciimg.randomness import generator
from sciimg.review.key import KeyItem, Role, Truth
from sciimg.types import PatchSet

BLOCKS = 8  # a scrambled image is cut into this many pieces along each axis
Stimulus = tuple[str, Truth, Role]


def choose(real: PatchSet, synthetic: PatchSet, plan: ReviewPlan, key: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of real and of synthetic images, half of the items each, drawn without regard to quality.

    Raises
    ------
    InputError
        If there are too few images of either kind; both shortages are named.
    """
    counts = {"real": plan.items - plan.items // 2, "synthetic": plan.items // 2}
    problems = [
        Problem("review.items", "too-few-images", f"{plan.items} items need {counts[name]} {name} images; there are {len(patches)}.")
        for name, patches in (("real", real), ("synthetic", synthetic))
        if len(patches) < counts[name]
    ]
    if plan.catch_pairs > counts["real"]:
        message = f"Each catch pair needs a real image of its own: {plan.catch_pairs} pairs, {counts['real']} real images."
        problems.append(Problem("review.catch_pairs", "too-few-images", message))
    if problems:
        raise InputError(problems)
    rng = generator(*key, "review", "choose")
    return (
        rng.choice(len(real), counts["real"], replace=False).astype(np.int64),
        rng.choice(len(synthetic), counts["synthetic"], replace=False).astype(np.int64),
    )


def scramble(image: NDArray[np.generic], rng: np.random.Generator) -> NDArray[np.generic]:
    """Return a sample (C, [Z,] Y, X) with its blocks exchanged: plainly no real image, with exactly its intensities."""
    out = image.copy()
    for axis in range(1, image.ndim):
        pieces = np.array_split(np.arange(image.shape[axis]), min(BLOCKS, image.shape[axis]))
        moved = np.concatenate([pieces[i] for i in rng.permutation(len(pieces))])
        out = np.take(out, moved, axis=axis)
    return out


def sheet_order(reader: str, main: Sequence[Stimulus], catches: Sequence[Stimulus], repeats: int, key: tuple[str, ...]) -> list[Stimulus]:
    """Return one reader's sheet: own order, hidden repeats a third of the sheet away from what they repeat."""
    rng = generator(*key, "review", "order", reader)
    order = [s for _, s in sorted(zip(rng.permutation(len(main) + len(catches)), [*main, *catches], strict=True), key=lambda p: int(p[0]))]
    early = [s for s in order[: len(order) // 2] if s[2] == "main"]
    chosen = rng.choice(len(early), min(repeats, len(early)), replace=False)
    late_from = len(order) - len(order) // 6
    for i in sorted(int(c) for c in chosen):
        name, truth, _ = early[i]
        order.insert(int(rng.integers(late_from, len(order) + 1)), (name, truth, "repeat"))
    return order


def key_items(reader: str, code: str, order: Sequence[Stimulus]) -> list[KeyItem]:
    """Number a sheet; codes such as ``r2-017`` say nothing about what is shown."""
    width = max(3, len(str(len(order))))
    return [
        KeyItem(reader=reader, item=f"{code}-{place:0{width}d}", stimulus=name, truth=truth, role=role)
        for place, (name, truth, role) in enumerate(order, start=1)
    ]
