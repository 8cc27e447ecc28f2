"""Where the supervisor lets a motion go, and which motions it refuses.

Shapes: J joints, N configurations, M steps between them, C constraints of the workspace.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

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
        self._workspace = config.workspace if config.has("workspace") else None
        margin = config.joint_margin_rad
        self.low = tuple(low + margin for low in spec.position_min_rad)
        self.high = tuple(high - margin for high in spec.position_max_rad)

    def bounds_around(self, position: Joints) -> tuple[Joints, Joints, tuple[float, ...]]:
        """Return the joint limits and the allowance of each constraint that hold `position`."""
        low = tuple(map(min, self.low, position))
        high = tuple(map(max, self.high, position))
        if self._workspace is None:
            return low, high, ()
        margins = self._workspace.margins_m(self._kinematics.place([position]).points_m)[0]
        return low, high, tuple(float(max(0.0, -margin)) for margin in margins)

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
        position = tuple(np.clip(target.position, memory.low, memory.high).tolist())
        if position != target.position:
            verdicts.append(_clamp("joint-limits", "a joint would pass its limit"))
            target = Motion.at_rest(position)
        factor = memory.speed_factor
        distance = float(np.abs(np.subtract(position, motion.position)).max())
        if self._is_slow(memory, distance):
            factor *= self.config.gate_speed
            verdicts.append(_clamp("first-command", f"{distance:.3f} rad away: it comes slowly"))
            target = Motion.at_rest(position)
        limits = tuple(v * factor for v in self.spec.velocity_max_rad_s)
        if command.kind is CommandKind.JOINT_VELOCITY:
            asked = (max(abs(v), SLOWEST_RAD_S) for v in command.value)
            limits = tuple(map(min, limits, asked))
        return Aim(target, limits, tuple(verdicts))

    def slow_down(self, memory: Memory, aim: Aim) -> Aim:
        """Return the aim for a target further than one period, at what the tool's speed allows."""
        assert memory.motion is not None
        way = np.subtract(aim.target.position, memory.motion.position)
        rate = self._greatest_rate(memory, way)
        limits = tuple(
            min(v, max(abs(w) * rate, SLOWEST_RAD_S))
            for v, w in zip(aim.velocity_max, way.tolist(), strict=True)
        )
        if limits == aim.velocity_max:
            return aim
        return Aim(Motion.at_rest(aim.target.position), limits, aim.verdicts)

    def pull_inside(self, memory: Memory, aim: Aim) -> Aim:
        """Return the aim for the last place inside the workspace on the straight way."""
        assert memory.motion is not None
        start = np.array(memory.motion.position)
        way = np.subtract(aim.target.position, start) * self._share_inside(memory, aim.target)
        return replace(aim, target=Motion.at_rest(tuple((start + way).tolist())))

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
        way = np.concatenate([[memory.motion.position, planned.position], brake.positions])
        return self._refuse_way(memory, self._kinematics.place(way), factor)

    def _refuse_way(self, memory: Memory, placed: Placed, factor: float) -> Verdict | None:
        if self._workspace is not None:
            outside = np.minimum(self._workspace.margins_m(placed.points_m), 0.0)
            # Inside, it stays inside; from outside it comes in and never further out.
            if (outside[1:] < outside[:-1] - ROUNDING).any():
                return _clamp("workspace", "a link could not stop within its workspace")
        if self.config.has("tool-speed"):
            speed, rotation = tool_speeds(placed, self.spec.period_s)
            if speed.max() > self.config.tool_speed_m_s * factor + ROUNDING:
                return _clamp("tool-speed", f"the tool would move at {speed.max():.3f} m/s")
            if rotation.max() > self.config.tool_rotation_rad_s * factor + ROUNDING:
                return _clamp("tool-speed", f"the tool would turn at {rotation.max():.3f} rad/s")
        return None

    def _is_slow(self, memory: Memory, distance: float) -> bool:
        if self.is_outside(memory):
            return True
        is_far = memory.is_approaching and distance > self.config.gate_rad
        return is_far and self.config.has("first-command")

    def _share_inside(self, memory: Memory, target: Motion) -> float:
        """Return how much of the straight way to a target keeps to the workspace."""
        if self._workspace is None or memory.motion is None:
            return 1.0
        start = np.array(memory.motion.position)
        places = start + SHARES[:, None] * np.subtract(target.position, start)
        margins = self._workspace.margins_m(self._kinematics.place(places).points_m)
        is_out = (margins < -np.array(memory.allowance_m)).any(axis=1)
        first = int(is_out.argmax()) if is_out.any() else len(SHARES)
        return float(SHARES[first - 1]) if first else 0.0

    def _greatest_rate(self, memory: Memory, way: Float[np.ndarray, " J"]) -> float:
        """Return at how many times its length a second the way may be gone [1/s]."""
        if not self.config.has("tool-speed") or memory.motion is None:
            return np.inf
        moved = self._kinematics.tool_jacobian(memory.motion.position) @ way
        share = SHARE_OF_TOOL_SPEED * memory.speed_factor
        rates = (
            share * self.config.tool_speed_m_s / max(float(np.linalg.norm(moved[:3])), 1e-9),
            share * self.config.tool_rotation_rad_s / max(float(np.linalg.norm(moved[3:])), 1e-9),
        )
        return min(rates)


def tool_speeds(
    placed: Placed, period_s: float
) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"]]:
    """Return the tool's speed [m/s] and rotation [rad/s] from one configuration to the next."""
    moved = placed.tool_m[1:] - placed.tool_m[:-1]
    first, second = placed.rotation[:-1], placed.rotation[1:]
    # A quaternion and its negative are one rotation; the chord is exact for small angles too.
    turned = first - second * np.sign(np.einsum("nd,nd->n", first, second))[:, None]
    chord = np.sqrt(np.einsum("nd,nd->n", turned, turned))
    speed = np.sqrt(np.einsum("nd,nd->n", moved, moved)) / period_s
    return speed, 4 / period_s * np.arcsin(np.minimum(chord / 2, 1))


def _target_of(command: ArmCommand, motion: Motion) -> Motion:
    if command.kind is CommandKind.JOINT_VELOCITY:
        return Motion.at_rest(_ahead(motion.position, command.value))
    rest = (0.0,) * len(command.value)
    return Motion(command.value, command.velocity or rest, command.acceleration or rest)


def _ahead(position: Joints, velocity: Sequence[float]) -> Joints:
    return tuple(p + LOOKAHEAD_S * v for p, v in zip(position, velocity, strict=True))


def _clamp(name: str, reason: str) -> Verdict:
    return Verdict(name, Decision.CLAMP, reason)
