"""Tests for tracker.py and progress.py."""

import errno
import json
import math
import os
import signal
import threading
import time
import warnings

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from robopref.progress import Progress, interruptible
from robopref.tracker import Tracker, read_metrics


def test_figures_are_in_both_places(tmp_path):
    tracker = Tracker(tmp_path)
    tracker.log(10, {"loss": 0.5})
    tracker.log(20, {"loss": 0.25, "accuracy": 1})
    tracker.close()
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"step": 10, "loss": 0.5},
        {"step": 20, "loss": 0.25, "accuracy": 1.0},
    ]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in board.Scalars("loss")] == [(10, 0.5), (20, 0.25)]


def test_a_figure_that_is_not_finite_is_kept_in_the_lines_only(tmp_path):
    tracker = Tracker(tmp_path)
    tracker.log(1, {"loss": math.nan, "rate": 1.0})
    tracker.close()
    assert math.isnan(read_metrics(tmp_path / "metrics.jsonl")[0]["loss"])
    tags = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Tags()["scalars"]
    assert tags == ["rate"]


def test_lines_after_the_checkpoint_are_dropped_and_the_one_at_it_stays(tmp_path):
    tracker = Tracker(tmp_path)
    for step in (10, 20, 30):
        tracker.log(step, {"loss": step})
    tracker.close()
    # A checkpoint is written after the line of its step, and the step is not taken again.
    again = Tracker(tmp_path, resume_at=20)
    again.log(30, {"loss": 3})
    again.close()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(10, 10), (20, 20), (30, 3)]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in board.Scalars("loss")] == [(10, 10), (20, 20), (30, 3)]


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1, "loss": 2.0}) + '\n{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]
    Tracker(tmp_path, resume_at=5).close()
    assert path.read_text() == '{"step": 1, "loss": 2.0}\n'


def test_a_resume_that_dies_while_it_drops_lines_loses_none(tmp_path, monkeypatch):
    tracker = Tracker(tmp_path)
    for step in (10, 20, 30):
        tracker.log(step, {"loss": step})
    tracker.close()
    whole = (tmp_path / "metrics.jsonl").read_bytes()

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Tracker(tmp_path, resume_at=20)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


def test_no_file_has_no_rows(tmp_path):
    assert read_metrics(tmp_path / "metrics.jsonl") == []


def test_the_bar_is_silent_where_nobody_watches(capsys):
    with Progress("train", 3) as bar:
        bar.advance(1, loss=0.5)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_bar_shows_the_figure_that_matters(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress("train", 3) as bar:
        bar.advance(2, loss=0.123456)
        bar.advance(1)  # The last figure stays.
    text = capsys.readouterr().err
    assert "train" in text
    assert "loss 0.1235" in text
    assert "3/3" in text


def test_the_first_interrupt_asks_and_the_second_stops():
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as interrupt:
        assert not interrupt
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_launcher_that_passes_on_signals_is_not_taken_for_impatience(monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "localhost")):
        monkeypatch.setenv(name, value)
    before = signal.getsignal(signal.SIGTERM)
    with interruptible() as interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert interrupt
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_worker_that_is_forked_meanwhile_ends_when_it_is_told_to():
    heard, told = os.pipe()
    with interruptible(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Newer Pythons warn of threads, which here do nothing.
        child = os.fork()
        if not child:
            os.write(told, b"!")  # Python drops the signals that come before it is done forking.
        while not child:
            time.sleep(0.1)
        os.read(heard, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    os.close(heard)
    os.close(told)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_outside_the_main_thread_signals_are_left_alone():
    seen = []

    def work():
        with interruptible() as interrupt:
            seen.append(bool(interrupt))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
    assert signal.getsignal(signal.SIGINT) is before


def test_without_a_terminal_a_line_now_and_then_says_how_far_it_is(capsys, monkeypatch):
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr("robopref.progress.time.monotonic", lambda: float(next(now)))
    with Progress("train policy", 8) as bar:
        for _ in range(8):
            bar.advance(1, loss=0.25)
    assert capsys.readouterr().err.splitlines() == [
        "train policy: 3 of 8 (38%)  loss 0.25", "train policy: 6 of 8 (75%)  loss 0.25",
    ]  # fmt: skip
