"""A scripted expert for the planar tasks, which looks at nothing but the newest observation.

To push a block along a line the hand goes around it, facing it, until it stands behind it, and then
follows the line with the block in front of it. What is pushed where is the plan.

Shapes: Do observation size, Da action size. Places in metres, angles in radians.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robopref.envs.planar.hands import HANDS, Hand
from robopref.envs.planar.physics import ARENA_M, BLOCK_M
from robopref.envs.planar.tasks import GOAL_Y_M, HAND, HEADING, WIDTH, ZONE, block_places

_BELOW_ZONE_Y = -0.17
"""Here blocks are brought to the column in which they are pushed to the goal."""
_IN_GOAL_Y = GOAL_Y_M + 0.06
_CLEAR_M = 0.11
"""What the hand leaves between itself and the region."""
_STEEPNESS = 0.4
_UP = np.array([0.0, 1.0])


@dataclass(frozen=True)
class Plan:
    """How to bring the blocks to the goal.

    Args:
        together: Push the blocks together first, and then both at once.
        around: How many blocks pass beside the region to keep out of; the others go through it.
        first: Block to begin with, 0 (left) or 1 (right).
        blocks: How many blocks to bring to the goal before stopping; 2 is all.
        meet_y: How far along y the blocks that go together are brought together [m].
    """

    together: bool = False
    around: int = 2
    first: int = 0
    blocks: int = 2
    meet_y: float = -0.12


@dataclass(frozen=True)
class _View:
    """An observation, taken apart."""

    hand: np.ndarray
    heading: float
    blocks: np.ndarray
    zone: np.ndarray
    build: Hand

    @property
    def half_width(self) -> float:
        return self.build.width_m / 2


class PlanarExpert:
    """Does a planar task by a plan, with any hand.

    Args:
        plan: What to push where.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def get_action(self, state: Float[np.ndarray, " Do"]) -> Float[np.ndarray, " Da"]:
        """Return the action for an observation; values beyond 1 are clipped later."""
        view = _view(state)
        delivered = view.blocks[:, 1] >= _IN_GOAL_Y
        if delivered.sum() >= self.plan.blocks:
            return _action(view, np.zeros(2), 0.0, closed=False)
        if self.plan.together:
            return self._act_together(view)
        around = [self.plan.around > (block != self.plan.first) for block in (0, 1)]
        columns = [
            _column(view, x, side) for x, side in zip(view.blocks[:, 0], around, strict=True)
        ]
        which = self.plan.first if not delivered[self.plan.first] else 1 - self.plan.first
        if abs(columns[0] - columns[1]) < BLOCK_M and not delivered.any():
            # The farther one would take the nearer one with it.
            which = int(np.argmin(np.abs(view.blocks[:, 0] - columns)))
        goal = _towards(view, view.blocks[which], columns[which])
        return _push(view, which, goal, around=around[which])

    def _act_together(self, view: _View) -> np.ndarray:
        first, second = self.plan.first, 1 - self.plan.first
        lead = view.blocks[first]
        apart = view.blocks[second] - lead
        if np.linalg.norm(apart) < 1.5 * BLOCK_M:
            if not view.build.has_fingers or abs(apart[1]) < 0.6 * BLOCK_M:
                return _push_row(view)
            lower = int(np.argmin(view.blocks[:, 1]))
            return _push(view, lower, view.blocks[lower] + 0.3 * _UP)
        if view.build.has_fingers:
            return self._bring_behind(view)
        side = 1.0 if first == 0 else -1.0
        middle = float(view.blocks[:, 0].mean())
        place = np.array([middle - side * BLOCK_M / 2, self.plan.meet_y])
        if lead[1] < place[1] - 0.03 and apart[1] < 0.15:
            return _push(view, first, place)
        return _push(view, second, lead + np.array([side * 0.97 * BLOCK_M, 0.02]))

    def _bring_behind(self, view: _View) -> np.ndarray:
        """Bring one block behind the other: side by side the fingers would be between them."""
        first, second = self.plan.first, 1 - self.plan.first
        lead, follow = view.blocks[first], view.blocks[second]
        if lead[1] < self.plan.meet_y - 0.05 and follow[1] < _BELOW_ZONE_Y - 0.1:
            return _push(view, first, np.array([0.0, self.plan.meet_y + 0.05]))
        in_line = abs(follow[0] - lead[0]) < 0.06 or follow[1] > lead[1] - 1.2 * BLOCK_M
        return _push(view, second, lead + np.array([0.0, 0.3 if in_line else -0.28]))


def _view(state: np.ndarray) -> _View:
    row = state.astype(np.float64)
    zone = row[ZONE] if len(row) >= ZONE.stop else np.zeros(4)
    cos, sin = row[HEADING]
    build = min(HANDS.values(), key=lambda hand: abs(hand.width_m - row[WIDTH]))
    return _View(row[HAND], math.atan2(sin, cos), block_places(row[None])[0], zone, build)


def _column(view: _View, x: float, around: bool) -> float:
    """Return the x at which a block at `x` is to go to the goal."""
    if not view.zone[2]:
        return x
    return _column_around(view, x) if around else float(view.zone[0])


def _column_around(view: _View, x: float) -> float:
    """Return the nearest x at which hand and block pass beside the region."""
    middle, half = view.zone[0], view.zone[2]
    apart = half + max(view.half_width, BLOCK_M / 2) + _CLEAR_M
    if abs(x - middle) >= apart:
        edge = ARENA_M - view.half_width
        return float(np.clip(x, -edge, edge))
    columns = [middle + side * apart for side in (-1.0, 1.0)]
    fits = [c for c in columns if abs(c) + view.half_width <= ARENA_M]
    return float(min(fits, key=lambda column: abs(column - x)))


def _towards(view: _View, block: np.ndarray, column: float) -> np.ndarray:
    """Return where to push a block that is to reach a column before it goes up along it."""
    if abs(block[0] - column) < 0.05 or block[1] > _BELOW_ZONE_Y + 0.1:
        return np.array([column, block[1] + 0.3])
    return np.array([column, max(_turning_y(view) + 0.1, block[1])])


def _push(view: _View, which: int, goal: np.ndarray, *, around: bool = False) -> np.ndarray:
    """Push one block towards `goal`."""
    block, other = view.blocks[which], view.blocks[1 - which]
    direction = _steep(view, block, goal)
    behind = view.hand - block
    off = _wrap(math.atan2(*behind[::-1]) - math.atan2(*-direction[::-1]))
    if _stands_behind(view, block, direction):
        return _follow(view, block, direction)
    if view.hand[1] > _turning_y(view) and block[1] < view.hand[1] - 0.1:
        return _action(view, _down(view, around), math.pi / 2, closed=False)
    away = view.hand - other
    beside = np.linalg.norm(away) < view.half_width + 0.14 and view.hand[1] > other[1] - 0.2
    if beside and np.linalg.norm(behind) > 0.42:
        back = -np.array([math.cos(view.heading), math.sin(view.heading)])
        return _action(view, _unit(back + _unit(away)), view.heading, closed=False)
    return _circle(view, block, off, _room(view, block))


def _stands_behind(view: _View, thing: np.ndarray, direction: np.ndarray) -> bool:
    """Return whether the hand can push `thing` along `direction` from where it is."""
    back = float((thing - view.hand) @ direction)
    return back > 0.05 and abs(_off_centre(view, thing, direction)) < max(0.3 * back, 0.04)


def _off_centre(view: _View, thing: np.ndarray, direction: np.ndarray) -> float:
    """Return how far left of where it should push the hand is.

    That is the middle of `thing`, or as near to it as the sides of the table let the hand come.
    """
    edge = ARENA_M - 0.04 - view.half_width * abs(float(direction[1]))
    middle = np.array([np.clip(thing[0], -edge, edge), thing[1]])
    return float((view.hand - middle) @ (-direction[1], direction[0]))


def _steep(view: _View, block: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return where to push a block for `goal`, turned up until the hand finds room behind it."""
    way = goal - block
    room = ARENA_M + math.copysign(1.0, way[0]) * block[0]
    if room < 0.3 + view.half_width / 2:
        return _UP
    return _unit(np.array([way[0], max(way[1], _STEEPNESS * abs(way[0]))]))


def _turning_y(view: _View) -> float:
    """Return below which y the hand can turn without reaching into the region."""
    return _BELOW_ZONE_Y + 0.05 - (view.half_width if view.zone[2] else 0.0)


def _down(view: _View, around: bool) -> np.ndarray:
    """Return the motion back to the blocks, beside the region or straight."""
    if not around or not view.zone[2]:
        return -_UP
    aside = _column_around(view, float(view.hand[0])) - float(view.hand[0])
    return np.array([np.clip(5.0 * aside, -1.0, 1.0), -1.0])


def _room(view: _View, block: np.ndarray) -> float:
    """Return how far from a block the hand circles it: as the near side of the table allows."""
    reach = block[1] + ARENA_M - 0.05
    room = math.sqrt(max(reach**2 - view.half_width**2, 0.0))
    aside = ARENA_M - 0.05 - abs(float(block[0]))
    return float(np.clip(min(room, aside), 0.2, 0.32))


def _push_row(view: _View) -> np.ndarray:
    """Push both blocks, which are side by side, to the goal."""
    middle = view.blocks.mean(axis=0)
    behind = view.hand - middle
    off = _wrap(math.atan2(*behind[::-1]) + math.pi / 2)
    if _stands_behind(view, middle, _UP):
        return _follow(view, middle, _UP)
    return _circle(view, middle, off, 0.38)


def _follow(view: _View, thing: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Push `thing` from behind it along `direction`."""
    across = np.array([-direction[1], direction[0]])
    behind = view.hand - thing
    heading = math.atan2(direction[1], direction[0])
    error = _wrap(heading - view.heading)
    left = _off_centre(view, thing, direction)
    near = float(np.linalg.norm(behind)) < 0.3
    forward = 1.0 if not near else max(0.0, 1.0 - 2.0 * abs(error) - 4.0 * abs(left))
    motion = forward * direction - np.clip(6.0 * left, -1.0, 1.0) * across
    return _action(view, motion, heading, closed=near and abs(error) < 0.2)


def _circle(view: _View, thing: np.ndarray, off: float, far: float) -> np.ndarray:
    """Go around `thing`, facing it, the shorter way to the place behind it."""
    behind = view.hand - thing
    outward = _unit(behind)
    sideways = np.array([outward[1], -outward[0]]) * np.sign(off)
    distance = float(np.linalg.norm(behind))
    motion = sideways + 5.0 * (far - distance) * outward
    if distance < 0.75 * far:
        motion = outward
    elif behind[1] < -0.2 and abs(behind[0]) > 0.3:
        motion = np.array([-np.sign(behind[0]), 0.0])  # Below the blocks nothing is in the way.
    motion = _unit(motion) * min(1.0, 2.0 * abs(off) + 0.2)
    # Turned only when it is near: on its way it would sweep the other block along.
    heading = math.atan2(-outward[1], -outward[0]) if distance < far + 0.15 else math.pi / 2
    return _action(view, motion, heading, closed=False)


def _action(view: _View, motion: np.ndarray, heading: float, *, closed: bool) -> np.ndarray:
    turn = 2.0 * _wrap(heading - view.heading)
    grip = [1.0 if closed else -1.0] if view.build.has_fingers else []
    return np.array([*motion, float(np.clip(turn, -1.0, 1.0)), *grip])


def _unit(vector: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vector / max(float(np.linalg.norm(vector)), 1e-9)
    return unit


def _wrap(angle: float) -> float:
    return (angle + math.pi) % (2 * math.pi) - math.pi
