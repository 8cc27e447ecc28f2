"""Joint positions that put the tool where it should be, by damped least squares.

Of the many ways in which an arm of more than six joints can reach a pose, the one nearest to where
it stands is taken, so that a smooth way of the tool is a smooth way of the joints.

Shapes: J joints.

References:
    [1] Nakamura & Hanafusa, Inverse kinematic solutions with singularity robustness for robot
        manipulator control, J. Dyn. Sys. Meas. Control 1986.
"""

from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float

from robopref.hardware.kinematics import Kinematics
from robopref.hardware.types import ArmSpec, Joints

MAX_ITERATIONS = 50
DAMPING = 1e-3
"""Keeps joints slow near a singularity [m, rad]."""
LONGEST_RAD = 0.2
"""Longest step of a joint in one iteration: the linear picture holds about so far [rad]."""
CLOSE = 1e-5
"""An error of the tool that does not matter [m, rad]."""


@dataclass(frozen=True)
class Reached:
    """Where the joints go for a pose of the tool.

    Args:
        position: [rad], (J,).
        error: How far the tool is from the pose [m, rad]; above `CLOSE` it cannot be reached.
    """

    position: Joints
    error: float

    @property
    def is_there(self) -> bool:
        """Whether the pose can be reached from there."""
        return self.error <= CLOSE


class InverseKinematics:
    """Finds joint positions for poses of an arm's tool.

    Args:
        spec: The arm; its joint limits hold.
        kinematics: Where its links are.
        margin_rad: Distance kept from the joint limits; more than the supervisor's [rad].
    """

    def __init__(self, spec: ArmSpec, kinematics: Kinematics, margin_rad: float) -> None:
        self._kinematics = kinematics
        self._low = np.array(spec.position_min_rad) + margin_rad
        self._high = np.array(spec.position_max_rad) - margin_rad

    def solve(
        self,
        target_m: Float[np.ndarray, " 3"],
        rotation: Float[np.ndarray, " 4"],
        start: Joints,
    ) -> Reached:
        """Return joint positions near `start` with the tool at a pose, or as near as it gets.

        Args:
            target_m: Where the tool should be [m].
            rotation: How it is turned, as a quaternion wxyz.
            start: Where the joints are [rad].
        """
        position = np.array(start)
        best = Reached(start, np.inf)
        for _ in range(MAX_ITERATIONS):
            placed = self._kinematics.place([position.tolist()])
            error = _difference(target_m, rotation, placed.tool_m[0], placed.rotation[0])
            size = float(np.abs(error).max())
            if size < best.error:
                best = Reached(tuple(position.tolist()), size)
            if size <= CLOSE / 10:
                break
            position = self._improve(position, error)
        return best

    def _improve(
        self, position: Float[np.ndarray, " J"], error: Float[np.ndarray, " 6"]
    ) -> Float[np.ndarray, " J"]:
        jacobian = self._kinematics.tool_jacobian(position.tolist())
        step = _damped(jacobian, error)
        for _ in range(len(position)):
            # A joint at its limit stays there, and the others do its part.
            is_stuck = (position + step < self._low) | (position + step > self._high)
            is_stuck &= jacobian.any(axis=0)
            if not is_stuck.any():
                break
            jacobian[:, is_stuck] = 0.0
            step = _damped(jacobian, error)
        step *= min(1.0, LONGEST_RAD / max(float(np.abs(step).max()), 1e-12))
        found: np.ndarray = np.clip(position + step, self._low, self._high)
        return found


def _damped(
    jacobian: Float[np.ndarray, "6 J"], error: Float[np.ndarray, " 6"]
) -> Float[np.ndarray, " J"]:
    square = jacobian @ jacobian.T + DAMPING**2 * np.eye(6)
    found: np.ndarray = jacobian.T @ np.linalg.solve(square, error)
    return found


def _difference(
    target_m: np.ndarray, rotation: np.ndarray, at_m: np.ndarray, turned: np.ndarray
) -> Float[np.ndarray, " 6"]:
    """Return how far and around what the tool has to move."""
    error, inverse, rest = np.empty(6), np.empty(4), np.empty(4)
    error[:3] = target_m - at_m
    mujoco.mju_negQuat(inverse, turned)
    mujoco.mju_mulQuat(rest, rotation, inverse)
    mujoco.mju_quat2Vel(error[3:], rest, 1.0)
    return error
