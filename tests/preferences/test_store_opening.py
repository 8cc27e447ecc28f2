"""Tests for opening a store: what is refused, with which words, and what is left unharmed."""

import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from urllib.parse import quote

import pytest
from sqlalchemy import event

from robopref.errors import DataError, MissingExtraError
from robopref.preferences import schema, tables
from robopref.preferences.store import PreferenceStore


def test_a_text_file_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("These are notes." * 100)
    with pytest.raises(DataError) as error:
        PreferenceStore(path)
    assert str(error.value) == (
        f"'{path}' is damaged or not a SQLite database (file is not a database). "
        "Give the path of another."
    )
    assert path.read_text() == "These are notes." * 100


def test_a_foreign_sqlite_file_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "music.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE songs (id INTEGER)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DataError) as error:
        PreferenceStore(path)
    assert str(error.value) == (
        f"'{path}' is a database of another program: it has tables ['songs'] and no "
        "'robopref_meta'. Give the path of a preference store, or of a file to be made."
    )
    assert path.read_bytes() == before


def test_a_store_of_a_newer_version_is_refused(location):
    PreferenceStore(location).close()
    engine, name = schema.open_engine(location, create=False)
    with engine.begin() as connection:
        connection.execute(tables.meta.update().values(value="7"))
    engine.dispose()
    with pytest.raises(DataError) as error:
        PreferenceStore(location)
    assert str(error.value) == (
        f"{name} is a preference store of version 7; this robopref reads version 4. Open it "
        "with the robopref that made it, or upgrade this one with: pip install --upgrade robopref."
    )


def test_a_truncated_store_is_refused(tmp_path, fill):
    path = tmp_path / "store.sqlite"
    with PreferenceStore(path) as store:
        fill(store, 50)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as error, PreferenceStore(path) as store:
        store.preferences()
    assert str(error.value) == (
        f"'{path}' is damaged or not a SQLite database (database disk image is malformed). "
        "Give the path of another."
    )


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(DataError) as error:
        PreferenceStore(tmp_path)
    assert str(error.value) == f"'{tmp_path}' is a directory; a preference store is a file."


def test_a_missing_store_is_made_only_where_that_was_wanted(tmp_path):
    path = tmp_path / "new" / "store.sqlite"
    with pytest.raises(FileNotFoundError) as error:
        PreferenceStore(path, create=False)
    assert str(error.value) == (
        f"No preference store at '{path}'. Make one with: robopref query --data DIR --db {path}."
    )
    assert not path.parent.exists()
    PreferenceStore(path).close()
    PreferenceStore(path, create=False).close()


def test_what_a_kill_during_creation_leaves_is_taken_as_new(tmp_path):
    path = tmp_path / "store.sqlite"
    path.touch()
    with pytest.raises(FileNotFoundError) as error:
        PreferenceStore(path, create=False)
    assert str(error.value) == f"'{path}' holds no preference store yet."
    with PreferenceStore(path) as store:
        assert store.queries() == []


def test_sqlite_acknowledges_only_what_is_on_disk(tmp_path):
    store = PreferenceStore(tmp_path / "store.sqlite")
    with store.database.engine.connect() as connection:
        asked = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    store.close()
    assert asked == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000,
    }  # fmt: skip


def test_a_writer_waits_for_another_and_then_says_so(tmp_path, monkeypatch, fill):
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_S", 0.2)
    path = tmp_path / "store.sqlite"
    with PreferenceStore(path) as store:
        answers = fill(store)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DataError) as error:
            store.undo("a0")
        assert str(error.value) == (
            f"The preference store '{path}' is held by another program for more than 0 s. "
            "Close that program and repeat."
        )
        assert store.preferences() == answers, "readers are not held up"
        other.execute("ROLLBACK")
        other.close()
        store.undo("a0")


def test_a_full_disk_is_named_and_loses_nothing(tmp_path, fill, make_query, cut_hash):
    path = tmp_path / "store.sqlite"
    with PreferenceStore(path) as store:
        answers = fill(store, 5)
    with PreferenceStore(path) as store:
        # SQLite's own limit on a file's pages raises what a full disk does.
        store.close()
        engine = store.database.engine
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA max_page_count=20"))
        with pytest.raises(DataError) as error:
            store.add_queries(
                [make_query(f"large {i}", reason="x" * 5000) for i in range(50)], cut_hash=cut_hash
            )
        assert str(error.value) == (
            f"The disk that holds the preference store '{path}' is full or failing (database or "
            "disk is full): the last change was not stored, everything before it was. Free some "
            "space and repeat it."
        )
        large = replace(answers[0], id="large", annotator="ben", reason="x" * 200_000)
        with pytest.raises(DataError) as in_savepoint:
            store.answer(large)
        assert str(in_savepoint.value) == str(error.value)
    with PreferenceStore(path) as store:
        assert store.preferences() == answers
        assert len(store.queries()) == 5


FILL_UNTIL_FULL = """
import sys
from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences import Preference, Query, Ranking
from robopref.preferences.store import PreferenceStore

store = PreferenceStore(sys.argv[1])
kept = 0
try:
    for i in range(100_000):
        query = Query(f"q{i}", (Segment("a", i, 5), Segment("b", i, 5)), reason="x" * 1000)
        store.add_query(query, cut_hash=lambda segment: "hash")
        store.answer(Preference(f"a{i}", query, Ranking.prefer(1)))
        kept += 1
except DataError as error:
    assert "is full or failing" in str(error), error
else:
    raise SystemExit("the disk did not fill up")
store.close()
assert len(PreferenceStore(sys.argv[1]).preferences()) == kept > 10, kept
print("kept", kept)
"""


def test_a_disk_that_really_fills_up(tmp_path):
    (tmp_path / "disk").mkdir()
    mount = f"mount -t tmpfs -o size=2m none {tmp_path}/disk"
    unshare = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
    tried = shutil.which("unshare") and subprocess.run([*unshare, mount], capture_output=True)
    if not tried or tried.returncode:
        pytest.skip("no small file system can be mounted here")
    python = [sys.executable, "-c", FILL_UNTIL_FULL, f"{tmp_path}/disk/store.sqlite"]
    done = subprocess.run(
        [*unshare, f'{mount} && exec "$@"', "sh", *python],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("kept ")


def test_an_unreachable_server_is_named_without_its_password(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(DataError) as error:
        PreferenceStore(f"postgresql://me:secret@/name?host={tmp_path}")
    message = str(error.value)
    host = quote(str(tmp_path), safe="")
    assert message.startswith(
        f"The preference store 'postgresql+psycopg://me:***@/name?host={host}' cannot be used: "
    )
    assert "secret" not in message


def test_postgresql_without_its_driver_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError) as error:
        PreferenceStore("postgresql://me@host/name")
    assert str(error.value) == (
        "A preference store on PostgreSQL needs psycopg. "
        "Install it with: pip install 'robopref[postgresql]'."
    )


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "mysql://me@host/name",
            "No preference store can be kept in 'mysql'. Give the path of a SQLite file, or a URL "
            "like 'postgresql://user@host/name'.",
        ),
        (
            "://nothing",
            "The store's URL is not readable. Give the path of a SQLite file, or a URL like "
            "'postgresql://user@host/name'.",
        ),
    ],
)
def test_other_urls_are_refused(url, message):
    with pytest.raises(DataError) as error:
        PreferenceStore(url)
    assert str(error.value) == message


def test_postgresql_shares_a_database_but_not_table_names(postgresql_url):
    import psycopg

    plain = postgresql_url
    with psycopg.connect(plain) as connection:
        connection.execute("CREATE TABLE songs (id INT)")
    PreferenceStore(plain).close()
    with psycopg.connect(plain) as connection:
        connection.execute("DROP TABLE robopref_meta")
    with pytest.raises(DataError) as error:
        PreferenceStore(plain)
    assert "is a database of another program: it has tables ['preferences', 'queries']" in str(
        error.value
    )


def test_the_store_needs_no_torch(tmp_path):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from robopref.preferences.store import PreferenceStore\n"
        "from robopref.preferences import STRATEGIES, TEACHERS, agreement, upgrade\n"
        "for table in (STRATEGIES, TEACHERS):\n"
        "    [table.config_class(name) for name in table.names()]\n"
        f"PreferenceStore({str(tmp_path / 'store.sqlite')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_what_is_only_passing_does_not_wait_for_the_disk_and_the_rest_does(tmp_path):
    with PreferenceStore(tmp_path / "store.sqlite") as store:
        levels = []
        for passing in (True, False, True):
            with store.database.writing(passing=passing) as connection:
                levels.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())
    assert levels == [1, 2, 1]
