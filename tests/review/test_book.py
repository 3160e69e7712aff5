"""The book of a session: whose turn it is, what counts as an answer, and that nothing is lost or said twice."""

import itertools

import pytest
import reading

from sciimg.errors import InputError
from sciimg.review.book import Book, read_book
from sciimg.review.questions import questions

PLAN = reading.plan_of(minimum_seconds=2.0)


def cells(book, reader, **more):
    """Return a whole answer to what is shown now."""
    given = {q.column: q.choices[0] for q in questions(book.key.plan) if q.choices and q.kind != "artefact"}
    return {**given, "item": book.place(reader).now, "seconds": "3.5", "comment": "", **more}


@pytest.fixture
def book(tmp_path):
    made = reading.study(tmp_path, PLAN, "noise", clock=itertools.count(step=3).__next__)[0]  # three seconds between any two looks at it
    yield made
    made.close()


def kinds(book, reader, given):
    with pytest.raises(InputError) as caught:
        book.answer(reader, given)
    return [p.kind for p in caught.value.problems]


def test_every_reader_goes_through_the_own_order_to_the_end(book):
    for reader in ("reader-1", "reader-2"):
        seen = []
        while (now := book.place(reader).now) is not None:
            seen.append(now)
            book.answer(reader, cells(book, reader))
        assert seen == [line.item for line in book.key.of(reader)]
        place = book.place(reader)
        assert (place.answered, place.later, place.items, place.then) == (len(seen), 0, len(seen), None)
    assert book.answers == len(book.key.items)


def test_what_was_put_off_comes_at_the_end(book):
    order = [line.item for line in book.key.of("reader-1")]
    book.put_off("reader-1", order[0])
    book.answer("reader-1", cells(book, "reader-1"))
    book.put_off("reader-1", order[2])
    assert (book.place("reader-1").answered, book.place("reader-1").later) == (1, 2)
    seen = [order[1]]
    while book.place("reader-1").now:
        seen.append(book.place("reader-1").now)
        if seen[-1] == order[0] and seen.count(order[0]) == 1:
            book.put_off("reader-1", order[0])  # and behind the others that were put off
        else:
            book.answer("reader-1", cells(book, "reader-1"))
    assert seen == [order[1], *order[3:], order[0], order[2], order[0]]


def test_only_what_is_shown_now_can_be_put_off(book):
    before = book.head
    place = book.put_off("reader-1", book.place("reader-1").then)
    assert (place.later, book.head) == (0, before)


def test_an_answer_is_final_but_may_be_sent_again(book):
    given = cells(book, "reader-1")
    place, head = book.answer("reader-1", given), book.head
    assert book.answer("reader-1", {**given, "seconds": "9"}) == place  # the reply got lost, the page sends again
    assert book.head == head
    assert kinds(book, "reader-1", {**given, "answer": "synthetic"}) == ["answered"]
    assert book.answers == 1


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"answer": ""}, "unanswered"),
        ({"sharpness": ""}, "unanswered"),
        ({"answer": "maybe"}, "out-of-scale"),
        ({"sharpness": "6"}, "out-of-scale"),
        ({"confidence": "0"}, "out-of-scale"),
        ({"ringing": "perhaps"}, "out-of-scale"),
        ({"seconds": "1.9"}, "too-early"),
        ({"seconds": "nan"}, "out-of-scale"),
        ({"item": "r1-002"}, "not-its-turn"),
        ({"item": "r2-001"}, "not-its-turn"),
        ({"item": ""}, "missing-item"),
    ],
)
def test_what_is_no_answer_is_not_kept(book, change, kind):
    head = book.head
    assert kinds(book, "reader-1", cells(book, "reader-1", **change)) == [kind]
    assert (book.head, book.answers) == (head, 0)


def test_the_shortest_time_is_also_measured_by_the_server(tmp_path):
    now = [0.0]
    book = reading.study(tmp_path, PLAN, "noise", clock=lambda: now[0])[0]
    for _ in range(2):
        now[0] += 1.9
        assert kinds(book, "reader-1", cells(book, "reader-1", seconds="3.5")) == ["too-early"]
        now[0] += 0.2
        book.answer("reader-1", cells(book, "reader-1", seconds="3.5"))
    book.put_off("reader-1", book.place("reader-1").now)
    assert kinds(book, "reader-1", cells(book, "reader-1")) == ["too-early"]  # what comes after it has its own time
    book.close()


def test_the_reader_is_the_one_who_asks_whatever_the_form_says(book):
    book.answer("reader-1", cells(book, "reader-1") | {"reader": "reader-2", "truth": "synthetic"})
    assert (book.place("reader-1").answered, book.place("reader-2").answered) == (1, 0)


def test_only_what_is_shown_now_or_next_can_be_seen(book):
    place = book.place("reader-1")
    lines = book.key.of("reader-1")
    assert [line.item for line in lines if book.line("reader-1", line.item)] == [place.now, place.then]
    assert not any(book.line("reader-2", line.item) for line in lines)
    book.answer("reader-1", cells(book, "reader-1"))
    assert book.line("reader-1", place.now) is None  # hidden repeats could be compared otherwise


def test_a_session_goes_on_after_the_server_ended(book, tmp_path):
    book.answer("reader-1", cells(book, "reader-1", comment="naïve; “sharp”", ringing="x"))
    book.put_off("reader-1", book.place("reader-1").now)
    head, place = book.head, book.place("reader-1")
    book.close()
    again = reading.study(tmp_path, PLAN, "noise")[0]
    assert (again.head, again.place("reader-1"), again.answers) == (head, place, 1)
    again.close()
    written = read_book(tmp_path / "session.sqlite")
    assert (written.key, written.head) == (book.key, head)
    (answer,) = written.answers
    assert (answer.reader, answer.comment, answer.artefacts, answer.seconds) == ("reader-1", "naïve; “sharp”", ("ringing",), 3.5)
    assert answer.where == "session.sqlite:row 2"


@pytest.mark.parametrize("change", ["plan", "pictures"])
def test_another_study_does_not_write_into_this_session(book, change):
    book.close()
    key = book.key if change == "pictures" else book.key.model_copy(update={"plan": reading.plan_of(minimum_seconds=0.0)})
    found = book._chain.rows[0]["pictures"]
    with pytest.raises(InputError) as caught:
        Book(book._chain.path, key, found if change == "plan" else "sha256:" + "0" * 64)
    assert caught.value.problems[0].kind == "other-session"


def test_the_head_stands_for_what_was_shown_as_well_as_for_what_was_said(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    heads = set()
    for folder, task in (("1", "yes-no"), ("2", "2afc")):
        book = reading.study(tmp_path / folder, reading.plan_of(task), "noise")[0]
        heads.add(book.head)
        book.close()
    assert len(heads) == 2
