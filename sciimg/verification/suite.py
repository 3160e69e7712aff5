"""The closed-form suite: every machine component against what theory says, in seconds, with the production code and no copy of it."""

from collections.abc import Callable, Iterator

import torch

from sciimg.records import Check
from sciimg.verification import adversarial, agreement, determinism, folds, latents, metrics, paths, samplers, store

THEMES: tuple[Callable[[], Iterator[Check]], ...] = (
    paths.checks,
    samplers.checks,
    latents.checks,
    adversarial.checks,
    store.checks,
    metrics.checks,
    agreement.checks,
    folds.checks,
    determinism.checks,
)


def run(progress: Callable[[str], None] | None = None) -> list[Check]:
    """Return every check.

    Parameters
    ----------
    progress : callable, optional
        Called with one line a check.
    """
    found: list[Check] = []
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for theme in THEMES:
            for result in theme():
                found.append(result)
                if progress:
                    progress(f"{result.name}: {'ok' if result.passed else 'FAILED'}")
    finally:
        torch.set_num_threads(before)
    return found
