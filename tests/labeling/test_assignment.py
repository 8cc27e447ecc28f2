"""Tests for handing out queries: leases, overlap, priorities, and checks of the annotator."""

from typing import Any

import pytest
from sqlalchemy import event

from robopref.errors import DataError
from robopref.labeling.config import Criterion, LabelConfig
from robopref.labeling.queue import GOLD, REPEAT
from robopref.labeling.refusals import ConflictError
from robopref.preferences import Preference, Ranking
from robopref.preferences.query import ATTENTION
from robopref.preferences.rating import Rating, Verdict
from tests.labeling.desks import Clock, Server, make_queries


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def server(location, clock):
    server: Any = Server(location, clock=clock)
    yield server
    server.store.close()


def test_a_page_loaded_again_shows_the_same_query_in_the_same_order(server):
    server.add(make_queries(9, num_items=6))
    first = server.assignment.next("anna")
    again = server.assignment.next("anna")
    assert again.query == first.query
    assert again.lease == first.lease
    assert sorted(first.lease.shown) == list(range(6))


def test_two_annotators_are_shown_different_queries_until_one_lease_expires(server, clock):
    server.add(make_queries(2))
    first, second = server.assignment.next("anna"), server.assignment.next("ben")
    assert (first.query.id, second.query.id) == ("q0", "q1")
    assert server.assignment.next("cleo") is None
    assert server.assignment.why_nothing("cleo") == "waiting for others"
    clock.now += 61
    assert server.assignment.next("cleo").query.id == "q0"


def test_a_lease_that_is_renewed_lasts(server, clock):
    server.add(make_queries(1))
    lease = server.assignment.next("anna").lease
    clock.now += 59
    assert server.assignment.renew(lease.id, "anna") == clock.now + 60
    clock.now += 59
    assert server.assignment.next("ben") is None
    with pytest.raises(ConflictError):
        server.assignment.renew(lease.id, "ben")
    clock.now += 2
    with pytest.raises(ConflictError) as error:
        server.assignment.renew(lease.id, "anna")
    assert error.value.code == "lease-gone"


def test_a_query_given_back_is_free_at_once(server):
    server.add(make_queries(1))
    lease = server.assignment.next("anna").lease
    assert not server.assignment.release(lease.id, "ben")
    assert server.assignment.release(lease.id, "anna")
    assert server.assignment.next("ben").query.id == "q0"


def test_a_late_answer_is_taken_while_there_is_room_and_refused_after(server, clock):
    server.add(make_queries(2))
    first = server.assignment.next("anna")
    clock.now += 61
    assert server.answer(first, "anna"), "nobody else was handed it"
    late = server.assignment.next("anna")
    clock.now += 61
    taken = server.assignment.next("ben")
    assert taken.query == late.query
    with pytest.raises(ConflictError) as error:
        server.answer(late, "anna")
    assert error.value.code == "query-full"
    assert server.answer(taken, "ben")
    assert [p.annotator for p in server.store.preferences()] == ["anna", "ben"]


def test_an_answer_sent_again_is_stored_once_even_when_the_lease_is_gone(server, clock):
    server.add(make_queries(1))
    assigned = server.assignment.next("anna")
    assert server.answer(assigned, "anna", name="a")
    clock.now += 1000
    assert not server.answer(assigned, "anna", name="a", time_s=5.0)
    with pytest.raises(ConflictError) as error:
        server.answer(assigned, "anna", name="a", ranking=Ranking.tie())
    assert error.value.code == "id-taken"
    with pytest.raises(ConflictError) as again:
        server.answer(assigned, "anna", name="b", ranking=Ranking.skipped())
    assert again.value.code == "answered-already"
    assert len(server.store.preferences()) == 1


def test_what_was_undone_comes_back_to_who_undid_it(server):
    server.add(make_queries(3))
    first = server.assignment.next("anna")
    server.answer(first, "anna", name="a")
    assert server.assignment.next("anna").query.id == "q1"
    with pytest.raises(DataError) as error:
        server.answers.undo("a", "ben")
    assert str(error.value) == "'ben' has given no answer 'a'."
    back = server.answers.undo("a", "anna")
    assert back.query == first.query
    assert server.answers.undo("a", "anna").query == first.query, "a retry does the same"
    assert server.assignment.next("anna").query == first.query
    assert server.answer(back, "anna", name="b", ranking=Ranking.prefer(1))
    assert [p.id for p in server.store.preferences()] == ["b"]
    with pytest.raises(ConflictError) as late:
        server.answers.undo("a", "anna")
    assert late.value.code == "undone-already"


def test_a_skip_leaves_the_query_to_others_and_undoing_it_needs_room(server):
    server.add(make_queries(1))
    server.answer(server.assignment.next("anna"), "anna", Ranking.skipped(), name="skip")
    assert server.assignment.next("anna") is None
    assert server.assignment.why_nothing("anna") == "all answered"
    server.answer(server.assignment.next("ben"), "ben")
    with pytest.raises(ConflictError) as error:
        server.answers.undo("skip", "anna")
    assert error.value.code == "query-full"


def test_the_most_urgent_comes_first_and_says_why(server):
    server.add(make_queries(5))
    server.queue.reorder("overall", [("q3", 2.0, "The members disagree."), ("q1", 1.0, "")])
    assert server.assignment.ahead("anna", "overall") == ["q3", "q1"]
    first = server.assignment.next("anna")
    assert (first.query.id, first.entry.why) == ("q3", "The members disagree.")
    assert server.assignment.ahead("anna", "overall") == ["q1", "q0"]


def test_a_query_that_cannot_be_shown_is_asked_of_nobody_until_it_can(server):
    server.add(make_queries(2))
    server.assignment.next("anna")
    server.queue.block("q0", "The video is missing.")
    assert server.assignment.next("anna").query.id == "q1"
    assert server.queue.blocked() == [
        {"query_id": "q0", "criterion": "overall", "blocked": "The video is missing."}
    ]
    server.queue.unblock("q0")
    assert server.assignment.next("ben").query.id == "q0"


def test_answers_given_elsewhere_count(server, clock):
    queries = make_queries(3)
    server.store.add_queries(queries, cut_hash=lambda segment: "")
    server.store.answer(Preference("before", queries[0], Ranking.prefer(0), annotator="cli"))
    server.queue.fill()
    server.store.answer(Preference("after", queries[1], Ranking.prefer(0), annotator="cli"))
    assert server.assignment.next("anna").query.id == "q2"
    server.store.undo("after")
    assert server.assignment.next("ben").query.id == "q1"


def test_each_criterion_is_asked_on_its_own(location, clock):
    criteria = tuple(Criterion.parse(name) for name in ("speed", "care"))
    server: Any = Server(location, LabelConfig(criteria=criteria, repeat_every=0), clock)
    server.add(make_queries(2))
    asked = []
    while (assigned := server.assignment.next("anna")) is not None:
        asked.append((assigned.entry.criterion, assigned.query.id))
        server.answer(assigned, "anna")
    assert asked == [("speed", "q0"), ("speed", "q1"), ("care", "q0"), ("care", "q1")]
    assert server.assignment.next("ben", ["care"], ["ranking"]) is None
    server.store.close()


def test_gold_queries_come_when_due_to_everybody_once(location, clock):
    server: Any = Server(location, LabelConfig(gold_every=3, repeat_every=0), clock)
    server.add(make_queries(20))
    expected = {"answer": "ranked", "order": [[1], [0]]}
    with server.store.database.writing() as connection:
        for name in ("q0", "q1"):
            server.queue.set_gold(connection, name, "overall", expected)
    for annotator in ("anna", "ben"):
        roles = []
        for _ in range(9):
            assigned = server.assignment.next(annotator)
            roles.append(assigned.entry.role)
            server.answer(assigned, annotator)
        assert [n for n, role in enumerate(roles) if role == GOLD] == [2, 5]
    server.store.close()


def test_a_pair_is_repeated_turned_around_and_only_for_who_answered_it(location, clock):
    server: Any = Server(location, LabelConfig(gold_every=0, repeat_every=6), clock)
    server.add(make_queries(20))
    for _ in range(5):
        server.answer(server.assignment.next("anna"), "anna")
    repeated = server.assignment.next("anna")
    assert repeated.entry.role == REPEAT
    first = next(q for q in make_queries(5) if set(q.items) == set(repeated.query.items))
    assert repeated.query.items == first.items[::-1]
    server.queue.fill()
    assert server.assignment.next("anna").query == repeated.query, "no second one"
    server.answer(repeated, "anna")
    assert server.assignment.next("anna").entry.role == "ask"
    assert server.assignment.next("ben").query.id != repeated.query.id
    server.store.close()


def test_an_attention_check_says_which_key_to_press(location, clock):
    server: Any = Server(location, LabelConfig(repeat_every=0, attention_every=6), clock)
    server.add(make_queries(20))
    for _ in range(5):
        server.answer(server.assignment.next("anna"), "anna")
    check = server.assignment.next("anna")
    assert check.entry.role == ATTENTION
    assert check.entry.expected["answer"] == "incomparable"
    assert "press ↓" in check.entry.why
    server.store.close()


def test_ratings_are_handed_out_counted_and_taken_back_alike(server):
    query = server.add_rating()
    assigned = server.assignment.next("anna", kinds=["rating"])
    assert assigned.query == query
    rating = Rating("x", query, Verdict.FAILURE, 3, annotator="anna", details={"tags": ["slow"]})
    assert server.answers.rate(rating).new
    assert not server.answers.rate(rating).new
    assert server.assignment.next("ben") is None
    (own,) = server.answers.mine("anna", 10)
    assert (own["type"], own["rating"], own["mark_step"]) == ("rating", "failure", 3)
    assert server.answers.undo("x", "anna").query == query
    assert server.answers.mine("anna", 10) == []


def test_the_next_query_is_found_by_the_index_of_open_rows(tmp_path):
    server: Any = Server(tmp_path / "store.sqlite")
    server.add(make_queries(3))
    found: list[Any] = []
    engine = server.store.database.engine
    event.listen(engine, "before_cursor_execute", lambda *args: found.append(args[2:4]))
    assert server.assignment.next("anna") is not None
    assert len(server.assignment.ahead("anna", "overall")) == 2
    orders = [each for each in found if "ORDER BY label_queue.priority" in each[0]]
    assert len(orders) == 2
    with server.store.database.reading() as connection:
        for statement, values in orders:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
            steps = [row[-1] for row in plan]
            assert any("label_queue USING INDEX open_queue" in step for step in steps), steps
            assert not any(step.startswith("SCAN") or "TEMP B-" in step for step in steps), steps
    server.store.close()
