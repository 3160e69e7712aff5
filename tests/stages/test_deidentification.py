"""What is planted in a file about a person is in no byte that ingest writes; what was left out is listed by name, without values."""

import json

import nibabel
import numpy as np
import pytest
from dicom_files import write_slice
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.dataset import Dataset

from sciimg.stages.ingest import ingest_files
from sciimg.store import Collection
from sciimg.types import Spacing

SECRETS = ("Qvistgaard", "19630217", "1.2.840.99999.7", "Sankt Elsewhere")
PIXELS = np.random.default_rng(8).integers(0, 999, (12, 16), dtype=np.uint16)


def everything(folder):
    """Every byte and every name under a folder; zarr chunks hold pixels only but are searched as well."""
    return b"\0".join(
        str(p.relative_to(folder)).encode() + b"\0" + (p.read_bytes() if p.is_file() else b"") for p in sorted(folder.rglob("*"))
    )


def no_secret_in(folder, value):
    found = everything(folder) + json.dumps(value).encode()
    assert not [s for s in SECRETS if s.encode() in found or s.lower().encode() in found]


def removed(out):
    (text,) = Collection(out).catalogue["removed"]
    return json.loads(text) if isinstance(text, str) else text


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom on a private element of unknown creator
def test_dicom(tmp_path):
    nested = Dataset()
    nested.PatientID, nested.ReferencedSOPInstanceUID = "Qvistgaard", "1.2.840.99999.7"
    extra = {"PatientName": "Qvistgaard^Ada", "PatientBirthDate": "19630217", "StudyDate": "19630217", "InstitutionName": "Sankt Elsewhere"}
    extra |= {"StudyInstanceUID": "1.2.840.99999.7", "RequestAttributesSequence": [nested], "ProtocolName": "Qvistgaard special"}
    path = tmp_path / "scan.dcm"
    write_slice(path, PIXELS, (0, 0, 0), series="1.2.840.99999.7", **extra)
    import pydicom

    header = pydicom.dcmread(path)
    header.private_block(0x0033, "Qvistgaard Inc", create=True).add_new(1, "LO", "Qvistgaard")
    header.save_as(path)
    value = ingest_files([path], tmp_path / "out")
    no_secret_in(tmp_path / "out", value["images"][0] | {"source": ""})
    listed = removed(tmp_path / "out")
    assert {"PatientName", "PatientBirthDate", "StudyDate", "InstitutionName", "StudyInstanceUID", "ProtocolName"} <= set(listed)
    assert {"PatientID", "ReferencedSOPInstanceUID", "private (0033,1001)"} <= set(listed)
    assert not {"EchoTime", "Rows", "PixelData"} & set(listed)


def test_nifti(tmp_path):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16) + 3, np.eye(4))
    image.header.set_xyzt_units("mm")
    image.header["descrip"], image.header["aux_file"] = b"Qvistgaard 19630217", b"Sankt Elsewhere"
    image.header["db_name"], image.header["intent_name"] = b"Qvistgaard", b"Qvistgaard"
    nibabel.save(image, tmp_path / "a.nii.gz")
    value = ingest_files([tmp_path / "a.nii.gz"], tmp_path / "out")
    no_secret_in(tmp_path / "out", value)
    assert {"NIfTI descrip", "NIfTI aux_file", "NIfTI db_name", "NIfTI intent_name"} <= set(removed(tmp_path / "out"))


def test_png_text(tmp_path):
    text = PngInfo()
    text.add_text("Author", "Qvistgaard, Sankt Elsewhere, 19630217")
    Image.fromarray(PIXELS.astype(np.uint8)).save(tmp_path / "a.png", pnginfo=text)
    no_secret_in(tmp_path / "out", ingest_files([tmp_path / "a.png"], tmp_path / "out", spacing=Spacing((1.0,), "pixel")))


def test_ome_xml(tmp_path):
    import tifffile

    meta = {"axes": "YX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "Description": "Qvistgaard at Sankt Elsewhere", "Name": "Qvistgaard"}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, PIXELS, ome=True, metadata=meta, software="19630217")
    experimenter = '<Experimenter ID="Experimenter:0" LastName="Qvistgaard" UserName="Qvistgaard"/></OME>'
    tifffile.tiffcomment(path, tifffile.tiffcomment(path).replace("</OME>", experimenter).encode())
    no_secret_in(tmp_path / "out", ingest_files([path], tmp_path / "out"))
