"""Divide the images of a collection into training, calibration and holdout, with the proof that they are apart.

regions.parquet   which box of which image belongs to which part
folds/N.parquet   the same of fold N, from 1, of what is not holdout; where the study asks for a cross-validation
evidence.json     {"checks": [...], "metrics": [...]}
"""

from pathlib import Path

from sciimg.files import write_bytes, write_json
from sciimg.protocol.data import SplitByBlocks
from sciimg.protocol.models import Study

REGIONS = "regions.parquet"
EVIDENCE = "evidence.json"
FOLDS = "folds"


def fold_files(split: Path) -> list[Path]:
    """Return the regions of each fold below the folder of a split, fold 1 first."""
    return sorted((split / FOLDS).glob("*.parquet"), key=lambda path: int(path.stem))


def guard_of(study: Study) -> int:
    """Return how many pixels apart a study keeps parts of one image."""
    return study.split.guard_px if isinstance(study.split, SplitByBlocks) else 0


def split_collection(study: Study, collection: Path, out: Path) -> None:
    """Split a collection as the study says.

    Parameters
    ----------
    study : Study
    collection : Path
        Collection of the real images.
    out : Path
        Folder to fill.

    Raises
    ------
    InputError
        Where the images cannot be split as asked; see :func:`sciimg.patches.split.make_split` and
        :func:`sciimg.patches.folds.make_folds`; kind ``too-small`` where a judge would see mirrored pixels. Parts that
        share a copy are no error here: the check fails, and so does every gate that reads it.
    """
    from sciimg.patches.folds import make_folds
    from sciimg.patches.prove import evidence_json, prove_folds, prove_split
    from sciimg.patches.regions import from_table, refuse_short, table_bytes
    from sciimg.patches.split import make_split
    from sciimg.store import Collection

    images = Collection(collection)
    regions = make_split(images, study.split, study.patches.shape)
    for part in ("calibration", "holdout"):
        refuse_short(from_table(regions, part), study.patches.shape, part)  # before hours of training, not when it is judged
    asked, guard = study.validation.cross_validation, guard_of(study)
    folds = make_folds(images, regions, study.split, study.patches.shape, asked.folds) if asked else []
    evidence = prove_split(images, regions, study.patches.shape, guard_px=guard, key=(study.digest, "split"))
    evidence += prove_folds(images, regions, folds, guard_px=guard) if asked else []
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / REGIONS, table_bytes(regions))
    for number, fold in enumerate(folds, start=1):
        write_bytes(out / FOLDS / f"{number}.parquet", table_bytes(fold))
    write_json(out / EVIDENCE, evidence_json(evidence))
