"""Fixtures for the preference tests: queries, answers, and stores on both databases."""

import itertools

import pytest

from benchmarks.postgresql import find_programs, make_database, running_server
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
    programs = find_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    with running_server(programs) as folder:
        yield folder


@pytest.fixture
def postgresql_url(postgresql):
    """An empty database of its own for each test."""
    return make_database(postgresql)


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
