"""Colours by meaning. Pictures are drawn in signal colours that no one sees; each face of the report replaces them by its own.

So one SVG serves light, dark and printed pages. Every meaning that a colour carries is also said by a word, a dash or a shape.
"""

import re

# meaning: (signal colour in the drawing, colour on paper). On screen the style sheet decides, light and dark.
_COLOURS: dict[str, tuple[str, str]] = {
    "ink": ("#0a0a01", "#1f1d1a"),
    "quiet": ("#0a0a02", "#5f5a53"),
    "line": ("#0a0a03", "#cfc9bf"),
    "band": ("#0a0a04", "#e4dfd6"),
    "good": ("#0a0a05", "#1e7a4f"),
    "bad": ("#0a0a06", "#b3261e"),
    "open": ("#0a0a07", "#8a6100"),
    "s1": ("#0a0a11", "#2f5fb3"),
    "s2": ("#0a0a12", "#a84a18"),
    "s3": ("#0a0a13", "#6a4fa3"),
    "s4": ("#0a0a14", "#0f7b6c"),
}
SERIES = ("s1", "s2", "s3", "s4")
DASHES = {"s1": "solid", "s2": (0, (5, 2)), "s3": (0, (1, 1.5)), "s4": (0, (6, 2, 1, 2))}
KEY_DASHES = {"s2": "7 3", "s3": "2 2.5", "s4": "8 3 2 3"}  # the same dashes, as SVG writes them
SIGNAL = {name: signal for name, (signal, _) in _COLOURS.items()}
_PAPER = dict(_COLOURS.values())
_NAMES = {signal: name for name, (signal, _) in _COLOURS.items()}
_ANY = re.compile("|".join(re.escape(signal) for signal in _NAMES))


def series(index: int) -> str:
    """Return the colour name of the n-th recipe; after four they repeat."""
    return SERIES[index % len(SERIES)]


def for_screen(svg: str) -> str:
    """Return a drawing whose colours follow the page's light and dark themes; its letters are the page's own."""
    return _ANY.sub(lambda m: f"var(--{_NAMES[m[0]]})", svg)


def for_paper(svg: str, font: str) -> str:
    """Return a drawing in printed colours and in one named font."""
    return _ANY.sub(lambda m: _PAPER[m[0]], svg.replace("<svg ", f'<svg font-family="{font}" ', 1))


def paper_colours() -> dict[str, str]:
    """Return the printed colours by meaning, for the typst template."""
    return {name: paper for name, (_, paper) in _COLOURS.items()}
