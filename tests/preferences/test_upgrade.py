"""Tests for upgrades of a preference store: of real stores that earlier versions made."""

import contextlib
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from robopref import cli
from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences import Preference, Query, Ranking, schema, tables, upgrade
from robopref.preferences.exchange import read_rating_decisions, read_ratings
from robopref.preferences.store import PreferenceStore
from robopref.preferences.upgrade import Upgraded, upgrade_store


def dump(database, version=1):
    return (Path(__file__).parent / f"version_{version}.{database}.sql").read_text()


@pytest.fixture
def old(location):
    """A store of version 1, as it was dumped when that was the present one."""
    return restore(location, 1)


@pytest.fixture(params=[1, 2, 3])
def version(request):
    return request.param


def restore(location, version):
    if isinstance(location, Path):
        with contextlib.closing(sqlite3.connect(location)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(dump("sqlite", version))
    else:
        import psycopg

        with psycopg.connect(location, autocommit=True) as connection:
            connection.execute(dump("postgresql", version).encode())
    return location


def content(path):
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def describe_index(index):
    options = {key: str(value) for key, value in index.get("dialect_options", {}).items()}
    columns = index["column_names"], str(index.get("column_sorting"))
    return (index["name"], *columns, index["unique"], str(options))


def described(location):
    """What a store's tables are made of."""
    engine, _ = schema.open_engine(location, create=False)
    inspector = sa.inspect(engine)
    found = {
        table: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)],
            sorted(describe_index(i) for i in inspector.get_indexes(table)),
            sorted(c["column_names"] for c in inspector.get_unique_constraints(table)),
            sorted(str(sorted(key.items())) for key in inspector.get_foreign_keys(table)),
        )
        for table in sorted(inspector.get_table_names())
    }
    engine.dispose()
    return found


def test_there_is_a_step_from_each_version_to_the_next():
    assert len(upgrade.UPGRADES) == schema.SCHEMA_VERSION - 1


def test_an_old_store_is_refused_with_the_command_that_upgrades_it(old):
    with pytest.raises(DataError) as error:
        PreferenceStore(old)
    engine, name = schema.make_engine(old, create=False)
    engine.dispose()
    assert str(error.value) == (
        f"{name} is a preference store of version 1; this robopref reads version 4. "
        f"Upgrade it with: robopref data upgrade-preferences --db {name}."
    )


def test_nothing_is_lost_by_an_upgrade(old):
    assert upgrade_store(old).before == 1
    items = [Segment(f"episode-{c}", 0, 5) for c in "abcd"]
    with PreferenceStore(old, create=False) as store:
        answers = store.preferences()
        assert [(a.id, a.confidence, a.details) for a in answers] == [
            ("a2", 1.0, {}), ("a3", 1.0, {}), ("a4", 1.0, {}),
        ]  # fmt: skip
        assert answers[0].ranking == Ranking.prefer(1)
        assert (answers[0].reason, answers[0].strength) == ("it's faster", 3)
        assert answers[1] == Preference(
            "a3", Query("many", tuple(items)), Ranking(4, ((2,), (0, 3))), annotator="anna"
        )
        hashes = {s: f"hash of {s.episode_id} {s.start} {s.length}" for s in items}
        assert store.verify(hashes.__getitem__, ["many"]) == []
        taken_back = Preference("a1", answers[0].query, Ranking.prefer(0), annotator="anna",
                                time_s=1.75e9)  # fmt: skip
        assert not store.answer(taken_back), "an answer taken back stays so"
        new = Preference("new", answers[2].query, Ranking.prefer(0), confidence=0.7,
                         details={"shown": [1, 0]})  # fmt: skip
        assert store.answer(new)
        assert store.preferences()[-1] == new


def test_what_version_2_added_is_kept(location):
    assert upgrade_store(restore(location, 2)).before == 2
    with PreferenceStore(location, create=False) as store:
        answers = store.preferences()
    assert [(a.id, a.confidence, a.details) for a in answers] == [
        ("a2", 0.75, {"shown": [1, 0], "tags": ["fast"]}), ("a3", 1.0, {}), ("a4", 1.0, {}),
    ]  # fmt: skip


def test_what_version_3_added_is_kept(location):
    assert upgrade_store(restore(location, 3)).before == 3
    with PreferenceStore(location, create=False) as store:
        assert store.database.decisions() == {("pair", "overall"): Ranking.prefer(1)}
        assert [(r.id, r.verdict, r.mark_step) for r in read_ratings(store.database)] == [
            ("r1", "good", None), ("r2", "bad", 3),
        ]  # fmt: skip
        desk = (
            (tables.label_queue, 5), (tables.label_leases, 1), (tables.label_annotators, 1),
            (tables.label_sessions, 1), (tables.label_history, 1),
        )  # fmt: skip
        with store.database.writing() as connection:
            for table, num in desk:
                statement = sa.select(sa.func.count()).select_from(table)
                assert connection.scalar(statement) == num, table.name
            decided = {
                "id": "d2", "query_id": "clip", "criterion": "overall", "rating": "bad",
                "mark_step": 3, "annotator": "cleo", "reason": "", "time_s": 1.75e9,
            }  # fmt: skip
            assert store.database.insert_rating_decision(connection, decided)
        assert [r.mark_step for r in read_rating_decisions(store.database)] == [3]


def test_an_upgraded_store_has_the_tables_of_a_new_one(location, version, tmp_path):
    old = restore(location, version)
    upgrade_store(old)
    if isinstance(old, Path):
        fresh = tmp_path / "fresh.sqlite"
        PreferenceStore(fresh).close()
        new = described(fresh)
        upgraded = described(old)
    else:
        upgraded = described(old)
        engine, _ = schema.make_engine(old, create=False)
        with engine.begin() as connection:
            tables.metadata.drop_all(connection)
        engine.dispose()
        PreferenceStore(old).close()
        new = described(old)
    assert upgraded == new


def test_a_second_upgrade_finds_nothing_to_do(old):
    upgrade_store(old)
    assert upgrade_store(old) == Upgraded(4, None)


def test_a_sqlite_store_is_kept_as_it_was(tmp_path):
    path = tmp_path / "store.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as open_elsewhere:
        open_elsewhere.execute("PRAGMA journal_mode=WAL")
        # The answers are in the write-ahead log only while the file is open.
        open_elsewhere.executescript(dump("sqlite"))
        before = content(path)
        done = upgrade_store(path)
    assert done == Upgraded(1, tmp_path / "store.sqlite.v1.bak")
    assert content(done.copy) == before
    assert content(path) != before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["store.sqlite", "store.sqlite.v1.bak"]


def test_a_copy_that_is_there_is_never_written_over(tmp_path):
    path = tmp_path / "store.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump("sqlite"))
    before = content(path)
    copy = tmp_path / "store.sqlite.v1.bak"
    copy.write_text("precious")
    with pytest.raises(DataError) as error:
        upgrade_store(path)
    assert str(error.value) == (
        f"A copy of '{path}' from an earlier upgrade is at '{copy}'. Move it away, then repeat."
    )
    assert copy.read_text() == "precious"
    assert content(path) == before


def test_an_upgrade_that_fails_changes_nothing_and_can_be_repeated(old, monkeypatch):
    def fail(connection):
        upgrade._add_confidence_and_details(connection)
        connection.exec_driver_sql("ALTER TABLE absent ADD COLUMN x INTEGER")

    with monkeypatch.context() as patch:
        patch.setattr(upgrade, "UPGRADES", (fail,))
        with pytest.raises(DataError, match="absent"):
            upgrade_store(old)
    if isinstance(old, Path):
        assert not old.with_name(f"{old.name}.v1.bak").exists()
    assert upgrade_store(old).before == 1
    with PreferenceStore(old) as store:
        assert len(store.preferences()) == 3


def test_an_upgrade_needs_a_store_and_not_a_newer_one(location, tmp_path):
    missing = tmp_path / "missing.sqlite"
    with pytest.raises(FileNotFoundError) as error:
        upgrade_store(missing)
    assert str(error.value).startswith(f"No preference store at '{missing}'.")
    PreferenceStore(location).close()
    engine, name = schema.open_engine(location, create=False)
    with engine.begin() as connection:
        connection.execute(tables.meta.update().values(value="7"))
    engine.dispose()
    with pytest.raises(DataError) as refused:
        upgrade_store(location)
    assert str(refused.value).startswith(f"{name} is a preference store of version 7;")


def test_the_command_says_what_it_did(tmp_path, capsys):
    path = tmp_path / "store.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump("sqlite"))
    command = ["data", "upgrade-preferences", "--db", str(path)]
    assert cli.main(command) == 0
    assert capsys.readouterr().out == (
        f"{path} is upgraded from version 1 to 4.\nAs it was, it is kept in {path}.v1.bak.\n"
    )
    assert cli.main(command) == 0
    assert f"{path} is of version 4; there is nothing to upgrade." in capsys.readouterr().out
