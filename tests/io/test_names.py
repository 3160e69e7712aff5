"""Ids hold on any file system, never collide, and do not depend on what else is there unless they must."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sciimg.io.names import slug, stem, unique_ids


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.tif", "a"), ("a.nii.gz", "a"), ("a.ome.tiff", "a"), ("a.b.png", "a.b"), ("A.NII.GZ", "A"), (".nii.gz", ".nii"), ("x", "x")],
)
def test_stem(name, expected):
    assert stem(Path(name)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Cell 01", "cell-01"),
        ("Größe µm é", "grosse-um-e"),
        ("Ångström_Øre", "angstrom_ore"),
        ("..hidden..", "hidden"),
        ("a//b\\c", "a-b-c"),
        ("x" * 300, "x" * 80),
    ],
)
def test_slug(text, expected):
    assert slug(text) == expected


@given(st.text(max_size=120))
def test_a_slug_is_always_a_portable_name(text):
    assert re.fullmatch(r"[a-z0-9][a-z0-9._-]*", slug(text))


def test_names_in_other_scripts_stay_apart():
    assert slug("細胞") != slug("核") and slug("細胞").startswith("image-")


@given(st.lists(st.sampled_from(["a", "A", "b", "é", "e", "細胞"]), max_size=8))
def test_ids_are_unique(stems):
    paths = [Path(f"{n}/{s}.tif") for n, s in enumerate(stems)]
    ids = unique_ids(paths, lambda p: "sha256:" + f"{hash(p) & 0xFFFFFFFF:08x}" + "0" * 56)
    assert len(set(ids)) == len(ids)


def test_equal_stems_get_their_content_and_others_keep_their_name():
    digests = {"x/a.tif": "sha256:11111111aa", "y/a.tif": "sha256:22222222bb", "z/a.tif": "sha256:22222222bb", "b.tif": ""}
    ids = unique_ids([Path(p) for p in digests], lambda p: digests[p.as_posix()])
    assert ids == ["a-11111111", "a-22222222", "a-22222222-2", "b"]
