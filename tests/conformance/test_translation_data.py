"""Translation between contrasts of one person, beyond what ships in dependencies: T1 into T2 in an unseen slab of the brain."""

from pathlib import Path

import pytest
from systems.datasets import ms_contrasts
from systems.subject import BlurredMean, Replay, Subject, Trained, asked
from systems.translation import copied_source, psnr, ssim, translation

from sciimg.augmenters.augmenter import Augmenter
from sciimg.augmenters.recipes import get_recipe
from sciimg.augmenters.training import fit

FOLDER = Path(__file__).parents[3] / "shared/data/ms_brain_mri/cross_sectional_MNI/patient07"


@pytest.mark.slow
@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the coregistered contrasts are not at {FOLDER}")
def test_t1_becomes_t2_in_an_unseen_slab(tmp_path: Path) -> None:
    recipe = get_recipe("pix2pix", {"training.steps": 120}, 3)
    data = ms_contrasts(FOLDER)
    subject = Subject(recipe, 3, data, data.unseen.draw(("told",), range(24)), data.train.draw(("training",), range(64)))
    fit(recipe, data.train, data.train, data.conditions, key=("ms",), out=tmp_path / "model", provenance={})
    trained = Trained(Augmenter.load(tmp_path / "model"))
    real = subject.made_of(subject.training)
    value = translation(trained, subject)
    made = asked(trained, subject)
    assert made is not None and value is not None
    truth, copied = subject.made_of(made[1]), copied_source(subject, made[1])
    print(
        f"SSIM {ssim(made[0], truth):.3f} (source {ssim(copied, truth):.3f})",
        f"PSNR {psnr(made[0], truth):.1f} ({psnr(copied, truth):.1f}) dB",
    )
    assert value > 0.05
    for impostor in (BlurredMean(real), Replay(real)):
        missed = translation(impostor, subject)
        assert missed is None or missed < 0.05
