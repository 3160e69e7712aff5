"""What a store answers, as one sentence that says what to do, without a credential in it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from sciimg.errors import MissingExtraError, Problem, RemoteError, StorageError
from sciimg.objects.access import emulator, endpoint


@contextmanager
def asking(path: Path) -> Iterator[None]:
    """Turn what a store answers into one sentence that says what to do.

    Raises
    ------
    FileNotFoundError
        Where there is no such object.
    RemoteError
        Kinds ``no-bucket``, ``no-permission``, ``no-credentials``, ``other-region``, ``changed``, ``object-store``: nothing comes of it.
    StorageError
        Kind ``connection-lost``: the same command may go on later.
    MissingExtraError
        Without obstore.
    """
    try:
        yield
    except ImportError:
        message = "Places in object stores need the extra 'cloud'. Run `pip install 'sciimg[cloud]'`."
        raise MissingExtraError(Problem(str(path), "missing-extra", message)) from None
    except Exception as error:
        if not is_answer(error) and not isinstance(error, FileNotFoundError):
            raise
        raise answered(path, error) from None  # the original may quote what was sent


def is_answer(error: Exception) -> bool:
    """Whether an error is what an object store answered, or that it did not."""
    return type(error).__module__.partition(".")[0] == "obstore"


def answered(where: str | Path, error: Exception) -> Exception:
    """Return the error for an answer; of the answer itself only its code is passed on."""
    place, text = str(where), str(error)
    bucket = re.sub(r"^\w+:/+", "", place).partition("/")[0]
    status = int(found[1]) if (found := re.search(r"status code: (\d{3})", text)) else 0
    code = found[1] if (found := re.search(r"<Code>(\w+)</Code>", text)) else ""
    kind = type(error).__name__
    if code == "NoSuchBucket" or (status == 404 and not isinstance(error, FileNotFoundError)):
        message = f"The bucket {bucket!r} must exist{_at(place)}; there is none of this name. Check the name, the endpoint and the region."
        return RemoteError(Problem(place, "no-bucket", message))
    if isinstance(error, FileNotFoundError):
        return FileNotFoundError(2, "there is no such object", place)
    if (
        status in (301, 307)
        or "redirect without LOCATION" in text
        or code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException")
    ):
        message = "The bucket lies in another region than the one asked. Set AWS_REGION to the region of the bucket."
        return RemoteError(Problem(place, "other-region", message))
    if status in (401, 403) or kind in ("PermissionDeniedError", "UnauthenticatedError") or code in ("ExpiredToken", "InvalidAccessKeyId"):
        message = (
            f"The credentials must allow this{_at(place)}; the store refuses ({code or status or kind}). Check which ones the environment "
            "holds, and that they may list, read and, to copy there, write; without the right to list, what is missing looks forbidden too."
        )
        return RemoteError(Problem(place, "no-permission", message))
    if kind in ("AlreadyExistsError", "PreconditionError", "NotModifiedError") or status in (409, 412):
        return ConflictError(Problem(place, "changed", "The object was replaced while it was worked with. Run the same command again."))
    if status == 501 or kind in ("NotImplementedError", "NotSupportedError"):
        message = (
            f"The store must know conditional writes{_at(place)}, which keep two writers apart; it refuses ({code or status}). Use another."
        )
        return RemoteError(Problem(place, "object-store", message))
    if 400 <= status < 500 and status not in (408, 429):
        return RemoteError(
            Problem(place, "object-store", f"The store does not understand the request{_at(place)}: {code or status}. Check the endpoint.")
        )
    return lost(place, code or (f"status {status}" if status else "no answer"))


class ConflictError(RemoteError):
    """A condition of a write does not hold: somebody else was there before."""


def lost(place: str, why: str) -> StorageError:
    """Return the error for a connection that failed, or broke in the middle."""
    message = (
        f"The object store must answer{_at(place)}; it does not, or not to the end ({why}). Check the network and the endpoint "
        "(AWS_ENDPOINT_URL, STORAGE_EMULATOR_HOST), then run the same command: it goes on."
    )
    return StorageError(Problem(place, "connection-lost", message))


def _at(place: str) -> str:
    """Return which endpoint is asked, where the environment names one, without whatever else stands in its URL."""
    parts = urlsplit((endpoint() if place.startswith("s3:") else emulator()) or "")
    return f" at {parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}" if parts.hostname else ""
