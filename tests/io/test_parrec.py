"""What is particular to PAR/REC: many real headers, with pixels made up, against nibabel."""

import shutil
import warnings
from pathlib import Path

import nibabel
import nibabel.parrec
import numpy as np
import pytest

from sciimg.errors import InputError
from sciimg.io import open_image

EXAMPLES = Path(nibabel.__file__).parent / "tests/data"
pytestmark = pytest.mark.skipif(not EXAMPLES.exists(), reason="this nibabel ships no example files")


def with_pixels(name, folder):
    path = Path(shutil.copy(EXAMPLES / f"{name}.PAR", folder))
    with warnings.catch_warnings(), path.open() as stream:
        warnings.simplefilter("ignore")
        header = nibabel.parrec.PARRECHeader.from_fileobj(stream, permit_truncated=True)
    columns, rows = header.get_data_shape()[:2]
    count = len(header.image_defs) * rows * columns
    np.random.default_rng(1).integers(0, 4000, count).astype("<u2").tofile(path.with_suffix(".REC"))
    return path


def load(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nibabel.load(path, strict_sort=True)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("Phantom_EPI_3mm_cor_20APtrans_15RLrot_SENSE_15_1", "zyx"),
        ("Phantom_EPI_3mm_sag_15AP_SENSE_13_1", "zyx"),
        ("Phantom_EPI_3mm_tra_-30AP_10RL_20FH_SENSE_14_1", "zyx"),
        ("T2-interleaved", "zyx"),
        ("T2_", "tzyx"),
        ("DTI", "czyx"),
        ("DTIv40", "czyx"),
        ("fieldmap", "czyx"),
        ("ASL_3D_Multiecho", "tczyx"),
        ("T1_3echo_mag_real_imag_phase", "czyx"),
        ("variant_v4_2_header", "tzyx"),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # nibabel leaves its file open
def test_values_and_orientation_agree_with_nibabel(name, axes, tmp_path):
    path = with_pixels(name, tmp_path)
    image, theirs = open_image(path), load(path)
    assert image.axes == axes
    pixels = image.read()
    volumes = np.asarray(theirs.dataobj).T.reshape(-1, *image.shape[-3:])
    np.testing.assert_allclose(pixels.reshape(volumes.shape), volumes, rtol=1e-5)
    np.testing.assert_allclose(image.affine, theirs.affine)
    assert image.spacing.values == pytest.approx(theirs.header.get_zooms()[2::-1])


def test_kinds_of_image_name_their_channels(tmp_path):
    image = open_image(with_pixels("T1_3echo_mag_real_imag_phase", tmp_path))
    assert image.channel_names[0] == "echo-1 magnitude"
    assert {name.split()[1] for name in image.channel_names} == {"magnitude", "real", "imaginary", "phase"}


def test_missing_and_short_pixels(tmp_path):
    path = with_pixels("T1", tmp_path)
    rec = path.with_suffix(".REC")
    rec.write_bytes(rec.read_bytes()[:-1])
    with pytest.raises(InputError, match="truncated"):
        open_image(path)
    rec.unlink()
    with pytest.raises(InputError, match="data-file-missing"):
        open_image(path)


def test_an_incomplete_scan_is_refused(tmp_path):
    with pytest.raises(InputError, match="corrupt"):
        open_image(with_pixels("phantom_truncated", tmp_path))


def test_only_numbers_of_the_sequence_are_kept(tmp_path):
    image = open_image(with_pixels("T1", tmp_path))
    assert set(image.acquisition) <= {"Modality", "Manufacturer", "EchoTime", "FlipAngle", "SliceThickness", "RepetitionTime"}
