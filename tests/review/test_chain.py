"""The log of answers: what is added stays, and what is changed behind its back is noticed, row by row."""

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing

import pytest

from sciimg.errors import InputError
from sciimg.review.chain import Chain, read_chain

ROWS = [{"row": "opened", "name": "Ł"}, {"b": 2, "a": [1, 2.5]}, {"comment": "sharp; 'quoted'"}]


@pytest.fixture
def path(tmp_path):
    chain = Chain(tmp_path / "session.sqlite", ROWS[0])
    for row in ROWS[1:]:
        chain.append(row)
    chain.close()
    return chain.path


def execute(path, *statements, guarded=True):
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        if not guarded:
            for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                file.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            file.execute(statement)


def test_hashes_are_those_that_sha256_gives_to_the_sorted_json_of_the_rows(path):
    sealed = ""
    for row in ROWS:
        body = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        sealed = "sha256:" + hashlib.sha256((sealed + body).encode()).hexdigest()
    log = read_chain(path)
    assert list(log.rows) == ROWS
    assert log.head == sealed


def test_a_log_goes_on_where_it_ended(path):
    before = read_chain(path)
    chain = Chain(path, {"row": "not used"})
    assert chain.rows == ROWS
    head = chain.append({"more": 1})
    chain.close()
    after = read_chain(path)
    assert after.rows == (*before.rows, {"more": 1})
    assert (after.head, chain.head) == (head, head)
    assert head != before.head


def test_settings_that_make_a_row_last(path):
    chain = Chain(path, None)
    asked = {name: chain._file.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    chain.close()
    assert asked == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE chain SET body = '{}' WHERE n = 2",
        "DELETE FROM chain WHERE n = 3",
        "INSERT OR REPLACE INTO chain VALUES (2, '{}', 'x')",
        "INSERT INTO chain VALUES (9, '{}', 'x')",
    ],
)
def test_the_file_itself_refuses_to_change_a_row(path, statement):
    with pytest.raises(sqlite3.IntegrityError, match="rows are"):
        execute(path, statement)
    assert list(read_chain(path).rows) == ROWS


@pytest.mark.parametrize(
    ("statements", "row", "why"),
    [
        (["UPDATE chain SET body = replace(body, 'sharp', 'blurred') WHERE n = 3"], 3, "its hash"),
        (["UPDATE chain SET body = ' ' || body WHERE n = 2"], 2, "its hash"),
        (["UPDATE chain SET hash = (SELECT hash FROM chain WHERE n = 1) WHERE n = 2"], 2, "its hash"),
        (["DELETE FROM chain WHERE n = 2"], 2, "the next one is row 3"),
        (["DELETE FROM chain WHERE n = 1"], 1, "the next one is row 2"),
        (["DELETE FROM chain WHERE n = 2", "UPDATE chain SET n = 2 WHERE n = 3"], 2, "its hash"),
        (["UPDATE chain SET n = 9 WHERE n = 2", "UPDATE chain SET n = 2 WHERE n = 3", "UPDATE chain SET n = 3 WHERE n = 9"], 2, "its hash"),
        (["DELETE FROM chain"], 1, "it is missing"),
    ],
)
def test_a_change_that_got_past_the_file_is_named_by_its_row(path, statements, row, why):
    execute(path, *statements, guarded=False)
    for look in (lambda: read_chain(path), lambda: Chain(path, None)):
        with pytest.raises(InputError, match=why) as caught:
            look()
        assert (caught.value.problems[0].kind, caught.value.problems[0].where) == ("broken-chain", f"{path}:row {row}")


def test_rows_can_be_cut_off_the_end_only_under_another_head(path):
    head = read_chain(path).head
    execute(path, "DELETE FROM chain WHERE n = 3", guarded=False)
    assert read_chain(path).head != head


def test_other_files_are_no_sessions(tmp_path):
    (tmp_path / "text.sqlite").write_text("reader,item,answer\n" * 100)
    execute(tmp_path / "other.sqlite", "CREATE TABLE chain (n, body, hash)")
    for name, kind in (("text", "not-a-session"), ("other", "not-a-session"), ("none", "missing-file")):
        with pytest.raises(InputError) as caught:
            read_chain(tmp_path / f"{name}.sqlite")
        assert caught.value.problems[0].kind == kind


def test_only_its_owner_may_read_what_holds_the_key(path):
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_closed_log_is_one_file_that_can_be_copied(path, tmp_path):
    assert [p.name for p in tmp_path.iterdir()] == ["session.sqlite"]
    shutil.copy(path, tmp_path / "copy.sqlite")
    assert read_chain(tmp_path / "copy.sqlite") == read_chain(path)


def test_rows_are_there_though_the_log_was_never_closed(path, tmp_path):
    chain = Chain(path, None)
    chain.append({"last": True})
    other = tmp_path / "other"
    other.mkdir()
    for file in tmp_path.glob("session.sqlite*"):  # what a killed process leaves behind
        shutil.copy(file, other)
    assert read_chain(other / "session.sqlite").rows[-1] == {"last": True}
    chain.close()
