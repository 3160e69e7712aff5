"""Pool what the judges reported of one recipe in every fold of a cross-validation.

evidence.json   {"metrics": [...], "checks": [...], "folds": [{"fold", "held_out", "train", "calibration", "holdout"}]}

A fold names the groups that it held out where the study splits by a column, and says how many groups each part had (strips, where it
splits by blocks).
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sciimg.files import write_json
from sciimg.protocol.data import SplitByColumn
from sciimg.protocol.models import Study
from sciimg.records import Metric, canonical_json
from sciimg.stages.split import EVIDENCE, REGIONS, fold_files, guard_of
from sciimg.types import PARTS
from sciimg.validation.crossvalidation import pooled


def pool_folds(study: Study, collection: Path, split: Path, judged: Sequence[Path], out: Path) -> list[Metric]:
    """Write the pooled metrics of a recipe.

    The proof that the folds crossed neither each other nor the holdout is made again, of the regions that lie in the run: were they other
    ones than those that the split proved, no number of them would be believed.

    Parameters
    ----------
    collection : Path
        Collection of real images.
    split : Path
        Folder of the split, with the regions of its folds.
    judged : sequence of Path
        Folders of the recipe's validations, fold 1 first.
    out : Path
        Folder to fill.
    """
    import pandas as pd

    from sciimg.patches.prove import prove_folds
    from sciimg.store import Collection

    tables = [pd.read_parquet(path) for path in fold_files(split)]
    checks = prove_folds(Collection(collection), pd.read_parquet(split / REGIONS), tables, guard_px=guard_of(study))
    failed = [check.name for check in checks if not check.passed]
    sizes: list[dict[str, int]] = [{part: table.loc[table["part"] == part, "group"].nunique() for part in PARTS} for table in tables]
    found = [_metrics(folder / EVIDENCE) for folder in judged]
    obstacle = f"the folds are not apart: {', '.join(failed)}" if failed else ""
    ratio = float(np.mean([size["holdout"] / max(1, size["train"]) for size in sizes]))
    metrics = pooled(found, ratio, obstacle=obstacle)
    named = isinstance(study.split, SplitByColumn)
    folds: list[dict[str, Any]] = [
        {"fold": number, "held_out": sorted(table.loc[table["part"] == "holdout", "group"].unique()) if named else [], **size}
        for number, (table, size) in enumerate(zip(tables, sizes, strict=True), start=1)
    ]
    write_json(out / EVIDENCE, {"metrics": [m.as_json() for m in metrics], "checks": [c.as_json() for c in checks], "folds": folds})
    return metrics


def _metrics(evidence: Path) -> list[Metric]:
    return [Metric.model_validate_json(canonical_json(m)) for m in json.loads(evidence.read_text(encoding="utf-8"))["metrics"]]
