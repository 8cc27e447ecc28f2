"""How near an arm comes to itself: distances of the shapes of links that are not neighbours.

A link is what one joint of the arm moves, with all that is fixed to it; where none of its shapes
collides in the model, those that are to be seen count. MuJoCo takes meshes by their convex hulls,
so that an arm is never thinner than it is. What a gripper's own joints move stays where the model
has it.

A distance changes by no more than the joints turn, each times how far from it the nearer of the two
shapes may be. So a distance is measured again only when it may have become too small, and the
answer is the same as if it were measured every time.

Shapes: J joints, N configurations, K pairs of shapes.
"""

from collections.abc import Sequence

import mujoco
import numpy as np
from jaxtyping import Float, Int

from robopref.hardware.kinematics import Kinematics

FAR_M = 0.3
"""Distances are measured up to this [m]."""
SURE_M = 1e-4
"""Distances are exact to less than this [m]: meshes' are found by iteration, to 1e-6."""
MOST_LOOKS = 4
"""So often the nearest pairs are looked at along a straight way."""

Chain = tuple[int, ...]
"""Places of the arm's joints, from the base, that move a body."""


class SelfDistance:
    """Watches that links do not come too near to each other.

    Pairs that are nearer than that at rest are built so, and left out; next but one, those that
    are nearer than twice that.

    Args:
        kinematics: Where the links are.
        least_m: Distance that they keep [m].
    """

    def __init__(self, kinematics: Kinematics, least_m: float) -> None:
        self.least_m = least_m
        self._kinematics = kinematics
        self._chains = _chains(kinematics.model, kinematics.joints)
        shapes = _shapes(kinematics.model, self._chains)
        self._model = _with_hulls(kinematics, shapes)
        self._data = mujoco.MjData(self._model)
        self._pairs = [
            (a, b) for k, a in enumerate(shapes) for b in shapes[k:] if len(self._between(a, b)) > 1
        ]
        # Everything is measured from the arm at rest on.
        self._at = np.array(kinematics.spec.rest_rad)
        rest = self.distances_m(self._at[None])[0]
        apart = [(2 if len(self._between(*pair)) == 2 else 1) * least_m for pair in self._pairs]
        kept = np.flatnonzero(rest >= apart)
        self._pairs, self._bounds = [self._pairs[k] for k in kept], rest[kept]
        self._leverage = np.array([self._levers(*pair) for pair in self._pairs])

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Names of the bodies of each pair of shapes, K of them."""
        return tuple((self._name(a), self._name(b)) for a, b in self._pairs)

    def distances_m(self, positions: Float[np.ndarray, "N J"]) -> Float[np.ndarray, "N K"]:
        """Return the distance of each pair, all of them measured; at most `FAR_M`."""
        return self._measure(positions, np.arange(len(self._pairs)))

    def is_clear(self, positions: Float[np.ndarray, "N J"]) -> bool:
        """Return whether no pair can be too near; where it is not known, no."""
        if not self._pairs:
            return True
        moved = positions - self._at
        reach = self._leverage.dot(np.maximum.reduce(np.abs(moved, out=moved)))
        return bool(np.minimum.reduce(self._bounds - reach) > self.least_m + SURE_M)

    def lacks_m(self, positions: Float[np.ndarray, "N J"]) -> Float[np.ndarray, " N"]:
        """Return by how much links are too near to each other; 0 where they are not."""
        if self.is_clear(positions):
            return np.zeros(len(positions))
        self._move_to(positions[0])
        reach = self._leverage @ np.abs(positions - self._at).max(axis=0)
        near = self._look_again(reach)
        if not near.size:
            return np.zeros(len(positions))
        lacks: np.ndarray = self.least_m - self._measure(positions, near).min(axis=1)
        return np.maximum(lacks, 0.0)

    def clear_share(self, start: Float[np.ndarray, " J"], way: Float[np.ndarray, " J"]) -> float:
        """Return how much of a straight way surely keeps the links apart, from 0 to 1."""
        if not self._pairs:
            return 1.0
        reach, share = self._leverage @ np.abs(way), 0.0
        for _ in range(MOST_LOOKS):
            self._move_to(start + share * way)
            near = self._look_again((1 - share) * reach)
            if not near.size:
                return 1.0
            room = self._bounds[near] - self.least_m - SURE_M
            share += max(0.0, float((room / np.maximum(reach[near], 1e-12)).min()))
        return min(1.0, share)

    def _move_to(self, position: Float[np.ndarray, " J"]) -> None:
        """Let the bounds be of another configuration, by as much as they may be smaller there."""
        self._bounds = self._bounds - self._leverage @ np.abs(position - self._at)
        self._at = position

    def _look_again(self, reach: Float[np.ndarray, " K"]) -> Int[np.ndarray, " near"]:
        """Measure what may come too near within `reach` [m], and return what still may."""
        wanted = self.least_m + SURE_M + reach
        near = np.flatnonzero(self._bounds <= wanted)
        self._bounds[near] = self._measure([self._at], near)[0]
        still: np.ndarray = near[self._bounds[near] <= wanted[near]]
        return still

    def _measure(
        self, positions: Sequence[np.ndarray] | np.ndarray, which: Int[np.ndarray, " near"]
    ) -> Float[np.ndarray, "N near"]:
        model, data = self._model, self._data
        pairs = [self._pairs[k] for k in which]
        found = np.empty((len(positions), len(pairs)))
        for row, position in enumerate(positions):
            data.qpos[self._kinematics.places] = position
            mujoco.mj_kinematics(model, data)
            found[row] = [mujoco.mj_geomDistance(model, data, a, b, FAR_M, None) for a, b in pairs]
        # Beyond, any greater number may come.
        return np.minimum(found, FAR_M, out=found)

    def _between(self, a: int, b: int) -> list[int]:
        """Return the joints on the way from one shape to the other."""
        bodies = self._model.geom_bodyid
        one, other = self._chains[bodies[a]], self._chains[bodies[b]]
        return [*(k for k in one[::-1] if k not in other), *(k for k in other if k not in one)]

    def _levers(self, a: int, b: int) -> Float[np.ndarray, " J"]:
        """Return how far from each joint the nearer of two shapes may be [m]; 0 for no matter."""
        model, data, joints = self._model, self._data, self._kinematics.joints
        between = self._between(a, b)
        anchors = [data.xanchor[joints[k]] for k in between]
        # From one to the next on the same link, so that they are always as far apart.
        stops = np.array([data.geom_xpos[a], *anchors, data.geom_xpos[b]])
        apart = np.linalg.norm(np.diff(stops, axis=0), axis=1)
        from_a = model.geom_rbound[a] + np.cumsum(apart)[:-1]
        from_b = model.geom_rbound[b] + np.cumsum(apart[::-1])[::-1][1:]
        levers = np.zeros(len(joints))
        levers[between] = np.minimum(from_a, from_b)
        return levers

    def _name(self, shape: int) -> str:
        name: str = self._model.body(int(self._model.geom_bodyid[shape])).name
        return name


def _chains(model: mujoco.MjModel, joints: Sequence[int]) -> dict[int, Chain]:
    """Return which of the joints move each body of the arm, its base included."""
    own = {int(model.jnt_bodyid[joint]): (place,) for place, joint in enumerate(joints)}
    root = int(model.body_rootid[model.jnt_bodyid[joints[0]]])
    found: dict[int, Chain] = {}
    for body in range(1, model.nbody):  # Parents come before their children.
        if int(model.body_rootid[body]) == root:
            parent = found.get(int(model.body_parentid[body]), ())
            found[body] = parent + own.get(body, ())
    return found


def _with_hulls(kinematics: Kinematics, shapes: Sequence[int]) -> mujoco.MjModel:
    """Return the model with the convex hulls of all shapes, without which meshes take long."""
    model = kinematics.model
    if (model.geom_contype[shapes] | model.geom_conaffinity[shapes]).all():
        return model
    whole = mujoco.MjSpec.from_file(str(kinematics.spec.model))
    for geom in whole.geoms:
        # Hulls are made of what collides.
        geom.contype = 1
    return whole.compile()


def _shapes(model: mujoco.MjModel, chains: dict[int, Chain]) -> list[int]:
    """Return the shapes of an arm: those of a link that collide, or else all of them."""
    links: dict[Chain, list[int]] = {}
    for shape in range(model.ngeom):
        body = int(model.geom_bodyid[shape])
        # A plane has no size of its own.
        if body in chains and model.geom_rbound[shape] > 0:
            links.setdefault(chains[body], []).append(shape)
    collide = (model.geom_contype | model.geom_conaffinity) != 0
    found = [[s for s in shapes if collide[s]] or shapes for shapes in links.values()]
    return sorted(shape for shapes in found for shape in shapes)
