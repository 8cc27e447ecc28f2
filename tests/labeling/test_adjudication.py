"""Tests of decisions where answers differ, on both databases."""

import pytest

from robopref.data.segment import Segment
from robopref.labeling.adjudication import (
    MAX_LISTED,
    count_disagreements,
    decide,
    decide_rating,
    find_disagreements,
)
from robopref.labeling.rated import count_contradictions, find_contradictions
from robopref.labeling.refusals import ConflictError
from robopref.preferences import Preference, Ranking
from robopref.preferences.rating import (
    Rating,
    RatingQuery,
    Verdict,
    rating_query_row,
    rating_row,
)
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


def rate(store, said, name="clip", length=20):
    """Have annotators rate one clip: a verdict and a mark of each."""
    query = RatingQuery(name, Segment("e", 3, length))
    with store.database.writing() as connection:
        row = rating_query_row(query, "hash", context={}, created_s=0.0)
        store.database.insert_rating_query(connection, row)
        for annotator, (verdict, mark) in said.items():
            rating = Rating(f"{name} {annotator}", query, verdict, mark, annotator)
            store.database.insert_rating(connection, rating_row(rating))


def decide_clip(store, **changed):
    decision = {
        "id": "d0", "query_id": "clip", "criterion": "overall", "rating": "bad", "mark_step": 7,
        "annotator": "judge", "reason": "", "time_s": 1.0, **changed,
    }  # fmt: skip
    with store.database.writing() as connection:
        return decide_rating(store.database, connection, decision)


def test_a_clip_is_decided_that_was_rated_differently(store):
    rate(store, {"anna": (Verdict.GOOD, None), "ben": (Verdict.BAD, 7)})
    assert count_contradictions(store.database, "overall") == 1
    assert decide_clip(store)
    assert count_contradictions(store.database, "overall") == 0
    assert find_contradictions(store.database, "overall", 9) == []
    assert not decide_clip(store, time_s=2.0), "sent again"
    for changed, code in (({"mark_step": 8}, "id-taken"), ({"id": "d1"}, "decided-already")):
        with pytest.raises(ConflictError) as error:
            decide_clip(store, **changed)
        assert error.value.code == code
    with pytest.raises(ConflictError) as error:
        decide_clip(store, id="d2", criterion="gentle")
    assert (error.value.code, str(error.value)) == (
        "nothing-to-decide",
        "Query 'clip' has no ratings that differ by the criterion 'gentle'. Only what was rated "
        "differently can be decided.",
    )


@pytest.mark.parametrize(("marks", "differ"), [((2, 7), False), ((2, 8), True), ((None, 9), False)])
def test_marks_differ_that_are_more_than_a_fourth_of_the_clip_apart(store, marks, differ):
    first, second = marks
    rate(store, {"anna": (Verdict.BAD, first), "ben": (Verdict.BAD, second)})
    rate(store, {"anna": (Verdict.CANNOT_TELL, 0), "ben": (Verdict.BAD, 19)}, "unclear")
    assert count_contradictions(store.database, "overall") == differ
    found = find_contradictions(store.database, "overall", 9)
    assert [row["query_id"] for row in found] == ["clip"] * differ
    if differ:
        assert decide_clip(store)
    else:
        with pytest.raises(ConflictError, match="no ratings that differ"):
            decide_clip(store)
