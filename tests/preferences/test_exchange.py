"""Tests of all that was said going out of a store and into another: ratings and decisions too."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.labeling.adjudication import find_disagreements
from robopref.labeling.config import LabelConfig
from robopref.labeling.progress import Progress
from robopref.labeling.queue import LabelQueue
from robopref.preferences.exchange import read_rating_decisions, read_ratings
from robopref.preferences.incoming import check_row
from robopref.preferences.rating import (
    Rating,
    RatingQuery,
    Verdict,
    rating_of,
    rating_query_row,
    rating_row,
)
from robopref.preferences.schema import StorageError
from robopref.preferences.store import PreferenceStore


def add_rating(store, name="r", **fields):
    query = RatingQuery(f"q-{name}", Segment("e", 2, 5), "uniform", "why")
    rating = Rating(name, query, Verdict.BAD, 3, "anna", details={"tags": ["slow"]}, **fields)
    with store.database.writing() as connection:
        row = rating_query_row(query, "hash", context={"run": 1}, created_s=3.5)
        store.database.insert_rating_query(connection, row)
        store.database.insert_rating(connection, rating_row(rating))
    return rating


def add_decision(store, query):
    row = {
        "id": "d", "query_id": query.id, "criterion": "overall", "answer": "ranked",
        "order": [[1], [0]], "annotator": "judge", "reason": "It reaches.", "time_s": 9.5,
    }  # fmt: skip
    with store.database.writing() as connection:
        store.database.insert_decision(connection, row)


def add_rating_decision(store, query_id):
    row = {
        "id": "rd", "query_id": query_id, "criterion": "overall", "rating": "bad", "mark_step": 2,
        "annotator": "judge", "reason": "It slips.", "time_s": 9.5,
    }  # fmt: skip
    with store.database.writing() as connection:
        store.database.insert_rating_decision(connection, row)


@pytest.fixture
def filled(store, make_query, make_answer, cut_hash):
    query = make_query()
    store.add_query(query, cut_hash=cut_hash)
    store.answer(make_answer(query, "a", annotator="anna"))
    add_rating(store, reason="too fast", response_time_s=1.5)
    add_decision(store, query)
    add_rating_decision(store, "q-r")
    return store


def test_ratings_and_decisions_go_from_store_to_store(filled, tmp_path):
    path = tmp_path / "out.jsonl"
    assert filled.export_jsonl(path) == 4
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["type"] for row in rows] == [
        "preference", "rating", "decision", "rating decision",
    ]  # fmt: skip
    with PreferenceStore(tmp_path / "other.sqlite") as other:
        assert other.import_jsonl(path) == 4
        assert other.import_jsonl(path) == 0
        assert list(read_ratings(other.database)) == list(read_ratings(filled.database))
        assert other.database.decisions() == filled.database.decisions()
        decided = list(read_rating_decisions(other.database))
        assert decided == list(read_rating_decisions(filled.database))
        assert [(each.verdict, each.mark_step) for each in decided] == [(Verdict.BAD, 2)]
        assert other.believed() == filled.believed()
        other.export_jsonl(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_text() == path.read_text()


def test_parquet_has_a_row_for_each_with_its_type(filled, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    assert filled.export_parquet(tmp_path / "out.parquet") == 4
    answer, rating, decision, about_rating = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert (answer["type"], answer["rating"], answer["mark_step"]) == ("preference", None, None)
    assert (rating["type"], rating["rating"], rating["mark_step"]) == ("rating", "bad", 3)
    assert (rating["answer"], rating["details"]) == (None, '{"tags": ["slow"]}')
    assert [item["episode_id"] for item in rating["items"]] == ["e"]
    assert (decision["type"], decision["order"], decision["strength"]) == (
        "decision", [[1], [0]], None,
    )  # fmt: skip
    assert (about_rating["type"], about_rating["rating"], about_rating["mark_step"]) == (
        "rating decision", "bad", 2,
    )  # fmt: skip
    assert len(filled.chosen_rejected()) == 1


def test_what_contradicts_the_store_is_refused(filled, tmp_path):
    path = tmp_path / "out.jsonl"
    filled.export_jsonl(path)
    _, rating, decision, about_rating = [json.loads(line) for line in path.read_text().splitlines()]
    for row, problem in (
        (rating | {"rating": "good"}, "Rating 'r' is in"),
        (rating | {"id": "new"}, "Query 'q-r' was already rated by 'anna'"),
        (decision | {"order": [[0], [1]]}, "Decision 'd' is in"),
        (decision | {"id": "new"}, "Query 'q' was decided by "),
        (about_rating | {"rating": "good"}, "Decision 'rd' is in"),
        (about_rating | {"id": "new"}, "Query 'q-r' was decided by 'judge' by the criterion"),
        (rating | {"id": "x", "query": rating["query"] | {"id": "q"}}, "Query 'q' is in"),
    ):
        path.write_text(json.dumps(row))
        with pytest.raises(DataError) as error:
            filled.import_jsonl(path)
        assert str(error.value).startswith(problem)


def test_a_mark_stands_on_a_step_and_older_ones_are_moved_there():
    query = RatingQuery("q", Segment("e", 2, 5))
    with pytest.raises(ValueError) as error:
        Rating("r", query, Verdict.BAD, 5)
    assert str(error.value) == "`mark_step` must be between 0 and 4, got 5."
    row = rating_row(Rating("r", query, Verdict.BAD, 4)) | {"mark_step": 5}
    assert rating_of(row, query).mark_step == 4


LINE: dict[str, Any] = {
    "type": "preference", "id": "a", "answer": "ranked", "order": [[1], [0]],
    "annotator": "anna", "criterion": "overall", "strength": 2, "reason": "", "time_s": 5.0,
    "response_time_s": 1.0, "confidence": 1.0, "details": {"shown": [1, 0], "tags": ["x"]},
    "query": {
        "id": "q", "kind": "segments", "strategy": "uniform", "reason": "", "context": {},
        "created_s": 1.0,
        "items": [
            {"episode_id": "e", "start": s, "length": 5, "hash": "h"} for s in (0, 5)
        ],
    },
}  # fmt: skip
RATED = {
    "type": "rating", "id": "r", "rating": "good", "mark_step": 2, "annotator": "anna",
    "criterion": "overall", "reason": "", "time_s": 5.0, "response_time_s": 1.0, "details": {},
    "query": {
        "id": "p", "item": {"episode_id": "e", "start": 0, "length": 5, "hash": "h"},
        "strategy": "", "reason": "", "context": {}, "created_s": 1.0,
    },
}  # fmt: skip
DECIDED = {key: LINE[key] for key in ("id", "answer", "order", "annotator", "criterion", "reason",
                                      "time_s", "query")} | {"type": "decision"}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("id", 5, "`id` must be text of 1 to 200 letters, got 5."),
        ("annotator", 5, "`annotator` must be 1 to 64 printable characters, got 5."),
        ("annotator", "a\nb", "`annotator` must be 1 to 64 printable characters, got 'a\\nb'."),
        ("criterion", "x" * 300, "`criterion` must be 1 to 64 printable characters, got 'xxx"),
        ("annotator", "a\0", "text must not hold the character NUL or half characters."),
        ("reason", "\ud800", "text must not hold the character NUL or half characters."),
        ("reason", None, "`reason` must be text, got None."),
        ("strength", 1.5, "`strength` must be a whole number, got 1.5."),
        ("strength", True, "`strength` must be a whole number, got True."),
        ("strength", 4, "`strength` must be between 1 and 3, got 4."),
        ("time_s", "abc", "`time_s` must be a number, got 'abc'."),
        ("time_s", 1e300, "`time_s` must be between 0 and 250000000000.0, got 1e+300."),
        ("time_s", float("nan"), "numbers must be finite and below 2^63."),
        ("order", [["0"], [1]], "`order` must be a whole number, got '0'."),
        ("order", 3, "`order` must be a list of lists of items, got 3."),
        ("details", {"a": 10**30}, "numbers must be finite and below 2^63."),
        ("query", LINE["query"] | {"items": 5}, "`query.items` must be a list, got 5."),
        ("query", LINE["query"] | {"context": 5}, "`query.context` must be an object, got 5."),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_in_one_message(field, value, problem):
    with pytest.raises(DataError) as error:
        check_row(LINE | {field: value}, "Line 1")
    assert str(error.value).startswith(f"Line 1 is not a preference: {problem}")


def test_an_unknown_type_is_refused():
    with pytest.raises(DataError) as error:
        check_row(LINE | {"type": "rumour"}, "Line 1")
    assert str(error.value) == (
        "Line 1 is of no known `type`: it must be one of ['decision', 'preference', 'rating', "
        "'rating decision']."
    )


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["a\0", "\ud800", "x" * 300, 10**400, 1e308, -1, "ranked", "segments"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)  # fmt: skip


@st.composite
def lines(draw):
    """A line of an export in which one place holds something else, or nothing."""
    line = json.loads(json.dumps(draw(st.sampled_from([LINE, RATED, DECIDED]))))
    line["id"] = str(draw(st.uuids()))
    at, place = line, draw(st.sampled_from(sorted(line)))
    while isinstance(at[place], dict | list) and at[place] and draw(st.booleans()):
        at = at[place]
        place = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
    if draw(st.integers(0, 9)) or not isinstance(at, dict):
        at[place] = draw(values)
    else:
        del at[place]
    return json.dumps(line)


@settings(max_examples=30, deadline=None)
@given(st.lists(lines(), min_size=1, max_size=3))
def test_any_line_is_refused_in_words_or_does_no_harm(texts):
    with TemporaryDirectory() as folder:
        path = Path(folder) / "in.jsonl"
        path.write_text("\n".join(texts), encoding="utf-8")
        with PreferenceStore(Path(folder) / "store.sqlite") as store:
            queue = LabelQueue(store.database, LabelConfig())
            try:
                assert store.import_jsonl(path) <= len(texts)
            except DataError as error:
                if isinstance(error, StorageError):  # The database found out: that would be a 503.
                    raise
                assert store.queries() == [], "all or none"
            queue.fill()
            json.dumps(Progress(store, queue).measure(), allow_nan=False)
            find_disagreements(store.database, "overall")
            store.believed()
            store.export_parquet(path)
            store.export_jsonl(path)
            assert store.import_jsonl(path) == 0, "it comes back as it went out"
