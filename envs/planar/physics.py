"""The planar world as a pure function: bodies before an action in, bodies after it out.

A Chipmunk space keeps more than its bodies: contacts of the last step warm-start the next one, and
the order in which the broad phase finds contacts depends on everything that was ever added. None
of that can be put back exactly: a copy by pymunk's own `Space.copy`, made while something is
pushed, is 7 µm off two steps later. So every action gets a new space, built from the bodies alone.
That takes most of the quarter of a millisecond that an action takes, and makes states exact.

Shapes: N bodies: the hand, its fingers if it has any, the blocks; each a row x, y [m], angle [rad],
and their velocities [m/s, rad/s].
"""

import math

import numpy as np
import pymunk
from jaxtyping import Float
from pymunk.constraints import DampedSpring, GearJoint, GrooveJoint, PivotJoint

from robopref.envs.planar.hands import FINGER_M, NARROWEST_M, THICKNESS_M, WIDEST_M, Hand, finger_y

ARENA_M = 1.1
"""The table reaches from minus this to this along x and y [m]."""
BLOCK_M = 0.18
"""Side of a block [m]."""
FPS = 10.0
"""Actions a second [Hz]."""
SPEED_M_S, TURN_RAD_S = 0.8, 2.5
"""What an action of 1 asks of the hand."""

_NUM_SUBSTEPS = 10
_ITERATIONS = 20
_FRICTION = 0.7
_HAND_KG, _FINGER_KG, _BLOCK_KG = 2.0, 0.2, 0.5
_HAND_N, _HAND_NM = 60.0, 12.0
_BLOCK_N, _BLOCK_NM = 2.0, 0.12
"""What the table's friction can hold of a block."""
_FINGER_N, _FINGER_N_PER_M, _FINGER_DAMPING = 6.0, 300.0, 15.0
_HAND_GROUP = pymunk.ShapeFilter(group=1)


def advance(
    hand: Hand, bodies: Float[np.ndarray, "N 6"], action: Float[np.ndarray, " Da"]
) -> Float[np.ndarray, "N 6"]:
    """Return the bodies after one action.

    Args:
        hand: Which hand it is.
        bodies: The bodies before.
        action: Motion of the hand along the world's x and y, and its turn, in units of
            `SPEED_M_S` and `TURN_RAD_S`; for fingers a fourth number, -1 open and 1 closed.
    """
    space = pymunk.Space()
    space.iterations = _ITERATIONS
    space.collision_slop = 0.001
    space.collision_bias = 0.01
    _add_walls(space)
    made = [_add_hand(space, hand, bodies[0], action)]
    if hand.has_fingers:
        opening = (1.0 - float(action[3])) / 2.0
        sides = zip((1.0, -1.0), bodies[1:3], strict=True)
        made += [_add_finger(space, made[0], row, side, opening) for side, row in sides]
    made += [_add_block(space, row) for row in bodies[hand.num_bodies :]]
    for _ in range(_NUM_SUBSTEPS):
        space.step(1.0 / (FPS * _NUM_SUBSTEPS))
    return np.array(
        [(*b.position, b.angle, *b.velocity, b.angular_velocity) for b in made], np.float64
    )


def resting(hand: Hand, x: float, y: float) -> Float[np.ndarray, "N 6"]:
    """Return the bodies of a hand at rest at (x, y), pointing along +y, its fingers open."""
    rows = [(x, y, math.pi / 2, 0.0, 0.0, 0.0)]
    if hand.has_fingers:
        forward = (THICKNESS_M + FINGER_M[0]) / 2
        for side in (1.0, -1.0):
            rows.append((x - side * finger_y(1.0), y + forward, math.pi / 2, 0.0, 0.0, 0.0))
    return np.array(rows)


def _add_walls(space: pymunk.Space) -> None:
    thick = 0.1
    far = ARENA_M + thick
    corners = [(-far, -far), (far, -far), (far, far), (-far, far)]
    for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
        wall = pymunk.Segment(space.static_body, start, end, thick)
        wall.friction = _FRICTION
        space.add(wall)


def _add_hand(space: pymunk.Space, hand: Hand, row: np.ndarray, action: np.ndarray) -> pymunk.Body:
    """Add the hand, driven by a motor of limited force: against a wall it stops."""
    width = hand.width_m
    body = _body(_HAND_KG, (THICKNESS_M, width), row)
    shape = _box(body, THICKNESS_M, width)
    shape.filter = _HAND_GROUP
    driver = pymunk.Body(body_type=pymunk.Body.KINEMATIC)
    driver.velocity = (SPEED_M_S * float(action[0]), SPEED_M_S * float(action[1]))
    driver.angular_velocity = TURN_RAD_S * float(action[2])
    space.add(body, shape, driver)
    _hold(space, driver, body, _HAND_N, _HAND_NM)
    return body


def _add_finger(
    space: pymunk.Space, palm: pymunk.Body, row: np.ndarray, side: float, opening: float
) -> pymunk.Body:
    """Add a finger, which slides along the palm and is drawn to its place by a weak spring."""
    length, thickness = FINGER_M
    body = _body(_FINGER_KG, FINGER_M, row)
    shape = _box(body, length, thickness)
    shape.filter = _HAND_GROUP
    forward = (THICKNESS_M + length) / 2
    inner, outer = (side * (gap + thickness) / 2 for gap in (NARROWEST_M, WIDEST_M))
    rail = GrooveJoint(palm, body, (forward, inner), (forward, outer), (0.0, 0.0))
    gear = GearJoint(palm, body, 0.0, 1.0)
    spring = DampedSpring(
        palm, body, (forward, 0.0), (0.0, 0.0), finger_y(opening), _FINGER_N_PER_M, _FINGER_DAMPING
    )
    spring.max_force = _FINGER_N
    space.add(body, shape, rail, gear, spring)
    return body


def _add_block(space: pymunk.Space, row: np.ndarray) -> pymunk.Body:
    body = _body(_BLOCK_KG, (BLOCK_M, BLOCK_M), row)
    space.add(body, _box(body, BLOCK_M, BLOCK_M))
    _hold(space, space.static_body, body, _BLOCK_N, _BLOCK_NM)
    return body


def _body(mass: float, size: tuple[float, float], row: np.ndarray) -> pymunk.Body:
    body = pymunk.Body(mass, pymunk.moment_for_box(mass, size))
    x, y, angle, vx, vy, turn = row.tolist()
    body.position, body.angle = (x, y), angle
    body.velocity, body.angular_velocity = (vx, vy), turn
    return body


def _box(body: pymunk.Body, length: float, width: float) -> pymunk.Poly:
    shape = pymunk.Poly.create_box(body, (length, width))
    shape.friction = _FRICTION
    return shape


def _hold(
    space: pymunk.Space, base: pymunk.Body, body: pymunk.Body, force: float, torque: float
) -> None:
    """Make `body` move as `base` does, as far as force [N] and torque [N m] go."""
    pivot = PivotJoint(base, body, (0.0, 0.0), (0.0, 0.0))
    gear = GearJoint(base, body, 0.0, 1.0)
    for joint, limit in ((pivot, force), (gear, torque)):
        joint.max_bias = 0.0  # Velocities only: where the two are does not matter.
        joint.max_force = limit
        space.add(joint)
