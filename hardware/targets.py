"""Where the supervisor lets a motion go, and which motions it refuses.

Shapes: J joints, N configurations, M steps between them, C constraints of `Clearance`.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from robopref.hardware.clearance import Clearance
from robopref.hardware.kinematics import Kinematics, Placed
from robopref.hardware.motion import Brake, Motion
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmCommand, ArmSpec, CommandKind, Joints
from robopref.hardware.verdicts import Decision, Memory, Verdict

ROUNDING = 1e-6
"""What is further outside a limit than this [rad, rad/s, m, m/s] is outside."""
LOOKAHEAD_S = 0.5
"""A velocity is followed as far as it leads in this time [s]; the next comes long before."""
SHARES = np.linspace(0, 1, 17)[1:]
"""Places of a straight way to a far target at which the workspace is looked at."""
SLOWEST_RAD_S = 1e-3
"""A joint that hardly has to move may still do so at this speed [rad/s]."""
SHARE_OF_TOOL_SPEED = 0.9
"""A far target is approached at this share of the tool's limit: the way is not quite straight."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a command leads within the limits.

    Args:
        target: The motion to arrive with.
        velocity_max: Greatest joint speeds on the way [rad/s], (J,).
        verdicts: What was changed.
    """

    target: Motion
    velocity_max: Joints
    verdicts: tuple[Verdict, ...]


class Targets:
    """The limits of an arm as the supervisor applies them.

    Args:
        spec: The arm.
        config: The limits beside its own.
        kinematics: Where its links are.
    """

    def __init__(self, spec: ArmSpec, config: SafetyConfig, kinematics: Kinematics) -> None:
        self.spec, self.config, self._kinematics = spec, config, kinematics
        self.clearance = Clearance(config, kinematics)
        margin = config.joint_margin_rad
        self.low = tuple(low + margin for low in spec.position_min_rad)
        self.high = tuple(high - margin for high in spec.position_max_rad)

    def bounds_around(self, position: Joints) -> tuple[Joints, Joints, tuple[float, ...]]:
        """Return the joint limits and the allowance of each constraint that hold `position`."""
        low = tuple(map(min, self.low, position))
        high = tuple(map(max, self.high, position))
        return low, high, tuple(self.clearance.lacks_at(np.array([position]))[0].tolist())

    def is_outside(self, memory: Memory) -> bool:
        """Return whether the arm may be outside a limit, after a stop there."""
        return memory.low != self.low or memory.high != self.high or any(memory.allowance_m)

    def shrink(self, memory: Memory) -> Memory:
        """Return the memory with bounds as narrow as where the arm came back to allows."""
        if not self.is_outside(memory) or memory.motion is None:
            return memory
        low, high, allowance = self.bounds_around(memory.motion.position)
        return replace(
            memory,
            low=tuple(map(max, memory.low, low)),
            high=tuple(map(min, memory.high, high)),
            allowance_m=tuple(map(min, memory.allowance_m, allowance)),
        )

    def aim(self, memory: Memory, command: ArmCommand) -> Aim:
        """Return where a command leads: joint limits, speeds, and the approach of a first one."""
        assert memory.motion is not None
        motion, verdicts = memory.motion, []
        target = _target_of(command, motion)
        position = tuple(map(min, map(max, target.position, memory.low), memory.high))
        if position != target.position:
            verdicts.append(_clamp("joint-limits", "a joint would pass its limit"))
            target = Motion.at_rest(position)
        factor = memory.speed_factor
        distance = float(max(map(abs, map(operator.sub, position, motion.position))))
        if self._is_slow(memory, distance):
            factor *= self.config.gate_speed
            verdicts.append(_clamp("first-command", f"{distance:.3f} rad away: it comes slowly"))
            target = Motion.at_rest(position)
        limits = tuple([v * factor for v in self.spec.velocity_max_rad_s])
        if command.kind is CommandKind.JOINT_VELOCITY:
            asked = (max(abs(v), SLOWEST_RAD_S) for v in command.value)
            limits = tuple(map(min, limits, asked))
        return Aim(target, limits, tuple(verdicts))

    def slow_down(self, memory: Memory, aim: Aim) -> Aim:
        """Return the aim for a target further than one period, at what the tool's speed allows."""
        assert memory.motion is not None
        way = tuple(map(operator.sub, aim.target.position, memory.motion.position))
        rate = self._greatest_rate(memory, way)
        asked = [max(abs(w) * rate, SLOWEST_RAD_S) for w in way]
        limits = tuple(map(min, aim.velocity_max, asked))
        if limits == aim.velocity_max:
            return aim
        return Aim(Motion.at_rest(aim.target.position), limits, aim.verdicts)

    def pull_inside(self, memory: Memory, aim: Aim, problem: Verdict) -> Aim:
        """Return the aim for the last place on the straight way without the problem."""
        assert memory.motion is not None
        start = np.array(memory.motion.position)
        way = np.subtract(aim.target.position, start)
        if problem.filter == "workspace":
            share = self._share_in_space(memory, start, way)
        else:
            assert self.clearance.itself is not None
            share = self.clearance.itself.clear_share(start, way)
        return replace(aim, target=Motion.at_rest(tuple((start + way * share).tolist())))

    def refuse(self, memory: Memory, planned: Motion, brake: Brake) -> Verdict | None:
        """Return why a motion, or the stop behind it, cannot be let go; None where it can."""
        assert memory.motion is not None
        factor = memory.speed_factor
        for name, speed, limit in zip(
            self.spec.joint_names, planned.velocity, self.spec.velocity_max_rad_s, strict=True
        ):
            if abs(speed) > limit * factor + ROUNDING:
                return _clamp("speed", f"'{name}' is faster than its limit is now: it brakes")
        bounds = zip(memory.low, self.low, memory.high, self.high, strict=True)
        ways = zip(planned.position, brake.low, brake.high, strict=True)
        for name, bound, (place, lowest, highest) in zip(
            self.spec.joint_names, bounds, ways, strict=True
        ):
            least, low, most, high = bound
            # From outside, the stop may not lead further out than where it begins either.
            least, most = max(least, min(low, place)), min(most, max(high, place))
            if min(lowest, place) < least - ROUNDING or max(highest, place) > most + ROUNDING:
                return _clamp("joint-limits", f"'{name}' could not stop within its limit")
        way = np.array([memory.motion.position, planned.position, *brake.positions])
        placed = self._kinematics.place(way)
        allowed = np.array(memory.allowance_m)
        return self._refuse_place(way, placed, allowed) or self._refuse_speed(placed, factor)

    def _refuse_place(
        self, way: Float[np.ndarray, "N J"], placed: Placed, allowed: Float[np.ndarray, " C"]
    ) -> Verdict | None:
        if self.clearance.is_clear(way, placed.points_m):
            return None
        lacks = self.clearance.lacks_m(way, placed.points_m)
        before, after = lacks[:-1], lacks[1:]
        # Inside, it stays inside; from outside it comes in and never further out. What is rounded
        # counts once, not at every step.
        is_further = (after > allowed + ROUNDING) & (after > before)
        is_deeper = (is_further | (after > before + ROUNDING)).any(axis=0)
        if is_deeper[: self.clearance.num_in_space].any():
            return _clamp("workspace", "a link could not stop within its workspace")
        if is_deeper.any():
            return _clamp("self-collision", "a link could not stop before it meets another")
        return None

    def _refuse_speed(self, placed: Placed, factor: float) -> Verdict | None:
        if not self.config.has("tool-speed"):
            return None
        speed, rotation = _greatest_speeds(placed, self.spec.period_s)
        if speed > self.config.tool_speed_m_s * factor + ROUNDING:
            return _clamp("tool-speed", f"the tool would move at {speed:.3f} m/s")
        if rotation > self.config.tool_rotation_rad_s * factor + ROUNDING:
            return _clamp("tool-speed", f"the tool would turn at {rotation:.3f} rad/s")
        return None

    def _is_slow(self, memory: Memory, distance: float) -> bool:
        if self.is_outside(memory):
            return True
        is_far = memory.is_approaching and distance > self.config.gate_rad
        return is_far and self.config.has("first-command")

    def _share_in_space(
        self, memory: Memory, start: Float[np.ndarray, " J"], way: Float[np.ndarray, " J"]
    ) -> float:
        """Return how much of a straight way keeps to the workspace."""
        places = start + SHARES[:, None] * way
        allowed = np.array(memory.allowance_m[: self.clearance.num_in_space])
        is_out = (self.clearance.lacks_in_space(places) > allowed).any(axis=1)
        first = int(is_out.argmax()) if is_out.any() else len(SHARES)
        return float(SHARES[first - 1]) if first else 0.0

    def _greatest_rate(self, memory: Memory, way: Joints) -> float:
        """Return at how many times its length a second the way may be gone [1/s]."""
        if not self.config.has("tool-speed") or memory.motion is None:
            return np.inf
        moved = self._kinematics.tool_jacobian(memory.motion.position).dot(way)
        share = SHARE_OF_TOOL_SPEED * memory.speed_factor
        rates = (
            share * self.config.tool_speed_m_s / max(_length(moved[:3]), 1e-9),
            share * self.config.tool_rotation_rad_s / max(_length(moved[3:]), 1e-9),
        )
        return min(rates)


def tool_speeds(
    placed: Placed, period_s: float
) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Return the tool's speed [m/s] and rotation [rad/s] from one configuration to the next."""
    moved, turned = _squared_steps(placed)
    # A quaternion and its negative are one rotation; the chord is exact for small angles too.
    chord = np.sqrt(np.where(turned > 2, 4 - turned, turned))
    return np.sqrt(moved) / period_s, 4 / period_s * np.arcsin(np.minimum(chord / 2, 1))


def _greatest_speeds(placed: Placed, period_s: float) -> tuple[float, float]:
    """Return the greatest of `tool_speeds`, in less time."""
    moved, turned = (max(squares.tolist()) for squares in _squared_steps(placed))
    if turned > 2:
        speed, rotation = tool_speeds(placed, period_s)
        return float(speed.max()), float(rotation.max())
    return math.sqrt(moved) / period_s, 4 / period_s * math.asin(math.sqrt(turned) / 2)


def _squared_steps(placed: Placed) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Return the squares of how far the tool moves, and of the chord between its quaternions."""
    place, rotation = placed.tool_m, placed.rotation
    moved, turned = place[1:] - place[:-1], rotation[1:] - rotation[:-1]
    return np.einsum("nd,nd->n", moved, moved), np.einsum("nd,nd->n", turned, turned)


def _target_of(command: ArmCommand, motion: Motion) -> Motion:
    if command.kind is CommandKind.JOINT_VELOCITY:
        return Motion.at_rest(_ahead(motion.position, command.value))
    rest = (0.0,) * len(command.value)
    return Motion(command.value, command.velocity or rest, command.acceleration or rest)


def _ahead(position: Joints, velocity: Sequence[float]) -> Joints:
    return tuple(p + LOOKAHEAD_S * v for p, v in zip(position, velocity, strict=True))


def _length(vector: Float[np.ndarray, " 3"]) -> float:
    return math.sqrt(vector.dot(vector))


def _clamp(name: str, reason: str) -> Verdict:
    return Verdict(name, Decision.CLAMP, reason)
