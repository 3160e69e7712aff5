"""Draw the README's picture from a finished run: real patches above synthetic ones made for the same masks.

python reports/examples/samples.py RUN OUT.png
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from sciimg.review.presentation import presentation_of
from sciimg.stages.ledger import Run
from sciimg.stages.review import stains_of
from sciimg.store import Collection

COUNT, ZOOM, GAP = 10, 2, 4


def main(run: Path, out: Path) -> None:
    """Write one PNG: a row of real holdout patches, then one row a recipe; every column shares its mask and scalars."""
    study = Run(run).loaded.study
    gallery = [np.load(run / f"validate-{r.name}" / "gallery.npz") for r in study.recipes]
    real = gallery[0]["paired.real"][:COUNT]
    first = Collection(run / "ingest" / "collection")
    volume = first.volume(str(first.catalogue["id"].iloc[0]))
    show = presentation_of(real, tuple(c.name for c in volume.channels), volume.spacing, stains_of(study))
    rows = [real, *(g["paired.synthetic"][:COUNT] for g in gallery)]
    strips = []
    for images in rows:
        tiles = [np.pad(t, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255) for t in show.render(show.planes(images)[0])]
        strips.append(np.concatenate(tiles, axis=1))
    sheet = np.concatenate(strips, axis=0)
    Image.fromarray(sheet).resize((sheet.shape[1] * ZOOM, sheet.shape[0] * ZOOM), Image.Resampling.NEAREST).save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
