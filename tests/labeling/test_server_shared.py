"""Tests of several servers on one store, of what one of them lacks, and of faults of its own."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from robopref.data.store import EpisodeStore
from robopref.labeling.assignment import NOT_HERE
from robopref.labeling.client import ClientError
from robopref.labeling.config import Criterion
from robopref.preferences import tables
from robopref.preferences.schema import StorageError
from tests.labeling.clip_data import _real, record_real
from tests.labeling.running import Running


def record_others(folder):
    """Record episodes with other ids than those of `record_real`."""
    store = EpisodeStore.create(folder, fps=10.0)
    for number in range(2):
        episode = _real(np.random.default_rng([7, number]), number, 24, 10.0)
        store.add(dataclasses.replace(episode, id=f"00000000-0000-4000-8000-2000000000{number:02}"))
    return store


def rows(running) -> list[dict[str, Any]]:
    table = tables.label_queue
    with running.service.store.database.reading() as connection:
        return [dict(row) for row in connection.execute(table.select()).mappings()]


def test_a_server_with_other_data_leaves_the_queue_to_those_who_have_them(tmp_path, caplog):
    record_real(tmp_path / "data")
    other = record_others(tmp_path / "other")
    with Running(tmp_path, tmp_path / "data") as first, Running(tmp_path, other.root) as second:
        with second.client("ben") as ben:
            assert ben.next() == {"query": None, "reason": NOT_HERE, "retry_s": 3.0}
            words = "20 queries of episodes that are not in this data set are passed over here."
            assert ben.progress()["trouble"] == words
            assert words in caplog.text
            assert ben.progress()["blocked"] == []
            other.merge(EpisodeStore.open(tmp_path / "data"))
            second.service.refresher._next_s = 0.0
            assert ben.next()["query"] is not None, "the episodes are here now"
            assert ben.progress()["trouble"] is None
        with first.client() as anna:
            assert anna.next()["query"] is not None
        assert all(row["blocked"] == "" and row["is_open"] for row in rows(first))


def test_a_clip_of_an_absent_episode_blocks_nothing(tmp_path):
    record_real(tmp_path / "data")
    other = record_others(tmp_path / "other")
    with Running(tmp_path, tmp_path / "data") as first, Running(tmp_path, other.root) as second:
        name = first.service.store.queries()[0].id
        second.service.block(name, "cannot be drawn")
        assert second.service.queue.blocked() == []
        first.service.block(name, "cannot be drawn")
        assert [row["blocked"] for row in first.service.queue.blocked()] == ["cannot be drawn"]


def test_a_later_overlap_holds_for_what_was_blocked_and_for_own_criteria_only(tmp_path):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data", overlap=2) as first:
        blocked = first.service.store.queries()[0].id
        first.service.queue.block(blocked, "The disk is away.")
    with Running(tmp_path, tmp_path / "data", overlap=3) as second:
        assert {row["overlap"] for row in rows(second)} == {3}
        assert all(row["is_open"] for row in rows(second))
        gentle = (Criterion.parse("gentle"),)
        with Running(tmp_path, tmp_path / "data", criteria=gentle, overlap=1) as third:
            found = {(row["criterion"], row["overlap"]) for row in rows(third)}
            assert found == {("overall", 3), ("gentle", 1)}


def test_a_query_that_the_server_fails_at_is_passed_over_and_logged(tmp_path, monkeypatch, caplog):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data") as running, running.client() as client:
        first = running.service.store.queries()[0].id
        describe = running.service.presenter.describe

        def fail(query, *arguments, **settings):
            if query.id == first:
                raise ValueError("A number is no number.")
            return describe(query, *arguments, **settings)

        monkeypatch.setattr(running.service.presenter, "describe", fail)
        assert client.next()["query"]["id"] != first
        assert f"Query '{first}' is passed over." in caplog.text


def test_a_fault_of_the_server_is_no_fault_of_the_request(tmp_path, monkeypatch):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data") as running, running.client() as client:
        client.next()

        def fail(*_):
            raise ValueError("A number is no number.")

        monkeypatch.setattr(running.service.answers, "mine", fail)
        with pytest.raises(ClientError) as error:
            client.mine()
        assert (error.value.status, error.value.code, str(error.value)) == (
            500, "internal", "The server failed at this; its log says how.",
        )  # fmt: skip


def test_annotators_are_not_told_where_the_database_is(tmp_path, monkeypatch, caplog):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data") as running, running.client() as client:
        client.next()
        client._patience_s = 0.0
        store = running.service.store
        monkeypatch.setattr(store.database.engine.pool, "_timeout", 0.05, raising=False)
        held = [store.database.engine.connect() for _ in range(15)]  # all that the pool has
        with pytest.raises(ClientError) as error:
            client.mine()
        for connection in held:
            connection.close()
        assert (error.value.status, error.value.code, str(error.value)) == (
            503, "storage", "The preference store cannot be used now; the server's log says why.",
        )  # fmt: skip
        assert str(tmp_path) in caplog.text
        assert client.mine() == []


def test_whatever_a_database_library_raises_is_a_storage_error(tmp_path):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data") as running:
        database = running.service.store.database
        table = tables.label_queue
        with pytest.raises(StorageError), database.reading() as connection:
            connection.execute(table.select().where(table.c.seq == object()))
