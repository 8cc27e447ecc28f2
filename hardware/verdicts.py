"""What the supervisor says of a command, and what it remembers from one to the next."""

from dataclasses import dataclass, replace
from enum import StrEnum

from robopref.hardware.motion import Motion
from robopref.hardware.types import ArmCommand, Joints, StopLevel


class Decision(StrEnum):
    """What a filter does with a command."""

    CLAMP = "clamp"
    HOLD = "hold"
    STOP = "stop"


class Phase(StrEnum):
    """What the supervisor lets an arm do."""

    IDLE = "idle"
    """Nothing is sent until `arm`."""
    RUNNING = "running"
    STOPPED = "stopped"
    """Latched: nothing but a person's acknowledgement leads out of it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one filter did with a command.

    Args:
        filter: Its name.
        decision: What it did.
        reason: Why, in words.
    """

    filter: str
    decision: Decision
    reason: str


@dataclass(frozen=True, slots=True)
class SentCommand:
    """What became of a command.

    Args:
        asked: The command; None where none came.
        sent: What goes to the arm; None where the driver has to stop by itself.
        verdicts: What was changed and why; empty where it passed as it was.
        time_s: When [s, monotonic clock].
        stop: How the driver is to stop the arm; None while it runs.
    """

    asked: ArmCommand | None
    sent: ArmCommand | None
    verdicts: tuple[Verdict, ...]
    time_s: float
    stop: StopLevel | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """A stop that lasts until it is acknowledged.

    Args:
        verdict: What stopped the arm.
        level: How.
        time_s: When [s, monotonic clock].
    """

    verdict: Verdict
    level: StopLevel
    time_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What the supervisor knows from the steps before; made by `Supervisor.arm`.

    Args:
        phase: What the arm may do.
        motion: What was sent last; None while idle.
        low: Lowest positions that may be sent [rad], (J,).
        high: Highest.
        allowance_m: How far outside each constraint of the workspace the arm may be; 0 except
            after a stop outside, from where it may only come back in.
        speed_factor: Share of the greatest speeds that may be used.
        armed_s: When motion began [s].
        last_valid_s: When the last valid command came [s].
        command: That command.
        is_approaching: Whether the first command has not been reached yet.
        deadman_held: Whether a person holds the key.
        clamped_since_s: Since when every command is changed; None where the last one passed.
        effort_since_s: Since when effort and error are high together; None where they are not.
        stopped: The stop; None while there is none.
    """

    phase: Phase = Phase.IDLE
    motion: Motion | None = None
    low: Joints = ()
    high: Joints = ()
    allowance_m: tuple[float, ...] = ()
    speed_factor: float = 0.0
    armed_s: float = 0.0
    last_valid_s: float = 0.0
    command: ArmCommand | None = None
    is_approaching: bool = True
    deadman_held: bool = False
    clamped_since_s: float | None = None
    effort_since_s: float | None = None
    stopped: Stopped | None = None


def latch(memory: Memory, verdict: Verdict, now_s: float, level: StopLevel) -> Memory:
    """Return the memory with a stop; a stop that is there already only becomes stronger."""
    if memory.stopped is not None and memory.stopped.level <= level:
        return memory
    return replace(memory, phase=Phase.STOPPED, stopped=Stopped(verdict, level, now_s))
