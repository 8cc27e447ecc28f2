"""A person at a gamepad, a session, and a simulated arm under its supervisor."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from robopref.deploy.operator import Word
from robopref.deploy.session import Outcome, Session
from robopref.envs.make import make_env
from robopref.hardware.gamepad import ABS_X, BTN_SELECT, BTN_TR, GamepadConfig
from robopref.hardware.step_record import FILTERS
from tests.deploy.acting import ENV, Script, make_turns_of
from tests.hardware.event_files import Pipe, key, report, stick, with_range

DEADMAN = FILTERS.index("deadman")


class AtTheGamepad(Script):
    """An operator who also does something with the pad at some steps."""

    def __init__(self, words, device, reports):
        super().__init__(words)
        self.device, self._reports = device, dict(reports)

    def words(self):
        said = super().words()
        if self._num in self._reports:
            self._reports.pop(self._num)()
            time.sleep(0.05)
        return [*self.device.words(), *said]


@pytest.fixture
def pipe(tmp_path):
    return Pipe(tmp_path)


@pytest.fixture
def pad(pipe, monkeypatch):
    with_range(monkeypatch)
    pad = GamepadConfig(str(pipe.path)).build()
    pad.connect()
    yield pad
    pad.disconnect()


@pytest.fixture(scope="module")
def env():
    env = make_env(ENV, max_episode_steps=150, needs_deadman=True)
    yield env
    env.close()


def test_the_arm_moves_by_hand_only_while_the_shoulder_is_held(env, pad, pipe):
    """The policy acts, select takes over, held it moves, let go it holds, held it goes on."""
    steps = {
        4: lambda: pipe.write(report(stick(ABS_X, 32767)), report(key(BTN_SELECT))),
        8: lambda: pipe.write(report(key(BTN_TR))),
        18: lambda: pipe.write(report(key(BTN_TR, 0))),
        24: lambda: pipe.write(report(key(BTN_TR))),
        34: pipe.unplug,
    }
    operator = AtTheGamepad({60: Word.QUIT}, pad, steps)
    done = Session(env, operator, 1.0).run_episode(make_turns_of(env)[0])
    assert done.outcome is Outcome.STOPPED
    assert done.episode is not None
    assert done.episode.metadata["safety"]["needs_deadman"]
    extras = done.episode.extras
    by_person = extras["safety.by_person"][:-1, 0]
    assert by_person.tolist() == [0] * 3 + [1] * (len(by_person) - 3)
    filters = extras["safety.filter"][:-1, 0]
    sent = extras["safety.sent"]
    moved = np.abs(np.diff(sent, axis=0)).max(axis=1)
    # The policy moves without the button, and a person does not.
    assert DEADMAN not in filters[1:3]
    assert (filters[4:7] == DEADMAN).all()
    assert moved[5:7].max() < 1e-3
    assert moved[10:16].min() > 1e-3
    assert (filters[18:22] == DEADMAN).all()
    assert moved[20:22].max() < 1e-3
    assert moved[27:32].min() > 1e-3
    assert done.episode.action[10:16, 0].tolist() == [1.0] * 6


def test_letting_go_brakes_within_the_step(env, pad, pipe):
    """At a tenth of the speed a step takes 0.7 s; the arm does not wait for its end."""
    let_go: list[float] = []
    rested: list[float] = []

    def watch():
        time.sleep(0.15)
        pipe.write(report(key(BTN_TR, 0)))
        let_go.append(time.monotonic())
        rig = env._rig
        while not rested and time.monotonic() - let_go[0] < 3:
            outcome = rig.arm.outcome()
            if outcome["filter"] == b"deadman":
                rested.append(float(outcome["time_s"]))
            time.sleep(0.002)

    thread = threading.Thread(target=watch)
    steps = {
        1: lambda: pipe.write(report(key(BTN_TR), stick(ABS_X, 32767)), report(key(BTN_SELECT))),
        4: thread.start,
    }
    operator = AtTheGamepad({7: Word.QUIT}, pad, steps)
    Session(env, operator, 0.1).run_episode(make_turns_of(env)[0])
    thread.join()
    assert rested
    assert rested[0] - let_go[0] < 0.1
