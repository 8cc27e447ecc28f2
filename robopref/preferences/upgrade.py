"""Upgrades of a preference store in place, from each version of its tables to the next."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from robopref.config import replacing
from robopref.errors import DataError
from robopref.preferences import schema


def _add_confidence_and_details(connection: sa.Connection) -> None:
    real = sa.Double().compile(dialect=connection.dialect)
    for column in (
        f"confidence {real} NOT NULL DEFAULT 1.0",
        "details JSON NOT NULL DEFAULT '{}'",
    ):
        connection.exec_driver_sql(f"ALTER TABLE preferences ADD COLUMN {column}")


UPGRADES: tuple[Callable[[sa.Connection], None], ...] = (_add_confidence_and_details,)
"""`UPGRADES[v - 1]` leads from version v to v + 1, in a transaction. An entry stays as it is once
it is out: it says what it does in words of its own, since the tables of `schema` go on changing."""


@dataclass(frozen=True)
class Upgraded:
    """What an upgrade did.

    Args:
        before: Version that the store had; the present one if there was nothing to do.
        copy: Where the store is kept as it was; None for a server's, or if nothing was done.
    """

    before: int
    copy: Path | None


def upgrade_store(location: str | Path) -> Upgraded:
    """Bring a store to the present version in one transaction.

    A SQLite store is first copied to `<name>.v<version>.bak` beside it.

    Args:
        location: Path of a SQLite file, or a URL such as `postgresql://user@host/name`.

    Raises:
        DataError: It is no preference store, is newer than this robopref, or a copy of an earlier
            upgrade is in the way; nothing was changed.
        FileNotFoundError: There is none.
        MissingExtraError: The URL needs a database driver that is not installed.
    """
    engine, name = schema.make_engine(location, create=False)
    try:
        with schema.readable_errors(name), engine.connect() as plain:
            connection = plain.execution_options(**{schema.WRITE: True})
            with contextlib.ExitStack() as undo:
                with connection.begin():
                    schema.take_turn(connection)
                    done = _upgrade(connection, name, undo)
                undo.pop_all()
                return done
    finally:
        engine.dispose()


def _upgrade(connection: sa.Connection, name: str, undo: contextlib.ExitStack) -> Upgraded:
    found = schema.read_version(connection, name)
    if found is None:
        raise FileNotFoundError(f"{name} holds no preference store yet.")
    if found not in map(str, range(1, schema.SCHEMA_VERSION)):
        schema.check_version(found, name)
        return Upgraded(schema.SCHEMA_VERSION, None)
    before, copy = int(found), None
    database = connection.engine.url.database
    if connection.dialect.name == "sqlite" and database is not None:
        copy = _copy(Path(database), before)
        undo.callback(copy.unlink)
    for step in UPGRADES[before - 1 :]:
        step(connection)
    of_version = schema.meta.update().where(schema.meta.c.key == "version")
    connection.execute(of_version, {"value": str(schema.SCHEMA_VERSION)})
    return Upgraded(before, copy)


def _copy(path: Path, version: int) -> Path:
    """Copy a SQLite store with what its write-ahead log holds; nobody else writes meanwhile."""
    copy = path.with_name(f"{path.name}.v{version}.bak")
    if copy.exists():
        raise DataError(
            f"A copy of '{path}' from an earlier upgrade is at '{copy}'. Move it away, then repeat."
        )
    try:
        with (
            replacing(copy) as partial,
            contextlib.closing(sqlite3.connect(path)) as source,
            contextlib.closing(sqlite3.connect(partial)) as target,
        ):
            source.backup(target)
    except sqlite3.Error as error:
        raise DataError(f"'{path}' could not be copied to '{copy}': {error}.") from error
    return copy
