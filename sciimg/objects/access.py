"""Buckets as the environment describes them: endpoint, region, credentials. What is missing is said before anything is asked."""

import configparser
import datetime
import functools
import json
import os
from pathlib import Path
from typing import Any

from sciimg.errors import Problem, RemoteError


def endpoint() -> str | None:
    """Return the server that stands for S3, as the environment of Amazon's own programs names it."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")


def emulator() -> str | None:
    """Return the server that stands for Google Cloud Storage, as the environment of Google's own programs names it."""
    said = os.environ.get("STORAGE_EMULATOR_HOST")
    return said if not said or "//" in said else f"http://{said}"


@functools.cache
def bucket_of(scheme: str, bucket: str) -> Any:
    """Return a bucket with what the environment says of it; never a metadata server unless it says so."""
    from obstore.store import GCSStore, S3Store

    second = datetime.timedelta(seconds=1)
    retry: Any = {"max_retries": 4, "retry_timeout": 60 * second}
    client: Any = {"connect_timeout": 5 * second, "read_timeout": 60 * second, "timeout": 3600 * second}
    if scheme == "s3":
        server = endpoint()
        more: Any = ({"endpoint": server} if server else {}) | _s3_credentials(bucket)
        client["allow_http"] = (server or "").startswith("http://")
        return S3Store(bucket, client_options=client, retry_config=retry, **more)
    if url := emulator():
        nobody = {"gcs_base_url": url.rstrip("/"), "disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
        client["allow_http"] = url.startswith("http://")
        return GCSStore(bucket, service_account_key=json.dumps(nobody), skip_signature=True, client_options=client, retry_config=retry)
    _need_gs_credentials(bucket)
    return GCSStore(bucket, client_options=client, retry_config=retry)


os.register_at_fork(after_in_child=bucket_of.cache_clear)


def _s3_credentials(bucket: str) -> dict[str, Any]:
    """Return what the shared credentials file holds where the environment itself has no credentials, which obstore reads.

    Raises
    ------
    RemoteError
        Kind ``no-credentials``, at once and before anything is asked.
    """
    env = os.environ.get
    if (env("AWS_ACCESS_KEY_ID") and env("AWS_SECRET_ACCESS_KEY")) or env("AWS_SKIP_SIGNATURE", "").lower() in ("true", "1"):
        return {}
    if any(name.startswith(("AWS_CONTAINER_CREDENTIALS_", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_METADATA_ENDPOINT")) for name in os.environ):
        return {}
    if env("AWS_EC2_METADATA_DISABLED", "").lower() == "false":
        return {}
    file = Path(env("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
    profile = env("AWS_PROFILE") or "default"
    found = configparser.RawConfigParser()
    try:
        found.read(file)
        own = dict(found[profile]) if profile in found else {}
    except (configparser.Error, OSError, UnicodeDecodeError):  # its text is not to be quoted
        own = {}
    if "aws_access_key_id" in own and "aws_secret_access_key" in own:
        taken = {"access_key_id": own["aws_access_key_id"], "secret_access_key": own["aws_secret_access_key"]}
        return taken | ({"session_token": own["aws_session_token"]} if "aws_session_token" in own else {})
    message = (
        f"Credentials for S3 come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from the profile {profile!r} in {file}; there are "
        "none. Set them; AWS_SKIP_SIGNATURE=true reads a public bucket, AWS_EC2_METADATA_DISABLED=false takes the role of a machine of "
        "that cloud."
    )
    raise RemoteError(Problem(f"s3://{bucket}", "no-credentials", message))


_GS_VARIABLES = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY")


def _need_gs_credentials(bucket: str) -> None:
    usual = Path("~/.config/gcloud/application_default_credentials.json").expanduser()
    anonymous = os.environ.get("GOOGLE_SKIP_SIGNATURE", "").lower() in ("true", "1")
    if anonymous or any(os.environ.get(v) for v in (*_GS_VARIABLES, "GCE_METADATA_HOST")) or usual.exists():
        return
    message = (
        "Credentials for Google Cloud Storage come from the file that GOOGLE_APPLICATION_CREDENTIALS names; there are none. Set it; "
        "GOOGLE_SKIP_SIGNATURE=true reads a public bucket, GCE_METADATA_HOST=metadata.google.internal takes the account of a machine of "
        "that cloud."
    )
    raise RemoteError(Problem(f"gs://{bucket}", "no-credentials", message))
