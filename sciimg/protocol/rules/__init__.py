"""Rules of a study that join several keys. Each takes the parts it needs and is skipped when those parts are themselves at fault.

One function is one rule; the message says the rule, what came and what to do next.
"""

from collections.abc import Callable, Iterator

from sciimg.protocol.rules.geometry import blocks_fit_axes, shapes_are_positive, spacing_fits_axes, split_leaves_training_data
from sciimg.protocol.rules.judgement import (
    enough_is_generated,
    expiry_follows_registration,
    folds_can_be_made,
    gates_have_a_bar,
    gates_name_known_metrics,
    physics_fits_modality,
    ratios_can_be_made,
    review_asks_one_thing_by_one_name,
    the_dose_is_a_scalar,
)
from sciimg.protocol.rules.material import (
    captions_say_something,
    channels_exist,
    columns_have_a_table,
    images_leave_something_to_make,
    labels_are_of_one_kind,
    labels_are_there_when_needed,
    one_mask_at_most,
    preparation_fits_modality,
    scalars_say_what_they_measure,
)
from sciimg.protocol.rules.names import names_are_unique, one_recipe_is_a_candidate
from sciimg.protocol.rules.parts import Fault, Parts
from sciimg.protocol.rules.texts import blanks

__all__ = ["Parts", "blanks", "faults"]

RULES: tuple[Callable[[Parts], Iterator[Fault]], ...] = (
    names_are_unique,
    one_recipe_is_a_candidate,
    shapes_are_positive,
    spacing_fits_axes,
    blocks_fit_axes,
    split_leaves_training_data,
    columns_have_a_table,
    scalars_say_what_they_measure,
    captions_say_something,
    channels_exist,
    images_leave_something_to_make,
    preparation_fits_modality,
    labels_are_there_when_needed,
    labels_are_of_one_kind,
    one_mask_at_most,
    physics_fits_modality,
    folds_can_be_made,
    the_dose_is_a_scalar,
    gates_have_a_bar,
    gates_name_known_metrics,
    enough_is_generated,
    ratios_can_be_made,
    expiry_follows_registration,
    review_asks_one_thing_by_one_name,
)


def faults(parts: Parts) -> Iterator[Fault]:
    """Yield every broken rule."""
    for rule in RULES:
        yield from rule(parts)
