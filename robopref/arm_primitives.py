"""Action primitives by an arm over a table: the path of a tool becomes steps of the arm.

The same paths move the tools of a simulated table (`robopref.envs.deformable.primitives`). An arm
goes to where a path begins, follows it no faster than it may, and comes back to where it does not
stand in a camera's view.

Shapes: K places of the tool, S states, J joints.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation

from robopref.arm_rig import ArmRig
from robopref.envs.deformable.primitives import (
    HIGHEST_M,
    PRIMITIVES,
    InfeasiblePrimitiveError,
    ToolPath,
    checked_points,
    make_path,
    sweep_yaw,
)
from robopref.errors import check_above, check_at_least
from robopref.hardware.forecast import Way
from robopref.hardware.step_record import StepRecord, join_records
from robopref.hardware.types import ArmState

STEP_S = 0.07
"""Time of a step of the arm at full speed [s]."""
SHARE = 0.9
"""A path is planned for this share of the tool's greatest speed: a curve through places is faster
here and there than from one to the next."""
TURN_RAD_S = 1.0
"""How fast the tool is turned on its way to where a path begins [rad/s]."""
STILL_STEPS, MOST_STEPS = 3, 40
"""So many steps after its last place was asked for the arm is there, and so many it is given."""
THERE_RAD = 3e-3
"""So near to where its joints should be, the arm has come there [rad]."""
STALL_S = 2.0
"""A state that is older says nothing of where the arm is now [s]."""
CLOSED, OPEN = 0.0, 1.0


@dataclass(frozen=True)
class TablePlace:
    """Where a table is for an arm, and what the arm reaches down with.

    Raises:
        ValueError: A length or time is below 0.
    """

    middle_m: tuple[float, float, float] = (0.5, 0.0, 0.0)
    """Middle of the table's top, in the frame of the arm's base [m]."""
    turned_rad: float = 0.0
    """How the table is turned from the arm's base, counterclockwise from above [rad]."""
    tip_m: float = 0.15
    """How far what touches things is below the tool's frame where the arm starts [m]."""
    above_m: float = 0.25
    """How high above the table the tip travels [m]."""
    grip_s: float = 0.5
    """How long a gripper is given to open or close [s]."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_at_least("tip_m", self.tip_m, 0)
        check_above("above_m", self.above_m, 0)
        check_at_least("grip_s", self.grip_s, 0)

    @property
    def pose(self) -> Float[np.ndarray, "4 4"]:
        """Pose of the table in the frame of the arm's base [m]."""
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("z", self.turned_rad).as_matrix()
        pose[:3, 3] = self.middle_m
        return pose


@dataclass(frozen=True, eq=False)
class MeasuredPath(ToolPath):
    """Where a tool was, as often as it was measured: straight from one place to the next."""

    def at(self, times_s: Float[np.ndarray, " S"]) -> Float[np.ndarray, "S A 3"]:
        """Return where the tool was at some moments."""
        flat = self.places_m.reshape(len(self.times_s), -1)
        columns = [np.interp(times_s, self.times_s, column) for column in flat.T]
        return np.stack(columns, axis=1).reshape(len(times_s), *self.places_m.shape[1:])


@dataclass(frozen=True, eq=False)
class _Leg:
    """A part of the way: places of the tool's frame in the arm's base, one a step."""

    places_m: Float[np.ndarray, "K 3"]
    rotations: Float[np.ndarray, "K 4"]


class PrimitiveMotion:
    """Carries one tool along paths over a table.

    Args:
        rig: The arm.
        place: Where the table is.
        attend: Called between two steps of the arm, of which a primitive has hundreds.
    """

    def __init__(self, rig: ArmRig, place: TablePlace, attend: Callable[[], None]) -> None:
        self.rig, self.place, self._attend = rig, place, attend
        self._home_m = np.zeros(3)
        self._down = Rotation.identity()
        self.records: list[StepRecord] = []

    def begin(self) -> None:
        """Take how the arm stands now as where it comes back to, with its tool pointing down."""
        placed = self.rig.kinematics.place([self.rig.arm.state().position])
        self._down = _rotation(placed.rotation[0])
        self._home_m = self._on_table(placed.tool_m, [self._down])[0]

    @property
    def tool_m(self) -> Float[np.ndarray, " 3"]:
        """Where the tool's frame is, in the arm's base [m]."""
        found: np.ndarray = self.rig.kinematics.place([self.rig.arm.state().position]).tool_m[0]
        return found

    def take_record(self) -> StepRecord:
        """Return what became of the arm's steps since the last call, as that of one action."""
        steps, self.records = self.records or [self.rig.go(self.tool_m, None)], []
        return join_records(steps)

    def look_ahead(self, path: ToolPath, yaw_rad: float) -> Way:
        """Return how the joints would go along a path, from where the arm stands and back."""
        legs = self._legs(path, yaw_rad)
        places = np.concatenate([leg.places_m for leg in legs])
        return self.rig.look_ahead(places, np.concatenate([leg.rotations for leg in legs]))

    def targets_m(self, path: ToolPath, yaw_rad: float) -> Float[np.ndarray, "K 3"]:
        """Return where the tool's frame goes up to the end of a path, in the arm's base [m]."""
        there, along, _ = self._legs(path, yaw_rad)
        return np.concatenate([there.places_m, along.places_m])

    def carry(self, path: ToolPath, yaw_rad: float) -> ToolPath:
        """Carry the tool along a path; return where it was on the way, as it was measured.

        An arm that is stopped on the way ends its path there, and `rig.why_stopped` says why.

        Args:
            path: Of one tool, in the table's frame.
            yaw_rad: How the tool is turned about the vertical, in the table's frame [rad].

        Raises:
            InfeasiblePrimitiveError: The path takes two tools, or the arm cannot follow it; it has
                not moved.
        """
        if path.places_m.shape[1] != 1:
            raise InfeasiblePrimitiveError("This primitive takes two arms, and there is one.")
        refusal = self.look_ahead(path, yaw_rad).refusal
        if refusal:
            raise InfeasiblePrimitiveError(f"The arm cannot perform this primitive: {refusal}.")
        there, along, back = self._legs(path, yaw_rad)
        grips = bool(path.holds.any())
        waits = math.ceil(self.place.grip_s / STEP_S) if grips else 0
        if not self._go(there, OPEN if grips else None, STILL_STEPS):
            raise InfeasiblePrimitiveError("The arm was stopped before the primitive began.")
        self._go(_last(there), CLOSED if grips else None, waits)
        count, _ = self.rig.arm.states_since(0)
        states: list[ArmState] = []

        def measure() -> None:
            nonlocal count
            count, new = self.rig.arm.states_since(count)
            states.extend(new)

        if self._go(along, CLOSED if grips else None, STILL_STEPS, measure):
            self._go(_last(along), OPEN if grips else None, waits)
            self._go(back, None, STILL_STEPS)
        return self._measured(states, path.holds)

    def _go(
        self,
        leg: _Leg,
        opening: float | None,
        waits: int,
        measure: Callable[[], None] = lambda: None,
    ) -> bool:
        """Go a leg and stand at its end for so many steps; return whether the arm was let.

        It stands there longer where it has not come there yet: nothing is let go of on the way.
        """
        num = len(leg.places_m)
        for step in range(num + max(waits, MOST_STEPS)):
            if step >= num + waits and self._is_there():
                break
            place = min(step, num - 1)
            self.records.append(self.rig.go(leg.places_m[place], opening, leg.rotations[place]))
            measure()
            self._attend()
            if self.rig.why_stopped():
                return False
        return True

    def _is_there(self) -> bool:
        away = np.subtract(self.rig.arm.state(STALL_S).position, self.rig.planned)
        return bool(np.abs(away).max() < THERE_RAD)

    def _legs(self, path: ToolPath, yaw_rad: float) -> tuple[_Leg, _Leg, _Leg]:
        """Return the way to where a path begins, the path, and the way back."""
        first, last = path.places_m[0, 0], path.places_m[-1, 0]
        up = [np.append(point[:2], self.place.above_m) for point in (first, last)]
        # The shorter way around, from how the tool is turned where the arm stands.
        yaw = math.remainder(yaw_rad + self.place.turned_rad, 2 * math.pi)
        there = self._leg([self._home_m, up[0], first], [0.0, yaw, yaw])
        back = self._leg([last, up[1], self._home_m], [yaw, yaw, 0.0])
        return there, self._sampled(path, np.array([yaw, yaw]), path.times_s[[0, -1]]), back

    def _leg(self, points_m: Sequence[np.ndarray], yaws: Sequence[float]) -> _Leg:
        speed = SHARE * self.rig.safety.tool_speed_m_s
        path = make_path(np.stack(points_m)[:, None], np.zeros((3, 1), bool), speed_m_s=speed)
        turns = 1.5 * np.abs(np.diff(yaws)) / TURN_RAD_S
        seconds = np.maximum(np.diff(path.times_s), turns)
        times = np.concatenate([[0.0], np.cumsum(seconds)])
        return self._sampled(ToolPath(times, path.places_m, path.holds), np.array(yaws), times)

    def _sampled(
        self,
        path: ToolPath,
        yaws: Float[np.ndarray, " W"],
        times_s: Float[np.ndarray, " W"],
    ) -> _Leg:
        """Return a path in steps that are as long as the tool may go in one."""
        ways = np.linalg.norm(np.diff(path.places_m[:, 0], axis=0), axis=1)
        fastest = float((1.5 * ways / np.diff(path.times_s)).max())
        longest = SHARE * self.rig.safety.tool_speed_m_s * STEP_S
        step_s = min(STEP_S, longest / max(fastest, 1e-9))
        num = math.ceil(path.times_s[-1] / step_s)
        times = np.linspace(0.0, path.times_s[-1], num + 1)[1:]
        # Eased as places are.
        turning = ToolPath(
            times_s, yaws[:, None, None] * np.ones(3), np.zeros((len(yaws), 1), bool)
        )
        turn = turning.at(times)[:, 0, 0]
        pose = self.place.pose
        tips = path.at(times)[:, 0] @ pose[:3, :3].T + pose[:3, 3]
        rotations = Rotation.from_rotvec(turn[:, None] * np.array([0.0, 0.0, 1.0])) * self._down
        quats = np.roll(rotations.as_quat(), 1, axis=1)
        return _Leg(tips + np.array([0.0, 0.0, self.place.tip_m]), quats)

    def _measured(self, states: Sequence[ArmState], holds: Bool[np.ndarray, "W 1"]) -> ToolPath:
        times, which = np.unique([state.time_s for state in states], return_index=True)
        if len(times) < 2:
            raise InfeasiblePrimitiveError("The arm was stopped before the primitive began.")
        placed = self.rig.kinematics.place([states[number].position for number in which])
        tips = self._on_table(placed.tool_m, [_rotation(each) for each in placed.rotation])
        held = np.full((len(times), 1), bool(holds[0, 0]))
        held[-1] = holds[-1]
        return MeasuredPath(times - times[0], tips[:, None], held)

    def _on_table(
        self, tools_m: Float[np.ndarray, "K 3"], rotations: Sequence[Rotation]
    ) -> Float[np.ndarray, "K 3"]:
        """Return where the tip is in the table's frame, for places of the tool's frame."""
        below = self._down.inv().apply([0.0, 0.0, -self.place.tip_m])
        tips = tools_m + np.array([rotation.apply(below) for rotation in rotations])
        pose = self.place.pose
        found: np.ndarray = (tips - pose[:3, 3]) @ pose[:3, :3]
        return found


def path_of(primitive: str, action: Float[np.ndarray, " 6"]) -> tuple[ToolPath, float]:
    """Return the path of a primitive's tool, and how it is turned about the vertical [rad].

    Args:
        primitive: One of `PRIMITIVES`.
        action: Its two points, in the table's frame [m].

    Raises:
        InfeasiblePrimitiveError: The two points make none.
    """
    points = np.array(action, np.float64).reshape(2, 3)
    points[:, 2] = points[:, 2].clip(0.0, HIGHEST_M)
    points = checked_points(points)
    return PRIMITIVES[primitive](points), sweep_yaw(points) if primitive == "sweep" else 0.0


def _last(leg: _Leg) -> _Leg:
    return _Leg(leg.places_m[-1:], leg.rotations[-1:])


def _rotation(quaternion: Float[np.ndarray, " 4"]) -> Rotation:
    """Return the rotation of a quaternion wxyz."""
    return Rotation.from_quat(np.roll(quaternion, -1))
