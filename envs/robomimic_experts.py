"""Scripted experts for robomimic's tasks that pick something up and put it somewhere.

They act from the observation alone and keep nothing between steps: what to do next follows from
where the hand, its fingers and the object are, so that a policy that sees one observation can
imitate them, and a push or a slip is answered by the same rules.

Positions are in the world frame, z up [m].
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from robopref.envs.robomimic_scene import (
    FINGERS,
    HAND,
    HAND_QUATERNION,
    OBJECT,
    OBJECT_QUATERNION,
    PEGS,
    TABLE_M,
)

_MOVE_M = 0.05
"""How far off the hand's target is when a motion of the action is 1 [m]."""
_GAIN = 2.0
"""How many times as far the target is set: friction stops the hand short of a target near to it."""
_TURN_RAD = 0.5
"""The same for a rotation [rad]."""
_OPEN, _CLOSE = -1.0, 1.0
_DOWN = Rotation.from_rotvec([np.pi, 0.0, 0.0])
"""Orientation of a hand that points down, with its fingers on a line along y."""
_GRASP_WITHIN_M = 0.015
"""Distance from the place to grasp at which the fingers close [m]."""
_HELD_WITHIN_M = 0.03
"""Distance from it at which closed fingers count as holding [m]."""
_OVER_WITHIN_M = 0.02
"""How near in the plane is near enough to go down [m]."""
_HOVER_M = 0.08
"""How far above the object the hand waits until it is over it [m]."""

_LOW_M = 0.04
"""How far below its height on the way an object is not carried across [m]."""
_ALIGNED_RAD = 0.05
"""How well an object has to be turned before it goes down [rad]."""
_GUIDED_WITHIN_M = 0.012
"""Distance from the goal, in the plane, within which an object can be around its peg [m]."""
_THERE_M = 0.05
"""Distance from the goal, in the plane, at which an object that fell is where it should be [m]."""
_FALLEN_M = 0.02
"""How far below the height where it was let go [m]."""


@dataclass(frozen=True)
class Job:
    """What to pick up, how, and where to.

    Args:
        held_gap_m: The fingers hold the object when they are no farther apart than this [m].
        turns: In how many equal turns the object looks the same to the fingers; 0 is any.
        grasp_m: Place to grasp, from the object's origin, in its frame [m].
        goal_m: Where to put the object, x and y [m]; None only lifts it.
        goal_yaws: How the object may be turned about z at the goal [rad]; none is any way.
        carry_m: Height of the object on the way to the goal [m].
        release_m: Height at which it is let go [m].
        near_m: Distance from the goal, in the plane, at which the object goes down [m].
        guided_m: Height below which something guides it down, wherever it is [m].
    """

    held_gap_m: float
    turns: int = 0
    grasp_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    goal_m: tuple[float, float] | None = None
    goal_yaws: tuple[float, ...] = ()
    carry_m: float = TABLE_M + 0.2
    release_m: float = 0.0
    near_m: float = 0.03
    guided_m: float = 0.0


_NEAR_SIDE = (0.16, 0.36)
"""A place in the can's bin; the arm does not reach the middle of it with the hand pointing down."""
_HANDLE_NOT_AHEAD = (np.pi / 2.0, np.pi, -np.pi / 2.0)
"""Ways for the nut to go on its peg; with the handle ahead, the hand would be out of reach."""

JOBS: dict[str, Job] = {
    "lift": Job(held_gap_m=0.047, turns=4),
    "can": Job(
        held_gap_m=0.056, grasp_m=(0.0, 0.0, 0.01), goal_m=_NEAR_SIDE, carry_m=1.0, release_m=0.91,
    ),
    "square": Job(
        held_gap_m=0.036, turns=2, grasp_m=(0.054, 0.0, 0.0), goal_m=PEGS["square"],
        goal_yaws=_HANDLE_NOT_AHEAD, carry_m=1.0, release_m=0.9, near_m=0.006, guided_m=0.945,
    ),
}  # fmt: skip
"""The tasks that there are experts for."""


class PickUpExpert:
    """Picks up one thing and puts it down.

    Args:
        task: One of `JOBS`.
    """

    def __init__(self, task: str) -> None:
        self._job = JOBS[task]

    def get_action(self, state: np.ndarray) -> np.ndarray:
        """Return the next action, which may be beyond [-1, 1], for an observation."""
        job = self._job
        thing = state[OBJECT]
        turned = Rotation.from_quat(state[OBJECT_QUATERNION])
        grasp = thing + turned.apply(job.grasp_m)
        to_grasp = grasp - state[HAND]
        distance = float(np.linalg.norm(to_grasp))
        gap = state[FINGERS][0] - state[FINGERS][1]
        if self._is_done(thing):
            up = _HOVER_M if gap > job.held_gap_m else 0.0  # The fingers take half a second.
            return _action(state, np.array([0.0, 0.0, up]), self._finger_yaw(turned), _OPEN)
        if distance < _HELD_WITHIN_M and gap < job.held_gap_m:
            return self._carry(state, thing, turned)
        if distance < _GRASP_WITHIN_M:
            return _action(state, to_grasp, self._finger_yaw(turned), _CLOSE)
        if np.linalg.norm(to_grasp[:2]) > _OVER_WITHIN_M:
            to_grasp[2] += _HOVER_M
        return _action(state, to_grasp, self._finger_yaw(turned), _OPEN)

    def _carry(self, state: np.ndarray, thing: np.ndarray, turned: Rotation) -> np.ndarray:
        """Return what to do with the object in the hand: up, across, down, and let go."""
        job = self._job
        if job.goal_m is None:
            return _action(state, np.array([0.0, 0.0, _HOVER_M]), self._finger_yaw(turned), _CLOSE)
        across = np.array(job.goal_m) - thing[:2]
        turn = min((_fold(y - _yaw(turned), 1) for y in job.goal_yaws), key=abs, default=0.0)
        yaw = _yaw(Rotation.from_quat(state[HAND_QUATERNION]) * _DOWN.inv()) + turn
        apart = float(np.linalg.norm(across))
        fits = apart < job.near_m and abs(turn) < _ALIGNED_RAD
        if fits or (apart < _GUIDED_WITHIN_M and thing[2] < job.guided_m):
            down = job.release_m - thing[2]
            move = np.array([*across, down - _MOVE_M / 2.0])
            return _action(state, move, yaw, _OPEN if down > 0.0 else _CLOSE)
        up = job.carry_m - thing[2]
        if up > _LOW_M:
            across = np.zeros(2)
        return _action(state, np.array([*across, up]), yaw, _CLOSE)

    def _is_done(self, thing: np.ndarray) -> bool:
        """Return whether the object lies where it should."""
        job = self._job
        if job.goal_m is None:
            return False
        apart = float(np.linalg.norm(np.array(job.goal_m) - thing[:2]))
        return bool(apart < _THERE_M and thing[2] < job.release_m - _FALLEN_M)

    def _finger_yaw(self, turned: Rotation) -> float:
        """Return how the hand should be turned to grasp the object, nearest to no turn."""
        return _fold(_yaw(turned), self._job.turns)


def _action(state: np.ndarray, move_m: np.ndarray, yaw: float, grip: float) -> np.ndarray:
    """Return the action that moves the hand by `move_m`, turned by `yaw` and pointing down."""
    wanted = Rotation.from_rotvec([0.0, 0.0, yaw]) * _DOWN
    turn = (wanted * Rotation.from_quat(state[HAND_QUATERNION]).inv()).as_rotvec()
    move = _GAIN * move_m / _MOVE_M
    move = move / max(1.0, float(np.abs(move).max()))  # Keep the direction when it is too large.
    return np.concatenate([move, turn / _TURN_RAD, [grip]])


def _yaw(turned: Rotation) -> float:
    """Return the turn about z [rad]."""
    x, y, _ = turned.apply([1.0, 0.0, 0.0])
    return float(np.arctan2(y, x))


def _fold(angle: float, turns: int) -> float:
    """Return the smallest angle that is equal to `angle` up to that many equal turns [rad]."""
    if not turns:
        return 0.0
    period = 2.0 * np.pi / turns
    return float((angle + period / 2.0) % period - period / 2.0)
