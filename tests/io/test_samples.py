"""Data to start with: found without importing, copied whole or not at all, with licence and citation."""

import pytest

from sciimg.errors import InputError
from sciimg.io import open_image, samples
from sciimg.io.samples import SAMPLES, available, fetch
from sciimg.types import Spacing


def kind_of(function, *arguments):
    with pytest.raises(InputError) as caught:
        function(*arguments)
    return caught.value.problems[0]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.name)
def test_every_sample_can_be_fetched_and_read(sample, tmp_path):
    if not sample.is_installed():
        pytest.skip(f"{sample.package} is not installed")
    *images, readme = fetch(sample.name, tmp_path / "out")
    assert [p.name for p in images] == list(sample.uris)
    text = readme.read_text()
    assert sample.licence in text and sample.citation in text and text.count("sha256:") == len(images)
    for path in images:
        image = open_image(path, spacing=Spacing((1.0,), "pixel"))
        assert not [p for p in image.problems if p.kind == "wrong-extension"]
        assert image.read().std() > 0


def test_the_list_says_what_one_must_know():
    listed = {d["name"]: d for d in available()}
    assert {"tissue", "brain", "cell"} <= set(listed)
    assert all(d["licence"] and d["citation"] and d["title"] and isinstance(d["available"], bool) for d in listed.values())


def test_a_sample_is_never_written_over(tmp_path):
    (tmp_path / "out").mkdir()
    assert kind_of(fetch, "cell", tmp_path / "out").kind == "exists"
    assert list((tmp_path / "out").iterdir()) == []


def test_an_unknown_name_gets_the_one_that_was_meant(tmp_path):
    problem = kind_of(fetch, "tisue", tmp_path / "out")
    assert problem.kind == "unknown-sample" and "Did you mean 'tissue'?" in problem.message
    assert not (tmp_path / "out").exists()


def test_a_package_that_is_not_installed_is_named(tmp_path, monkeypatch):
    gone = samples.Sample("gone", "t", "m", {"a.png": "package:no_such_package_here/a.png"}, "l", "c")
    monkeypatch.setattr(samples, "SAMPLES", (gone,))
    problem = kind_of(fetch, "gone", tmp_path / "out")
    assert problem.kind == "package-missing" and "pip install no_such_package_here" in problem.message
    assert not gone.is_installed() and not (tmp_path / "out").exists()


def test_a_file_that_a_package_no_longer_ships(tmp_path, monkeypatch):
    monkeypatch.setattr(samples, "SAMPLES", (samples.Sample("old", "t", "m", {"a.png": "package:sciimg/no.png"}, "l", "c"),))
    assert kind_of(fetch, "old", tmp_path / "out").kind == "missing"
