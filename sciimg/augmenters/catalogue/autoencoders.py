"""Variational autoencoders: the prior of the latent is where samples come from."""

from sciimg.augmenters.backbones.settings import NoBackbone
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.processes.settings import VAEProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule, Training
from sciimg.augmenters.spaces.settings import ELBO, KLSpace

_VAE = "Kingma & Welling 2014, arXiv:1312.6114"
_SIGMA = "Rybkin et al. 2021, arXiv:2006.13202"
_PRIOR = SamplerSettings(name="one-step", steps=1)
_SCHEDULE = Schedule(steps=1500, learning_rate=2e-3, warmup=30, ema=0.99)
_TRAINING = Training(steps=1)  # the space has its own schedule; of this one, threads and symmetries count
_IN_3D = {
    "space.widths": (32, 64, 96),
    "space.training.batch": 8,
    "training.symmetries": "flips",
    "training.tell_symmetry": True,
}
# long for what is asked: the spread of the pixels' noise, which is learned and is in every sample, comes down late
_OPTIONS = {"space.training.steps": 1200, "space.training.batch": 16}
_OPTIONS_3D = {"space.training.steps": 800, "space.training.batch": 8}


def _deep(elbo: ELBO, conditional: bool = False) -> KLSpace:
    return KLSpace(latent_channels=16, widths=(32, 64, 96, 128), elbo=elbo, conditional=conditional, training=_SCHEDULE)


RECIPES = (
    Recipe(
        name="vae",
        systems=("VAE",),
        space=_deep(ELBO()),
        process=VAEProcess(),
        backbone=NoBackbone(),
        conditioning=Conditioning(uses=()),
        sampler=_PRIOR,
        training=_TRAINING,
        in_3d=_IN_3D,
        cites=(_VAE, _SIGMA),
        reach=Reach(measure="reconstruction", at_least=29.0, in_3d=14.0, options=_OPTIONS, options_3d=_OPTIONS_3D),
    ),
    Recipe(
        name="beta-vae",
        systems=("beta-VAE",),
        space=_deep(ELBO(beta=8.0)),
        process=VAEProcess(),
        backbone=NoBackbone(),
        conditioning=Conditioning(uses=()),
        sampler=_PRIOR,
        training=_TRAINING,
        in_3d=_IN_3D,
        cites=("Higgins et al. 2017, ICLR (openreview Sy2fzU9gl)", _VAE, _SIGMA),
        reach=Reach(measure="rate-saved", at_least=0.3, options=_OPTIONS, options_3d=_OPTIONS_3D),
    ),
    Recipe(
        name="cvae",
        systems=("CVAE",),
        space=_deep(ELBO(), conditional=True),
        process=VAEProcess(),
        backbone=NoBackbone(),
        sampler=_PRIOR,
        training=_TRAINING,
        in_3d=_IN_3D,
        cites=("Sohn et al. 2015, NeurIPS", _VAE, _SIGMA),
        reach=Reach(measure="scalar-recovered", at_least=0.6, options=_OPTIONS, options_3d=_OPTIONS_3D),
    ),
)
