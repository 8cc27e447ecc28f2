"""Fixtures for the preference tests: queries, answers, and stores on both databases."""

import glob
import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from robopref.data.segment import Segment
from robopref.preferences import Preference, Query, Ranking
from robopref.preferences.store import PreferenceStore


@pytest.fixture
def make_query():
    """Make a query of `num_items` segments; equal names give equal queries."""

    def make(name="q", num_items=2, reason=""):
        items = tuple(Segment(f"episode-{name}-{i}", 3, 5) for i in range(num_items))
        return Query(name, items, "uniform", reason)

    return make


@pytest.fixture
def make_answer():
    def make(query, name="a", ranking=None, **fields):
        return Preference(name, query, ranking or Ranking.prefer(1), **fields)

    return make


@pytest.fixture
def cut_hash():
    """Stands for a data set in which nothing changes."""
    return lambda segment: f"hash of {segment.episode_id} {segment.start} {segment.length}"


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server of our own, on a socket in a temporary folder."""
    pytest.importorskip("psycopg", reason="the extra 'postgresql' is not installed")
    programs = sorted(glob.glob("/usr/lib/postgresql/*/bin")) + [
        str(Path(found).resolve().parent) for found in [shutil.which("initdb")] if found
    ]
    if not programs:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    # The server refuses to run as root.
    user = pwd.getpwnam("nobody").pw_uid if os.getuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    if user is not None:
        os.chown(folder, user, -1)
    log = (folder / "log").open("wb")
    run: dict[str, Any] = {"user": user, "cwd": folder, "stdout": log, "stderr": log}
    initdb = [f"{programs[-1]}/initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres"]
    subprocess.run([*initdb, "--no-sync", "-E", "UTF8", "--locale=C"], check=True, **run)
    options = ["-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    server = subprocess.Popen([f"{programs[-1]}/postgres", "-D", f"{folder}/data", *options], **run)
    try:
        _wait_for(folder)
        yield folder
    finally:
        server.send_signal(signal.SIGQUIT)  # waits for nothing; its data is thrown away
        server.wait(30)
        log.close()
        shutil.rmtree(folder)


def _wait_for(folder):
    import psycopg

    deadline = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(host=str(folder), user="postgres", dbname="postgres").close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def postgresql_url(postgresql):
    """An empty database of its own for each test."""
    import psycopg
    from psycopg import sql

    name = f"test_{time.monotonic_ns()}"
    with psycopg.connect(
        host=str(postgresql), user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return f"postgresql://postgres@/{name}?host={postgresql}"


@pytest.fixture(params=["sqlite", "postgresql"])
def location(request, tmp_path):
    """Where a store can be made: a path, then a URL."""
    if request.param == "sqlite":
        return tmp_path / "preferences.sqlite"
    return request.getfixturevalue("postgresql_url")


@pytest.fixture
def store(location):
    with PreferenceStore(location) as store:
        yield store


@pytest.fixture
def fill(make_query, make_answer, cut_hash):
    """Put `num` queries and one answer to each into a store; return the answers."""

    def fill(store, num=3, prefix=""):
        rankings = itertools.cycle([Ranking.prefer(1), Ranking.tie(), Ranking.skipped()])
        queries = [make_query(f"{prefix}q{i}") for i in range(num)]
        store.add_queries(queries, cut_hash=cut_hash)
        answers = [
            make_answer(query, f"{prefix}a{i}", ranking)
            for i, (query, ranking) in enumerate(zip(queries, rankings, strict=False))
        ]
        for answer in answers:
            store.answer(answer)
        return answers

    return fill
