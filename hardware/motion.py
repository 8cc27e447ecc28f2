"""Jerk-limited motion from one moment to the next, by Ruckig.

All joints move as fast as their limits allow and arrive together; a brake stops each as fast as it
can. Between two commands the motion is continuous in acceleration, so that the differences of what
is sent keep within the limits of velocity, acceleration and jerk as well.

Shapes: J joints.

References:
    [1] Berscheid & Kröger, Jerk-limited real-time trajectory generation with arbitrary target
        states, RSS 2021, arXiv:2105.04830.
"""

import math
from dataclasses import dataclass

from robopref.errors import HardwareError
from robopref.hardware.types import ArmSpec, Joints
from robopref.registry import import_extra

SURE_RAD = 1e-9
"""What is reached within a period is known to less than this [rad]."""


@dataclass(frozen=True, slots=True)
class Motion:
    """Where the joints are and how they move.

    Args:
        position: [rad], (J,).
        velocity: [rad/s], (J,).
        acceleration: [rad/s^2], (J,).
    """

    position: Joints
    velocity: Joints
    acceleration: Joints

    @classmethod
    def at_rest(cls, position: Joints) -> "Motion":
        """Return a motion that stands still."""
        return cls(position, (0.0,) * len(position), (0.0,) * len(position))

    @property
    def stands_still(self) -> bool:
        """Whether nothing moves, exactly."""
        return not (any(self.velocity) or any(self.acceleration))

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing moves any more."""
        return max(map(abs, (*self.velocity, *self.acceleration)), default=0.0) < 1e-6


@dataclass(frozen=True, eq=False, slots=True)
class Brake:
    """The fastest stop from a motion.

    Args:
        positions: At the end of each period until all joints rest, N times (J,).
        next: The motion after one period.
        low: Lowest position of each joint on the way, (J,).
        high: Highest, (J,).
    """

    positions: tuple[Joints, ...]
    next: Motion
    low: Joints
    high: Joints


class Planner:
    """Plans within an arm's limits of velocity, acceleration and jerk.

    Args:
        spec: The arm.
        period_s: Time between two commands [s].

    Raises:
        MissingExtraError: Ruckig is not installed.
    """

    def __init__(self, spec: ArmSpec, period_s: float) -> None:
        self._ruckig = import_extra("ruckig", purpose="Moving an arm", extra="arm")
        num = spec.num_joints
        self.spec, self.period_s = spec, period_s
        self._generator = self._ruckig.Ruckig(num, period_s)
        self._trajectory = self._ruckig.Trajectory(num)
        self._move, self._stop = (self._ruckig.InputParameter(num) for _ in range(2))
        for problem in (self._move, self._stop):
            problem.max_velocity = list(spec.velocity_max_rad_s)
            problem.max_acceleration = list(spec.acceleration_max_rad_s2)
            problem.max_jerk = list(spec.jerk_max_rad_s3)
        self._stop.control_interface = self._ruckig.ControlInterface.Velocity
        self._stop.synchronization = self._ruckig.Synchronization.No
        self._stop.target_velocity = self._stop.target_acceleration = [0.0] * num
        # A target may be reached in the very period that it is asked for, but not before its end.
        self._move.minimum_duration = period_s

    def towards(self, motion: Motion, target: Motion, velocity_max: Joints) -> Motion | None:
        """Return the motion after one period on the fastest way to `target`; None without a way.

        A target that can be reached within the period is returned as it is.

        Args:
            motion: Where it starts.
            target: Where it goes, and how it goes on there.
            velocity_max: Greatest joint speeds [rad/s], (J,).
        """
        problem = self._move
        _start(problem, motion)
        problem.max_velocity = list(velocity_max)
        problem.target_position = list(target.position)
        problem.target_velocity = list(target.velocity)
        problem.target_acceleration = list(target.acceleration)
        if not self._solve(problem):
            return None
        if self._trajectory.duration <= self.period_s * (1 + 1e-9):
            return target
        return Motion(*map(tuple, self._trajectory.at_time(self.period_s)))

    def is_beyond(self, motion: Motion, target: Motion) -> bool:
        """Return whether some joint cannot be at `target` within a period, whatever it does."""
        period = self.period_s
        return any(
            abs(end - start) - SURE_RAD
            > period * (abs(speed) + period * (abs(rate) / 2 + period * jerk / 6))
            for start, end, speed, rate, jerk in zip(
                motion.position, target.position, motion.velocity, motion.acceleration,
                self.spec.jerk_max_rad_s3, strict=True,
            )
        )  # fmt: skip

    def brake(self, motion: Motion) -> Brake:
        """Return the fastest stop from `motion`.

        Raises:
            HardwareError: The motion is not one of finite numbers.
        """
        _start(self._stop, motion)
        if not self._solve(self._stop):
            raise HardwareError(f"There is no way to stop from {motion}.")
        trajectory, period = self._trajectory, self.period_s
        num = math.ceil(trajectory.duration / period - 1e-9)
        extrema = trajectory.position_extrema
        first = Motion(*map(tuple, trajectory.at_time(period)))
        others = (tuple(trajectory.at_time(period * (k + 1))[0]) for k in range(1, num))
        return Brake(
            (first.position, *others) if num else (),
            first,
            tuple(bound.min for bound in extrema),
            tuple(bound.max for bound in extrema),
        )

    def _solve(self, problem: object) -> bool:
        try:
            result = self._generator.calculate(problem, self._trajectory)
        except self._ruckig.RuckigError:
            # The target is faster than the limits, or not one of numbers.
            return False
        return bool(result in (self._ruckig.Result.Working, self._ruckig.Result.Finished))


def _start(problem: object, motion: Motion) -> None:
    problem.current_position = list(motion.position)  # type: ignore[attr-defined]
    problem.current_velocity = list(motion.velocity)  # type: ignore[attr-defined]
    problem.current_acceleration = list(motion.acceleration)  # type: ignore[attr-defined]
