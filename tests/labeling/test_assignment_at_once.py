"""Tests of several annotators on several servers: nothing is lost or doubled, overlap holds."""

import contextlib
import multiprocessing
import tempfile
import threading
import time
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from robopref.labeling.config import LabelConfig
from robopref.labeling.queue import UNLIMITED
from robopref.labeling.refusals import ConflictError
from robopref.preferences import Ranking, tables
from tests.labeling.desks import Clock, Server, make_queries


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
                assert num + (live or 0) <= entry["overlap"]


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
