"""What a release says of itself: bill of materials, provenance of each stage, model card."""

import hashlib
import json
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

import pytest
import releases

from sciimg.provenance.sbom import CONTENT, describe
from sciimg.records import canonical_json, digest_of

WHEEL_FILE = "sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
DIGEST = "a" * 64


def install(folder: Path, name: str, version: str, *metadata: str, record: str = "", direct_url: Any = None) -> Distribution:
    """Make the ``.dist-info`` of a package that was installed here."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *metadata, "", "Words."]))
    (place / "RECORD").write_text(record)
    if direct_url is not None:
        (place / "direct_url.json").write_text(json.dumps(direct_url))
    return Distribution.at(place)


def component(package: Distribution) -> dict[str, Any]:
    (made,) = [c for c in describe([package])["components"] if c["type"] == "library"]
    return dict(made)


# ---------------------------------------------------------------- bill of materials


def test_names_versions_and_requirements(tmp_path: Path) -> None:
    needs = ("Requires-Dist: Zope_Thing>=1", "Requires-Dist: absent", 'Requires-Dist: other; extra == "all"', "Requires-Dist: !!")
    packages = [
        install(tmp_path, "sciimg", "0.1.0", "Requires-Dist: first"),
        install(tmp_path, "first", "1.0+cpu", *needs),
        install(tmp_path, "zope.thing", "2.0"),
        install(tmp_path, "other", "3.0"),
        install(tmp_path / "behind", "first", "0.9"),
    ]
    value = describe(packages)
    assert value["metadata"]["component"]["name"] == "sciimg" and value["metadata"]["component"]["type"] == "application"
    assert [c["purl"] for c in value["components"][1:]] == ["pkg:pypi/first@1.0%2Bcpu", "pkg:pypi/other@3.0", "pkg:pypi/zope-thing@2.0"]
    assert value["components"][0]["type"] == "platform"
    assert {d["ref"]: d["dependsOn"] for d in value["dependencies"]} == {
        "pkg:pypi/sciimg@0.1.0": ["pkg:pypi/first@1.0%2Bcpu"],
        "pkg:pypi/first@1.0%2Bcpu": ["pkg:pypi/zope-thing@2.0"],
        "pkg:pypi/other@3.0": [],
        "pkg:pypi/zope-thing@2.0": [],
    }


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (("License-Expression: MIT OR Apache-2.0",), [{"expression": "MIT OR Apache-2.0"}]),
        (("License: BSD-3-Clause", "Classifier: License :: OSI Approved :: BSD License"), [{"license": {"id": "BSD-3-Clause"}}]),
        (("Classifier: License :: OSI Approved :: MIT License",), [{"license": {"id": "MIT"}}]),
        (("Classifier: License :: OSI Approved :: BSD License",), [{"license": {"name": "BSD License"}}]),
        (("Classifier: License :: OSI Approved", "License: Ours"), [{"license": {"name": "Ours"}}]),
        (("License: UNKNOWN",), None),
        ((f"License: {'long ' * 40}",), None),
        ((), None),
    ],
)
def test_licences_are_given_as_packages_state_them(tmp_path: Path, metadata: tuple[str, ...], expected: Any) -> None:
    assert component(install(tmp_path, "x", "1", *metadata)).get("licenses") == expected


def test_the_digest_of_a_package_is_that_of_its_own_files(tmp_path: Path) -> None:
    rows = [f"x/b.py,{WHEEL_FILE},0", f"x/a.py,{WHEEL_FILE},0", "x/__pycache__/a.pyc,,", "x-1.dist-info/RECORD,,"]
    here = [
        f"../../../bin/x,{WHEEL_FILE[:-1]}Q,9",
        f"x-1.dist-info/INSTALLER,{WHEEL_FILE},4",
        f"x-1.dist-info/direct_url.json,{WHEEL_FILE},4",
    ]
    made = component(install(tmp_path / "1", "x", "1", record="\n".join(rows + here)))
    elsewhere = component(install(tmp_path / "2", "x", "1", record="\n".join(rows)))
    expected = hashlib.sha256(f"x/a.py,{WHEEL_FILE}\nx/b.py,{WHEEL_FILE}\n".encode()).hexdigest()
    assert made["properties"] == elsewhere["properties"] == [{"name": CONTENT, "value": expected}]
    changed = component(install(tmp_path / "3", "x", "1", record="\n".join([rows[0].replace("47", "48"), *rows[1:]])))
    assert changed["properties"] != made["properties"]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ({"url": "file:///home/somebody/x.whl", "archive_info": {"hashes": {"sha256": DIGEST}}}, [{"alg": "SHA-256", "content": DIGEST}]),
        ({"url": "file:///home/somebody/x", "dir_info": {"editable": True}}, None),
        ({"archive_info": {"hashes": {"sha256": "short"}}}, None),
        ([], None),
    ],
)
def test_the_digest_of_an_archive_is_given_where_pip_knew_it(tmp_path: Path, url: Any, expected: Any) -> None:
    made = component(install(tmp_path, "x", "1", direct_url=url))
    assert made.get("hashes") == expected
    assert "somebody" not in json.dumps(made)


def test_this_environment_can_be_described() -> None:
    """A few of its packages, because all of them take seconds; the outside validator sees all."""
    wanted = {"numpy", "zarr", "sciimg", "cryptography"}
    packages = [d for d in distributions() if d.name in wanted]
    value = describe(packages)
    assert {c["name"] for c in value["components"]} >= wanted - {"sciimg"}
    assert canonical_json(value) == canonical_json(describe(reversed(packages)))
    numpy = next(c for c in value["components"] if c["name"] == "numpy")
    assert numpy["licenses"] and numpy["properties"][0]["name"] == CONTENT


# ---------------------------------------------------------------- provenance


def test_every_stage_has_its_provenance(release: Path) -> None:
    folder = release / "dataset/provenance"
    assert {p.stem for p in folder.iterdir()} == set(releases.stages())
    value = json.loads((folder / "generate-ldm.json").read_text())
    assert (value["_type"], value["predicateType"]) == ("https://in-toto.io/Statement/v1", "https://slsa.dev/provenance/v1")
    assert [(s["name"], s["digest"]["sha256"]) for s in value["subject"]] == [("generate-ldm", digest_of("generate-ldm")[7:])]
    build = value["predicate"]["buildDefinition"]
    assert build["externalParameters"] == {"study": releases.loaded().study.digest, "stage": "generate", "recipe": "ldm"}
    given = {d["name"]: d["digest"]["sha256"] for d in build["resolvedDependencies"]}
    study = hashlib.sha256((release / "dataset/study.yaml").read_bytes()).hexdigest()
    assert given == {"study.yaml": study, "train-ldm": digest_of("train-ldm")[7:]}
    builder = value["predicate"]["runDetails"]["builder"]
    assert builder["id"].endswith(":0.1.0") and builder["version"] == {"sciimg": "0.1.0", "numpy": "2.4.0"}


def test_what_a_stage_was_given_is_what_another_made(release: Path) -> None:
    statements = [json.loads(p.read_text()) for p in (release / "dataset/provenance").iterdir()]
    made = {s["name"]: s["digest"] for v in statements for s in v["subject"]}
    given = [d for v in statements for d in v["predicate"]["buildDefinition"]["resolvedDependencies"] if d["name"] != "study.yaml"]
    assert given and all(made[d["name"]] == d["digest"] for d in given)


# ---------------------------------------------------------------- model card


def test_the_model_card_says_what_each_recipe_came_to(release: Path, refused: Path) -> None:
    card = (release / "dataset/MODEL_CARD.md").read_text()
    ldm, gan = card.split("## gan")
    for said in ("## ldm", "**accepted**, and its images are this dataset", f"`{digest_of('train-ldm')}`", "given nothing"):
        assert said in ldm
    assert "| passed | intensity-law_effect | 0.55 | 0.3 to 0.8 | – | – | 95 % interval of intensity-law_effect <= 1 |" in ldm
    assert "| failed | intensity-law_effect | 2 | 1.5 to 2.5 |" in gan and "not recorded" in gan
    for section in ("Intended use", "Factors", "Training data", "Evaluation data", "Ethical considerations", "Caveats"):
        assert f"## {section}" in card
    assert "The images mean nothing." in card and "Everything else." in card
    assert "and its images are" not in (refused / "dataset/MODEL_CARD.md").read_text()


# ---------------------------------------------------------------- Croissant


def test_what_a_user_is_responsible_for_is_told_in_croissant(release: Path) -> None:
    """Responsible-AI fields of Croissant say what the study says, not what is said of any dataset."""
    value = json.loads((release / "dataset/croissant.json").read_text())
    study = releases.loaded().study
    assert value["conformsTo"] and "rai" in value["@context"]
    assert "Synthetic" in value["rai:dataCollection"] and "Nobody 2026, Nothing (CC0-1.0)" in value["rai:dataCollection"]
    assert value["rai:dataUseCases"] == study.context_of_use
    assert value["rai:dataLimitations"] == [*study.limits, "Not for: Everything else."]
    assert value["rai:dataPreprocessingProtocol"] == ["real: none"]
    for field in ("rai:dataBiases", "rai:dataAnnotationProtocol", "rai:personalSensitiveInformation", "rai:dataReleaseMaintenancePlan"):
        assert len(value[field]) > 40
