"""Real scientific images that ship inside packages which sciimg installs: data to start with, without a download.

Files are found through the import machinery without importing the package that holds them.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sciimg.errors import InputError
from sciimg.files import new_folder
from sciimg.io.expand import PACKAGE, package_file
from sciimg.io.faults import refuse
from sciimg.records import digest_file

_NOTICE = "README.md"


@dataclass(frozen=True)
class Sample:
    """Real images with what one must know to use them.

    Parameters
    ----------
    name, title, modality : str
    uris : mapping
        File name in the fetched folder to ``package:NAME/path``.
    licence, citation : str
        As the package that ships the files states them.
    ingest : str
        What to tell ``sciimg ingest`` beyond the path.
    """

    name: str
    title: str
    modality: str
    uris: Mapping[str, str]
    licence: str
    citation: str
    ingest: str = ""

    @property
    def package(self) -> str:
        return next(iter(self.uris.values())).removeprefix(PACKAGE).partition("/")[0]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "title": self.title,
            "modality": self.modality,
            "files": dict(self.uris),
            "licence": self.licence,
            "citation": self.citation,
            "ingest": self.ingest,
            "available": self.is_installed(),
        }

    def is_installed(self) -> bool:
        """Whether all files are there."""
        try:
            return all(package_file(uri).is_file() for uri in self.uris.values())
        except InputError:
            return False


_ICBM = "package:nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"

SAMPLES: tuple[Sample, ...] = (
    Sample(
        "tissue",
        "Colon glands, immunohistochemistry of FHL2 (DAB) with haematoxylin, 512 x 512 RGB",
        "brightfield",
        {"ihc.png": "package:skimage/data/ihc.png"},
        "no known copyright restrictions",
        "Center for Microscopy and Molecular Imaging (CMMI); skimage.data.immunohistochemistry",
        "--unit pixel",
    ),
    Sample(
        "brain",
        "ICBM152 2009a symmetric T1 template with grey and white matter maps, 1 mm",
        "mri",
        {"t1.nii.gz": _ICBM.format("t1"), "grey-matter.nii.gz": _ICBM.format("gm"), "white-matter.nii.gz": _ICBM.format("wm")},
        "Copyright (C) 1993-2004 Louis Collins, McConnell Brain Imaging Centre, McGill University. Permission to use, copy, modify and "
        "distribute for any purpose and without fee, provided that this notice appears in all copies; as is, without warranty.",
        "Fonov et al. 2011, Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54(1), "
        "doi:10.1016/j.neuroimage.2010.07.033",
    ),
    Sample(
        "cell",
        "Quantitative phase image of a cell floating in saline, 660 x 550, 0.107 µm",
        "quantitative phase",
        {"cell.png": "package:skimage/data/cell.png"},
        "CC0-1.0",
        "Müller et al. 2018, Accurate evaluation of size and refractive index for spherical objects in quantitative phase imaging, "
        "Optics Express 26(8), doi:10.1364/OE.26.010729",
        "--spacing 0.107 --unit micrometer",
    ),
    Sample(
        "retina",
        "Fundus photograph of a normal left eye, 1411 x 1411 RGB",
        "fundus photography",
        {"retina.jpg": "package:skimage/data/retina.jpg"},
        "CC0-1.0",
        "Häggström 2014, Medical gallery of Mikael Häggström 2014, WikiJournal of Medicine 1(2), doi:10.15347/wjm/2014.008",
        "--unit pixel",
    ),
    Sample(
        "microaneurysms",
        "Retina with microaneurysms, detail of a fundus photograph, green channel, 102 x 102",
        "fundus photography",
        {"microaneurysms.png": "package:skimage/data/microaneurysms.png"},
        "CC0-1.0",
        "Budai et al. 2013, Robust Vessel Segmentation in Fundus Images, International Journal of Biomedical Imaging, "
        "doi:10.1155/2013/154860",
        "--unit pixel",
    ),
)


def available() -> list[dict[str, Any]]:
    """Return what there is, as JSON values; ``available`` says whether the package that holds it is installed."""
    return [sample.as_json() for sample in SAMPLES]


def fetch(name: str, folder: Path) -> list[Path]:
    """Copy a sample into a new folder, whole or not at all, with a README that states licence and citation.

    Parameters
    ----------
    name : str
    folder : Path
        Must not exist.

    Returns
    -------
    list of Path
        The images, then the README.

    Raises
    ------
    InputError
        Kinds ``unknown-sample``, ``package-missing``, ``missing``, ``exists``.
    """
    sample = next((s for s in SAMPLES if s.name == name), None)
    if sample is None:
        names = [s.name for s in SAMPLES]
        close = get_close_matches(name, names, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise refuse(name, "unknown-sample", f"The samples are {', '.join(names)}; got {name!r}.{hint}")
    found = {target: package_file(uri) for target, uri in sample.uris.items()}
    gone = [uri for target, uri in sample.uris.items() if not found[target].is_file()]
    if gone:
        message = f"The installed {sample.package} no longer ships {', '.join(gone)}. Install the version that the lock file names."
        raise refuse(name, "missing", message)
    try:
        with new_folder(folder) as partial:
            for target, path in found.items():
                shutil.copyfile(path, partial / target)
            (partial / _NOTICE).write_text(_notice(sample, found), encoding="utf-8")
    except FileExistsError:
        raise refuse(folder, "exists", "A sample is copied into a new folder; there is something here already. Choose another.") from None
    return [folder / target for target in (*found, _NOTICE)]


def _notice(sample: Sample, found: Mapping[str, Path]) -> str:
    files = "\n".join(f"- `{target}`: {sample.uris[target]}, {digest_file(path)}" for target, path in found.items())
    command = f"sciimg ingest {' '.join(found)} --out collection {sample.ingest}".strip()
    return f"# {sample.title}\n\nLicence: {sample.licence}\n\nPlease cite: {sample.citation}\n\n{files}\n\nTo read it: `{command}`\n"
