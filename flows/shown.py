"""What a person sees of a flow run in Prefect: its name and tags, progress, tables, a picture, links. Nothing depends on it."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext

from sciimg.stages.ledger import log

T = TypeVar("T")


class Shown:
    """Tells Prefect's server how a flow run goes; a server that has gone away is told no more, because the work needs none.

    Parameters
    ----------
    subject : str
        What the run is about; artifacts of one subject stand below one another on Prefect's page of artifacts.
    """

    def __init__(self, subject: str) -> None:
        self._key = re.sub(r"[^a-z0-9]+", "-", subject.lower()).strip("-")  # the letters that Prefect takes
        self._gone = False
        self._progress: Any = None

    def name(self, name: str, tags: Iterable[str]) -> None:
        """Give the flow run a name and add tags to it."""
        context = FlowRunContext.get()
        run = None if context is None else context.flow_run
        if run is not None:
            wanted = sorted({*run.tags, *tags})
            self._tell(lambda: get_client(sync_client=True).update_flow_run(run.id, name=name, tags=wanted))

    def progress(self, done: int, of: int) -> None:
        """Say how many stages are done."""
        share, said = 100 * done / max(of, 1), f"{done} of {of} stages are done"
        if self._progress is None:
            self._progress = self._tell(lambda: create_progress_artifact(share, key=f"{self._key}-progress", description=said))
        else:
            self._tell(lambda: update_progress_artifact(self._progress, share, description=said))

    def table(self, what: str, rows: list[dict[str, Any]], description: str) -> None:
        """Show a table."""
        self._tell(lambda: create_table_artifact(rows, key=f"{self._key}-{what}", description=description))

    def words(self, what: str, markdown: str) -> None:
        """Show a text."""
        self._tell(lambda: create_markdown_artifact(markdown, key=f"{self._key}-{what}"))

    def picture(self, what: str, address: str, description: str) -> None:
        """Show a picture."""
        self._tell(lambda: create_image_artifact(address, key=f"{self._key}-{what}", description=description))

    def link(self, what: str, path: Path, description: str) -> None:
        """Show where a file lies on the machine of the run."""
        about: dict[str, Any] = {"key": f"{self._key}-{what}", "link_text": str(path), "description": description}
        self._tell(lambda: create_link_artifact(path.resolve().as_uri(), **about))

    def _tell(self, call: Callable[[], T]) -> T | None:
        if self._gone:
            return None
        try:
            return call()
        except Exception as error:  # whatever may become of a server: it was killed, restarted empty, or cannot be reached
            self._gone = True
            log(f"Prefect's server cannot be told any more how the run goes ({type(error).__name__}); the run goes on")
            return None
