"""Physics last: networks make structure; optics and noise are computed, as calibrated on the real images."""

from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.catalogue.budgets import LATENT_VOLUMES
from sciimg.augmenters.formation.settings import Camera, FormationSettings, Scanner
from sciimg.augmenters.processes.settings import FlowProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule, Training
from sciimg.augmenters.spaces.settings import KLSpace


def _structure(
    name: str, systems: tuple[str, ...], formation: FormationSettings, data: str, measure: str, cites: tuple[str, ...]
) -> Recipe:
    return Recipe(
        name=name,
        systems=systems,
        # the residual of an autoencoder is noise, and noise is the formation's
        space=KLSpace(residual=False, training=Schedule(steps=400, learning_rate=2e-3, warmup=30, ema=0.99)),
        process=FlowProcess(),
        backbone=UNetBackbone(widths=(64, 128, 192), blocks=(1, 1, 1)),
        sampler=SamplerSettings(name="heun", steps=12),
        training=Training(steps=900, learning_rate=2e-3),
        formation=formation,
        in_3d={"training.batch": 8, "space.training.batch": 8, "training.symmetries": "flips", "training.tell_symmetry": True},
        cites=("Liu et al. 2022, arXiv:2209.03003", *cites),
        reach=Reach(
            measure=measure,
            data=data,
            at_most=0.05,
            options={"training.steps": 300, "training.batch": 16, "space.training.steps": 120},
            options_3d=LATENT_VOLUMES,
        ),
    )


RECIPES = (
    _structure(
        "flow-camera",
        ("physics last: photons on a camera",),
        Camera(),
        "photons",
        "dose-error",
        ("Foi et al. 2008, doi:10.1109/TIP.2008.2001399", "Gibson & Lanni 1991, doi:10.1364/JOSAA.8.001601"),
    ),
    _structure(
        "flow-scanner",
        ("physics last: magnitude MRI",),
        Scanner(),
        "default",
        "snr-error",
        ("Gudbjartsson & Patz 1995, doi:10.1002/mrm.1910340618",),
    ),
)
