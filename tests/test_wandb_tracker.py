"""Tests for wandb_tracker.py, with the real package; offline, and where nobody answers."""

import dataclasses
import importlib
import json
import math
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from robopref.commands.train_policy import TrainPolicyCommand
from robopref.data.store import EpisodeStore
from robopref.errors import MissingExtraError
from robopref.tensorboard_tracker import TensorBoardConfig
from robopref.tracker import (
    TRACKERS,
    Place,
    Tracker,
    TrackerError,
    find_figures,
    read_metrics,
    tracked_by,
)
from robopref.wandb_tracker import WandbConfig
from tests.extras import import_extra
from tests.test_train_policy import POLICY, TRAINER, make_episode
from tests.test_trainer import CONFIGS, StoppedError, make_trainer


@pytest.fixture
def wandb(monkeypatch):
    """Return the real package, which sends nothing."""
    package = import_extra("wandb", "wandb")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    yield package
    package.teardown()


def records(path: Path) -> list:
    """Return what a W&B run wrote: protocol buffers in a log of LevelDB's form."""
    made: Any = importlib.import_module(
        "wandb.proto.wandb_internal_pb2"
    )  # Its names are made late.
    data, place, whole, found = path.read_bytes(), 7, b"", []
    while place < len(data):
        if 32768 - place % 32768 < 7:  # Too little of a block for another header.
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # The whole of a record, or its last part.
            record = made.Record()
            record.ParseFromString(whole)
            found.append(record)
            whole = b""
    return found


def sent(directory: Path) -> dict[str, list[tuple[int, dict[str, float]]]]:
    """Return the points of each W&B run that is kept in a training's folder, in their order."""
    found: dict[str, list[tuple[int, dict[str, float]]]] = {}
    for path in sorted(directory.glob("wandb/offline-run-*/run-*.wandb")):
        points: list[tuple[int, dict[str, float]]] = []
        for record in records(path):
            if record.WhichOneof("record_type") == "run":
                points = found.setdefault(record.run.run_id, [])
            if record.WhichOneof("record_type") == "history":
                row = {
                    ".".join(item.nested_key) or item.key: json.loads(item.value_json)
                    for item in record.history.item
                }
                kept = {key: value for key, value in row.items() if not key.startswith("_")}
                points.append((record.history.step.num, kept))
    return found


def run_of(directory: Path):
    (path,) = directory.glob("wandb/offline-run-*/run-*.wandb")
    return next(r.run for r in records(path) if r.WhichOneof("record_type") == "run")


def test_figures_are_in_the_lines_and_at_wandb_and_not_at_tensorboard(wandb, tmp_path):
    with tracked_by(WandbConfig()):
        tracker = Tracker(tmp_path)
        tracker.log(10, {"loss": 0.5, "rate": math.nan})
        tracker.log(20, {"loss": 0.25, "validation/loss": 1})
        tracker.close()
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [(row["step"], row["loss"]) for row in rows] == [(10, 0.5), (20, 0.25)]
    assert math.isnan(rows[0]["rate"])
    (points,) = sent(tmp_path).values()
    assert points == [(10, {"loss": 0.5}), (20, {"loss": 0.25, "validation/loss": 1.0})]
    assert not (tmp_path / "tensorboard").exists()


def test_a_wandb_run_says_which_training_it_is_and_no_secret(wandb, tmp_path):
    settings = {
        "db": "postgresql://me:word@host/labels",
        "data": "https://host/set?signature=word",
        "policy": {"type": "diffusion", "sizes": [1, 2]},
    }
    out = tmp_path / "drawer"
    with tracked_by(WandbConfig(project="arms", entity="lab"), out, settings):
        Tracker(out / "rounds/1", what="fine-tune").close()
    run = run_of(out / "rounds/1")
    assert (run.project, run.entity, run.run_group) == ("arms", "lab", "drawer")
    assert (run.display_name, run.job_type) == ("drawer/rounds/1", "fine-tune")
    config = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert {key: config[key] for key in settings} == {
        "db": "postgresql://me:***@host/labels",
        "data": "https://host/set",
        "policy": {"type": "diffusion", "sizes": [1, 2]},
    }


def test_a_run_that_goes_on_is_the_same_wandb_run_and_has_no_point_twice(wandb, tmp_path):
    with tracked_by(WandbConfig()):
        first = Tracker(tmp_path)
        for step in (10, 20, 30):
            first.log(step, {"loss": step})
        first.close()
        # The checkpoint is of step 20: step 30 is computed again.
        again = Tracker(tmp_path, resume_at=20)
        for step in (30, 40):
            again.log(step, {"loss": step})
        again.close()
    assert [row["step"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [10, 20, 30, 40]
    (points,) = sent(tmp_path).values()
    assert points == [(step, {"loss": float(step)}) for step in (10, 20, 30, 40)]
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 2


def test_what_begins_again_or_goes_elsewhere_is_another_wandb_run(wandb, tmp_path):
    for config, resume_at in (
        (WandbConfig(), 0), (WandbConfig(), 0), (WandbConfig(project="other"), 1),
    ):  # fmt: skip
        with tracked_by(config):
            tracker = Tracker(tmp_path, resume_at=resume_at)
            tracker.log(resume_at + 1, {"loss": 1.0})
            tracker.close()
    one, two = (1, {"loss": 1.0}), (2, {"loss": 1.0})
    # Folders are named by the second, so that runs may be in another order.
    assert sorted(sent(tmp_path).values(), key=len) == [[one], [one], [one, two]]


def test_training_that_is_interrupted_and_goes_on_shows_each_step_once(wandb, tmp_path):
    with tracked_by(WandbConfig()):
        make_trainer(CONFIGS["plain"], tmp_path / "whole")[0].fit()
        with pytest.raises(StoppedError):
            # After the checkpoint of step 14 and the figures of step 15.
            make_trainer(CONFIGS["plain"], tmp_path / "parts", stop_after=19)[0].fit()
        make_trainer(CONFIGS["plain"], tmp_path / "parts")[0].fit()
    (expected,), (found,) = sent(tmp_path / "whole").values(), sent(tmp_path / "parts").values()
    assert found == expected
    assert len(expected) == 6
    lines = [(tmp_path / part / "metrics.jsonl").read_text() for part in ("whole", "parts")]
    assert lines[0] == lines[1]


def test_figures_from_before_another_tracker_was_chosen_are_there_too(wandb, tmp_path):
    before = Tracker(tmp_path)
    for step in (10, 20):
        before.log(step, {"loss": step, "rate": math.nan})
    before.close()
    with tracked_by(WandbConfig()):
        Tracker(tmp_path, resume_at=10).close()
    assert list(sent(tmp_path).values()) == [[(10, {"loss": 10.0})]]


KILLED = """
import sys, time
from pathlib import Path
from typing import Any
from robopref.tracker import Tracker, tracked_by
from robopref.wandb_tracker import WandbConfig
with tracked_by(WandbConfig()):
    tracker = Tracker(Path(sys.argv[1]))
    for step in (1, 2, 3):
        tracker.log(step, {"loss": step})
    print("ready", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_after_a_kill_no_figure_is_missing_and_none_is_there_twice(wandb, tmp_path):
    program = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with program:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGKILL)
    with tracked_by(WandbConfig()):
        again = Tracker(tmp_path, resume_at=2)
        for step in (3, 4):
            again.log(step, {"loss": step})
        again.close()
    (points,) = sent(tmp_path).values()
    assert points == [(step, {"loss": float(step)}) for step in (1, 2, 3, 4)]
    assert len(list(tmp_path.glob("wandb/offline-run-*"))) == 1


def test_what_was_sent_after_a_kill_is_not_sent_again(wandb, tmp_path):
    with tracked_by(WandbConfig()):
        first = Tracker(tmp_path)
        first.log(1, {"loss": 1})
        note = (tmp_path / "wandb.json").read_text()
        first.close()
        # As a kill leaves it, and 'wandb sync' afterwards.
        (tmp_path / "wandb.json").write_text(note)
        (run,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
        run.with_name(f"{run.name}.synced").touch()
        Tracker(tmp_path, resume_at=1).close()
    assert list(sent(tmp_path).values()) == [[(1, {"loss": 1.0})]] * 2


def test_a_command_may_go_on_with_another_tracker(wandb, tmp_path, rng, capsys):
    store = EpisodeStore.create(tmp_path / "data", fps=20)
    store.add_all(make_episode(index, rng) for index in range(4))
    command = TrainPolicyCommand(
        tmp_path / "data", tmp_path / "run", policy=POLICY, training=TRAINER
    )
    command.run()
    dataclasses.replace(command, tracker=WandbConfig()).run()
    told = capsys.readouterr().err
    folder = tmp_path / "run/wandb"
    assert f"train policy: figures in {folder}, for 'wandb sync' to send\n" in told
    rows = read_metrics(tmp_path / "run/metrics.jsonl")
    ((points),) = sent(tmp_path / "run").values()
    assert [(step, figures["loss"]) for step, figures in points] == [
        (row["step"], row["loss"]) for row in rows
    ]
    assert run_of(tmp_path / "run").run_group == "run"


def test_places_are_found_whichever_tracker_has_the_figures(wandb, tmp_path):
    assert find_figures(tmp_path) == []
    for part in ("base", "rounds/1"):
        with tracked_by(WandbConfig(), tmp_path):
            Tracker(tmp_path / part).close()
    with tracked_by(TensorBoardConfig(), tmp_path):
        tracker = Tracker(tmp_path / "reward")
        tracker.log(1, {"loss": 1.0})
        tracker.close()
    # As W&B answers where it is asked.
    note = tmp_path / "rounds/1/wandb.json"
    page = "https://wandb.ai/lab/robopref/runs/12"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"url": page}))
    assert find_figures(tmp_path) == [
        Place("TensorBoard", "", f"tensorboard --logdir {tmp_path}"),
        Place("Weights & Biases, rounds/1", page, ""),
        Place("Weights & Biases", "", f"wandb sync {tmp_path}/base/wandb"),
    ]


def refused(call) -> str:
    with pytest.raises(TrackerError) as error:
        call()
    return str(error.value)


def test_without_a_login_nothing_begins(wandb, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    with tracked_by(TensorBoardConfig()):
        assert refused(lambda: tracked_by(WandbConfig()).__enter__()) == (
            "Nobody is logged in to Weights & Biases. Run 'wandb login' or set WANDB_API_KEY; "
            "WANDB_MODE=offline keeps the figures here, for 'wandb sync' to send later."
        )


def test_where_nobody_answers_nothing_begins(wandb, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", address)
    monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "2")
    message = refused(lambda: tracked_by(WandbConfig()).__enter__())
    assert message.startswith(f"Weights & Biases at {address} takes no figures: Failed to ")
    assert message.endswith(". WANDB_MODE=offline keeps them here, for 'wandb sync' to send later.")


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError) as error:
        WandbConfig().check()
    assert str(error.value) == (
        "The tracker 'wandb' needs wandb. Install it with: pip install 'robopref[wandb]'."
    )


@pytest.mark.parametrize("name", TRACKERS.names())
def test_every_tracker_has_a_summary_and_working_defaults(name, tmp_path):
    assert TRACKERS.summary(name)
    assert TRACKERS.config_class(name)().find(tmp_path) == []
