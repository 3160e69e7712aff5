"""A reader study at the screen: the session of a run, its links, and the server that readers talk to."""

import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sciimg.files import hold, write_bytes
from sciimg.records import pretty_json

SESSION = Path("review/session.sqlite")
LINKS = Path("review/links.json")
READERS = 3  # where neither the study nor the user says how many


def serve_command(
    study: Path, workdir: Path, *, port: int, readers: int | None, announce: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Serve the reader study of a run until told to stop; the same command goes on with the same session and the same links.

    Parameters
    ----------
    study : Path
        A study's YAML whose run lies under ``workdir``, or a run folder.
    port : int
        Of this machine; 0 takes any that is free.
    readers : int, optional
        How many; default: as many as the session has, or the study plans, or three.
    announce : callable
        Is told where the page is, before anything is served: ``url``, ``session``, ``items`` and the ``links`` of all readers, how many
        readers the study ``planned``, ``cautions`` about the images, and the ``run``.

    Returns
    -------
    dict
        ``session``, how many ``answers`` it holds now, and the ``head`` of its chain.

    Raises
    ------
    InputError
        If there is no run with samples, the port is taken, or the session was tampered with or belongs to something else.
    """
    from sciimg.review.book import Book, read_book
    from sciimg.review.exhibit import Exhibit
    from sciimg.review.items import draw_session
    from sciimg.review.server import LOOPBACK, application, listen, serve
    from sciimg.stages.review import material, run_of

    run = run_of(study, workdir)
    path = run / SESSION
    of = material(run)
    begun = len(read_book(path).key.readers) if path.exists() else None
    names = [f"reader-{n}" for n in range(1, (readers or begun or of.study.review.readers or READERS) + 1)]
    digest = of.study.digest
    drawn = draw_session(of.real, of.synthetic, of.study.review, names, (digest, of.recipe), study=digest, recipe=of.recipe)
    exhibit = Exhibit(drawn.pictures, of.show)
    with listen(port) as place, hold(path.with_name(".session.lock"), remove=True):
        book = Book(path, drawn.key, exhibit.digest)
        try:
            tokens = _tokens(run / LINKS, names)
            url = f"http://{LOOPBACK}:{place.getsockname()[1]}/"
            links = [{"reader": reader, "url": f"{url}#{token}"} for reader, token in tokens.items()]
            items = len(drawn.key.items) // len(names)
            said = {"url": url, "session": str(path), "items": items, "answers": book.answers, "links": links}
            announce(said | {"planned": of.study.review.readers, "run": str(run), "cautions": book.key.cautions})
            serve(application(book, exhibit, tokens, f"Reader study: {of.study.name}"), place)
            return {"session": str(path), "answers": book.answers, "head": book.head, "run": str(run)}
        finally:
            book.close()


def _tokens(path: Path, readers: list[str]) -> dict[str, str]:
    """Return a secret for each reader, the same as before: a link outlives the server."""
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    tokens = {reader: known.get(reader) or secrets.token_urlsafe(24) for reader in readers}
    write_bytes(path, pretty_json(tokens).encode(), mode=0o600)
    return tokens
