"""Whether a state and a command can be believed and acted on: the supervisor's first filters.

Shapes: J joints.
"""

import math
import operator
from dataclasses import replace

import numpy as np

from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import (
    MOST_TURNS_RAD,
    ArmCommand,
    ArmMode,
    ArmSpec,
    ArmState,
    CommandKind,
    Joints,
)
from robopref.hardware.verdicts import Decision, Memory, Verdict

UNDERSTOOD = frozenset({CommandKind.JOINT_POSITION, CommandKind.JOINT_VELOCITY, CommandKind.HOLD})
"""Commands that reach the supervisor; poses and twists are turned into them before."""


def doubt_state(state: ArmState, spec: ArmSpec) -> Verdict | None:
    """Return why a state cannot be believed or the arm not be moved, or None."""
    if not _is_of(state.position, spec) or not _is_of(state.velocity, spec):
        return _stop(
            "finite",
            f"the arm's state must be of {spec.num_joints} finite positions and velocities, got "
            f"{state.position} and {state.velocity}",
        )
    if max(map(abs, state.position), default=0.0) > MOST_TURNS_RAD:
        return _stop("finite", f"reported positions {state.position} are no radians of this arm")
    if not math.isfinite(state.time_s):
        return _stop("finite", "the arm's state has no time")
    if state.faults:
        faults = "; ".join(f"{fault.code}: {fault.message}" for fault in state.faults)
        return _stop("mode", f"the controller reports {faults}")
    if state.mode is not ArmMode.SERVO:
        return _stop("mode", f"the controller is in the mode '{state.mode}', not 'servo'")
    return None


def doubt_command(command: ArmCommand, spec: ArmSpec) -> Verdict | None:
    """Return why a command makes no sense, or None."""
    if command.kind not in UNDERSTOOD:
        return _stop("finite", f"a command of the kind '{command.kind}' is no joint command")
    if not (math.isfinite(command.issued_s) and math.isfinite(command.valid_until_s)):
        return _stop("finite", "a command has no time")
    if command.gripper is not None and not 0 <= command.gripper <= 1:
        return _stop("finite", f"the gripper was asked for {command.gripper}, not 0 to 1")
    if command.kind is CommandKind.HOLD:
        return None
    for what in ("value", "velocity", "acceleration"):
        values = getattr(command, what)
        if not _is_of(values, spec) and (what == "value" or values):
            return _stop(
                "finite", f"`{what}` of a command is {values}; {spec.num_joints} finite numbers "
                "are needed",
            )  # fmt: skip
    if command.kind is CommandKind.JOINT_POSITION and max(map(abs, command.value)) > MOST_TURNS_RAD:
        return _stop("finite", f"asked positions {command.value} look like degrees, not radians")
    return None


def doubt_freshness(
    memory: Memory, state: ArmState, now_s: float, *, period_s: float, config: SafetyConfig
) -> Verdict | None:
    """Return a stop or hold where state or command are too old, or None."""
    age = now_s - state.time_s
    if age > config.state_age_s:
        return _stop("freshness", f"the arm's state is {1e3 * age:.0f} ms old")
    if age < -config.state_age_s:
        return _stop("freshness", f"the arm's state is of {-1e3 * age:.0f} ms from now")
    silent = now_s - memory.last_valid_s
    if silent > config.watchdog_s:
        return _stop("freshness", f"no valid command came for {1e3 * silent:.0f} ms")
    if silent > config.hold_after_periods * period_s:
        return Verdict(
            "freshness", Decision.HOLD, f"no valid command came for {1e3 * silent:.0f} ms"
        )
    return None


def doubt_tracking(
    memory: Memory, state: ArmState, spec: ArmSpec, config: SafetyConfig
) -> Verdict | None:
    """Return a stop where the arm is not where it was sent, or None."""
    errors = _errors(memory, state)
    greatest = max(errors)
    if greatest <= config.tracking_error_rad:
        return None
    worst = spec.joint_names[errors.index(greatest)]
    return _stop("tracking", f"'{worst}' is {greatest:.3f} rad from where it was sent")


def doubt_course(
    memory: Memory, state: ArmState, now_s: float, *, spec: ArmSpec, config: SafetyConfig
) -> tuple[Memory, Verdict | None]:
    """Return the memory, and what a longer look at the motion says against going on."""
    memory = _watch_effort(memory, state, now_s, spec=spec, config=config)
    if memory.effort_since_s is not None and now_s - memory.effort_since_s > config.effort_s:
        return memory, _stop("effort", "the arm pushes against something")
    since = memory.clamped_since_s
    if config.has("budget") and now_s - memory.armed_s > config.episode_s:
        reason = f"the arm moved for {config.episode_s:g} s without a word"
        return memory, _stop("budget", reason)
    if config.has("budget") and since is not None and now_s - since > config.clamps_s:
        reason = f"every command of the last {config.clamps_s:g} s had to be changed"
        return memory, _stop("budget", reason)
    if config.needs_deadman and config.has("deadman") and not memory.deadman_held:
        return memory, Verdict("deadman", Decision.HOLD, "nobody holds the key")
    return memory, None


def _watch_effort(
    memory: Memory, state: ArmState, now_s: float, *, spec: ArmSpec, config: SafetyConfig
) -> Memory:
    limits = spec.effort_max_nm
    if not (config.has("effort") and limits and len(state.effort) == len(limits)):
        return memory
    share = np.abs(np.divide(state.effort, limits))
    # What is not a number is as bad as too much.
    is_off = np.greater(_errors(memory, state), config.effort_error_rad)
    is_high = ~(share <= config.effort_share) & is_off
    since = now_s if memory.effort_since_s is None else memory.effort_since_s
    return replace(memory, effort_since_s=since if is_high.any() else None)


def _errors(memory: Memory, state: ArmState) -> Joints:
    assert memory.motion is not None
    return tuple(map(abs, map(operator.sub, state.position, memory.motion.position)))


def _is_of(values: Joints, spec: ArmSpec) -> bool:
    return len(values) == spec.num_joints and all(map(math.isfinite, values))


def _stop(name: str, reason: str) -> Verdict:
    return Verdict(name, Decision.STOP, reason)
