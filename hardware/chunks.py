"""From chunks of actions at a policy's rate to where the arm should be at any moment.

A policy sees an observation, thinks, and answers with a chunk whose actions are meant for moments
after that observation: by then the first of them have passed. The next chunk comes before the last
one ends, and says something else about the moments that both cover. So actions carry their time,
what has passed is never executed, and an overlap is blended from the one to the other.

Between actions the way is a cubic spline through them, whose velocity and acceleration go with the
command, so that a smooth plan passes the supervisor as it is.

Shapes: Tp actions of a chunk, J joints.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline

from robopref.errors import check_above, check_at_least
from robopref.hardware.types import ArmCommand, CommandKind


@dataclass(frozen=True, eq=False)
class Chunk:
    """Joint positions at times.

    Args:
        number: Counts the chunks of a run.
        start_s: When the first action is meant for [s, monotonic clock].
        period_s: Time between two actions [s].
        positions: [rad], (Tp, J).
        gripper: Opening at each action, (Tp,); None leaves it.
        source: Whose it is.

    Raises:
        ValueError: There is no action, or the period is not above 0.
    """

    number: int
    start_s: float
    period_s: float
    positions: Float[np.ndarray, "Tp J"]
    gripper: Float[np.ndarray, " Tp"] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        """Check that there is something to do."""
        check_at_least("len(positions)", len(self.positions), 1)
        check_above("period_s", self.period_s, 0)

    @property
    def end_s(self) -> float:
        """Time of the last action [s]."""
        return self.start_s + self.period_s * (len(self.positions) - 1)


@dataclass(frozen=True, eq=False)
class _Way:
    """A chunk with the curve through its actions."""

    chunk: Chunk
    curve: CubicSpline | None

    def at(self, time_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return position, velocity and acceleration; before and after the chunk it rests."""
        chunk = self.chunk
        if self.curve is None or not chunk.start_s <= time_s < chunk.end_s:
            place = chunk.positions[0 if time_s < chunk.start_s else -1]
            return place, np.zeros_like(place), np.zeros_like(place)
        return self.curve(time_s), self.curve(time_s, 1), self.curve(time_s, 2)


class ChunkScheduler:
    """Says where the arm should be at any moment.

    Args:
        blend_s: How long a new chunk takes over from the one before [s].
        hold_s: How long after the last action its position is still asked for [s]; then nothing is,
            and the supervisor holds.
    """

    def __init__(self, *, blend_s: float = 0.1, hold_s: float = 0.1) -> None:
        check_at_least("blend_s", blend_s, 0)
        check_at_least("hold_s", hold_s, 0)
        self.blend_s, self.hold_s = blend_s, hold_s
        self._ways: tuple[_Way, ...] = ()
        self._taken_over_s = 0.0

    def add(self, chunk: Chunk, now_s: float) -> None:
        """Let a chunk take over, from now on."""
        current = tuple(way for way in self._ways[-1:] if way.chunk.end_s > now_s)
        self._ways = (*current, _Way(chunk, _curve(chunk)))
        self._taken_over_s = now_s

    def clear(self) -> None:
        """Forget all chunks; nothing is asked until the next one."""
        self._ways = ()

    def command_at(self, now_s: float, valid_s: float) -> ArmCommand | None:
        """Return what is asked for a moment; None where no chunk says anything.

        Args:
            now_s: The moment [s].
            valid_s: How long the command may be executed [s].
        """
        if not self._ways or now_s > self._ways[-1].chunk.end_s + self.hold_s:
            return None
        newest = self._ways[-1]
        place = self._blend(now_s)
        chunk = newest.chunk
        step = int(np.clip((now_s - chunk.start_s) / chunk.period_s, 0, len(chunk.positions) - 1))
        position, velocity, acceleration = (tuple(values.tolist()) for values in place)
        return ArmCommand(
            CommandKind.JOINT_POSITION, position, now_s, now_s + valid_s, velocity, acceleration,
            gripper=None if chunk.gripper is None else float(np.clip(chunk.gripper[step], 0, 1)),
            source=chunk.source, chunk=chunk.number, step=step,
        )  # fmt: skip

    def _blend(self, now_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        new = self._ways[-1].at(now_s)
        passed = now_s - self._taken_over_s
        if len(self._ways) == 1 or passed >= self.blend_s:
            self._ways = self._ways[-1:]
            return new
        old, x = self._ways[0].at(now_s), passed / self.blend_s
        # A quintic from 0 to 1 that begins and ends at rest, with its two derivatives.
        w = x**3 * (10 - 15 * x + 6 * x**2)
        dw = 30 * x**2 * (1 - x) ** 2 / self.blend_s
        ddw = 60 * x * (1 - x) * (1 - 2 * x) / self.blend_s**2
        apart, dapart, ddapart = (n - o for n, o in zip(new, old, strict=True))
        return (
            old[0] + w * apart,
            old[1] + w * dapart + dw * apart,
            old[2] + w * ddapart + 2 * dw * dapart + ddw * apart,
        )


def _curve(chunk: Chunk) -> CubicSpline | None:
    num = len(chunk.positions)
    if num == 1:
        return None
    times = chunk.start_s + chunk.period_s * np.arange(num)
    # It ends at rest: after the last action nothing more was said.
    ending = "natural" if num < 3 else "not-a-knot"
    return CubicSpline(times, chunk.positions, bc_type=(ending, "clamped"))
