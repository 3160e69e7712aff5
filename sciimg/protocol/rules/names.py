"""Names, and who is a candidate."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from sciimg.protocol.rules.parts import Fault, Parts


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def names_are_unique(parts: Parts) -> Iterator[Fault]:
    lists: dict[str, Sequence[tuple[int, _Named]]] = {
        "sources": parts.sources,
        "conditions": parts.conditions,
        "recipes": parts.recipes,
        "gates": parts.gates,
    }
    for key, items in lists.items():
        seen: dict[str, int] = {}
        for i, item in items:
            if item.name in seen:
                message = f"Names in {key} are unique; {item.name!r} is also {key}[{seen[item.name]}]. Rename one."
                yield (key, i, "name"), "duplicate-name", message
            seen.setdefault(item.name, i)


def one_recipe_is_a_candidate(parts: Parts) -> Iterator[Fault]:
    if parts.recipes and "recipes" not in parts.faulty and all(r.role != "candidate" for _, r in parts.recipes):
        message = "A study releases the samples of a candidate; every recipe here is a comparator. Give one `role: candidate`."
        yield ("recipes",), "no-candidate", message
