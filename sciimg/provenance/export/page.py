"""``README.md`` of an export: what it is, how to check it, how to train with it. A test runs its Python exactly as it stands here."""

from collections.abc import Iterable, Sequence
from importlib.metadata import version

from sciimg.provenance.export.content import Content

_READ = {
    "png": (
        "import imagecodecs",
        "    pixels = imagecodecs.imread(path)\n    return pixels if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)",
    ),
    "tiff": ("import tifffile", "    return tifffile.imread(path)"),
    "nifti": ("import nibabel", "    return np.asarray(nibabel.load(path).dataobj).T"),
    "dicom": (
        "import pydicom",
        "    data = pydicom.dcmread(path)\n    return data.pixel_array.astype(np.int32) + int(data.RescaleIntercept)",
    ),
}


def page(content: Content, format: str, columns: Sequence[str], masks: bool) -> str:
    """Return the page of a plain folder whose table has these columns of files."""
    return "\n".join(
        [
            f"# {content.study.title}",
            "",
            synthetic(content),
            "",
            f"Images in `images/`{', masks in `masks/` under the same names' if masks else ''}; `images.csv` has a row an image,",
            "`monai.json` is the same as a data list, `synthetic.json` is what this page says, for programs. Channels: "
            + ", ".join(f"`{c}`" for c in content.channels)
            + ".",
            "",
            verifying(content, format),
            "",
            "Every value against the signed catalogue, without sciimg:",
            "",
            "```python",
            reading(content, format, columns),
            "",
            "",
            _CHECK,
            "```",
            "",
            "## Training",
            "",
            "Every image is offered for training (`split` is `train`). Test on real images.",
            "",
            "```python",
            torch_example(masks),
            "```",
            "",
            "The same with MONAI:",
            "",
            "```python",
            _monai_example(format, masks, max(map(len, content.axes))),
            "```",
            "",
            uses(content),
            "",
        ]
    )


def synthetic(content: Content) -> str:
    """Return the first thing to know."""
    return (
        f"> **Synthetic images, made by a trained algorithm and not acquired.** They are those of the signed dataset `{content.identity}` "
        f"(recipe `{content.decision.released}`), and every file says so.\n\nLicence: {content.study.release.licence}. "
        f"Creator: {content.study.release.creator}."
    )


def verifying(content: Content, format: str) -> str:
    """Return how to check the export against the release."""
    return f"""\
## Is this what was released?

An export is not signed itself; the release is. Get the release and a trust policy from its creator, then

    sciimg audit RELEASE --trust policy.json
    sciimg export RELEASE --format {format} --out ../again && diff -r ../again .

The audit must say `Verified` and the payload

    {content.payload}

and the second export, by the same version of sciimg ({version("sciimg")}), has the same bytes.
`RELEASE/dataset/CHECKING.md` checks the release without sciimg.
Signed by: {", ".join(content.signers)}. Study: `{content.study.digest}`."""


def reading(content: Content, format: str, columns: Sequence[str]) -> str:
    """Return Python that reads one file and one image."""
    imports, body = _READ[format]
    axes = next(iter(content.axes))
    named = ", ".join(f'"{c}"' for c in columns)
    return f"""\
from pathlib import Path

{imports}
import numpy as np
import pandas as pd

table = pd.read_csv("images.csv")


def read(path):
{body}


def image_of(row):  # channels, {", ".join(axes)}
    size = [row["size_" + axis] for axis in "{axes}"]
    return np.concatenate([read(Path(row[column])).reshape(-1, *size) for column in [{named}]])"""


_CHECK = """\
import hashlib
import json

signed = pd.read_parquet("RELEASE/dataset/catalogue.parquet").set_index("id")
for _, row in table.iterrows():
    one = signed.loc[row["id"]]
    pixels = image_of(row).astype(np.dtype(one["dtype"]).newbyteorder("<")).reshape(json.loads(one["shape"]))
    digest = hashlib.sha256(f"{pixels.dtype.str}{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
    assert one["sha256"] == f"sha256:{digest}", row["id"]"""


def torch_example(masks: bool) -> str:
    """Return a data set for torch, which goes on from :func:`reading`."""
    mask = (
        """
        mask = read(Path(row["mask"])).reshape(image.shape[1:])"""
        if masks
        else ""
    )
    pair = "image, torch.from_numpy(mask.astype(np.int64))" if masks else "image"
    return f"""\
import torch


class Images(torch.utils.data.Dataset):
    def __len__(self):
        return len(table)

    def __getitem__(self, index):
        row = table.iloc[index]
        image = torch.from_numpy(image_of(row).astype(np.float32)){mask}
        return {pair}"""


def _monai_example(format: str, masks: bool, dims: int) -> str:
    keys = '["image", "label"]' if masks else '["image"]'
    if format == "nifti":
        load = f"monai.transforms.LoadImaged({keys}, ensure_channel_first=True)"
        define = ""
    else:
        load = f"monai.transforms.Lambdad({keys}, stack)"
        define = f"""

def stack(files):  # a file holds a channel or all of them
    pixels = [read(file) for file in ([files] if isinstance(files, str) else files)]
    return np.concatenate([p.reshape(-1, *p.shape[-{dims}:]) for p in pixels]).astype(np.float32)

"""
    return f"""\
import monai
{define}
files = monai.data.load_decathlon_datalist("monai.json", {masks}, "training")
data = monai.data.Dataset(files, {load})"""


def uses(content: Content) -> str:
    """Return what the study says of use, word for word."""
    study = content.study
    return "\n".join(
        [
            "## Uses",
            "",
            f"Context of use: {_line(study.context_of_use)}",
            "",
            "Excluded:",
            "",
            bullets(study.excluded_uses),
            "",
            "What the data cannot support, said before any result:",
            "",
            bullets(study.limits),
        ]
    )


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {_line(item)}" for item in items)


def _line(text: str) -> str:
    return " ".join(text.split())
