"""The server of the readers' page: who gets in, what can be seen from outside, and that an answer that was taken is there."""

import concurrent.futures
import json
import re
from pathlib import Path

import pytest
import reading
from starlette.testclient import TestClient

from sciimg.errors import InputError, Problem, StorageError
from sciimg.review.book import read_book
from sciimg.review.server import application, listen

BOTH = pytest.mark.parametrize("study", ["yes-no", "2afc"], indirect=True)
TOKENS = {"reader-1": "one-secret", "reader-2": "two-secret"}
ROUTES = ("/api/session", "/api/items/r1-001/0", "/api/answers", "/api/later")
PAGE = Path(reading.__file__).parents[2] / "sciimg/review/page"


@pytest.fixture
def study(request, tmp_path):
    book, exhibit = reading.study(tmp_path, reading.plan_of(getattr(request, "param", "yes-no")), "noise")
    yield book, TestClient(application(book, exhibit, TOKENS, "Reader study: example"), base_url="http://127.0.0.1:8321")
    book.close()


def bearer(reader="reader-1"):
    return {"Authorization": f"Bearer {TOKENS[reader]}"}


def ask(client, method, path, **more):
    return client.request(method, path, **({"json": {}} if method == "POST" else {}), **more)


# ---------------------------------------------------------------- who gets in


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer one-secre"}, {"Authorization": "Bearer ł"}]
)
def test_without_a_readers_token_nothing_is_told(study, headers):
    _, client = study
    headers = {k: v.encode() for k, v in headers.items()}
    for route in ROUTES:
        reply = ask(client, "POST" if route in ROUTES[2:] else "GET", route, headers=headers)
        assert reply.status_code == 401
        assert "link" in reply.json()["detail"]


class Sealed:
    """A line of the key that may be asked for anything but what it is."""

    def __init__(self, line):
        self._line = line

    def __getattr__(self, name):
        assert name not in ("truth", "role"), f"the server asked for the {name} of an item"
        return getattr(self._line, name)


@BOTH
def test_the_server_never_asks_what_an_image_is(study):
    """The same is done for every item, so that nothing, time included, can tell real from synthetic."""
    book, client = study
    book._lines = {where: Sealed(line) for where, line in book._lines.items()}
    session = client.get("/api/session", headers=bearer()).json()
    place, sizes, number = session["place"], set(), 0
    while place["now"]:
        for side in range(session["sides"]):
            reply = client.get(f"/api/items/{place['now']}/{side}", headers=bearer())
            sizes.add((len(reply.content), tuple(sorted(k for k, _ in reply.headers.items()))))
        if number == 0:
            client.post("/api/later", json={"item": place["now"]}, headers=bearer())
            place = client.get("/api/session", headers=bearer()).json()["place"]
        number += 1
        place = client.post("/api/answers", json=reading.whole(session, place["now"]), headers=bearer()).json()
    assert number == len(book.key.of("reader-1")) and len(sizes) == 1


def test_requests_to_another_host_are_turned_away(study):
    _, client = study
    for host in ("evil.example", "evil.example:8321", "127.0.0.1.evil.example", "192.168.1.7:8321", ""):
        for path in ("/", "/page.js", *ROUTES[:2]):
            assert client.get(path, headers={"host": host, **bearer()}).status_code == 400
    assert client.get("/", headers={"host": "localhost:9999"}).status_code == 200  # a tunnel has a port of its own


def test_the_page_may_speak_to_this_machine_alone(study):
    _, client = study
    for path in ("/", "/page.js", "/viewer.js", "/form.js", "/page.css", "/icon.svg", *ROUTES, "/docs", "/openapi.json"):
        headers = client.get(path, headers=bearer()).headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert {value for name, value in policy.items() if name != "default-src"} == {"'self'", "'none'"}
        assert (headers["cache-control"], headers["referrer-policy"], headers["x-content-type-options"]) == (
            "no-store",
            "no-referrer",
            "nosniff",
        )
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
    for name in ("/docs", "/redoc", "/openapi.json"):
        assert client.get(name).status_code == 404


def test_the_page_names_no_other_machine():
    for path in PAGE.iterdir():
        assert not re.findall(r"(?:https?:)?//[a-z0-9]", path.read_text().replace("http://www.w3.org/2000/svg", "")), path.name
        assert not re.search(r"\bstyle=|\bon[a-z]+=\"|<script>|eval\(|innerHTML", path.read_text()), path.name


def test_only_this_machine_can_connect_and_a_taken_port_is_said():
    with listen(0) as place:
        assert place.getsockname()[0] == "127.0.0.1"
        with pytest.raises(InputError, match="--port"):
            listen(place.getsockname()[1])


# ---------------------------------------------------------------- what can be seen


@BOTH
def test_nothing_that_leaves_tells_real_from_synthetic(study):
    book, client = study
    told, sizes, headers = [], set(), set()
    session = client.get("/api/session", headers=bearer()).json()
    while (item := client.get("/api/session", headers=bearer()).json()["place"]["now"]) is not None:
        for side in range(session["sides"]):
            reply = client.get(f"/api/items/{item}/{side}", headers=bearer())
            sizes.add(len(reply.content))
            headers.add(tuple(sorted(reply.headers.items())))
        told.append(client.post("/api/answers", json=reading.whole(session, item), headers=bearer()).text)
    told.append(json.dumps({k: v for k, v in session.items() if k != "questions"}))
    assert len(told) == len(book.key.of("reader-1")) + 1
    assert (len(sizes), len(headers)) == (1, 1)  # every picture is as long, and dressed, as every other
    stimuli = {line.stimulus for line in book.key.items} | set(book.key.sources)
    for text in told:
        for word in ("secret", "truth", "stimulus", "role", "catch", "repeat", "scrambled", "sha256", "origin", "holdout", "ldm"):
            assert word not in text.replace("repeated-texture", ""), text
        assert not stimuli & set(re.findall(r"\w+", text))


def test_a_right_and_a_wrong_answer_get_the_same_reply(tmp_path):
    replies = []
    for name in ("real", "synthetic"):
        (tmp_path / name).mkdir()
        book, exhibit = reading.study(tmp_path / name, reading.plan_of(), "noise")
        client = TestClient(application(book, exhibit, TOKENS, "t"), base_url="http://127.0.0.1")
        session = client.get("/api/session", headers=bearer()).json()
        reply = client.post("/api/answers", json=reading.whole(session, "r1-001", answer=name), headers=bearer())
        replies.append((reply.status_code, reply.text, sorted(reply.headers.items())))
        book.close()
    assert replies[0] == replies[1]
    assert replies[0][0] == 200


def test_readers_do_not_see_one_another(study):
    _, client = study
    before = client.get("/api/session", headers=bearer("reader-2")).json()
    session = client.get("/api/session", headers=bearer("reader-1")).json()
    assert client.post("/api/answers", json=reading.whole(session, "r1-001", comment="mine"), headers=bearer()).status_code == 200
    assert client.get("/api/session", headers=bearer("reader-2")).json() == before
    assert "reader-1" not in json.dumps(before)
    assert client.get("/api/items/r1-002/0", headers=bearer("reader-2")).status_code == 404
    assert client.post("/api/answers", json=reading.whole(session, "r1-002"), headers=bearer("reader-2")).status_code == 409


@BOTH
def test_pictures_are_shown_now_or_next_and_never_again(study):
    _, client = study
    session = client.get("/api/session", headers=bearer()).json()
    status = lambda item, side=0: client.get(f"/api/items/{item}/{side}", headers=bearer()).status_code  # noqa: E731
    assert [status("r1-001"), status("r1-002"), status("r1-003")] == [200, 200, 404]
    assert [status("r1-001", session["sides"]), status("r1-001", -1), status("../../session.sqlite")] == [404, 404, 404]
    client.post("/api/answers", json=reading.whole(session, "r1-001"), headers=bearer())
    assert [status("r1-001"), status("r1-003")] == [404, 200]


def test_files_beside_the_page_cannot_be_reached(study):
    _, client = study
    for path in ("/session.sqlite", "/../book.py", "/%2e%2e/book.py", "/..%2f..%2fcli.py", "/%2fetc/passwd"):
        assert client.get(path, headers=bearer()).status_code == 404


# ---------------------------------------------------------------- what is refused


def test_what_is_wrong_with_an_answer_is_said_and_nothing_is_kept(study):
    book, client = study
    session = client.get("/api/session", headers=bearer()).json()
    reply = client.post("/api/answers", json=reading.whole(session, "r1-001", answer=""), headers=bearer())
    assert (reply.status_code, reply.json()["problems"][0]["kind"]) == (422, "unanswered")
    for body in (b"", b"[]", b"\xff", b'{"item": {"a": 1}}', b'{"item": 3}', json.dumps({str(i): "" for i in range(999)}).encode()):
        assert client.post("/api/answers", content=body, headers={**bearer(), "Content-Type": "application/json"}).status_code in (400, 422)
    assert book.answers == 0


def test_a_full_disk_is_said(study, monkeypatch):
    book, client = study
    session = client.get("/api/session", headers=bearer()).json()

    def full(value):
        raise StorageError(Problem("session.sqlite", "not-saved", "The answer could not be written to the disk."))

    monkeypatch.setattr(book._chain, "append", full)
    assert client.post("/api/answers", json=reading.whole(session, "r1-001"), headers=bearer()).status_code == 507
    monkeypatch.undo()
    assert client.post("/api/answers", json=reading.whole(session, "r1-001"), headers=bearer()).status_code == 200


# ---------------------------------------------------------------- a server of its own


def test_eight_readers_at_once_lose_no_answer(tmp_path):
    server = reading.Server(tmp_path, kind="noise", readers=8, items=90, repeats=0.1, catch_pairs=1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        kept = list(pool.map(reading.client_of, server.links))
    server.stop()
    written = read_book(tmp_path / "session.sqlite")
    assert [len(items) for items in kept] == [100] * 8
    given = {(a.reader, a.item): a.comment for a in written.answers}
    assert len(written.answers) == len(given) == 800
    assert given == {(line.reader, line.item): f"about {line.item}" for line in written.key.items}


def test_a_killed_server_has_every_answer_that_it_confirmed(tmp_path):
    server = reading.Server(tmp_path, kind="noise", readers=2, items=40)
    confirmed = [reading.client_of(server.links[0], 5)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(reading.client_of, link, answers) for link, answers in zip(server.links, (12, 30), strict=True)]
        concurrent.futures.wait(futures, return_when=concurrent.futures.FIRST_COMPLETED)
        server.kill()
        confirmed += [future.result() for future in futures]
    assert server.process.returncode == -9
    kept = {a.item for a in read_book(tmp_path / "session.sqlite").answers}
    expected = {item for items in confirmed for item in items}
    assert expected <= kept
    assert len(kept - expected) <= 1  # one may have been written whose confirmation never left
    book = reading.study(tmp_path, reading.plan_of(readers=2, items=40), "noise")[0]  # and it goes on from there
    assert [book.place(reader).answered for reader in book.key.readers] == [sum(i.startswith(f"r{n}-") for i in kept) for n in (1, 2)]
    given = {"answer": "real", "sharpness": "1", "plausibility": "1", "seconds": "1"}
    for reader in book.key.readers:
        while item := book.place(reader).now:
            book.answer(reader, {**given, "item": item})
    book.close()
    written = read_book(tmp_path / "session.sqlite")
    assert {a.item for a in written.answers} == {line.item for line in written.key.items}
    assert len(written.answers) == len(written.key.items)
