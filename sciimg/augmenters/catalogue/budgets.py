"""Short trainings on volumes of 24 voxels a side after which several families are asked what they reach: small networks, a few minutes."""

from typing import Any

PIXEL_VOLUMES: dict[str, Any] = {
    "training.steps": 600,
    "training.batch": 4,
    "training.learning_rate": 2e-3,
    "backbone.widths": [16, 32, 64],
}
FIRST_STAGE_VOLUMES: dict[str, Any] = {"space.widths": [32], "space.training.steps": 200, "space.training.batch": 4}
# twice the steps: with fewer, the blocks of the latent grid are seen
LATENT_GRID_VOLUMES: dict[str, Any] = PIXEL_VOLUMES | {"training.steps": 1200, "training.batch": 8, "backbone.widths": [32, 64, 96]}
LATENT_VOLUMES: dict[str, Any] = LATENT_GRID_VOLUMES | FIRST_STAGE_VOLUMES
