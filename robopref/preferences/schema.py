"""How the database of a preference store is opened and checked."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from robopref.errors import DataError
from robopref.preferences.tables import meta, metadata, preferences, queries
from robopref.registry import import_extra

SCHEMA_VERSION = 4
"""Raised whenever the tables change, with one more entry in `upgrade.UPGRADES`; a store of another
version is refused, never guessed at."""
BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another one [s]; an answer's transaction takes milliseconds."""
WRITE = "robopref_write"
"""Execution option that marks a connection as about to write."""
PASSING = "robopref_passing"
"""Execution option beside `WRITE`: what is written may be lost when the power fails, though not
when a program is killed."""


def open_engine(location: str | Path, *, create: bool) -> tuple[sa.Engine, str]:
    """Open or make the database of a store.

    Args:
        location: Path of a SQLite file, or a URL such as `postgresql://user@host/name`.
        create: Make the store where there is none.

    Returns:
        The engine, and the store's name for messages, without a password.

    Raises:
        DataError: What is there is not a preference store of this version.
        FileNotFoundError: There is none, and `create` is False.
        MissingExtraError: The URL needs a database driver that is not installed.
    """
    engine, name = make_engine(location, create=create)
    try:
        with readable_errors(name):
            _check_or_create(engine, name, create=create)
    except BaseException:
        engine.dispose()
        raise
    return engine, name


def make_engine(location: str | Path, *, create: bool) -> tuple[sa.Engine, str]:
    """Return the engine of a database and its name; what is in it is not looked at."""
    if "://" in str(location):
        engine = _engine_of_url(str(location))
        return engine, f"'{engine.url.render_as_string(hide_password=True)}'"
    return _engine_of_file(Path(location), create=create), f"'{location}'"


@contextlib.contextmanager
def readable_errors(name: str) -> Iterator[None]:
    """Turn what a database raises into a `StorageError` that says what to do."""
    try:
        yield
    except exc.IntegrityError:
        raise
    except exc.SQLAlchemyError as error:
        cause = _first(error).orig if isinstance(error, exc.DBAPIError) else error
        raise StorageError(_explain(f" {name}", cause), _explain("", cause)) from error


class StorageError(DataError):
    """Raised when a database cannot be used now.

    Args:
        message: What is wrong.
        neutral: The same for who need not know where the database is.
    """

    def __init__(self, message: str, neutral: str = "") -> None:
        super().__init__(message)
        self.neutral = neutral


def _first(error: exc.DBAPIError) -> exc.DBAPIError:
    """Return what went wrong first: SQLite, out of room, also forgets the savepoints."""
    before: BaseException | None = error
    while before is not None:
        error = before if isinstance(before, exc.DBAPIError) else error
        before = before.__context__
    return error


def _explain(name: str, error: BaseException | None) -> str:
    text = " ".join(str(error).split())
    if "disk is full" in text or "disk I/O error" in text or "No space left" in text:
        return (
            f"The disk that holds the preference store{name} is full or failing ({text}): the "
            "last change was not stored, everything before it was. Free some space and repeat it."
        )
    if "locked" in text:
        return (
            f"The preference store{name} is held by another program for more than "
            f"{BUSY_TIMEOUT_S:.0f} s. Close that program and repeat."
        )
    if "not a database" in text or "malformed" in text:
        what = name.strip() or "The preference store"
        return f"{what} is damaged or not a SQLite database ({text}). Give the path of another."
    if "readonly" in text:
        return f"The preference store{name} cannot be written to: the file is read-only."
    if not name:
        return "The preference store cannot be used now; the server's log says why."
    return f"The preference store{name} cannot be used: {text}"


def _engine_of_url(location: str) -> sa.Engine:
    try:
        url = sa.make_url(location)
    except exc.ArgumentError as error:
        raise DataError(
            "The store's URL is not readable. Give the path of a SQLite file, or a URL like "
            "'postgresql://user@host/name'."
        ) from error
    if url.get_backend_name() != "postgresql":
        raise DataError(
            f"No preference store can be kept in '{url.get_backend_name()}'. Give the path of a "
            "SQLite file, or a URL like 'postgresql://user@host/name'."
        )
    import_extra("psycopg", purpose="A preference store on PostgreSQL", extra="postgresql")
    engine = sa.create_engine(url.set(drivername="postgresql+psycopg"), pool_pre_ping=True)
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # A server may be set to acknowledge before the log is on disk; an answer may not be.
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO on")
    connection.commit()


def _engine_of_file(path: Path, *, create: bool) -> sa.Engine:
    if path.is_dir():
        raise DataError(f"'{path}' is a directory; a preference store is a file.")
    if not path.exists() and not create:
        raise FileNotFoundError(
            f"No preference store at '{path}'. Make one with: "
            f"robopref query --data DIR --db {path}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_TIMEOUT_S}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # Python's sqlite3 would open transactions when it sees fit; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A writer takes its lock at once: one that reads first and locks later may find that another
    # wrote in between, which no waiting can mend.
    options = connection.get_execution_options()
    if options.get(WRITE, False):
        level = "NORMAL" if options.get(PASSING, False) else "FULL"
        connection.exec_driver_sql(f"PRAGMA synchronous={level}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")


def take_turn(connection: sa.Connection) -> None:
    """Wait until no other program writes; from here to the end of the transaction.

    SQLite does so by itself. On PostgreSQL, writers that take turns cannot add the same row at
    once and cannot wait for each other in a circle, and answers come seldom enough.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(7263)"))
        if connection.get_execution_options().get(PASSING, False):
            connection.execute(sa.text("SET LOCAL synchronous_commit TO off"))


def _check_or_create(engine: sa.Engine, name: str, *, create: bool) -> None:
    with engine.connect() as connection:
        if _is_store(connection, name):
            return
    if not create:
        raise FileNotFoundError(f"{name} holds no preference store yet.")
    if engine.dialect.name == "sqlite":
        # Outside any transaction, as SQLite demands; the file remembers it.
        with contextlib.closing(engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
    with engine.connect().execution_options(**{WRITE: True}) as connection, connection.begin():
        take_turn(connection)
        if _is_store(connection, name):
            return
        metadata.create_all(connection)
        connection.execute(meta.insert(), {"key": "version", "value": str(SCHEMA_VERSION)})


def _is_store(connection: sa.Connection, name: str) -> bool:
    """Return whether a store of this version is there; False where one can be made."""
    version = read_version(connection, name)
    if version is not None:
        check_version(version, name)
    return version is not None


def check_version(version: str, name: str) -> None:
    """Check that a store is of this version.

    Raises:
        DataError: It is older or newer; the message says what to do.
    """
    if version in map(str, range(1, SCHEMA_VERSION)):
        raise DataError(
            f"{name} is a preference store of version {version}; this robopref reads version "
            f"{SCHEMA_VERSION}. Upgrade it with: robopref data upgrade-preferences --db {name}."
        )
    if version != str(SCHEMA_VERSION):
        raise DataError(
            f"{name} is a preference store of version {version}; this robopref reads version "
            f"{SCHEMA_VERSION}. Open it with the robopref that made it, or upgrade this one with: "
            "pip install --upgrade robopref."
        )


def read_version(connection: sa.Connection, name: str) -> str | None:
    """Return the version of the store that is there; None where one can be made.

    Raises:
        DataError: Tables of another program are there.
    """
    tables = set(sa.inspect(connection).get_table_names())
    if meta.name not in tables:
        own = {queries.name, preferences.name}
        foreign = tables if connection.dialect.name == "sqlite" else tables & own
        if foreign:
            raise DataError(
                f"{name} is a database of another program: it has tables {sorted(foreign)} and no "
                f"'{meta.name}'. Give the path of a preference store, or of a file to be made."
            )
        return None
    version = connection.scalar(sa.select(meta.c.value).where(meta.c.key == "version"))
    return str(version)
