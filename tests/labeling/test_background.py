"""Tests of the background trainer: who trains, and what it does about trouble."""

import contextlib
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from robopref.errors import DataError
from robopref.labeling import background, recent
from robopref.labeling import training as training_module
from robopref.labeling.background import Trainer, Turn, read_turn
from robopref.labeling.training import MIN_LABELS
from tests.labeling.training_data import place

__all__ = ["place"]


def test_one_of_several_trainers_has_the_turn(place):
    store, _ = place
    first, second = Turn(store.database), Turn(store.database)
    assert first.take()
    assert first.take()
    assert not second.take()
    first.say("fitting", "Fitting.", reward="somewhere")
    assert read_turn(store.database)["state"] == "fitting"
    first.leave()
    assert second.take()
    assert read_turn(store.database)["reward"] == "somewhere"


@contextlib.contextmanager
def training(config, monkeypatch):
    """Train in a thread, quickly; yield the event that ends it."""
    for name in ("RETRY_S", "LOOK_S"):
        monkeypatch.setattr(background, name, 0.05)
    stop = threading.Event()
    thread = threading.Thread(
        target=background.keep_training, args=(config, stop, lambda: True), daemon=True
    )
    thread.start()
    try:
        yield
        assert thread.is_alive()
    finally:
        stop.set()
        thread.join(60)


def said(store, wanted, timeout_s=60):
    """Wait until the trainer has said something that is wanted."""
    deadline = time.monotonic() + timeout_s
    while not wanted(found := read_turn(store.database)):
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


def test_data_that_are_away_are_waited_for(place, monkeypatch):
    store, config = place
    config.data.rename(config.data.with_name("away"))
    with training(config, monkeypatch):
        found = said(store, lambda words: words.get("message") == background.TROUBLE)
        assert found["state"] == "waiting"
        config.data.with_name("away").rename(config.data)
        assert said(store, lambda words: words.get("reward"))["state"] == "waiting"


def test_data_that_go_away_while_a_refit_is_due_are_waited_for(place, monkeypatch):
    store, config = place
    last = store.preferences()[-1]
    for answered in store.preferences()[MIN_LABELS - 1 :]:
        store.undo(answered.id)
    with training(config, monkeypatch):
        said(store, lambda words: words.get("message") == "Waiting for answers.")
        config.data.rename(config.data.with_name("away"))
        store.answer(replace(last, id="again"))
        said(store, lambda words: words.get("message") == background.TROUBLE)
        config.data.with_name("away").rename(config.data)
        said(store, lambda words: words.get("reward"))


@pytest.mark.parametrize(
    "trouble", [DataError("The store is held by another program."), OSError(28, "No space left")]
)
def test_a_full_disk_and_a_lock_are_waited_out(place, monkeypatch, trouble):
    store, config = place
    troubles = [trouble, trouble]
    real = recent.add_to_history

    def add(*arguments):
        if troubles:
            raise troubles.pop()
        real(*arguments)

    monkeypatch.setattr(training_module, "add_to_history", add)
    with training(config, monkeypatch):
        said(store, lambda words: words.get("reward"))
    assert troubles == []


def test_a_trainer_without_the_turn_says_nothing_of_its_troubles(place, monkeypatch):
    store, config = place
    first = Turn(store.database)
    assert first.take()
    first.say("waiting", "All is well.")
    config.data.rename(config.data.with_name("away"))
    with training(config, monkeypatch):
        time.sleep(0.5)
    assert read_turn(store.database)["message"] == "All is well."
    assert first.take()


def test_restarts_are_given_back_when_a_reward_was_fitted(place, monkeypatch):
    store, config = place
    monkeypatch.setattr(background, "FIRST_CLIPS_S", 0.0)
    monkeypatch.setattr(background, "FOLLOW_S", 0.02)

    lives = threading.Event()
    process = SimpleNamespace(
        start=lambda: None, is_alive=lives.is_set, join=lambda *_: None, kill=lambda: None
    )
    turn = Turn(store.database)
    turn.say("waiting", "Fitted before the server started.", reward="old")
    trainer: Any = Trainer(config, store.database, lambda _: None)
    trainer._context = SimpleNamespace(Process=lambda **_: process)
    with trainer:
        wait_until(lambda: trainer.state()["state"] == "failed")
        assert trainer._num_starts == background.RESTARTS + 1
        lives.set()
        turn.say("waiting", "Fitted.", reward="new")
        wait_until(lambda: trainer._num_starts == 1)
        lives.clear()
        wait_until(lambda: trainer.state()["state"] == "failed")
        lives.set()


def wait_until(is_so, timeout_s=30):
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_the_child_process_fits_as_answers_come_and_ends_with_the_server(place):
    store, config = place
    rewards: list[Path] = []
    with Trainer(config, store.database, rewards.append) as trainer:
        deadline = time.monotonic() + 120
        while not rewards and time.monotonic() < deadline:
            time.sleep(0.2)
        assert rewards, trainer.state()
        assert trainer.state()["state"] in ("waiting", "fitting")
        process = trainer._process
    assert not process.is_alive()
    assert (rewards[0] / "config.json").is_file()
