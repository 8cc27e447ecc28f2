"""Tests of decisions where answers differ, on both databases."""

import pytest

from robopref.labeling.adjudication import (
    MAX_LISTED,
    count_disagreements,
    decide,
    find_disagreements,
)
from robopref.labeling.refusals import ConflictError
from robopref.preferences import Preference, Ranking
from robopref.preferences.store import PreferenceStore
from tests.labeling.desks import make_queries


@pytest.fixture
def store(location):
    with PreferenceStore(location) as store:
        yield store


def answer(store, query, annotator, ranking, criterion="overall"):
    name = f"{query.id} {annotator} {criterion}"
    store.answer(Preference(name, query, ranking, annotator, criterion))


def ask(store, num):
    queries = make_queries(num)
    store.add_queries(queries, cut_hash=lambda segment: segment.episode_id)
    return queries


def make_decision(query, name="d0", criterion="overall"):
    return {
        "id": name, "query_id": query.id, "criterion": criterion, "answer": "ranked",
        "order": [[0], [1]], "annotator": "judge", "reason": "", "time_s": 1.0,
    }  # fmt: skip


def decide_in(store, decision):
    with store.database.writing() as connection:
        return decide(store.database, connection, decision)


def test_all_disagreements_are_counted_and_the_oldest_are_shown(store):
    num = MAX_LISTED + 5
    queries = ask(store, num)
    for query in queries[::-1]:
        answer(store, query, "anna", Ranking.prefer(0))
    for query in queries:
        answer(store, query, "ben", Ranking.prefer(1))
    assert count_disagreements(store.database, "overall") == num
    found = find_disagreements(store.database, "overall")
    assert list(found) == [query.id for query in queries[: -MAX_LISTED - 1 : -1]]
    assert [row["annotator"] for row in found[queries[-1].id]] == ["anna", "ben"]
    decide_in(store, make_decision(queries[-1]))
    assert count_disagreements(store.database, "overall") == num - 1
    assert queries[-1].id not in find_disagreements(store.database, "overall")


def test_only_what_was_answered_differently_can_be_decided(store):
    (query,) = ask(store, 1)

    def refused(code):
        with pytest.raises(ConflictError) as error:
            decide_in(store, make_decision(query))
        assert error.value.code == code
        return str(error.value)

    assert refused("nothing-to-decide") == (
        "Query 'q0' has no answers that differ by the criterion 'overall'. Only what was answered "
        "differently can be decided."
    )
    answer(store, query, "anna", Ranking.prefer(0))
    answer(store, query, "ben", Ranking.prefer(0))
    answer(store, query, "cleo", Ranking.skipped())
    answer(store, query, "cleo", Ranking.prefer(1), "gentle")
    refused("nothing-to-decide")
    answer(store, query, "dora", Ranking.incomparable())
    assert decide_in(store, make_decision(query))
    store.undo("q0 dora overall")
    assert not decide_in(store, make_decision(query)), "sent again"
    assert not decide_in(store, make_decision(query) | {"time_s": 2.0}), "and again, later"
    with pytest.raises(ConflictError) as error:
        decide_in(store, make_decision(query) | {"order": [[1], [0]]})
    assert (error.value.code, str(error.value)) == (
        "id-taken",
        "Decision 'd0' is in the store already, with other content. Give a new decision a new id.",
    )
    with pytest.raises(ConflictError) as error:
        decide_in(store, make_decision(query, "d1"))
    assert (error.value.code, str(error.value)) == (
        "decided-already",
        "Query 'q0' was decided by 'judge' by the criterion 'overall' already. Take that decision "
        "back to make another.",
    )
    assert list(store.database.decisions()) == [("q0", "overall")]
