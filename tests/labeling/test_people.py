"""Tests of a run that waits for people at browsers: `--teacher web`."""

import threading
from typing import Any

import pytest

from robopref.commands.present import reach_browsers
from robopref.labeling.client import Client
from robopref.labeling.config import Criterion, LabelConfig
from robopref.labeling.people import People, PeopleConfig
from robopref.labeling.queue import LabelQueue
from robopref.preferences import Preference, Ranking
from robopref.preferences.store import PreferenceStore
from robopref.preferences.terminal import Person
from robopref.preferences.web import WebTeacherConfig
from tests.labeling.clip_data import pair, record_real


@pytest.fixture
def asked(tmp_path):
    """A data set, and a store with two queries about it."""
    episodes = record_real(tmp_path / "data")
    with PreferenceStore(tmp_path / "preferences.sqlite") as store:
        queries = [pair(episodes.ids, f"q{n}", first=(n, 8)) for n in range(2)]
        store.add_queries(queries, cut_hash=episodes.content_hash)
        yield episodes, store, queries


@pytest.mark.slow
def test_a_run_waits_for_people_and_goes_on_by_itself(asked, tmp_path):
    _, store, queries = asked
    config = PeopleConfig(
        tmp_path / "data", tmp_path / "preferences.sqlite", tmp_path / "label",
        Criterion("overall", "Which one is gentler?"),
    )  # fmt: skip
    told = []

    def label():
        assert listening.wait(60)
        with Client(people.url, "anna") as client:
            while (query := client.next()["query"]) is not None:
                assert query["question"] == "Which one is gentler?"
                client.answer(query, [[1], [0]], strength=3)

    def announce(line):
        told.append(line)
        listening.set()

    listening = threading.Event()
    people: Any = People(config, announce)
    annotator = threading.Thread(target=label, daemon=True)
    annotator.start()
    teacher = WebTeacherConfig().build(
        person=Person(lambda query: None, lambda prompt: None, people.wait)
    )
    answers: list[Any] = [teacher.answer(query) for query in queries]
    annotator.join(60)
    people.close()
    assert [a.ranking for a in answers] == [Ranking.prefer(1)] * 2
    assert {(a.annotator, a.strength) for a in answers} == {("anna", 3)}
    assert [store.answer(a) for a in answers] == [False, False], "they are stored already"
    assert len(store.queries()) == 2, "the server made none of its own"
    assert store.pending(None) == []
    assert len(told) == 1
    assert told[0].startswith("Waiting for answers. Label at http://127.0.0.1:")


def test_answers_that_are_there_are_taken_without_a_server(asked, tmp_path):
    episodes, store, queries = asked
    given = Preference("a", queries[0], Ranking.tie(), annotator="ben", criterion="care")
    store.answer(given)
    person: Any = reach_browsers(
        episodes, directory=tmp_path, question="?", teacher=WebTeacherConfig(criterion="care")
    )
    assert person.wait(queries[0]) == given
    assert store.pending(None, "care") == [queries[1]]
    assert store.pending(None) == queries


def test_a_query_that_cannot_be_shown_is_passed_on(asked, tmp_path):
    _, store, queries = asked
    queue = LabelQueue(store.database, LabelConfig())
    queue.fill()
    queue.block(queries[0].id, "Its video is missing.")
    config = PeopleConfig(
        tmp_path / "data", tmp_path / "preferences.sqlite", tmp_path / "label",
        Criterion("overall", "Which one is gentler?"),
    )  # fmt: skip
    told: list[str] = []
    passed_on = People(config, told.append).wait(queries[0])
    assert (passed_on.ranking, passed_on.reason) == (Ranking.skipped(), "Its video is missing.")
    assert told == ["A query cannot be shown and is passed on: Its video is missing."]
    assert store.answer(passed_on)
    assert not store.answer(passed_on), "asked again, it is the same"


def test_somebody_to_wait_for_is_needed():
    with pytest.raises(ValueError) as error:
        WebTeacherConfig().build()
    assert str(error.value) == (
        "`person` must be given with `wait`: the teacher 'web' waits for it."
    )
