"""A closed rope that is to be laid as a circle, a square or an S by picking and placing.

Source: Chen et al., DeformPAM, 2024, arXiv:2410.11584, whose rope a real arm lays as a circle.

Shapes: V vertices of the rope.
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from robopref.envs.deformable import goals
from robopref.envs.deformable.metrics import (
    ROTATIONS_DEG,
    earth_movers_distance,
    normalized_performance,
)
from robopref.envs.deformable.primitives import REACH_M, pick_and_place
from robopref.envs.deformable.simulation import Simulation
from robopref.envs.deformable.task import Performed, Physics, Task

TIME_STEP_S = 0.004
NUM_VERTICES = 64
LENGTH_M = 1.2
RADIUS_M = 0.006
MASS_KG = 0.06
BENDING_N_PER_M = 0.5
"""Stiffness of a bend: one of a radius of 4 cm is what friction holds."""
SNAP_M = 0.03
"""A pick takes the nearest place of the rope, if it is within this [m]."""
GRIP_M = 0.02
"""Vertices within this of the place that is taken are held [m]."""
HELD_BESIDE = 2
"""At most so many vertices to either side of it are held."""
NUM_TANGLES = 3
"""Random picks and places that a start is made by."""
SPREAD_M = 0.15
"""How far from the middle they end [m]."""
FAR_M = 0.045
"""A start is at least so far from the goal [m]."""

_APART = np.abs(np.arange(NUM_VERTICES)[:, None] - np.arange(NUM_VERTICES))
_APART = np.minimum(_APART, NUM_VERTICES - _APART)
"""How many vertices apart two are along the rope."""
DRAGGED, DRAGGED_OF_S = 8, 4
"""Vertices beside those that are held that go along, less and less, with what the rule moves: a
place on the finely bent S is reached without those that are further away."""
_SHAPES = {"circle": goals.circle, "square": goals.square, "S": goals.s_shape}
_TURNS = {"circle": (0.0,)}
"""A circle is the same however it is turned."""


class Rope(Task):
    """A closed rope on a table."""

    PHYSICS: ClassVar = {
        "standard": Physics(friction=0.5),
        "held-out": Physics(friction=0.3, stiffness=0.5, density=1.6),
    }
    GOALS: ClassVar = {
        "circle": "Lay the rope as a circle.",
        "square": "Lay the rope as a square.",
        "S": "Lay the rope as an S.",
    }
    primitive: ClassVar[str] = "pick-and-place"
    max_episode_steps: ClassVar[int] = 20
    solved_at: ClassVar[float] = 0.85
    measured_as: ClassVar[str] = "earth_movers_m"

    def __init__(self, goal: str, physics: str) -> None:
        super().__init__(goal, physics)
        held_to = self.PHYSICS[physics]
        self.sim = Simulation(
            _model(held_to),
            num_tools=1,
            num_held=NUM_VERTICES,
            bending_n_per_m=_bending(held_to.stiffness * BENDING_N_PER_M),
        )
        self.goal = _SHAPES[goal](LENGTH_M, NUM_VERTICES)
        self._turns = _TURNS.get(goal)
        dragged = DRAGGED_OF_S if goal == "S" else DRAGGED
        self._along = (1 - (_APART - HELD_BESIDE).clip(0) / dragged).clip(0)

    def start(self, rng: np.random.Generator) -> None:
        """Lay the rope as a circle, and pick and place it at random until that is undone."""
        self.sim.restore(np.zeros_like(self.sim.positions))
        tangles = 0
        while tangles < NUM_TANGLES or self.measure() < FAR_M:
            pick = self.sim.vertices[rng.integers(NUM_VERTICES)]
            place = np.append(rng.uniform(-SPREAD_M, SPREAD_M, 2), RADIUS_M)
            self.perform(np.stack([pick, place]))
            tangles += 1

    def material(self) -> Float[np.ndarray, "V 3"]:
        """Return the vertices, in their order along the rope."""
        return self.sim.vertices

    def perform(self, points_m: Float[np.ndarray, "2 3"]) -> Performed:
        """Take hold of the rope near the first point, and carry it to the second."""
        held = self._within_reach(points_m[0])
        if not len(held):
            return Performed(self.primitive, touched=False, seconds=0.0)
        pick = self.sim.vertices[held].mean(axis=0)
        place = np.append(points_m[1, :2], max(float(points_m[1, 2]), RADIUS_M))
        seconds = self.sim.follow(pick_and_place(np.stack([pick, place])), [held])
        return Performed(self.primitive, touched=True, seconds=seconds)

    def measure(self) -> float:
        """Return how far the rope's points are from the places of the goal, one each [m]."""
        options = {} if self._turns is None else {"rotations_deg": self._turns}
        return earth_movers_distance(self.sim.vertices, self.goal, **options)

    def quality(self, measured: float, at_first: float) -> float:
        """Return the share of the start's distance that is gone."""
        return normalized_performance(measured, at_first, 0.0)

    def propose(self, rng: np.random.Generator, num: int) -> Float[np.ndarray, "K 2 3"]:
        """Return picks of single vertices that are put to their places, the most helpful first.

        The places are those of the goal's turn, and of the vertex that it begins with, which ask
        for the least motion. A vertex drags along those beside it: what helps most is the move
        after which all of them are nearest to their places.
        """
        places, flat = self._places(), self.sim.vertices[:, :2]
        missing = places - flat
        left = missing[None] - self._along[:, :, None] * missing[:, None]
        gain = (missing**2).sum() - (left**2).sum(axis=(1, 2))
        gain = gain.clip(0) * (1 + 0.1 * rng.standard_normal(NUM_VERTICES))
        chosen: list[int] = []
        for vertex in np.argsort(-gain).tolist():
            if len(chosen) < num and all(_APART[vertex, other] >= 3 for other in chosen):
                chosen.append(int(vertex))
        ends = np.concatenate([places, np.full((NUM_VERTICES, 1), RADIUS_M)], axis=1)
        return np.stack([self.sim.vertices[chosen], ends[chosen]], axis=1)

    def _places(self) -> Float[np.ndarray, "V 2"]:
        """Return where each vertex belongs."""
        flat = self.sim.vertices[:, :2]
        far = np.abs(self.goal).max()
        middle = flat.mean(axis=0).clip(far - REACH_M, REACH_M - far)
        order = np.arange(NUM_VERTICES)
        best, least = self.goal, np.inf
        for angle in np.radians(ROTATIONS_DEG if self._turns is None else self._turns):
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            turned = self.goal @ turn.T + middle
            for way in (1, -1):
                places = turned[(order[:, None] + way * order) % NUM_VERTICES]
                away = ((places - flat) ** 2).sum(axis=(1, 2))
                if away.min() < least:
                    least, best = away.min(), places[away.argmin()]
        return best

    def _within_reach(self, point: Float[np.ndarray, " 3"]) -> Int[np.ndarray, " _"]:
        """Return the vertices that a pick at a point holds: those around the nearest one."""
        vertices = self.sim.vertices
        flat = np.linalg.norm(vertices[:, :2] - point[:2], axis=1)
        nearest = int(flat.argmin())
        if flat[nearest] > SNAP_M:
            return np.zeros(0, np.int64)
        around = np.linalg.norm(vertices - vertices[nearest], axis=1)
        # Another strand that lies across is not meant.
        return np.flatnonzero((around <= GRIP_M) & (_APART[nearest] <= HELD_BESIDE))


def _ring() -> Float[np.ndarray, "V 3"]:
    ring = goals.circle(LENGTH_M, NUM_VERTICES)
    return np.concatenate([ring, np.full((NUM_VERTICES, 1), RADIUS_M)], axis=1)


def _bending(n_per_m: float) -> Float[np.ndarray, "V V"]:
    """Return the stiffness against bending: the energy is half the square of each vertex's bend."""
    identity = np.eye(NUM_VERTICES)
    bend = np.roll(identity, 1, 0) - 2 * identity + np.roll(identity, -1, 0)
    matrix: np.ndarray = n_per_m * bend.T @ bend
    return matrix


def _model(physics: Physics) -> str:
    places = " ".join(f"{value:.8f}" for value in _ring().ravel())
    edges = " ".join(f"{i} {(i + 1) % NUM_VERTICES}" for i in range(NUM_VERTICES))
    holds = "\n".join(
        f'<connect name="hold0_{i}" body1="rope_{i}" body2="tool0" anchor="0 0 0" active="false" '
        f'solref="{4 * TIME_STEP_S} 1"/>'
        for i in range(NUM_VERTICES)
    )
    friction = f"{physics.friction} 0.005 0.0001"
    return f"""
<mujoco>
  <option timestep="{TIME_STEP_S}" solver="CG" iterations="100" integrator="implicitfast">
    <flag autoreset="disable"/>
  </option>
  <size memory="16M"/>
  <visual>
    <map znear="0.01" zfar="10"/>
    <headlight ambient="0.5 0.5 0.5" diffuse="0.4 0.4 0.4" specular="0 0 0"/>
  </visual>
  <statistic extent="1" center="0 0 0"/>
  <worldbody>
    <geom name="table" type="plane" size="1 1 0.1" rgba="0.75 0.75 0.75 1" friction="{friction}"/>
    <body name="tool0" mocap="true" pos="0 0 1"/>
    <flexcomp name="rope" type="direct" dim="1" radius="{RADIUS_M}" rgba="0.1 0.55 0.2 1"
              mass="{MASS_KG * physics.density}" point="{places}" element="{edges}">
      <edge equality="true" solref="{2 * TIME_STEP_S} 1" damping="0.001"/>
      <contact condim="3" friction="{friction}" solref="0.006 1" selfcollide="auto"/>
    </flexcomp>
  </worldbody>
  <equality>{holds}</equality>
</mujoco>"""
