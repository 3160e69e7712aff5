"""The split of a study: regions and evidence that repeat, readable by the decision."""

from pathlib import Path

import pandas as pd
from stores import collection_of, files_of, texture

from sciimg.decision import collect
from sciimg.protocol import load_study
from sciimg.stages.split import split_collection

STUDIES = Path(__file__).parents[2] / "protocols"


def test_a_study_is_split_with_proof_that_repeats(tmp_path: Path) -> None:
    import json

    study = load_study(STUDIES / "tissue-demo.yaml").study
    collection = collection_of(tmp_path / "c", {"ihc": texture(0, (160, 512))}, "yx")
    for name in "ab":
        split_collection(study, collection.path, tmp_path / name)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    assert sorted(files_of(tmp_path / "a")) == ["evidence.json", "regions.parquet"]
    assert set(pd.read_parquet(tmp_path / "a/regions.parquet")["part"]) == {"train", "calibration", "holdout"}
    _, common = collect({"split": json.loads((tmp_path / "a/evidence.json").read_text())})
    values = {m.name: m.value for m in common}
    assert values["split-failures"] == 0
    assert set(values) == {"split-failures", "split-closest-match"}
