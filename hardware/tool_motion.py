"""From where a policy wants the tool, one step after the other, to chunks for the control loop.

A policy's step says where the tool should be at the next one. Each is carried out one step later
than it is asked for, so that there is always a next place to go to and the arm does not stop
between two steps, however long the policy thinks within one.

Shapes: J joints.
"""

import time

import numpy as np
from jaxtyping import Float

from robopref.errors import check_above
from robopref.hardware.arm_process import ArmProcess
from robopref.hardware.chunks import Chunk
from robopref.hardware.inverse import InverseKinematics
from robopref.hardware.kinematics import Kinematics
from robopref.hardware.records import phase_of, text_of
from robopref.hardware.types import Joints
from robopref.hardware.verdicts import Phase

KEPT = 4
"""Places that a chunk goes through: the last ones, for a smooth curve, and the next one."""

FARTHEST_RAD = 0.2
"""A joint does not go further in a step: near the end of its reach an arm would turn over [rad]."""
BEHIND_RAD = 0.01
"""An arm may be behind its plan by a step and this [rad]."""
PATIENCE_S = 10.0
"""An arm that does not come so far in this time does not come [s]."""


class ToolMotion:
    """Moves the tool of an arm step by step.

    Args:
        arm: The arm.
        kinematics: Where its links are.
        period_s: Time of a policy's step [s].
        margin_rad: Distance kept from the joint limits; more than the supervisor's [rad].
        source: Whose steps they are.
    """

    def __init__(
        self,
        arm: ArmProcess,
        kinematics: Kinematics,
        period_s: float,
        *,
        margin_rad: float = 0.06,
        source: str = "",
    ) -> None:
        check_above("period_s", period_s, 0)
        self.period_s = period_s
        self._arm, self._kinematics, self._source = arm, kinematics, source
        self._inverse = InverseKinematics(arm.spec, kinematics, margin_rad)
        self._number = 0
        self._places: list[Joints] = []
        self._openings: list[float] = []
        self._rotation = np.zeros(4)
        self._next_s = 0.0

    @property
    def planned(self) -> tuple[Joints, Float[np.ndarray, " 4"]]:
        """Where the joints will be after the last step [rad], and how the tool is turned."""
        return self._places[-1], self._rotation

    def begin(self) -> Float[np.ndarray, " 3"]:
        """Start where the arm stands, which is kept turned as it is; return where its tool is."""
        state = self._arm.state()
        placed = self._kinematics.place([state.position])
        self._rotation = placed.rotation[0]
        self._places = [state.position] * (KEPT - 1)
        self._openings = [1.0 if state.gripper is None else state.gripper] * (KEPT - 1)
        self._next_s = time.monotonic()
        found: np.ndarray = placed.tool_m[0]
        return found

    def go(
        self,
        target_m: Float[np.ndarray, " 3"],
        opening: float | None = None,
        rotation: Float[np.ndarray, " 4"] | None = None,
    ) -> None:
        """Ask for the next place of the tool, and for an opening of the gripper.

        Where the tool cannot be there it goes as near as it can.

        Args:
            target_m: Where the tool should be [m].
            opening: Of the gripper; None leaves it.
            rotation: How the tool is turned from now on, as a quaternion wxyz; None leaves it.

        Raises:
            SafetyStop: The arm was stopped.
        """
        last = self._places[-1]
        self._rotation = self._rotation if rotation is None else rotation
        reached = self._inverse.solve(target_m, self._rotation, last)
        way = np.subtract(reached.position, last)
        share = min(1.0, FARTHEST_RAD / max(float(np.abs(way).max()), 1e-12))
        place = tuple((np.array(last) + share * way).tolist())
        self._places = [*self._places[1 - KEPT :], place]
        self._openings = [
            *self._openings[1 - KEPT :], self._openings[-1] if opening is None else opening
        ]  # fmt: skip
        now = time.monotonic()
        # The last place but one is where the arm should be when this step begins.
        begins_s = max(self._next_s, now - self.period_s)
        self._arm.send(
            Chunk(
                self._number, begins_s - (KEPT - 2) * self.period_s + self.period_s, self.period_s,
                np.array(self._places), np.array(self._openings), self._source,
            )
        )  # fmt: skip
        self._number += 1
        self._next_s = begins_s + self.period_s

    def wait(self) -> None:
        """Wait until the next step is due, and the arm is as far as it should be by then.

        An arm that is slower than was planned would be left behind by a policy that goes on.

        Raises:
            HardwareError: The control loop is gone.
        """
        time.sleep(max(0.0, self._next_s - time.monotonic()))
        deadline = self._next_s + PATIENCE_S
        while self._is_behind() and time.monotonic() < deadline:
            self._arm.check_alive()
            time.sleep(self._arm.spec.period_s / 2)
        self._next_s = max(self._next_s, time.monotonic() - self._arm.spec.period_s)

    def _is_behind(self) -> bool:
        outcome = self._arm.outcome()
        if phase_of(outcome) is not Phase.RUNNING or text_of(outcome["filter"]) == "deadman":
            return False
        way = np.subtract(self._places[-2], outcome["sent"])
        return bool(np.abs(way).max() > self._step_rad() + BEHIND_RAD)

    def _step_rad(self) -> float:
        """Return how far the last step goes."""
        return float(np.abs(np.subtract(self._places[-1], self._places[-2])).max())
