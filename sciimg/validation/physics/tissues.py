"""Names and numbers of the label classes, and the order in which T1 weighting shows them."""

from sciimg.types import PatchSet

# brightest first in T1-weighted images
_T1_ORDER = (("white-matter", ("white", "wm")), ("grey-matter", ("grey", "gray", "gm")), ("fluid", ("csf", "fluid", "ventricle")))


def class_numbers(patches: PatchSet) -> dict[str, int]:
    """Return class names and their numbers, from ``attributes['classes']`` or, without names, from the labels that occur."""
    if patches.label_kind != "classes" or patches.labels is None:
        return {}
    named = patches.attributes.get("classes")
    if named:
        return {str(name): int(number) for name, number in named.items()}
    return {f"class-{n}": n for n in range(1, int(patches.labels.max(initial=0)) + 1)}


def t1_rank(name: str) -> int | None:
    """Return the place of a tissue in T1 brightness (0 is brightest), or None when the name says no tissue."""
    words = name.lower().replace("_", "-").split("-")
    for rank, (_, spellings) in enumerate(_T1_ORDER):
        if any(word.startswith(s) if len(s) > 2 else word == s for word in words for s in spellings):
            return rank
    return None
