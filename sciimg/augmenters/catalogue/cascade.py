"""From coarse to fine, and from planes to volumes."""

from typing import Any

from sciimg.augmenters.backbones.settings import PlanesBackbone, UNetBackbone
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.processes.settings import CascadeProcess, FlowProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Training
from sciimg.augmenters.spaces.settings import PixelSpace

_FLOW = "Liu et al. 2022, arXiv:2209.03003"
_GUIDANCE = "Ho & Salimans 2022, arXiv:2207.12598"
_IMAGEN = "Saharia et al. 2022, arXiv:2205.11487"
_CASCADE = "Ho et al. 2022, arXiv:2106.15282"
_NET = UNetBackbone(widths=(32, 64, 128), blocks=(1, 1, 1))
_HEUN = SamplerSettings(name="heun", steps=12)
_IN_3D: dict[str, Any] = {
    "process.halvings": 1,  # a quarter of a small volume's side leaves nothing to look at
    "training.batch": 4,
    "training.symmetries": "flips",
    "training.tell_symmetry": True,
}
_SHORT = {"training.steps": 350, "training.batch": 16, "training.learning_rate": 2e-3}
_SHORT_3D = {"training.steps": 500, "training.batch": 4, "backbone.widths": [16, 32, 64]}

RECIPES = (
    Recipe(
        name="imagen",
        systems=("Imagen", "Make-A-Scene"),
        space=PixelSpace(),
        process=CascadeProcess(),
        backbone=_NET,
        conditioning=Conditioning(uses=("mask", "scalar", "class", "text")),
        sampler=SamplerSettings(name="heun", steps=12, guidance=1.5),
        training=Training(steps=800),
        in_3d=_IN_3D,
        cites=(_IMAGEN, _CASCADE, "Gafni et al. 2022, arXiv:2203.13131", _FLOW, _GUIDANCE),
        reach=Reach(measure="kid-and-layout", at_most=2.0, options=_SHORT, options_3d=_SHORT_3D),
    ),
    Recipe(
        name="super-resolution",
        systems=("SR3", "Imagen's second stage"),
        space=PixelSpace(),
        process=CascadeProcess(low=None),
        backbone=_NET,
        conditioning=Conditioning(uses=("image",), needs=("image",)),
        sampler=_HEUN,
        training=Training(steps=800),
        in_3d=_IN_3D,
        cites=("Saharia et al. 2021, arXiv:2104.07636", _CASCADE, _FLOW),
        reach=Reach(measure="super-resolution", at_most=1.0, data="its-own-reference", options=_SHORT, options_3d=_SHORT_3D),
    ),
    Recipe(
        name="planes-to-volume",
        systems=("DreamFusion", "TPDM"),
        dims=(3,),
        space=PixelSpace(),
        process=FlowProcess(),
        backbone=PlanesBackbone(plane=_NET),
        sampler=_HEUN,
        training=Training(steps=800, batch=4, symmetries="flips", tell_symmetry=True),
        cites=("Poole et al. 2022, arXiv:2209.14988", "Lee et al. 2023, arXiv:2303.08440", _FLOW, _GUIDANCE),
        reach=Reach(
            measure="slice-consistency",
            at_least=0.7,
            options={"training.steps": 300, "training.batch": 4, "training.learning_rate": 2e-3, "backbone.plane.widths": [16, 32, 64]},
        ),
    ),
)
