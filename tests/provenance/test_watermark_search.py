"""``sciimg watermark``: files that say nothing any more, traced to the image of the release that they come from."""

from pathlib import Path

import exports
import numpy as np
import pytest
import releases
import tifffile

from sciimg.errors import AuditError, InputError
from sciimg.provenance.keys import Key
from sciimg.provenance.policy import TrustPolicy
from sciimg.stages.export import export_command
from sciimg.stages.watermark import watermark_command


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory, key: Key) -> Path:
    return exports.release_of(tmp_path_factory.mktemp("marked"), key, "marked")


@pytest.fixture
def trust(tmp_path: Path, policy: TrustPolicy) -> Path:
    path = tmp_path / "policy.json"
    path.write_text(policy.model_dump_json())
    return path


def test_single_channels_and_pieces_without_a_header_are_traced(marked: Path, trust: Path, tmp_path: Path) -> None:
    export_command(marked, tmp_path / "out", "tiff", trust)
    whole = tifffile.imread(tmp_path / "out/images/ldm-1.ome.tiff")
    (tmp_path / "found").mkdir()
    tifffile.imwrite(tmp_path / "found/a.tif", whole[1, 5:165, 3:153])
    other = np.random.default_rng(0).normal(2000, 90, (160, 150)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "found/b.tif", other)
    value = watermark_command(tmp_path / "found", marked, trust)
    traced, stranger = value["images"]
    assert traced["found"] and (traced["image"], traced["channel"], traced["offset"]) == ("ldm-1", "actin", [5, 3])
    assert traced["z"] == pytest.approx(exports.ALPHA * np.sqrt(160 * 150), abs=4) and traced["chance"] < 1e-6
    assert not stranger["found"] and stranger["chance"] > 1e-3
    assert value["release"] == "small@1.2.0" and value["alpha"] == exports.ALPHA
    assert "5% of the local noise" in (marked / "dataset/DATASHEET.md").read_text()


def test_the_registration_says_that_images_will_be_marked() -> None:
    from sciimg.report.sections.asked import _generation

    assert "watermark of 5% of the noise" in _generation(releases.loaded(exports.study_of("marked")).study)
    assert "watermark" not in _generation(releases.loaded().study)


def test_what_cannot_be_searched_is_refused(marked: Path, release: Path, trust: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "large.tif", np.random.default_rng(0).integers(0, 9, (200, 200)).astype(np.uint8))
    for words, kind in (
        ((tmp_path / "large.tif", marked), "other-shape"),
        ((tmp_path / "large.tif", release), "no-watermark"),
        ((tmp_path / "large.tif", tmp_path / "nowhere"), "not-found"),
    ):
        with pytest.raises(InputError) as caught:
            watermark_command(*words, trust)
        assert [p.kind for p in caught.value.problems] == [kind]
    with pytest.raises(AuditError):
        watermark_command(tmp_path / "large.tif", marked, None)
