"""Prefect as an embedded, silent, offline engine, unless the user points it at a server."""

import os
from pathlib import Path

_DEFAULTS = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",
    "PREFECT_SHOW_STARTUP_MESSAGE": "false",
    "PREFECT_CLI_PROMPT": "false",
}


def embed(workdir: Path) -> None:
    """Set Prefect's environment before its first import; values that the user has set stay.

    The embedded server keeps its database under ``workdir/.prefect``: a view of the runs that may be deleted at any time.
    """
    embedded = "PREFECT_API_URL" not in os.environ
    for key, value in _DEFAULTS.items():
        os.environ.setdefault(key, value)
    # Each wait is twice the last: a minute in all for a server of our own, which does not come back once it is lost, four for another one.
    os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "5" if embedded else "7")
    if embedded:
        os.environ.setdefault("PREFECT_HOME", str((workdir / ".prefect").resolve()))
        Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)  # Prefect's server does not make missing parents
