"""Tests of how policies are compared by the answers that are stored, on both databases."""

import pytest

from robopref.data.segment import Segment
from robopref.labeling.adjudication import decide
from robopref.labeling.compared import STRATEGY, ComparedQueries
from robopref.labeling.comparison import compare
from robopref.preferences import Preference, Query, Ranking
from robopref.preferences.store import PreferenceStore
from tests.labeling.test_adjudication import make_decision

POLICIES = {f"{policy}{n}": policy for policy in "pqrs" for n in range(10)}


@pytest.fixture
def store(location):
    with PreferenceStore(location) as store:
        yield store


def make_query(n, first="p", second="q", strategy=STRATEGY):
    items = (Segment(f"{first}{n}", 0, 5), Segment(f"{second}{n}", 0, 5))
    return Query(f"{first}{second}{n} {strategy}", items, strategy)


def answer(store, query, annotator, ranking):
    store.add_queries([query], cut_hash=lambda segment: segment.episode_id)
    store.answer(Preference(f"{query.id} {annotator}", query, ranking, annotator))


def look(compared):
    found = compare(compared.judged(), POLICIES, reveal=True)
    return {p["name"]: (p["wins"], p["ties"], p["losses"]) for c in found for p in c["policies"]}


def test_a_decision_counts_instead_of_the_answers(store):
    compared = ComparedQueries(store.database)
    query = make_query(0)
    answer(store, query, "anna", Ranking.prefer(0))
    answer(store, query, "ben", Ranking.prefer(1))
    answer(store, query, "cleo", Ranking.prefer(1))
    assert look(compared) == {"p": (1, 0, 2), "q": (2, 0, 1)}
    with store.database.writing() as connection:
        decide(store.database, connection, make_decision(query))
    assert look(compared) == {"p": (1, 0, 0), "q": (0, 0, 1)}


def test_only_answers_to_comparisons_count_as_they_stand_now(store):
    compared = ComparedQueries(store.database)
    assert look(compared) == {}
    answer(store, make_query(0), "anna", Ranking.prefer(0))
    answer(store, make_query(1, strategy="uniform"), "anna", Ranking.prefer(1))
    assert look(compared) == {"p": (1, 0, 0), "q": (0, 0, 1)}
    answer(store, make_query(2), "anna", Ranking.tie())
    answer(store, make_query(3), "anna", Ranking.incomparable())
    assert look(compared) == {"p": (1, 1, 0), "q": (0, 1, 1)}
    store.undo(f"{make_query(0).id} anna")
    assert look(compared) == {"p": (0, 1, 0), "q": (0, 1, 0)}


def test_a_clear_winner_is_told_apart(store):
    for n in range(10):
        answer(store, make_query(n), "anna", Ranking.prefer(0))
        answer(store, make_query(n, "r", "s"), "anna", Ranking.prefer(n % 2))
    (found,) = compare(ComparedQueries(store.database).judged(), POLICIES, reveal=True)
    pairs = {frozenset((row["a"], row["b"])): row for row in found["pairs"]}
    clear = pairs[frozenset("pq")]
    sign = 1 if clear["a"] == "p" else -1
    assert sorted(sign * clear[side] for side in ("low", "high"))[0] > 0
    apart = pairs[frozenset("pr")]
    assert (apart["difference"], apart["low"], apart["high"], apart["num"]) == (None,) * 3 + (0,)
    assert len(pairs) == 6
