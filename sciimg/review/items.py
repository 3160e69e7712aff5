"""What each reader is shown, and in which order: drawn from the study, recorded in the key.

Sheets and pages show one and the same session: the pictures by name, and for each reader an order, and sides of pairs, of their own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciimg.errors import InputError, Problem
from sciimg.protocol.validation import ReviewPlan
from sciimg.randomness import generator
from sciimg.records import Digest
from sciimg.review.key import TRUTHS, KeyItem, ReviewKey, Role, Truth
from sciimg.types import PatchSet

BLOCKS = 8  # a scrambled image is cut into this many pieces along each axis


@dataclass(frozen=True, slots=True)
class Stimulus:
    """What an item shows: one picture, or a real and a synthetic one (in this order)."""

    name: str
    role: Role
    pictures: tuple[str, ...]
    truth: Truth  # of a single picture


@dataclass(frozen=True)
class Session:
    """A reader study ready to be read: the key, and every picture (C, [Z,] Y, X) by the name that the key gives it."""

    key: ReviewKey
    pictures: dict[str, NDArray[Any]]


def draw_session(
    real: PatchSet,
    synthetic: PatchSet,
    plan: ReviewPlan,
    readers: Sequence[str],
    seed_key: tuple[str, ...],
    *,
    study: Digest | None = None,
    recipe: str | None = None,
) -> Session:
    """Draw a reader study.

    Parameters
    ----------
    real, synthetic : PatchSet
        Real holdout images and synthetic ones; items are drawn from both at random, without regard to quality.
    plan : ReviewPlan
        Task, items, repeats, catch pairs and questions.
    readers : sequence of str
        Names; the items of the n-th are called ``rn-001`` and so on.
    seed_key : tuple of str
        Seeds every draw, normally (study digest, recipe).
    study, recipe
        Recorded in the key only.

    Raises
    ------
    InputError
        For readers without distinct names, or too few images; every shortage is named.
    """
    if problems := check_readers(readers):
        raise InputError(problems)
    rows_real, rows_synthetic = choose(real, synthetic, plan, seed_key)
    pictures, sources, main, catches = _stimuli(real.take(rows_real), synthetic.take(rows_synthetic), plan, seed_key)
    repeats = max(1, round(plan.repeats * plan.items))
    lines: list[KeyItem] = []
    for number, reader in enumerate(readers, start=1):
        order = sheet_order(reader, main, catches, repeats, seed_key)
        lines += key_items(reader, f"r{number}", order, _sides(reader, len(order), seed_key))
    twice = overlapping(real.take(rows_real))
    key = ReviewKey(study=study, recipe=recipe, plan=plan, readers=tuple(readers), items=tuple(lines), sources=sources, overlapping=twice)
    return Session(key, pictures)


def check_readers(readers: Sequence[str]) -> list[Problem]:
    """Return what is wrong with the names of readers."""
    if len(set(readers)) == len(readers) and readers and all(r.strip() == r != "" for r in readers):
        return []
    return [Problem("readers", "bad-readers", f"Readers need distinct names; got {list(readers)}.")]


def choose(real: PatchSet, synthetic: PatchSet, plan: ReviewPlan, key: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of real and of synthetic images, half of the items each, or one of each a pair, and real ones for pairs that catch."""
    if plan.task == "2afc":
        counts = {"real": plan.items + plan.catch_pairs, "synthetic": plan.items}
    else:
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
        _apart(rng.permutation(len(real)), real, counts["real"]),
        rng.choice(len(synthetic), counts["synthetic"], replace=False).astype(np.int64),
    )


def _apart(order: NDArray[np.int64], patches: PatchSet, count: int) -> NDArray[np.int64]:
    """Return so many rows in this order, those first that show no part of one before: who sees a place twice knows that it is real."""
    places = _places(patches)
    chosen: list[int] = []
    left: list[int] = []
    for row in order.tolist():
        if len(chosen) == count:
            break
        (left if any(_overlap(places[row], places[other]) for other in chosen) else chosen).append(row)
    return np.array([*chosen, *left][:count], dtype=np.int64)


def overlapping(patches: PatchSet) -> int:
    """Return how many patches show a part of another one of them."""
    places = _places(patches)
    return sum(any(i != j and _overlap(one, other) for j, other in enumerate(places)) for i, one in enumerate(places))


Where = tuple[str, tuple[tuple[int, int], ...]]  # an image, and from where to where along each axis


def _places(patches: PatchSet) -> list[Where]:
    """Return where each patch was cut; patches of which that is not known lie nowhere."""
    table = patches.table
    if not {"image", "origin"} <= set(table.columns):
        return [("", ())] * len(patches)
    starts = [json.loads(o) if isinstance(o, str) else list(o) for o in table["origin"]]
    sides = [patches.images.shape[patches.images.ndim - len(start) :] for start in starts]
    return [
        (str(image), tuple((int(s), int(s) + size) for s, size in zip(start, side, strict=True)))
        for image, start, side in zip(table["image"], starts, sides, strict=True)
    ]


def _overlap(one: Where, other: Where) -> bool:
    """Whether two patches have pixels in common."""
    return one[0] == other[0] and bool(one[1]) and all(a < d and c < b for (a, b), (c, d) in zip(one[1], other[1], strict=False))


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
    early = [s for s in order[: len(order) // 2] if s.role == "main"]
    chosen = rng.choice(len(early), min(repeats, len(early)), replace=False)
    late_from = len(order) - len(order) // 6
    for i in sorted(int(c) for c in chosen):
        order.insert(int(rng.integers(late_from, len(order) + 1)), replace(early[i], role="repeat"))
    return order


def key_items(reader: str, code: str, order: Sequence[Stimulus], swapped: Sequence[bool]) -> list[KeyItem]:
    """Number a sheet; codes such as ``r2-017`` say nothing about what is shown. A swapped pair shows the synthetic image first."""
    width = max(3, len(str(len(order))))
    lines = []
    for place, (stimulus, swap) in enumerate(zip(order, swapped, strict=True), start=1):
        pair = len(stimulus.pictures) == 2
        shown = stimulus.pictures[::-1] if pair and swap else stimulus.pictures
        truth = ("a" if swap else "b") if pair else stimulus.truth
        item = f"{code}-{place:0{width}d}"
        lines.append(KeyItem(reader=reader, item=item, stimulus=stimulus.name, truth=truth, role=stimulus.role, shown=shown))
    return lines


def _sides(reader: str, items: int, key: tuple[str, ...]) -> list[bool]:
    """Return, for each item of a sheet, whether its pair is swapped: half of them, in random order."""
    swapped = np.arange(items) % 2 == 0
    return [bool(s) for s in generator(*key, "review", "sides", reader).permutation(swapped)]


def _stimuli(
    real: PatchSet, synthetic: PatchSet, plan: ReviewPlan, key: tuple[str, ...]
) -> tuple[dict[str, NDArray[Any]], dict[str, dict[str, Any]], list[Stimulus], list[Stimulus]]:
    """Name every picture without hinting at its kind; return pictures, where they come from, and what the items show."""
    entries: list[tuple[NDArray[Any], Truth, dict[str, Any]]] = []
    for truth, patches in zip(TRUTHS, (real, synthetic), strict=True):
        entries += [(image, truth, _origin(patches, i)) for i, image in enumerate(patches.images)]
    intact = [len(synthetic) + i if plan.task == "2afc" else i for i in range(plan.catch_pairs)]  # a pair shows its intact twin, too
    for number, i in enumerate(intact):
        torn = scramble(real.images[i], generator(*key, "review", "scramble", number))
        entries.append((torn, "synthetic", {"scrambled": True, **_origin(real, i)}))
    order = generator(*key, "review", "names").permutation(len(entries))
    names = {int(i): f"s{place:03d}" for place, i in enumerate(order, start=1)}
    pictures = {names[i]: entries[i][0] for i in sorted(names, key=names.__getitem__)}
    sources = {name: {"truth": entries[i][1], **entries[i][2]} for i, name in names.items()}
    torn_ones = range(len(real) + len(synthetic), len(entries))
    if plan.task == "2afc":
        pairs: list[tuple[Role, int, int]] = [("main", i, len(real) + i) for i in range(plan.items)]
        pairs += [("catch", i, torn) for i, torn in zip(intact, torn_ones, strict=True)]
        numbers = generator(*key, "review", "pairs").permutation(len(pairs)) + 1
        stimuli = [Stimulus(f"p{n:03d}", role, (names[i], names[j]), "synthetic") for n, (role, i, j) in zip(numbers, pairs, strict=True)]
    else:
        roles: list[Role] = ["catch" if i in torn_ones else "main" for i in range(len(entries))]
        stimuli = [Stimulus(names[i], roles[i], (names[i],), entries[i][1]) for i in range(len(entries))]
    stimuli.sort(key=lambda s: s.name)
    return pictures, sources, [s for s in stimuli if s.role == "main"], [s for s in stimuli if s.role == "catch"]


def _origin(patches: PatchSet, row: int) -> dict[str, Any]:
    table = patches.table
    return {name: str(table[name].iloc[row]) for name in ("image", "origin", "id") if name in table.columns}
