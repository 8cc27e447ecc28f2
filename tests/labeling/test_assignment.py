"""Tests for handing out queries: leases, overlap, checks, and that nothing acknowledged is lost."""

import contextlib
import multiprocessing
import tempfile
import threading
import time
import uuid
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.labeling.answers import Answers
from robopref.labeling.assignment import Assignment
from robopref.labeling.config import Criterion, LabelConfig
from robopref.labeling.eligible import askable
from robopref.labeling.queue import ATTENTION, GOLD, REPEAT, UNLIMITED, LabelQueue
from robopref.labeling.refusals import ConflictError
from robopref.preferences import Preference, Query, Ranking, tables
from robopref.preferences.rating import Rating, RatingQuery, Verdict, rating_query_row
from robopref.preferences.store import PreferenceStore

QUIET = LabelConfig(gold_every=0, repeat_every=0, lease_s=60)


def make_queries(num, num_items=2):
    return [
        Query(
            f"q{n}", tuple(Segment(f"e{n}-{i}", 0, 5) for i in range(num_items)), "uniform", "why"
        )
        for n in range(num)
    ]


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


class Server:
    """One of several programs that use a database."""

    def __init__(self, location, config=QUIET, clock=None, seed=0):
        self.store = PreferenceStore(location)
        database = self.store.database
        self.queue = LabelQueue(database, config)
        self.assignment = Assignment(
            database, config, clock=clock or Clock(), rng=np.random.default_rng(seed)
        )
        self.answers = Answers(database, self.assignment)

    def add(self, queries):
        self.store.add_queries(queries, cut_hash=lambda segment: segment.episode_id)
        self.queue.fill()

    def add_rating(self, name="r0"):
        query = RatingQuery(name, Segment("e0-0", 0, 5), "uniform", "why")
        row = rating_query_row(query, "hash", context={}, created_s=0.0)
        with self.store.database.writing() as connection:
            connection.execute(tables.rating_queries.insert(), row)
        self.queue.fill()
        return query

    def answer(self, assigned, annotator, ranking=None, name=None, **fields):
        preference = Preference(
            name or str(uuid.uuid4()), assigned.query,
            ranking or Ranking.prefer(0, len(assigned.query.items)),
            annotator=annotator, criterion=assigned.entry.criterion, **fields,
        )  # fmt: skip
        return self.answers.answer(preference).new


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


class Desk(RuleBasedStateMachine):
    """Two servers, three annotators, whatever order things happen in."""

    annotators = st.sampled_from(["anna", "ben", "cleo"])
    servers = st.integers(0, 1)

    @initialize(overlap=st.integers(1, 2))
    def open(self, overlap):
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        config = LabelConfig(gold_every=0, repeat_every=0, lease_s=60, overlap=overlap)
        path = f"{self.folder.name}/store.sqlite"
        self.both = [Server(path, config, self.clock, seed) for seed in (0, 1)]
        self.both[0].add(make_queries(4))
        self.shown = {}  # annotator: what their page shows
        self.acknowledged = {}  # standing answers
        self.number = 0

    def teardown(self):
        if hasattr(self, "both"):
            for server in self.both:
                server.store.close()
            self.folder.cleanup()

    @rule(who=annotators, where=servers)
    def ask(self, who, where):
        assigned = self.both[where].assignment.next(who)
        if assigned is not None:
            self.shown[who] = assigned

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), where=servers, kind=st.sampled_from(["prefer", "tie", "skipped"]))
    def reply(self, data, where, kind):
        who = data.draw(st.sampled_from(sorted(self.shown)))
        ranking = {"prefer": Ranking.prefer(1), "tie": Ranking.tie(), "skipped": Ranking.skipped()}
        self.number += 1
        name = f"a{self.number}"
        try:
            new = self.both[where].answer(self.shown[who], who, ranking[kind], name=name)
        except ConflictError:
            return
        assert new
        assert not self.both[1 - where].answer(self.shown[who], who, ranking[kind], name=name)
        self.acknowledged[name] = who

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data(), where=servers)
    def undo(self, data, where):
        name = data.draw(st.sampled_from(sorted(self.acknowledged)))
        who = self.acknowledged[name]
        try:
            self.shown[who] = self.both[where].answers.undo(name, who)
        except ConflictError:
            return
        del self.acknowledged[name]

    @rule(seconds=st.sampled_from([1.0, 30.0, 61.0]))
    def wait(self, seconds):
        self.clock.now += seconds

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), where=servers, renew=st.booleans())
    def touch_lease(self, data, where, renew):
        who = data.draw(st.sampled_from(sorted(self.shown)))
        assignment, lease = self.both[where].assignment, self.shown[who].lease
        if not renew:
            assignment.release(lease.id, who)
            return
        with contextlib.suppress(ConflictError):
            assignment.renew(lease.id, who)

    @invariant()
    def nothing_is_lost_and_overlap_holds(self):
        if not hasattr(self, "both"):
            return
        store = self.both[0].store
        standing = store.preferences()
        assert sorted(p.id for p in standing) == sorted(self.acknowledged)
        queue, leases = tables.label_queue, tables.label_leases
        with store.database.reading() as connection:
            for entry in connection.execute(sa.select(queue)).mappings():
                num = sum(
                    p.query.id == entry["query_id"] and p.ranking.answer != "skipped"
                    for p in standing
                )
                assert entry["num_answers"] == num <= entry["overlap"] < UNLIMITED
                assert entry["is_open"] == (num < entry["overlap"])
                live = connection.scalar(
                    sa.select(sa.func.count()).where(
                        leases.c.queue_seq == entry["seq"], leases.c.expires_s > self.clock.now
                    )
                )
                assert num + live <= entry["overlap"]


TestDesk = Desk.TestCase
TestDesk.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def work(location, name, barrier, given):
    """Be an annotator on a server of one's own: answer until nothing is left."""
    done = []
    try:
        server: Any = Server(
            location, LabelConfig(gold_every=0, repeat_every=0, overlap=2), time.time
        )
        barrier.wait()
        while (assigned := server.assignment.next(name)) is not None:
            key = str(uuid.uuid4())
            assert server.answer(assigned, name, name=key)
            done.append(key)
        server.store.close()
    finally:
        given.put(done)


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_many_at_once_lose_and_double_nothing(location, kind):
    first = Server(location, LabelConfig(overlap=2))
    first.add(make_queries(20))
    context = multiprocessing.get_context("spawn")
    if kind == "threads":
        barrier, given = threading.Barrier(4), context.SimpleQueue()
        make: Any = threading.Thread
    else:
        barrier, given = context.Barrier(3), context.SimpleQueue()
        make = context.Process
    names = ["anna", "ben", "cleo", "dora"][: barrier.parties]
    workers = [make(target=work, args=(location, name, barrier, given)) for name in names]
    for worker in workers:
        worker.start()
    acknowledged = [key for _ in workers for key in given.get()]
    for worker in workers:
        worker.join()
    stored = first.store.preferences()
    assert sorted(p.id for p in stored) == sorted(acknowledged)
    per_query: dict[str, set[str]] = {}
    for preference in stored:
        per_query.setdefault(preference.query.id, set()).add(preference.annotator)
    assert {len(who) for who in per_query.values()} == {2}
    assert len(stored) == 40
    first.store.close()


def test_the_next_query_is_found_by_the_index_of_open_rows(tmp_path):
    server: Any = Server(tmp_path / "store.sqlite")
    statement = askable("anna", "overall", ["pair"]).compile(
        server.store.database.engine, compile_kwargs={"literal_binds": True}
    )
    with server.store.database.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}").all()
    steps = [row[-1] for row in plan]
    assert any("label_queue USING INDEX open_queue" in step for step in steps), steps
    assert not any(step.startswith("SCAN") or "TEMP B-TREE" in step for step in steps), steps
    server.store.close()
