"""How soon an arm holds after its operator said stop: by a terminal's key, or a browser's."""

import contextlib
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Event
from typing import Any

import numpy as np

from benchmarks.label_screen import open_browser

AFTER_S = 1.0
"""What comes of a stop is looked at so long [s]."""


@dataclass(frozen=True)
class Reaction:
    """What came of one stop.

    Args:
        heard_s: From the key until the control loop brakes [s].
        hold_s: From the key until the arm is sent to one place only [s].
    """

    heard_s: float
    hold_s: float


def measure(num_times: int) -> dict[str, list[Reaction]]:
    """Return what came of stops while an arm moves at full speed, by where they were said.

    A browser is left out where there is none.
    """
    from robopref.envs.make import make_env
    from tests.deploy.acting import ENV

    env: Any = make_env(ENV, max_episode_steps=150)
    rng = np.random.default_rng(0)
    found: dict[str, list[Reaction]] = {}
    try:
        with open_browser() as browser:
            for by in ("terminal", *(["browser"] if browser is not None else [])):
                # At any moment of a step.
                waits = rng.uniform(0, 0.2, num_times)
                found[by] = [_stop(env, browser if by == "browser" else None, s) for s in waits]
    finally:
        env.close()
    return found


def _stop(env: Any, browser: Any, wait_s: float) -> Reaction:
    from robopref.deploy.operator import TerminalOperator
    from robopref.deploy.page import OperatorPage
    from robopref.deploy.session import Session
    from tests.deploy.acting import make_turns_of
    from tests.deploy.terminals import Terminal

    page = None if browser is None else OperatorPage()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        Terminal() as terminal,
        TerminalOperator("bench", page=page) as operator,
        _key(terminal, browser, page) as press,
        ThreadPoolExecutor(1) as pool,
    ):
        moves = Event()
        turn = replace(make_turns_of(env)[0], actor=_telling(env, moves))
        running = pool.submit(Session(env, operator, 1.0).run_episode, turn)
        moves.wait()
        time.sleep(wait_s)
        pressed_s = time.monotonic()
        press()
        running.result()
    return _reaction(env, pressed_s)


@contextlib.contextmanager
def _key(terminal: Any, browser: Any, page: Any) -> Any:
    """Yield what presses space, in the browser if there is one."""
    if browser is None:
        yield lambda: terminal.press(" ")
        return
    shown = browser.new_page()
    shown.goto(page.url)
    shown.wait_for_selector("[data-word=stop]")
    press: Callable[[], None] = lambda: shown.keyboard.press(" ")  # noqa: E731
    try:
        yield press
    finally:
        shown.close()


def _telling(env: Any, moves: Event) -> Any:
    from tests.deploy.acting import Expert

    class Telling(Expert):
        """Tells when the arm is on its way."""

        num = 0

        def act(self, obs: Any) -> Any:
            self.num += 1
            if self.num == 8:
                moves.set()
            return super().act(obs)

    return Telling(env)


def _reaction(env: Any, pressed_s: float) -> Reaction:
    from robopref.hardware.records import phase_of
    from robopref.hardware.verdicts import Phase

    arm = env._rig.arm  # noqa: SLF001 - what the control loop itself says.
    while float(arm.outcome()["time_s"]) < pressed_s + AFTER_S:
        time.sleep(0.01)
    _, outcomes = arm.outcomes_since(0)
    after = [each for each in outcomes if pressed_s < each["time_s"] < pressed_s + AFTER_S]
    times = np.array([float(each["time_s"]) for each in after]) - pressed_s
    heard = next(k for k, each in enumerate(after) if phase_of(each) is Phase.STOPPED)
    sent = np.array([each["sent"] for each in after])
    moving = np.flatnonzero(np.abs(np.diff(sent, axis=0)).max(axis=1) > 0)
    return Reaction(float(times[heard]), float(times[moving[-1] + 1]) if len(moving) else 0.0)
