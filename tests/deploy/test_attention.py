"""What an operator says to stop an arm does not wait for the end of a step."""

import threading
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from robopref.align.actors import ScriptedSpec, StillActor
from robopref.align.collect import Plan, open_or_create
from robopref.config import save_yaml
from robopref.deploy.operator import TerminalOperator, Word
from robopref.deploy.page import OperatorPage
from robopref.deploy.session import Outcome, Session, make_turns
from robopref.envs.behaviours import DetourRightConfig
from robopref.envs.make import make_env
from robopref.errors import HardwareError
from robopref.hardware.arms import xarm7
from robopref.hardware.records import phase_of
from robopref.hardware.verdicts import Phase
from robopref.rig import RigConfig
from tests.deploy.acting import ENV, Expert, Script, make_turns_of
from tests.deploy.terminals import Terminal

SOON_S = 0.1
"""A tenth of a second is a person's blink; a step of a slow arm takes seven of them [s]."""


@pytest.fixture(scope="module")
def env():
    env: Any = make_env(ENV, max_episode_steps=150)
    yield env
    env.close()


class Pressing(Expert):
    """An expert that thinks for long, and in whose fourth step something is pressed."""

    def __init__(self, env, press, *, thinks_s=0.0):
        super().__init__(env)
        self._press, self._thinks_s, self._num = press, thinks_s, 0

    def act(self, obs):
        self._num += 1
        if self._num == 4:
            threading.Timer(0.15, self._press).start()
            time.sleep(self._thinks_s)
        return super().act(obs)


def stopped_s(env, since_s):
    """Return when the loop was stopped, and check that the arm went nowhere a second later."""
    while float(env._rig.arm.outcome()["time_s"]) < since_s + 1:
        time.sleep(0.01)
    _, outcomes = env._rig.arm.outcomes_since(0)
    stopped = [
        each for each in outcomes
        if float(each["time_s"]) > since_s and phase_of(each) is Phase.STOPPED
    ]  # fmt: skip
    assert np.ptp([each["sent"] for each in stopped[-20:]], axis=0).max() == 0.0
    return float(stopped[0]["time_s"])


@pytest.mark.parametrize("thinks_s", [0.0, 0.6], ids=["in a slow step", "while a policy thinks"])
@pytest.mark.parametrize("by", ["terminal", "page"])
def test_a_stop_is_heard_at_once(env, by, thinks_s):
    page = OperatorPage()
    with Terminal() as terminal, TerminalOperator("ann", page=page) as operator:
        pressed: list[float] = []

        def press():
            pressed.append(time.monotonic())
            if by == "terminal":
                terminal.press(" ")
            else:
                page.hear(Word.STOP)

        turn = replace(make_turns_of(env)[0], actor=Pressing(env, press, thinks_s=thinks_s))
        done = Session(env, operator, 0.1).run_episode(turn)
    assert done.outcome is Outcome.STOPPED
    assert done.reason == "ann said stop"
    assert stopped_s(env, pressed[0]) - pressed[0] < SOON_S


def test_who_quits_in_a_step_is_not_asked_whether_to_go_on(env):
    with Terminal() as terminal, TerminalOperator("ann") as operator:
        actor = Pressing(env, lambda: terminal.press("q"))
        done = Session(env, operator, 0.1).run_episode(replace(make_turns_of(env)[0], actor=actor))
    assert done.outcome is Outcome.QUIT
    assert done.reason == "ann said quit"


def test_who_judges_and_stops_is_asked_before_the_next_episode(env, tmp_path):
    class Hasty(Script):
        def words(self):
            found = super().words()
            return [*found, Word.STOP] if Word.SUCCESS in found else found

    operator = Hasty({5: Word.SUCCESS})
    operator.says = [Word.QUIT]
    store = open_or_create(tmp_path / "data", ENV)
    done = Session(env, operator, 1.0).run(store, make_turns_of(env, 2))
    assert [each.outcome for each in done] == [Outcome.SUCCESS]
    assert "The arm was stopped. Look at it" in operator.heard[-1]


def test_an_arm_is_stopped_on_the_way_to_its_start(tmp_path):
    first, *others = xarm7().rest_rad
    cell = RigConfig(task="Stay.", start_rad=(first + 0.5, *others))
    save_yaml(cell, tmp_path / "cell.yaml")
    name = f"real/{tmp_path}/cell.yaml"
    env: Any = make_env(name, max_episode_steps=3)
    plan = Plan(
        env=name, actor=ScriptedSpec(DetourRightConfig()), seed=0, start_set="test",
        num_episodes=1, group_size=1, max_episode_steps=3, namespace="still",
    )  # fmt: skip
    turn = make_turns([(StillActor(4), plan)], seed=0)[0]

    def moves():
        try:
            return max(map(abs, env._rig.arm.state().velocity)) > 0.05
        except (AttributeError, HardwareError):  # It has not begun.
            return False

    def press_when_it_moves(terminal, pressed):
        while not moves():
            time.sleep(0.005)
        pressed.append(time.monotonic())
        terminal.press(" ")

    try:
        with Terminal() as terminal, TerminalOperator("ann") as operator:
            pressed: list[float] = []
            thread = threading.Thread(target=press_when_it_moves, args=(terminal, pressed))
            thread.start()
            done = Session(env, operator, 1.0).run_episode(turn)
            thread.join()
            assert stopped_s(env, pressed[0]) - pressed[0] < SOON_S
    finally:
        env.close()
    assert (done.episode, done.outcome) == (None, Outcome.STOPPED)
    assert "'xarm7' was stopped (request): ann said stop." in done.reason
