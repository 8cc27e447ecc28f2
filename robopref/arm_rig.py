"""An arm for one policy step after another: armed, moved, watched, and stopped at the end."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.arm_cameras import ArmCameras
from robopref.config import to_dict
from robopref.errors import HardwareError, SafetyStop
from robopref.hardware.arm_process import ArmProcess
from robopref.hardware.chunks import Chunk
from robopref.hardware.forecast import Forecast, Way
from robopref.hardware.kinematics import Kinematics
from robopref.hardware.loop import LoopConfig
from robopref.hardware.records import phase_of, text_of
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.step_record import StepRecord, record_step
from robopref.hardware.supervisor import STILL_RAD_S
from robopref.hardware.tool_motion import ToolMotion
from robopref.hardware.types import ArmSpec, Joints
from robopref.hardware.verdicts import Phase

PATIENCE_S = 5.0
"""How long an arm may take to begin again [s]."""
GENTLE_RAD_S = 0.5
"""Speed of the fastest joint on the way to a start, at full speed [rad/s]."""
NUM_PLACES = 16
"""Places that such a way goes through."""
THERE_RAD = 1e-3
"""So near to a place, an arm has come there [rad]."""
STATE_AGE_S = 1.0
"""A step is not recorded from a state older than this [s]."""


class ArmRig:
    """The control loop of an arm, and the way from a policy's steps to it.

    Args:
        driver_config: Builds the driver in the loop's process.
        safety: Limits.
        step_s: Time of a policy's step [s].
    """

    def __init__(self, driver_config: Any, safety: SafetyConfig, step_s: float) -> None:
        self.safety, self.step_s = safety, step_s
        self.spec = driver_config.build().spec
        # Loaded before the arm is armed: it holds when this process is busy for long.
        self.kinematics = Kinematics(self.spec)
        self._forecast = Forecast(self.spec, safety, self.kinematics)
        self._driver_config = driver_config
        self._arm: ArmProcess | None = None
        self._motion: ToolMotion | None = None
        self._num_outcomes = 0
        self._last: StepRecord | None = None

    @property
    def arm(self) -> ArmProcess:
        """The control loop.

        Raises:
            HardwareError: It has not begun.
        """
        if self._arm is None:
            raise HardwareError("The arm has not begun. Call begin() first.")
        return self._arm

    def rest(self, reason: str) -> None:
        """Stop the arm, if it has begun; it stays so until `begin`. For any thread."""
        if self._arm is not None and not self.why_stopped():
            self._arm.stop(reason)
            self._wait(lambda: bool(self.why_stopped()), "did not stop")

    def begin(self, user: str, reason: str) -> Float[np.ndarray, " 3"]:
        """Arm the arm where it stands; return where its tool is [m].

        Args:
            user: Who takes responsibility, where it was stopped before.
            reason: What was found and done.

        Raises:
            HardwareError: It cannot be reached, or not be armed.
        """
        if self._arm is None:
            loop = LoopConfig(blend_s=min(0.1, self.step_s))
            self._arm = ArmProcess(self._driver_config, self.spec, self.safety, loop)
            self._arm.start()
            self._motion = ToolMotion(self._arm, self.kinematics, self.step_s)
        elif self.why_stopped():
            self._wait(self._is_still, "does not come to rest")
            self._arm.acknowledge(user, reason)
            self._wait(lambda: not self.why_stopped(), "did not start again")
        assert self._motion is not None
        self._num_outcomes, self._last = self._arm.outcomes_since(0)[0], None
        return self._motion.begin()

    def go_to(self, position: Joints) -> Float[np.ndarray, " 3"]:
        """Bring the joints straight to a place, gently; return where the tool is then [m].

        Raises:
            SafetyStop: The arm was stopped on the way.
            HardwareError: It does not come there: something is in its way, such as the bounds of
                its workspace.
        """
        assert self._motion is not None
        start = np.array(self.arm.state(STATE_AGE_S).position)
        way = np.subtract(position, start)
        speed = GENTLE_RAD_S * self.safety.speed_factor
        # A motion that begins and ends at rest is twice as fast in its middle.
        takes_s = max(2 * float(np.abs(way).max()) / speed, 0.5)
        share = np.linspace(0, 1, NUM_PLACES)
        places = start + (share**2 * (3 - 2 * share))[:, None] * way
        begins_s = time.monotonic()
        self.arm.send(Chunk(0, begins_s, takes_s / (NUM_PLACES - 1), places, source="start"))
        while np.abs(np.subtract(self.arm.outcome()["sent"], position)).max() > THERE_RAD:
            self.arm.check_running()
            if time.monotonic() > begins_s + takes_s + PATIENCE_S:
                raise HardwareError(
                    f"'{self.spec.name}' does not come to where it starts; "
                    f"{text_of(self.arm.outcome()['reason']) or 'something is in its way'}. Push "
                    "it nearer by hand, or give another start."
                )
            time.sleep(self.spec.period_s)
        return self._motion.begin()

    def go(
        self,
        target_m: Float[np.ndarray, " 3"],
        opening: float | None,
        rotation: Float[np.ndarray, " 4"] | None = None,
    ) -> StepRecord:
        """Move the tool's target, wait until the step is over, and return what became of it."""
        assert self._motion is not None
        begun = time.monotonic()
        try:
            self._motion.go(target_m, opening, rotation)
            self._motion.wait()
        except SafetyStop:
            # What stopped it is in the record, and `why_stopped` says it.
            time.sleep(self.spec.period_s)
        self._num_outcomes, outcomes = self.arm.outcomes_since(self._num_outcomes)
        measured = self.arm.state(STATE_AGE_S).position
        self._last = record_step(outcomes, measured, self._last, time.monotonic() - begun)
        return self._last

    def set_deadman(self, *, held: bool) -> None:
        """Say whether a person holds the button; may be called from any thread."""
        if self._arm is not None:
            self._arm.set_deadman(held=held)

    def unless_held(self, target_m: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 3"]:
        """Return a target of the tool, or where it is if the arm was held for want of the button.

        What a person asked for before they let go is forgotten: pressed again, the button lets
        the arm go on from where it stands.
        """
        assert self._motion is not None
        now = text_of(self.arm.outcome()["filter"])
        if "deadman" in (now, self._last.filter if self._last is not None else ""):
            return self._motion.begin()
        return target_m

    def set_speed(self, factor: float, step_s: float) -> None:
        """Use this share of the greatest speeds, and let a step take so long [s]."""
        self.safety, self.step_s = replace(self.safety, speed_factor=factor), step_s
        self._forecast.config = self.safety
        if self._arm is not None and self._motion is not None:
            self._arm.set_speed(factor)
            self._motion.period_s = step_s

    @property
    def planned(self) -> Joints:
        """Where the joints will be after the last step [rad]."""
        assert self._motion is not None
        return self._motion.planned[0]

    def look_ahead(
        self,
        targets_m: Float[np.ndarray, "K 3"],
        rotation: Float[np.ndarray, "*rows 4"] | None = None,
    ) -> Way:
        """Return how the joints would follow places of the tool, one a step, from where it is.

        Args:
            targets_m: Where the tool goes [m].
            rotation: How it is turned, all the way or at each place; None as it is now.
        """
        assert self._motion is not None
        start, turned = self._motion.planned
        turned = turned if rotation is None else rotation
        return self._forecast.follow(start, turned, targets_m, self.step_s)

    def why_stopped(self) -> str:
        """Return why the arm was stopped; empty while it runs."""
        outcome = self.arm.outcome()
        if phase_of(outcome) is not Phase.STOPPED:
            return ""
        return text_of(outcome["reason"])

    def close(self) -> None:
        """Brake and end the loop; may be called twice."""
        if self._arm is not None:
            self._arm.close()

    def _is_still(self) -> bool:
        return bool(np.abs(self.arm.state(STATE_AGE_S).velocity).max() < STILL_RAD_S)

    def _wait(self, is_done: Callable[[], bool], what: str) -> None:
        def describe() -> str:
            reason = self.why_stopped()
            return f"The arm {what}{': ' if reason else ''}{reason}."

        def is_over() -> bool:
            # A loop that is gone never answers.
            self.arm.check_alive()
            return is_done()

        wait_until(is_over, describe)


def wait_until(is_done: Callable[[], bool], describe: Callable[[], str]) -> None:
    """Wait until something is so.

    Raises:
        HardwareError: It is not within `PATIENCE_S`; `describe` says what.
    """
    deadline = time.monotonic() + PATIENCE_S
    while not is_done():
        if time.monotonic() > deadline:
            raise HardwareError(describe())
        time.sleep(0.005)


class Supervised:
    """What environments share in which a supervised arm acts, and cameras watch it."""

    arm_spec: ArmSpec
    _safety: SafetyConfig
    _rig: ArmRig | None
    _eyes: ArmCameras | None

    @property
    def safety(self) -> SafetyConfig:
        """What the arm is kept to now."""
        return self._safety

    @property
    def recorded(self) -> dict[str, Any]:
        """What is kept with every episode: the arm, its limits, and which of them are off."""
        return {"arm": self.arm_spec.name, "safety": to_dict(self._safety)}

    @property
    def eyes(self) -> ArmCameras | None:
        """The cameras, once they are open."""
        return self._eyes

    def set_deadman(self, *, held: bool) -> None:
        """Say whether a person holds the button; may be called from any thread."""
        if self._rig is not None:
            self._rig.set_deadman(held=held)

    def stop(self, reason: str) -> None:
        """Stop the arm; it stays so until the next reset. May be called from any thread."""
        if self._rig is not None:
            self._rig.rest(reason)

    def _look(self) -> dict[str, np.ndarray]:
        """Look through the cameras; an arm that nobody sees is stopped."""
        return {} if self.eyes is None else self.eyes.watch(self.stop)

    def _is_stopped(self, info: dict[str, Any]) -> bool:
        """Return whether the arm was stopped, and why in `info`."""
        assert self._rig is not None
        stopped = self._rig.why_stopped()
        if stopped:
            info["stopped"] = stopped
        return bool(stopped)
