"""Places in object stores, ``s3://bucket/key`` and ``gs://bucket/key``, that are read through the methods of a path.

Code that reads through ``open``, ``read_bytes``, ``iterdir``, ``glob``, ``stat`` and :func:`sciimg.files.read_part` reads objects as well
as files. Code that needs a file of this machine (``os``, ``mmap``, a library) asks a path for its name there, and an object has none: it is
refused in one sentence, and so is whatever would write. Only :mod:`sciimg.stages.copy` writes.

Endpoint, region and credentials come from the environment and, for S3, from the shared credentials file. A metadata server of a cloud is
asked only where the environment says so. No credential and no answer of a server is ever put into a message: an answer may quote the key.
"""

from sciimg.objects.answers import ConflictError, answered, asking, is_answer
from sciimg.objects.brought import brought, uri_of
from sciimg.objects.path import THREADS, ObjectPath, as_place, is_uri, zarr_place

__all__ = [
    "THREADS",
    "ConflictError",
    "ObjectPath",
    "answered",
    "as_place",
    "asking",
    "brought",
    "is_answer",
    "is_uri",
    "uri_of",
    "zarr_place",
]
