"""Tests that pages which many people leave open keep nobody from answering."""

import threading
import time

import pytest

from robopref.errors import DataError
from robopref.labeling.exporting import Exporter, export
from robopref.labeling.progress import Progress
from tests.labeling.running import Running

NUM_PAGES = 45
"""More than the threads that requests share."""


def at_once(running, request):
    """Let many clients make a request; return their threads, and what came back so far."""
    clients = [running.client(f"looker {number}") for number in range(NUM_PAGES)]
    for client in clients:
        client.next(kinds=["rating"])  # signs in
    replies = []

    def work(client):
        with client:
            replies.append(request(client))

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    return threads, replies


@pytest.mark.slow
def test_nobody_waits_for_progress_to_be_measured(tmp_path, data, monkeypatch):
    going, measure = threading.Event(), Progress.measure

    def slowly(self):
        assert going.wait(60)
        return measure(self)

    monkeypatch.setattr(Progress, "measure", slowly)
    with Running(tmp_path, data) as running, running.client() as client:
        client.next()
        threads, replies = at_once(running, lambda each: each.get("/api/progress"))
        start = time.monotonic()
        assert client.next()["query"] is not None
        assert time.monotonic() - start < 5
        for thread in threads:
            thread.join(30)
        assert [(reply["computed_s"], reply["is_measuring"]) for reply in replies] == (
            [(None, True)] * NUM_PAGES
        )
        assert all(reply["criteria"] == reply["contradictions"] == [] for reply in replies)
        going.set()
        found = client.progress()
        assert found["computed_s"] is not None
        assert found["criteria"][0]["remaining"] == 20


@pytest.mark.slow
def test_nobody_waits_for_files_to_be_written(tmp_path, data, monkeypatch):
    going, writing = threading.Event(), []

    def slowly(self, form, path):
        writing.append(form)
        assert going.wait(60)
        export(form, path, self._location, self._data)
        writing.remove(form)

    monkeypatch.setattr(Exporter, "_write", slowly)
    with Running(tmp_path, data) as running, running.client() as client:
        client.answer(client.next()["query"], [[0], [1]])
        threads, replies = at_once(
            running, lambda each: each.request_bytes("GET", "/api/export/jsonl")
        )
        start = time.monotonic()
        assert client.next()["query"] is not None
        assert time.monotonic() - start < 5
        assert writing == ["jsonl"], "one at a time"
        going.set()
        for thread in threads:
            thread.join(60)
        assert len(replies) == NUM_PAGES
        assert all(reply.count(b"\n") == 1 for reply in replies)


@pytest.fixture
def exporter(tmp_path, data):
    exporter = Exporter(tmp_path / "none.sqlite", data)
    yield exporter
    exporter.close()


@pytest.mark.slow
def test_what_keeps_a_file_from_being_written_is_told(tmp_path, exporter):
    with pytest.raises(DataError) as error:
        exporter.submit("jsonl", tmp_path / "out").result(60)
    assert str(error.value).startswith(f"No preference store at '{tmp_path}/none.sqlite'.")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_end_of_the_server_ends_what_is_being_written(tmp_path, exporter):
    going, waiting = (exporter.submit("jsonl", tmp_path / name) for name in ("out", "next"))
    deadline = time.monotonic() + 30
    while exporter._process is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    exporter.close()
    assert waiting.cancelled()
    with pytest.raises(DataError, match="was ended before it was done"):
        going.result(0)
