"""An operator, a policy and a simulated arm."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from robopref.align.actors import ScriptedSpec, StillActor
from robopref.align.collect import Plan, open_or_create
from robopref.config import save_yaml
from robopref.deploy.operator import KEYS, Word, ask_on_terminal
from robopref.deploy.session import SPEEDS, Outcome, Session, make_turns
from robopref.envs.behaviours import DetourRightConfig
from robopref.envs.make import make_env
from robopref.rig import RigConfig
from tests.deploy.acting import ENV, Script, make_turns_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def env():
    env = make_env(ENV, max_episode_steps=150)
    yield env
    env.close()


def test_the_operator_sees_the_limits_and_the_first_motion(env):
    operator = Script({})
    session = Session(env, operator, 1.0)
    first = session.preview(make_turns_of(env)[0]).splitlines()
    lines = operator.heard[0].splitlines()
    assert lines[0] == "Arm        sawyer: 7 joints, 100 commands a second"
    assert lines[1].startswith("Speed      100 %: tool at most 0.250 m/s")
    assert lines[4] == "Filters    all but budget, as the data will say"
    assert first[0].startswith("First      tool by ")
    assert "REFUSED" not in first[1]


def test_what_the_operator_says_is_done_and_kept(env, tmp_path):
    """Stop in the first episode, slower and a judgement in the second."""
    words = {6: Word.STOP, 9: Word.SLOWER, 12: Word.PAUSE, 15: Word.SUCCESS}
    operator = Script(words)
    session = Session(env, operator, 1.0)
    store = open_or_create(tmp_path / "data", ENV)
    stopped, judged = session.run(store, make_turns_of(env, 2))
    assert stopped.outcome is Outcome.STOPPED
    assert judged.outcome is Outcome.SUCCESS
    assert session.speed == SPEEDS[-2]
    assert "  paused; g goes on" in operator.heard
    first, second = (store.episode(row.episode_id) for row in store.rows)
    assert first.metadata["outcome"] == "stopped"
    assert first.metadata["operator"] == "ann"
    assert first.truncated
    assert second.success.tolist() == [False] * (len(second) - 1) + [True]
    # The same session again has nothing left to do.
    assert session.run(store, make_turns_of(env, 2)) == []


def test_an_operator_takes_over_and_gives_back(env, tmp_path):
    words = {4: Word.TAKE, 10: Word.TAKE, 14: Word.QUIT}
    operator = Script(words, {5: "up", 6: "up", 7: "down", 8: "down", 9: "c"})
    done = Session(env, operator, 1.0).run_episode(make_turns_of(env)[0])
    assert done.episode is not None
    by_person = done.episode.extras["safety.by_person"][:-1, 0]
    assert by_person.tolist() == [0] * 3 + [1] * 6 + [0] * 4, (done.outcome, operator.heard)
    actions = done.episode.action[3:9]
    assert actions[:5, 1].tolist() == [0, 1, 1, -1, -1]
    assert (actions[:, [0, 2]] == 0).all()
    # The gripper stays as it was until a key says so.
    assert actions[:, 3].tolist() == [done.episode.action[2, 3]] * 5 + [1]
    assert "  the policy acts again" in operator.heard


def test_two_policies_take_turns_from_the_same_starts(env):
    turns = make_turns_of(env, 10, ("base", "aligned"))
    assert len({turn.group.ids[0] for turn in turns}) == 20
    names = [turn.group.plan.metadata["policy"] for turn in turns]
    starts = [turn.group.seeds for turn in turns]
    assert starts[::2] == starts[1::2]
    assert set(zip(names[::2], names[1::2], strict=True)) == {
        ("base", "aligned"), ("aligned", "base")
    }  # fmt: skip


@pytest.mark.slow
def test_a_terminal_steers_the_command(demo_policy, tmp_path):
    """Real keys of a real terminal: go, faster, pause, go on, stop, quit."""
    ours, theirs = pty.openpty()
    out = tmp_path / "deployed"
    command = [
        sys.executable, "-m", "robopref.cli", "deploy", "--policy", str(demo_policy),
        "--num-episodes", "2", "--speed", "0.5", "--out", str(out),
    ]  # fmt: skip
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, start_new_session=True
    ) as process:
        os.close(theirs)
        screen = Screen(ours)
        screen.wait_for("g begins, q does not.")
        screen.press("g")
        screen.wait_for("Episode 1 of 2.")
        screen.press("+")
        screen.wait_for("70 % of the speed")
        screen.press("p")
        screen.wait_for("paused; g goes on")
        screen.press("g")
        screen.press(" ")
        screen.wait_for("ends the session")
        screen.press("q")
        screen.wait_for("Next:   robopref label")
        assert process.wait(30) == 0
    store = open_or_create(out, "arm/button-press-topdown-v3")
    assert [row.metadata["outcome"] for row in store.rows] == ["stopped"]


class Screen:
    """What a terminal shows."""

    def __init__(self, descriptor):
        self._descriptor = descriptor
        self._text = ""

    def press(self, key):
        assert key in KEYS
        os.write(self._descriptor, key.encode())

    def wait_for(self, text, seconds=90.0):
        end = time.monotonic() + seconds
        while text not in self._text:
            assert time.monotonic() < end, self._text
            try:
                self._text += os.read(self._descriptor, 4096).decode()
            except OSError:  # The other side is closed.
                break
        assert text in self._text
        self._text = self._text.partition(text)[2]


@pytest.fixture
def demo_policy(tmp_path):
    """A policy that was trained on nothing to speak of."""
    data, out = tmp_path / "reach", tmp_path / "policy"
    for command in (
        ["collect", "--env", "metaworld/button-press-topdown-v3", "--num-episodes", "2", "--out",
         str(data)],
        ["train", "policy", "--data", str(data), "--out", str(out), "--training.num-steps", "20"],
    ):  # fmt: skip
        subprocess.run(
            [sys.executable, "-m", "robopref.cli", *command], check=True, cwd=ROOT,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return out


def test_a_real_arm_begins_each_episode_on_the_operators_word(tmp_path):
    save_yaml(RigConfig(task="Stay."), tmp_path / "cell.yaml")
    name = f"real/{tmp_path}/cell.yaml"
    env: Any = make_env(name, max_episode_steps=3)
    env.confirm = ask_on_terminal  # As of an arm that is real.
    plan = Plan(
        env=name, actor=ScriptedSpec(DetourRightConfig()), seed=0, start_set="test",
        num_episodes=3, group_size=1, max_episode_steps=3, metadata={}, namespace="still",
    )  # fmt: skip
    operator = Script({})
    try:
        session = Session(env, operator, 1.0)
        turns = make_turns([(StillActor(4), plan)], seed=0)
        assert "stays" not in session.preview(turns[0])
        operator.says = [Word.GO, Word.GO, Word.QUIT]
        store = open_or_create(tmp_path / "data", name)
        done = session.run(store, turns)
    finally:
        env.close()
    assert [each.outcome for each in done] == [Outcome.TIME, Outcome.TIME, Outcome.QUIT]
    assert len(store.rows) == 2
    asked = [text for text in operator.heard if "Put the scene back" in text]
    assert len(asked) == 4


def test_the_operator_is_heard_in_the_middle_of_a_primitive(monkeypatch):
    env: Any = make_env("arm-deformable/rope-circle-v0")
    stopped: list[str] = []
    monkeypatch.setattr(env, "stop", stopped.append)
    operator = Script({1: Word.FASTER, 2: Word.TAKE, 3: Word.SUCCESS, 5: Word.PAUSE, 6: Word.STOP})
    session = Session(env, operator, 0.2)
    env.attend()
    assert env.safety.speed_factor == 0.35
    env.attend()
    env.attend()
    assert session._listen() is Outcome.SUCCESS
    assert "a primitive is not steered" in operator.heard[-1]
    assert not session._attention.is_by_hand
    operator.says = [Word.GO]
    env.attend()
    assert operator.heard[-1] == "  paused; g goes on"
    assert stopped == []
    env.attend()
    assert stopped == ["ann said stop"]
    assert session._listen() is Outcome.STOPPED
    env.close()
