"""Tests for the preference store, on SQLite and on PostgreSQL."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences import ActionCandidate, Preference, Query, Ranking
from robopref.preferences.records import ChangedItem
from robopref.preferences.store import PreferenceStore

CANDIDATES = Query(
    "candidates",
    (ActionCandidate("e", 4, ((0.1, -1e-17),)), ActionCandidate("e", 4, ((1.0, 2.0),))),
    "by hand",
    "for a test",
)


def test_what_was_put_in_comes_out_again(store, location, make_query, make_answer, cut_hash):
    query = make_query("many", num_items=4, reason="why ü 👍\u2028")
    store.add_queries([query, CANDIDATES], cut_hash=cut_hash, context={"data": "runs/x"})
    answers = [
        make_answer(
            query, "a1", Ranking(4, ((2,), (0, 3))), annotator="anna", criterion="smooth",
            strength=3, reason="it's “jerky”", time_s=1.7e9 + 0.123456, response_time_s=2.5,
            confidence=0.1 + 0.6,
            details={"shown": [1, 0, 3, 2], "tags": ["ü"], "mark": {"s": 1.5, "by": None}},
        ),
        make_answer(query, "a2", Ranking.incomparable(4), annotator="anna"),
        make_answer(CANDIDATES, "a3", Ranking.skipped(), annotator="ben"),
    ]  # fmt: skip
    assert [store.answer(answer) for answer in answers] == [True, True, True]
    with PreferenceStore(location) as again:
        assert again.preferences() == answers
        stored = again.queries()
    assert stored == [query, CANDIDATES]
    assert [(q.strategy, q.reason) for q in stored] == [
        ("uniform", "why ü 👍\u2028"),
        ("by hand", "for a test"),
    ]


def test_an_answer_sent_twice_counts_once(store, make_query, make_answer, cut_hash):
    query = make_query()
    assert store.add_query(query, cut_hash=cut_hash)
    assert not store.add_query(query, cut_hash=cut_hash)
    answer = make_answer(query)
    assert store.answer(answer)
    assert not store.answer(answer)
    assert store.num_labels() == 1
    assert store.preferences() == [answer]


def test_an_answers_id_stands_for_one_content(store, make_query, make_answer, cut_hash):
    query = make_query()
    store.add_query(query, cut_hash=cut_hash)
    store.answer(make_answer(query, "a", Ranking.prefer(0)))
    with pytest.raises(DataError) as error:
        store.answer(make_answer(query, "a", Ranking.prefer(1)))
    assert str(error.value) == (
        f"Answer 'a' is in {store._name} already, with other content. Give a new answer a new id."
    )
    assert store.preferences()[0].ranking == Ranking.prefer(0)


def test_an_annotator_answers_a_query_once_by_each_criterion(
    store, make_query, make_answer, cut_hash
):
    query = make_query()
    store.add_query(query, cut_hash=cut_hash)
    store.answer(make_answer(query, "a", annotator="anna"))
    store.answer(make_answer(query, "b", annotator="anna", criterion="speed"))
    store.answer(make_answer(query, "c", annotator="ben"))
    with pytest.raises(DataError) as error:
        store.answer(make_answer(query, "d", annotator="anna"))
    assert str(error.value) == (
        "Query 'q' was already answered by 'anna' by the criterion 'overall'. "
        "Undo that answer to give another."
    )
    assert store.num_labels() == 3


def test_a_query_must_be_there_before_its_answer(store, make_query, make_answer):
    with pytest.raises(DataError) as error:
        store.answer(make_answer(make_query()))
    assert str(error.value) == (
        f"Query 'q' is not in {store._name}. Add it first with add_queries()."
    )


def test_a_querys_id_stands_for_one_content(store, make_query, make_answer, cut_hash):
    store.add_query(make_query(), cut_hash=cut_hash)
    other = Query("q", (Segment("x", 0, 5), Segment("y", 0, 5)))
    with pytest.raises(DataError) as error:
        store.add_queries([make_query("new"), other], cut_hash=cut_hash)
    assert str(error.value) == (
        f"Query 'q' is in {store._name} already, with other items or contents. "
        "Give a new query a new id."
    )
    assert store.queries() == [make_query()], "a batch is stored whole or not at all"
    with pytest.raises(DataError) as error:
        store.answer(make_answer(other))
    assert str(error.value) == f"Query 'q' in {store._name} has other items."
    with pytest.raises(DataError) as error:
        store.query("absent")
    assert str(error.value) == f"No query 'absent' in {store._name}."


def test_pending_queries_come_in_order_and_are_each_annotators_own(
    store, make_query, make_answer, cut_hash
):
    queries = [make_query(name) for name in ("c", "a", "b")]
    store.add_queries(queries, cut_hash=cut_hash)
    store.answer(make_answer(queries[1], annotator="anna", ranking=Ranking.skipped()))
    assert store.pending("anna", "overall") == [queries[0], queries[2]]
    assert store.pending("anna", "overall", limit=1) == [queries[0]]
    assert store.pending("anna", "speed") == queries
    assert store.pending("ben", "overall") == queries


def test_labels_count_comparisons_and_not_skips(store, make_query, make_answer, cut_hash):
    rankings = [
        (2, Ranking.prefer(0)),
        (2, Ranking.tie()),
        (2, Ranking.skipped()),
        (2, Ranking.incomparable()),
        (5, Ranking(5, ((1,), (0, 2, 3, 4)))),
    ]
    for i, (num_items, ranking) in enumerate(rankings):
        query = make_query(f"q{i}", num_items)
        store.add_query(query, cut_hash=cut_hash)
        store.answer(make_answer(query, f"a{i}", ranking, criterion="speed" if i else "overall"))
    assert store.num_labels() == 1 + 1 + 0 + 0 + 4
    assert store.num_labels(criterion="speed") == 5
    assert store.num_labels(annotator="nobody") == 0
    assert len(store.preferences(criterion="speed", annotator="scripted")) == 4


def test_undone_answers_are_pending_again_and_stay_undone(store, fill, make_answer):
    first, *others = fill(store)
    assert store.undo(first.id) == first
    assert store.preferences() == others
    assert store.num_labels() == 1
    assert store.pending() == [first.query]
    assert not store.answer(first), "a late retry must not bring it back"
    assert store.preferences() == others
    with pytest.raises(DataError) as error:
        store.undo(first.id)
    assert str(error.value) == f"No answer '{first.id}' to undo in {store._name}."
    new = make_answer(first.query, "another", Ranking.prefer(0))
    assert store.answer(new)
    assert store.preferences() == [*others, new]


def test_verify_names_clips_that_changed_or_are_gone(store, fill, cut_hash, make_query):
    answers = fill(store, 2)
    store.add_query(make_query("unanswered"), cut_hash=cut_hash)
    assert store.verify(cut_hash) == []
    changed, gone = answers[0].query.items[1], answers[1].query.items[0]

    def now(segment):
        if segment == changed:
            return "other"
        if segment == gone:
            raise DataError("No such episode.")
        return cut_hash(segment)

    assert store.verify(now) == [
        ChangedItem("q0", changed, "its content differs from what it was when the query was made"),
        ChangedItem("q1", gone, "it cannot be cut: No such episode"),
    ]
    found = store.verify(now, ["q1"])[0]
    assert found.query_id == "q1"
    assert str(found) == (
        f"steps {gone.start} to {gone.start + gone.length - 1} of episode '{gone.episode_id}': it "
        "cannot be cut: No such episode"
    )
    assert len(store.verify(lambda segment: "other")) == 4, "unanswered queries are left out"


def test_a_candidates_hash_covers_its_action_and_its_observation(store, cut_hash):
    store.add_query(CANDIDATES, cut_hash=cut_hash)
    assert store.verify(cut_hash, ["candidates"]) == []
    assert len(store.verify(lambda segment: "other", ["candidates"])) == 2


def test_many_answers_come_with_their_queries_all_or_none(store, make_query, make_answer, cut_hash):
    answers = [make_answer(make_query(f"q{i}"), f"a{i}", confidence=0.75) for i in range(5)]
    counted = []

    def counting(segment):
        counted.append(segment)
        return cut_hash(segment)

    assert store.answer_all(answers, cut_hash=counting, context={"round": 1}) == 5
    assert len(counted) == 10
    assert store.answer_all(answers, cut_hash=cut_hash) == 0
    assert store.preferences() == answers
    assert store.verify(cut_hash) == []
    again = make_answer(make_query("q0"), "other", annotator="scripted")
    with pytest.raises(DataError, match="was already answered"):
        store.answer_all([make_answer(make_query("new"), "new"), again], cut_hash=cut_hash)
    assert store.preferences() == answers


def test_jsonl_goes_from_store_to_store(store, fill, tmp_path, cut_hash):
    answers = fill(store)
    store.add_query(CANDIDATES, cut_hash=cut_hash, context={"round": 2})
    unsure = Preference("u", CANDIDATES, Ranking.prefer(1), confidence=0.8, details={"tags": ["x"]})
    store.answer(unsure)
    answers.append(unsure)
    path = tmp_path / "out.jsonl"
    assert store.export_jsonl(path) == 4
    with PreferenceStore(tmp_path / "other.sqlite") as other:
        assert other.import_jsonl(path) == 4
        assert other.import_jsonl(path) == 0
        assert other.preferences() == answers
        assert other.verify(cut_hash) == []
        other.export_jsonl(tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_text() == path.read_text()


def test_jsonl_names_the_winner(store, fill, tmp_path):
    fill(store, 1)
    store.export_jsonl(tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    row["query"].pop("created_s")
    assert row == {
        "type": "preference",
        "id": "a0",
        "answer": "ranked",
        "order": [[1], [0]],
        "annotator": "scripted",
        "criterion": "overall",
        "strength": 2,
        "reason": "",
        "time_s": 0.0,
        "response_time_s": 0.0,
        "confidence": 1.0,
        "details": {},
        "query": {
            "id": "q0",
            "kind": "segments",
            "items": [
                {"episode_id": "episode-q0-0", "start": 3, "length": 5,
                 "hash": "hash of episode-q0-0 3 5"},
                {"episode_id": "episode-q0-1", "start": 3, "length": 5,
                 "hash": "hash of episode-q0-1 3 5"},
            ],
            "strategy": "uniform",
            "reason": "",
            "context": {},
        },
    }  # fmt: skip


def test_rows_from_before_confidence_and_details_are_read(store, fill, tmp_path):
    answers = fill(store, 2)
    path = tmp_path / "old.jsonl"
    store.export_jsonl(path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        del row["confidence"], row["details"]
    path.write_text("\n".join(map(json.dumps, rows)))
    with PreferenceStore(tmp_path / "other.sqlite") as other:
        assert other.import_jsonl(path) == 2
        assert other.preferences() == answers
        assert {answer.confidence for answer in other.preferences()} == {1.0}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda line: "{",
            "JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1).",
        ),
        (lambda line: "3", "a preference: it needs an object 'query'."),
        (lambda line: line.replace('"order"', '"label"'), "a preference: it lacks ['order']."),
        (
            lambda line: line.replace('"items"', '"pairs"'),
            "a preference: it lacks ['query.items'].",
        ),
        (lambda line: line.replace('"start"', '"at"'), "a preference: an item lacks 'start'."),
        (
            lambda line: line.replace("[[1], [0]]", "[[1], [2]]"),
            "a preference: `order` must name each of the items 0 to 1 at most once, "
            "got ((1,), (2,)).",
        ),
        (
            lambda line: line.replace('"segments"', '"videos"'),
            "a preference: A query's kind is 'segments' or 'candidates', got 'videos'.",
        ),
        (
            lambda line: line.replace('"confidence": 1.0', '"confidence": 0.2'),
            "a preference: `confidence` must be between 0.5 and 1, got 0.2.",
        ),
        (
            lambda line: line.replace('"details": {}', '"details": ["x"]'),
            "a preference: `details` must be an object, got ['x'].",
        ),
        (
            lambda line: line.replace('"ranked"', '"better"'),
            "a preference: `answer` must be one of ['incomparable', 'ranked', 'skipped'], got "
            "'better'.",
        ),
    ],
)
def test_import_refuses_a_damaged_line_and_keeps_nothing_of_the_file(
    tmp_path, fill, change, problem
):
    path = tmp_path / "out.jsonl"
    with PreferenceStore(tmp_path / "store.sqlite") as store:
        fill(store, 3)
        store.export_jsonl(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[1:], change(lines[0])]))
    with PreferenceStore(tmp_path / "other.sqlite") as other:
        with pytest.raises(DataError) as error:
            other.import_jsonl(path)
        assert str(error.value) == f"Line 3 of '{path}' is not {problem}"
        assert other.queries() == []


def test_parquet_has_one_row_an_answer(store, fill, tmp_path, cut_hash, make_answer):
    pq = pytest.importorskip("pyarrow.parquet")
    fill(store, 2)
    store.add_query(CANDIDATES, cut_hash=cut_hash, context={"round": 2})
    said = {"confidence": 0.75, "details": {"shown": [1, 0]}}
    store.answer(make_answer(CANDIDATES, "c", Ranking.prefer(0), response_time_s=1.5, **said))
    assert store.export_parquet(tmp_path / "out.parquet") == 3
    rows = pq.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["order"] for row in rows] == [[[1], [0]], [[0, 1]], [[0], [1]]]
    assert rows[0]["items"][1] == {
        "episode_id": "episode-q0-1", "hash": "hash of episode-q0-1 3 5",
        "start": 3, "length": 5, "step": None, "action": None,
    }  # fmt: skip
    assert rows[2]["items"][0]["action"] == [[0.1, -1e-17]]
    assert rows[2]["query_context"] == '{"round": 2}'
    assert rows[2]["response_time_s"] == 1.5
    assert [row["confidence"] for row in rows] == [1.0, 1.0, 0.75]
    assert [row["details"] for row in rows] == ["{}", "{}", '{"shown": [1, 0]}']


def test_an_empty_store_exports_empty_files(store, tmp_path):
    assert store.export_jsonl(tmp_path / "out.jsonl") == 0
    assert (tmp_path / "out.jsonl").read_text() == ""
    assert store.chosen_rejected() == []
    assert store.num_labels() == 0


def test_chosen_and_rejected_are_the_winner_and_the_loser(
    store, make_query, make_answer, cut_hash, tmp_path
):
    query = make_query("q", 3)
    store.add_query(query, cut_hash=cut_hash)
    ranking = Ranking(3, ((2,), (0, 1)))
    store.answer(make_answer(query, "a", ranking, criterion="speed", confidence=0.9))
    rows = store.chosen_rejected()
    assert [(r["prompt"], r["chosen"]["episode_id"]) for r in rows] == [
        ("speed", "episode-q-2"), ("speed", "episode-q-2"),
    ]  # fmt: skip
    assert [r["rejected"]["episode_id"] for r in rows] == ["episode-q-0", "episode-q-1"]
    assert [r["confidence"] for r in rows] == [0.9, 0.9]
    assert rows[0]["chosen"] == {"episode_id": "episode-q-2", "start": 3, "length": 5}
    assert store.chosen_rejected("other") == []
    assert store.export_chosen_rejected(tmp_path / "pairs.jsonl") == 2


def test_several_programs_write_at_once(location, make_query, make_answer, cut_hash):
    queries = [make_query(f"q{i}") for i in range(20)]

    def annotate(name):
        with PreferenceStore(location) as store:
            store.add_queries(queries, cut_hash=cut_hash)
            return sum(
                store.answer(make_answer(query, f"{name}-{query.id}", annotator=name))
                for query in queries
            )

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(annotate, ["anna", "ben", "cleo", "anna"])).count(20) >= 2
    with PreferenceStore(location) as store:
        assert store.queries() == queries
        assert store.num_labels() == 60
