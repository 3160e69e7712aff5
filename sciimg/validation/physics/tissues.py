"""Names and numbers of the label classes, and the order in which each weighting of MRI shows the tissues of a brain."""

import re

from sciimg.types import PatchSet

_SPELLINGS = {"white": ("white", "wm"), "grey": ("grey", "gray", "gm"), "fluid": ("csf", "fluid", "ventricle")}
_NOT_HEALTHY = ("lesion", "hyperintens", "hypointens", "tumor", "tumour", "edema", "oedema")  # each weighting shows them in its own place

# Brightest first, in the brain of adults: McRobbie et al. 2017, MRI from Picture to Proton, 3rd edition, chapter 3.
ORDERS = {
    "T1": ("white", "grey", "fluid"),
    "T2": ("fluid", "grey", "white"),
    "FLAIR": ("grey", "white", "fluid"),
}


def class_numbers(patches: PatchSet) -> dict[str, int]:
    """Return class names and their numbers, from ``attributes['classes']`` or, without names, from the labels that occur."""
    if patches.label_kind != "classes" or patches.labels is None:
        return {}
    named = patches.attributes.get("classes")
    if named:
        return {str(name): int(number) for name, number in named.items()}
    return {f"class-{n}": n for n in range(1, int(patches.labels.max(initial=0)) + 1)}


def tissue_of(name: str) -> str | None:
    """Return the tissue that a class is named after, a word of :data:`ORDERS`, or None when the name says none, or one that is ill."""
    words = name.lower().replace("_", "-").split("-")
    if any(word.startswith(_NOT_HEALTHY) for word in words):
        return None
    for tissue, spellings in _SPELLINGS.items():
        if any(word.startswith(s) if len(s) > 2 else word == s for word in words for s in spellings):
            return tissue
    return None


def weighting_of(channel: str) -> str | None:
    """Return the weighting that a channel is named after, a key of :data:`ORDERS`, or None.

    Maps of relaxation times, T1-rho and T2* have orders of their own.
    """
    name = channel.lower()
    if re.match(r"t[12](\d|[-_ ]?(map|rho|star|\*))", name):
        return None
    if name.startswith("t1"):  # with an inversion too: T1 FLAIR has the order of T1
        return "T1"
    if "flair" in name:
        return "FLAIR"
    return "T2" if name.startswith("t2") else None
