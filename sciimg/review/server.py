"""The page on which readers answer, served to this machine alone.

What a page can ask for is where its reader stands, the pictures that are shown now or next, and nothing else: the key, other readers and
everything that has been answered stay behind. Requests that name another host than this one (DNS rebinding) or bring no reader's token
are turned away; the token travels in a header, so that no other site can send it and no log or history of a proxy holds it.
"""

import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import as_file, files
from typing import Annotated, Any

import uvicorn
from fastapi import Body, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.datastructures import MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sciimg.errors import InputError, Problem, StorageError
from sciimg.review.book import Book
from sciimg.review.exhibit import Exhibit
from sciimg.review.questions import questions

LOOPBACK = "127.0.0.1"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_STATUS = {"answered": 409, "not-its-turn": 409}  # kinds of problem that mean that the page is behind
Cells = Annotated[dict[str, str], Body(max_length=200)]


class _Guarded:
    """Adds the headers that keep a page to itself to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, guarded)


def application(book: Book, exhibit: Exhibit, tokens: Mapping[str, str], title: str) -> FastAPI:
    """Return the web application.

    Parameters
    ----------
    book : Book
        Takes the answers.
    exhibit : Exhibit
        Gives the pictures.
    tokens : mapping
        Reader → secret.
    title : str
        Shown to readers; must not tell real from synthetic.
    """
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"], www_redirect=False)
    app.add_middleware(_Guarded)
    plan = book.key.plan

    async def reader_of(request: Request) -> str:
        said = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        found = [reader for reader, token in tokens.items() if secrets.compare_digest(token.encode(), said)]
        if not found:
            raise HTTPException(401, "This link is not valid. Use the whole link that you were given.")
        return found[0]

    Reader = Annotated[str, Depends(reader_of)]

    @app.get("/api/session")
    async def session(reader: Reader) -> dict[str, Any]:
        """What is asked and how pictures are shown; the same from beginning to end."""
        return {
            "title": title,
            "reader": reader,
            "questions": [{**asdict(q), "required": q.required} for q in questions(plan)],
            "minimum": plan.minimum_seconds,
            "sides": 2 if plan.task == "2afc" else 1,
            "exhibit": exhibit.about(),
            "place": asdict(book.place(reader)),
        }

    @app.get("/api/items/{item}/{side}")
    def picture(item: str, side: int, reader: Reader) -> Response:
        """One picture of an item that is shown now or next."""
        line = book.line(reader, item)
        if line is None or not 0 <= side < len(line.pictures):
            raise HTTPException(404, "There is no such picture to be shown now.")
        return Response(exhibit.picture(line.pictures[side]), media_type="application/octet-stream")

    @app.post("/api/answers")  # in a thread of its own, as it waits for the disk
    def answer(cells: Cells, reader: Reader) -> Response:
        """Save one answer, given as text by column."""
        return JSONResponse(asdict(book.answer(reader, cells)))

    @app.post("/api/later")
    def later(cells: Cells, reader: Reader) -> Response:
        """Put off the item that is shown now."""
        return JSONResponse(asdict(book.put_off(reader, cells.get("item", ""))))

    @app.exception_handler(InputError)
    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, InputError)
        status = max(_STATUS.get(p.kind, 422) for p in error.problems)
        return JSONResponse({"problems": [p.as_dict() for p in error.problems]}, status)

    @app.exception_handler(StorageError)
    async def full(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StorageError)
        return JSONResponse({"problems": [p.as_dict() for p in error.problems]}, 507)

    with as_file(files("sciimg") / "review" / "page") as page:
        app.mount("/", StaticFiles(directory=page, html=True))
    return app


def listen(port: int) -> socket.socket:
    """Take a port of this machine that nobody outside can reach; 0 takes any that is free.

    Raises
    ------
    InputError
        If it is taken.
    """
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        message = f"The page needs a free port of this machine; {port} is not ({why}). Choose another one with --port."
        raise InputError(Problem("--port", "port-taken", message)) from None


def serve(app: FastAPI, place: socket.socket) -> None:
    """Serve until the process is told to stop (Ctrl-C or SIGTERM)."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2)
    try:
        uvicorn.Server(config).run(sockets=[place])
    except KeyboardInterrupt:  # uvicorn has stopped in good order and hands the signal on
        return
