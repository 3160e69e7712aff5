"""Label images: where they come from, and every way in which they do not fit their image."""

import nibabel
import numpy as np
import PIL.Image
import pytest
import tifffile

from sciimg.errors import InputError
from sciimg.io import Image, expand, open_image
from sciimg.io.labels import label_index, labels_from_file, make_labels
from sciimg.protocol.data import LabelFiles, SegmentNuclei, TissueMaps
from sciimg.types import Spacing

FLAT = Spacing((1.0, 1.0), "pixel")
MM = Spacing((1.0, 1.0, 1.0), "millimeter")
TRUTH = np.random.default_rng(0).integers(0, 4, (6, 8))
PLANE = Image.from_array(np.zeros((6, 8)), "yx", FLAT, source="cell.tif")
VOLUME = Image.from_array(np.zeros((4, 5, 6)), "zyx", MM, affine=np.eye(4), source="t1.nii")


def save(path, array, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith("nii"):
        image = nibabel.Nifti1Image(array.T, np.eye(4) if affine is None else affine)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, path)
    elif path.suffix == ".png":
        PIL.Image.fromarray(array).save(path)
    else:
        tifffile.imwrite(path, array)
    return path


def problem(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    (one,) = caught.value.problems
    return one


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
def test_whole_numbers_of_any_type(tmp_path, dtype):
    found = labels_from_file(save(tmp_path / "a.tif", TRUTH.astype(dtype)), PLANE)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, TRUTH)


@pytest.mark.parametrize(
    ("array", "kind"),
    [
        (TRUTH[:, :-1], "mask-shape"),
        (np.stack([TRUTH, TRUTH]), "mask-shape"),
        (TRUTH + np.float32(0.5), "mask-not-integer"),
        (TRUTH - 2, "mask-negative"),
        (np.where(TRUTH, np.nan, 0).astype(np.float32), "not-finite"),
    ],
)
def test_what_does_not_fit(tmp_path, array, kind):
    array = array.astype(np.int16) if array.dtype.kind == "i" else array
    found = problem(labels_from_file, save(tmp_path / "a.tif", array), PLANE)
    assert found.kind == kind and "a.tif" in found.where


def test_a_grey_mask_saved_as_colour_counts_and_a_coloured_one_does_not(tmp_path):
    grey = np.stack([TRUTH.astype(np.uint8)] * 3, -1)
    np.testing.assert_array_equal(labels_from_file(save(tmp_path / "a.png", grey), PLANE), TRUTH)
    grey[0, 0, 2] += 1
    assert problem(labels_from_file, save(tmp_path / "b.png", grey), PLANE).kind == "not-grey"


def test_a_mask_that_lies_elsewhere(tmp_path):
    labels = np.zeros((4, 5, 6), np.uint8)
    near, far, turned = np.eye(4), np.eye(4), np.diag([-1.0, 1, 1, 1])
    near[:3, 3], far[:3, 3] = 0.01, 0.5
    assert labels_from_file(save(tmp_path / "near.nii", labels, near), VOLUME).shape == (4, 5, 6)
    for name, affine in (("far", far), ("turned", turned)):
        assert problem(labels_from_file, save(tmp_path / f"{name}.nii", labels, affine), VOLUME).kind == "mask-misplaced"


def test_files_are_matched_by_stem_and_never_guessed(tmp_path):
    plan = LabelFiles(kind="files", uri="masks", labels="instances")
    save(tmp_path / "masks/cell.png", TRUTH.astype(np.uint8))
    save(tmp_path / "masks/twice.png", TRUTH.astype(np.uint8))
    save(tmp_path / "masks/twice.tif", TRUTH.astype(np.uint8))
    index = label_index(plan, tmp_path)
    made = make_labels(PLANE, plan, name="cell", folder=tmp_path, index=index)
    assert (made.kind, made.parameters["file"]) == ("instances", "cell.png")
    assert "none has" in problem(make_labels, PLANE, plan, name="cell2", folder=tmp_path).message
    assert "twice.png, twice.tif" in problem(make_labels, PLANE, plan, name="twice", index=index).message


def test_named_values_are_numbered_in_order_and_unnamed_ones_refused(tmp_path):
    grey = np.array([[0, 127, 128, 255]] * 2, np.uint8)
    image = Image.from_array(np.zeros((2, 4)), "yx", FLAT)
    save(tmp_path / "masks/a.png", grey)
    plan = LabelFiles(kind="files", uri="masks", labels="classes", values={"myelin": (127, 128), "axon": (255,)})
    made = make_labels(image, plan, name="a", folder=tmp_path)
    np.testing.assert_array_equal(made.pixels[0], [0, 1, 1, 2])
    assert made.parameters["classes"] == ["myelin", "axon"]
    partial = plan.model_copy(update={"values": {"axon": (255,)}})
    found = problem(make_labels, image, partial, name="a", folder=tmp_path)
    assert found.kind == "mask-value" and "[127, 128]" in found.message


def maps(folder, grey, white, threshold=0.3):
    save(folder / "gm.nii", grey)
    save(folder / "wm.nii", white)
    return TissueMaps(kind="tissue-maps", maps={"grey": "gm.nii", "white": "wm.nii"}, threshold=threshold)


@pytest.mark.parametrize(("dtype", "full"), [("u1", 255), ("u2", 65535), ("f4", 1.0), ("i2", 32767)])
def test_the_largest_probability_wins_above_the_threshold(tmp_path, dtype, full):
    grey, white = np.zeros((4, 5, 6)), np.zeros((4, 5, 6))
    grey[0, 0, :5] = [0.2, 0.4, 0.5, 0.6, 1.0]
    white[0, 0, :6] = [0.1, 0.5, 0.5, 0.3, 0.0, 1.0]  # the tie goes to the first named
    plan = maps(tmp_path, (grey * full).astype(dtype), (white * full).astype(dtype))
    made = make_labels(VOLUME, plan, name="t1", folder=tmp_path)
    assert made.pixels[0, 0].tolist() == [0, 2, 1, 1, 1, 2]
    assert made.pixels[1:].max() == 0 and made.kind == "classes"
    assert made.parameters == {"kind": "tissue-maps", "classes": ["grey", "white"], "threshold": 0.3}


def test_the_rest_of_the_head_is_a_class_of_its_own(tmp_path):
    grey = np.zeros((4, 5, 6))
    grey[0, 0, 0] = 1.0
    plan = maps(tmp_path, grey, np.zeros((4, 5, 6))).model_copy(update={"rest": "fluid"})
    pixels = np.zeros((4, 5, 6), np.uint8)
    pixels[0, 0, :2] = 9
    made = make_labels(Image.from_array(pixels, "zyx", VOLUME.spacing), plan, name="t1", folder=tmp_path)
    assert made.pixels[0, 0, :3].tolist() == [1, 3, 0]
    assert made.parameters["classes"] == ["grey", "white", "fluid"]


@pytest.mark.parametrize(("value", "dtype"), [(100, "u1"), (1.5, "f4"), (-1, "i2")])
def test_maps_that_are_no_probabilities(tmp_path, value, dtype):
    plan = maps(tmp_path, np.full((4, 5, 6), value, dtype), np.zeros((4, 5, 6), np.uint8))
    found = problem(make_labels, VOLUME, plan, name="t1", folder=tmp_path)
    assert found.kind == "tissue-map-range" and "'grey'" in found.message


def test_every_bad_map_is_named(tmp_path):
    plan = maps(tmp_path, np.zeros((4, 5, 7), np.uint8), np.zeros((4, 5, 6), np.uint8))
    (tmp_path / "wm.nii").unlink()
    with pytest.raises(InputError) as caught:
        make_labels(VOLUME, plan, name="t1", folder=tmp_path)
    assert [p.kind for p in caught.value.problems] == ["mask-shape", "missing"]


def test_the_brain_template_has_tissue_where_the_atlas_says():
    """Grey and white matter volumes of the ICBM152 template lie in the adult range, and a known place is white matter."""
    base = "package:nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
    try:
        image = open_image(expand(base.format("t1"))[0])
    except InputError:
        pytest.skip("nilearn is not installed")
    plan = TissueMaps(kind="tissue-maps", maps={"grey": base.format("gm"), "white": base.format("wm")})
    labels = make_labels(image, plan, name="t1").pixels
    grey_ml, white_ml = np.sum(labels == 1) / 1000, np.sum(labels == 2) / 1000
    assert 600 < grey_ml < 1250 and 400 < white_ml < 800  # the template's maps include cerebellum and are wide at the rim
    x, y, z = (np.linalg.inv(image.affine) @ [-24, -10, 30, 1])[:3].round().astype(int)  # left corona radiata, MNI mm
    assert labels[z, y, x] == 2


def test_a_channel_that_is_not_there():
    found = problem(make_labels, PLANE, SegmentNuclei(kind="segment-nuclei", channel="dapi"), name="a")
    assert found.kind == "unknown-channel" and "intensity" in found.message
