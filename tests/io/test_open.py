"""Content decides; what a user names is found, and nothing is imported on the way."""

import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tifffile

from sciimg.errors import InputError
from sciimg.io import expand, open_image
from sciimg.io.expand import package_file
from sciimg.types import Spacing

PIXEL = Spacing((1.0,), "pixel")


def kind_of(function, *arguments, **options):
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    (problem,) = caught.value.problems
    return problem.kind


@pytest.fixture
def folder(tmp_path):
    for name in ("b.tif", "a.png", "sub/c.tif", ".hidden.tif"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("png"):
            PIL.Image.fromarray(np.zeros((4, 4), np.uint8)).save(path)
        else:
            tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    (tmp_path / "data" / "README.md").write_text("about")
    (tmp_path / "data" / "metadata.csv").write_text("id\n")
    return tmp_path / "data"


def names(paths, folder):
    return [p.relative_to(folder).as_posix() for p in paths]


def test_a_folder_gives_its_images_in_order(folder):
    assert names(expand(folder), folder) == ["a.png", "b.tif", "sub/c.tif"]


def test_files_that_claim_to_be_images_are_kept_to_be_refused(folder):
    (folder / "broken.tif").write_bytes(b"")
    (folder / "scope.czi").write_bytes(b"ZISRAWFILE")
    (folder / "no-extension").write_bytes((folder / "a.png").read_bytes())
    assert names(expand(folder), folder) == ["a.png", "b.tif", "broken.tif", "no-extension", "scope.czi", "sub/c.tif"]


def test_globs_and_relative_paths(folder):
    assert names(expand("data/*.tif", folder.parent), folder) == ["b.tif"]
    assert names(expand("data/**/*.tif", folder.parent), folder) == ["b.tif", "sub/c.tif"]
    assert names(expand(str(folder / "*.png")), folder) == ["a.png"]
    assert expand("data/b.tif", folder.parent) == [folder / "b.tif"]


def test_what_is_not_there(folder):
    assert kind_of(expand, folder / "nothing.tif") == "missing"
    assert kind_of(expand, "data/*.lif", folder.parent) == "no-match"
    (folder / "empty").mkdir()
    assert kind_of(expand, folder / "empty") == "empty-folder"
    assert kind_of(expand, "package:no_such_package_here/a.png") == "package-missing"
    assert kind_of(open_image, folder / "nothing.tif") == "missing"
    assert kind_of(open_image, folder / "empty") == "folder"


def test_brackets_in_a_real_name_are_no_pattern(folder):
    (folder / "b.tif").rename(folder / "cell [1].tif")
    assert expand(folder / "cell [1].tif") == [folder / "cell [1].tif"]


@pytest.mark.parametrize("name", ["naïve é 細胞.tif", "a b.tif", "ÀÖ.TIF"])
def test_any_name_will_do(tmp_path, name):
    tifffile.imwrite(tmp_path / name, np.arange(12, dtype=np.uint8).reshape(3, 4))
    assert open_image(tmp_path / name, spacing=PIXEL).read()[2, 3] == 11


def test_wrong_extension_with_known_content_is_read_and_noted(tmp_path, folder):
    target = tmp_path / "really-a-png.tif"
    target.write_bytes((folder / "a.png").read_bytes())
    image = open_image(target, spacing=PIXEL)
    assert [p.kind for p in image.problems] == ["wrong-extension"]
    assert "PNG" in image.problems[0].message


def test_unknown_content_is_refused_whatever_the_name(tmp_path):
    (tmp_path / "a.tif").write_text("this is a text file, and a long one at that" * 99)
    with pytest.raises(InputError, match=r"begins with b'this is '.*although its name ends in '\.tif'"):
        open_image(tmp_path / "a.tif")


def test_package_files_are_found_without_importing_the_package():
    code = "import sys; from sciimg.io.expand import package_file as f; assert f('package:skimage/data/ihc.png').exists(); "
    code += "assert not {'skimage', 'torch', 'pandas', 'tifffile', 'nibabel', 'pydicom'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("uri", ["package:../etc/passwd", "package:skimage/../../../etc/passwd", "package:skimage//etc/passwd"])
def test_package_paths_stay_inside_the_package(uri):
    assert kind_of(package_file, uri) in ("package-missing", "missing")
