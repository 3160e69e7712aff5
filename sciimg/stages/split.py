"""Divide the images of a collection into training, calibration and holdout, with the proof that they are apart.

regions.parquet   which box of which image belongs to which part
evidence.json     {"checks": [...], "metrics": [...]}
"""

from pathlib import Path

from sciimg.files import write_bytes, write_json
from sciimg.protocol.models import SplitByBlocks, Study

REGIONS = "regions.parquet"
EVIDENCE = "evidence.json"


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
        Where the images cannot be split as asked; see :func:`sciimg.patches.split.make_split`. Parts that share a copy are no error here:
        the check fails, and so does every gate that reads it.
    """
    from sciimg.patches.prove import evidence_json, prove_split
    from sciimg.patches.regions import table_bytes
    from sciimg.patches.split import make_split
    from sciimg.store import Collection

    images = Collection(collection)
    regions = make_split(images, study.split, study.patches.shape)
    guard = study.split.guard_px if isinstance(study.split, SplitByBlocks) else 0
    evidence = prove_split(images, regions, study.patches.shape, guard_px=guard, key=(study.digest, "split"))
    out.mkdir(parents=True, exist_ok=True)
    write_bytes(out / REGIONS, table_bytes(regions))
    write_json(out / EVIDENCE, evidence_json(evidence))
