"""What passes between a policy, the supervisor and an arm: plain frozen data, in SI units.

Shapes: J joints.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path

Joints = tuple[float, ...]
"""One number a joint, in the order of `ArmSpec.joint_names`."""


class ArmMode(StrEnum):
    """What a controller says of itself."""

    DISCONNECTED = "disconnected"
    IDLE = "idle"
    READY = "ready"
    SERVO = "servo"
    FREEDRIVE = "freedrive"
    PROTECTIVE_STOP = "protective stop"
    ESTOP = "emergency stop"
    FAULT = "fault"


class CommandKind(StrEnum):
    """What a command's value means."""

    JOINT_POSITION = "joint position"
    JOINT_VELOCITY = "joint velocity"
    POSE = "pose"
    TWIST = "twist"
    HOLD = "hold"


class StopLevel(IntEnum):
    """How an arm is stopped, after the stop categories of IEC 60204-1."""

    IMMEDIATE = 0
    """By the vendor's emergency call; power may go at once."""
    CONTROLLED = 1
    """Decelerate, then leave the servo mode."""
    HOLD = 2
    """Decelerate and stay where it is, powered."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a controller reports as wrong.

    Args:
        code: The vendor's code.
        message: What it means, and what to do.
    """

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ArmSpec:
    """An arm, as its maker describes it.

    Args:
        name: Its name.
        joint_names: J names.
        position_min_rad: Lower joint limits, (J,).
        position_max_rad: Upper joint limits, (J,).
        velocity_max_rad_s: Greatest joint speeds, (J,).
        acceleration_max_rad_s2: Greatest joint accelerations, (J,).
        jerk_max_rad_s3: Greatest changes of acceleration, (J,).
        effort_max_nm: Greatest joint torques, (J,); empty where the driver reports none.
        rest_rad: Where it stands clear of itself and of a table, (J,).
        rate_hz: Commands a second that the controller takes.
        model: Its MJCF or URDF file.
        tool: Body or site of the model that is the tool's frame.
        kinds: Commands that the driver takes.
        native: Limits that the controller itself can keep, such as "watchdog" and "workspace".

    Raises:
        ValueError: A limit has another length than there are joints, or is not above 0, or the
            positions look like degrees.
    """

    name: str
    joint_names: tuple[str, ...]
    position_min_rad: Joints
    position_max_rad: Joints
    velocity_max_rad_s: Joints
    acceleration_max_rad_s2: Joints
    jerk_max_rad_s3: Joints
    rest_rad: Joints
    rate_hz: float
    model: Path
    tool: str
    effort_max_nm: Joints = ()
    kinds: frozenset[CommandKind] = frozenset({CommandKind.JOINT_POSITION})
    native: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Check lengths, signs and units."""
        num = len(self.joint_names)
        for what in _LIMITS:
            values = getattr(self, what)
            if len(values) != num and not (what == "effort_max_nm" and not values):
                raise ValueError(f"`{what}` of '{self.name}' has {len(values)} of {num} joints.")
            if what.split("_")[0] not in ("position", "rest") and not all(v > 0 for v in values):
                raise ValueError(f"`{what}` of '{self.name}' must be above 0, got {values}.")
        for joint, low, high in zip(
            self.joint_names, self.position_min_rad, self.position_max_rad, strict=True
        ):
            if not low < high:
                raise ValueError(
                    f"Joint '{joint}' of '{self.name}' has limits {low} to {high} rad; the first "
                    "must be below the second."
                )
            if max(abs(low), abs(high)) > MOST_TURNS_RAD:
                raise ValueError(
                    f"Joint '{joint}' of '{self.name}' has limits {low} to {high} rad, more than "
                    "two turns: these look like degrees. Give radians."
                )
        if not self.rate_hz > 0:
            raise ValueError(f"`rate_hz` of '{self.name}' must be above 0, got {self.rate_hz}.")

    @property
    def num_joints(self) -> int:
        """How many joints there are."""
        return len(self.joint_names)

    @property
    def period_s(self) -> float:
        """Time between two commands [s]."""
        return 1.0 / self.rate_hz


MOST_TURNS_RAD = 12.6
"""No arm's joint turns further than twice around either way [rad]."""
_LIMITS = (
    "position_min_rad", "position_max_rad", "velocity_max_rad_s", "acceleration_max_rad_s2",
    "jerk_max_rad_s3", "effort_max_nm", "rest_rad",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArmState:
    """What a driver read last.

    Args:
        time_s: When it was measured [s, monotonic clock].
        position: Joint positions [rad], (J,).
        velocity: Joint velocities [rad/s], (J,).
        effort: Joint torques or a measure of them [Nm], (J,); empty where there is none.
        mode: What the controller says of itself.
        gripper: Opening between 0 (closed) and 1 (open); None without a gripper.
        faults: What is wrong.
    """

    time_s: float
    position: Joints
    velocity: Joints
    mode: ArmMode
    effort: Joints = ()
    gripper: float | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True, slots=True)
class ArmCommand:
    """What an arm is asked to do in the next period.

    Args:
        kind: What `value` means.
        value: Joint positions [rad] or velocities [rad/s], a pose (position [m], quaternion
            wxyz), a twist [m/s, rad/s]; empty for a hold.
        issued_s: When it was made [s, monotonic clock].
        valid_until_s: After this it must not be executed [s, monotonic clock].
        velocity: With joint positions: how the motion goes on there [rad/s]; empty for rest.
        acceleration: With joint positions: alike [rad/s^2].
        gripper: Opening between 0 (closed) and 1 (open); None leaves it.
        source: Who asks: a policy's run, a person.
        chunk: Number of the action chunk that it is part of.
        step: Its place in the chunk.
    """

    kind: CommandKind
    value: Joints
    issued_s: float
    valid_until_s: float
    velocity: Joints = ()
    acceleration: Joints = ()
    gripper: float | None = None
    source: str = ""
    chunk: int = -1
    step: int = -1


@dataclass(frozen=True, slots=True)
class OperatorAck:
    """A person's word that the arm may move again.

    Args:
        user: Who.
        reason: What was found and done.
        time_s: When [s, monotonic clock].

    Raises:
        ValueError: There is no name.
    """

    user: str
    reason: str
    time_s: float

    def __post_init__(self) -> None:
        """Check that somebody takes responsibility."""
        if not self.user.strip():
            raise ValueError("An acknowledgement needs the operator's name.")
