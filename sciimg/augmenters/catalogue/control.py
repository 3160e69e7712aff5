"""Ways in which a mask or a reference image steers a field: modulation, side networks of a frozen base, attention."""

from typing import Any

from sciimg.augmenters.backbones.settings import UNetBackbone
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.processes.settings import FlowProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Training
from sciimg.augmenters.spaces.settings import PixelSpace

_FLOW = "Liu et al. 2022, arXiv:2209.03003"
_GUIDANCE = "Ho & Salimans 2022, arXiv:2207.12598"
_NET = UNetBackbone(widths=(32, 64, 128), blocks=(1, 1, 1))
_GUIDED = SamplerSettings(name="heun", steps=12, guidance=1.5)  # without, a short training follows its mask too loosely
_IN_3D: dict[str, Any] = {"training.batch": 4, "training.symmetries": "flips", "training.tell_symmetry": True}
_SHORT = {"training.steps": 300, "training.batch": 16, "training.learning_rate": 2e-3}
_SHORT_3D = {"training.steps": 500, "training.batch": 4, "backbone.widths": [16, 32, 64]}


_LONGER_3D = _SHORT_3D | {"training.steps": 1200}  # a side network of a base that was trained as short follows its mask too loosely


def _obedient(options: dict[str, Any] = _SHORT, options_3d: dict[str, Any] = _SHORT_3D) -> Reach:
    return Reach(measure="mask-dice", at_least=0.95, options=options, options_3d=options_3d)


RECIPES = (
    Recipe(
        name="spade",
        systems=("SPADE",),
        space=PixelSpace(),
        process=FlowProcess(),
        backbone=_NET,
        conditioning=Conditioning(mask="spade"),
        sampler=_GUIDED,
        training=Training(steps=800),
        in_3d=_IN_3D,
        cites=("Park et al. 2019, doi:10.1109/CVPR.2019.00244", _FLOW, _GUIDANCE),
        reach=_obedient(),
    ),
    Recipe(
        name="controlnet",
        systems=("ControlNet",),
        space=PixelSpace(),
        process=FlowProcess(),
        backbone=_NET,
        conditioning=Conditioning(mask="controlnet"),
        sampler=_GUIDED,
        training=Training(steps=600),
        in_3d=_IN_3D,
        cites=("Zhang et al. 2023, arXiv:2302.05543", _FLOW, _GUIDANCE),
        reach=_obedient(options_3d=_LONGER_3D),
    ),
    Recipe(
        name="t2i-adapter",
        systems=("T2I-Adapter",),
        space=PixelSpace(),
        process=FlowProcess(),
        backbone=_NET,
        conditioning=Conditioning(mask="t2i-adapter"),
        sampler=_GUIDED.model_copy(update={"guidance": 2.5}),  # features that do not know the time steer less than a copy of the base
        training=Training(steps=600),
        in_3d=_IN_3D,
        cites=("Mou et al. 2024, arXiv:2302.08453", _FLOW, _GUIDANCE),
        reach=_obedient(_SHORT | {"training.steps": 1500}, _LONGER_3D),
    ),
    Recipe(
        name="ip-adapter",
        systems=("IP-Adapter",),
        space=PixelSpace(),
        process=FlowProcess(time_mean=0.5),  # looks are global: they are decided where there is most noise
        backbone=_NET,
        conditioning=Conditioning(uses=("image",), needs=("image",), image="tokens"),
        sampler=_GUIDED.model_copy(update={"guidance": 3.0}),
        training=Training(steps=600),
        in_3d=_IN_3D,
        cites=("Ye et al. 2023, arXiv:2308.06721", _FLOW, _GUIDANCE),
        reach=Reach(
            measure="reference-likeness",
            at_least=0.75,
            data="its-own-reference",
            options=_SHORT | {"training.steps": 1500},
            options_3d=_LONGER_3D,
        ),
    ),
)
