"""Codes of books and steps of intensity, predicted one after another or scale after scale."""

from sciimg.augmenters.backbones.settings import PixelCNNBackbone, TransformerBackbone
from sciimg.augmenters.conditioning.settings import Conditioning
from sciimg.augmenters.processes.settings import AutoregressiveProcess, NextScaleProcess
from sciimg.augmenters.recipe import Reach, Recipe
from sciimg.augmenters.samplers.settings import SamplerSettings
from sciimg.augmenters.settings import Schedule, Training
from sciimg.augmenters.spaces.settings import PixelTokenSpace, VQSpace

_VQ = "van den Oord et al. 2017, arXiv:1711.00937"
_VQ2 = "Razavi et al. 2019, arXiv:1906.00446"
_DALL_E = "Ramesh et al. 2021, arXiv:2102.12092"
_BOOK = Schedule(steps=600, batch=16, learning_rate=2e-3, warmup=30, ema=0.0)
_NEXT_TOKEN = SamplerSettings(name="next-token", steps=1)
_TRAINING = Training(steps=1500, batch=16, learning_rate=2e-3, ema=0.99)
_IN_3D = {"training.batch": 8, "space.training.batch": 8, "training.symmetries": "flips", "training.tell_symmetry": True}

_SMALL = {"backbone.depth": 2, "backbone.width": 96, "training.batch": 8}
_OPTIONS = _SMALL | {"space.training.steps": 150, "training.steps": 300}
_OPTIONS_3D = {"space.training.steps": 150, "space.training.batch": 4, "training.steps": 300, "training.batch": 4}
# what is asked is the book's; the prior is trained as long as it takes until samples are no salad of codes
_BOOK_FIRST = _SMALL | {"space.training.steps": 300, "training.steps": 1500}
_BOOK_FIRST_3D = _OPTIONS_3D | {"space.training.steps": 400, "training.steps": 600, "training.batch": 8}

RECIPES = (
    Recipe(
        name="vq-vae",
        systems=("VQ-VAE",),
        space=VQSpace(training=_BOOK),
        process=AutoregressiveProcess(),
        backbone=TransformerBackbone(),
        sampler=_NEXT_TOKEN,
        training=_TRAINING,
        in_3d=_IN_3D,
        cites=(_VQ,),
        reach=Reach(measure="codebook-psnr", at_least=28.0, in_3d=18.0, options=_BOOK_FIRST, options_3d=_BOOK_FIRST_3D),
    ),
    Recipe(
        name="vq-vae-2",
        systems=("VQ-VAE-2",),
        space=VQSpace(top=(64,), training=_BOOK),
        process=AutoregressiveProcess(),
        backbone=TransformerBackbone(),
        sampler=_NEXT_TOKEN,
        training=_TRAINING,
        in_3d=_IN_3D,
        cites=(_VQ2, _VQ),
        reach=Reach(measure="codebook-psnr", at_least=28.0, in_3d=18.0, options=_BOOK_FIRST, options_3d=_BOOK_FIRST_3D),
    ),
    Recipe(
        name="pixelcnn",
        systems=("PixelCNN", "PixelRNN"),
        dims=(2,),
        space=PixelTokenSpace(),
        process=AutoregressiveProcess(),
        backbone=PixelCNNBackbone(),
        sampler=_NEXT_TOKEN,
        training=_TRAINING,
        cites=("van den Oord et al. 2016, arXiv:1601.06759", "van den Oord et al. 2016, arXiv:1606.05328"),
        # at half resolution, where a training of a minute reaches it
        reach=Reach(
            measure="bits-over-independent", at_most=0.8, options={"space.halvings": 1, "training.batch": 8, "training.steps": 300}
        ),
    ),
    Recipe(
        name="var",
        systems=("VAR",),
        space=VQSpace(scales=4, training=_BOOK),
        process=NextScaleProcess(),
        backbone=TransformerBackbone(),
        sampler=SamplerSettings(name="next-scale", steps=1),
        training=_TRAINING,
        in_3d=_IN_3D,
        cites=("Tian et al. 2024, arXiv:2404.02905",),
        reach=Reach(measure="speed-over-next-token", at_least=2.0, options=_OPTIONS, options_3d=_BOOK_FIRST_3D),
    ),
    Recipe(
        name="dall-e",
        systems=("DALL-E", "dVAE"),
        dims=(2,),
        space=VQSpace(quantiser="gumbel", training=_BOOK),
        process=AutoregressiveProcess(scorer=Schedule(steps=300, batch=32, learning_rate=2e-3, warmup=20, ema=0.99)),
        backbone=TransformerBackbone(),
        conditioning=Conditioning(uses=("text",), needs=("text",), text="tokens"),
        sampler=SamplerSettings(name="next-token", steps=1, candidates=4),
        training=_TRAINING,
        cites=(_DALL_E, "Radford et al. 2021, arXiv:2103.00020"),
        reach=Reach(
            measure="reranked-caption-obedience",
            at_least=0.5,
            data="captioned",
            options=_SMALL | {"space.training.steps": 300, "training.steps": 1500, "process.scorer.steps": 80},
        ),
    ),
    Recipe(
        name="make-a-scene",
        systems=("Make-A-Scene",),
        space=VQSpace(training=_BOOK),
        process=AutoregressiveProcess(),
        backbone=TransformerBackbone(),
        conditioning=Conditioning(uses=("mask",), needs=("mask",), mask="tokens"),
        sampler=_NEXT_TOKEN,
        training=_TRAINING,
        in_3d=_IN_3D,
        cites=("Gafni et al. 2022, arXiv:2203.13131", _VQ),
        reach=Reach(measure="mask-obedience", at_least=0.7, options=_OPTIONS, options_3d=_BOOK_FIRST_3D | {"training.steps": 1500}),
    ),
)
