"""A crumpled T-shirt that is to be laid flat by two tools that fling, drag or carry it.

Source: Chen et al., DeformPAM, 2024, arXiv:2410.11584, whose T-shirt two real arms fling.

The shirt is one layer of cloth of a T-shirt's outline, of 3 cm triangles.

Shapes: V vertices, F triangles, N points over the cloth, K primitives.
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from robopref.envs.deformable.fling import drag, fling, is_within_reach
from robopref.envs.deformable.metrics import normalized_performance, num_crossings
from robopref.envs.deformable.primitives import REACH_M, ToolPath, pick_and_place
from robopref.envs.deformable.simulation import Simulation
from robopref.envs.deformable.task import Performed, Physics, Task

TIME_STEP_S = 0.002
CELL_M = 0.03
RADIUS_M = 0.004
MASS_KG = 0.12
HALF_BODY = 5
"""Cells from the middle to the side of the body."""
LENGTH = 14
"""Cells from the hem to the shoulders."""
SLEEVE = 4
"""Cells that a sleeve is long and wide."""
DROOP = 0.35
"""How much a sleeve hangs down for its length."""
NECK = 2
"""Half of the cells that the neck is wide; it is one deep."""
SNAP_M = 0.05
"""A tool takes the nearest place of the shirt, if it is within this [m]."""
GRIP_M = 0.025
"""Radius of the patch that a tool holds: one vertex would stretch like rubber [m]."""
SLACK = 0.96
"""Share of the distance along the cloth to which two tools stretch it."""
NARROWEST_M = 0.12
"""Places that are closer along the cloth cannot be flung [m]."""
DRAG_M = 0.15
"""How far a drag goes that a fling falls back to [m]."""
CARRIED_M = 0.02
"""A place beside the shirt that is higher is carried to and dropped at [m]."""
NUM_DROPS = 2
"""Random picks and drops that a start is made by."""
PIXEL_M = 0.01
"""Side of the cells that the covered area is counted in [m]."""


class TShirt(Task):
    """A T-shirt on a table."""

    PHYSICS: ClassVar = {
        "standard": Physics(friction=0.3),
        "held-out": Physics(friction=0.2, stiffness=0.6, density=1.5),
    }
    GOALS: ClassVar = {"flat": "Lay the T-shirt flat."}
    primitive: ClassVar[str] = "fling"
    max_episode_steps: ClassVar[int] = 10
    solved_at: ClassVar[float] = 0.85
    measured_as: ClassVar[str] = "coverage"

    def __init__(self, goal: str, physics: str) -> None:
        super().__init__(goal, physics)
        self._flat, self._triangles = shirt_mesh()
        self.sim = Simulation(
            _model(self._flat, self._triangles, self.PHYSICS[physics]),
            num_tools=2,
            num_held=len(self._flat),
        )
        self.goal = self._flat
        self._weights = _barycentric()
        self._flat_area = self._area(self._flat)

    def start(self, rng: np.random.Generator) -> None:
        """Pick the flat shirt at random places, carry it and drop it."""
        self.sim.restore(np.zeros_like(self.sim.positions))
        for _ in range(NUM_DROPS):
            vertices = self.sim.vertices
            pick = vertices[rng.integers(len(vertices))]
            place = np.append(rng.uniform(-0.1, 0.1, 2), 0.1)
            self._follow(_with_idle(pick_and_place(np.stack([pick, place]))), pick[None])

    def material(self) -> Float[np.ndarray, "V 3"]:
        """Return the vertices."""
        return self.sim.vertices

    def perform(self, points_m: Float[np.ndarray, "2 3"]) -> Performed:
        """Fling the shirt by the places near two points, or drag or carry one of them.

        Where one point lies beside the shirt, the other place is dragged to it over the table, or
        carried to it in an arc where it is above `CARRIED_M`. Where both lie on the shirt and no
        fling is feasible, the first is dragged away from the shirt's middle.
        """
        places, reached = self._places(points_m)
        if not reached.any():
            return Performed(self.primitive, touched=False, seconds=0.0)
        if not reached.all():
            points = np.concatenate([places[reached], points_m[~reached]])
            if points[1, 2] > CARRIED_M:
                path = _with_idle(pick_and_place(points))
                return Performed("pick-and-place", True, self._follow(path, places[reached]))
            return Performed("drag", True, self._follow(drag(points), places[reached]))
        flung = self._fling(places)
        if flung is not None:
            return Performed("fling", True, self._follow(flung, places))
        path = _outward(places[0], self.sim.vertices)
        return Performed("drag", True, self._follow(path, places[:1]))

    def measure(self) -> float:
        """Return the area that the shirt covers, relative to what it covers when flat."""
        return self._area(self.sim.vertices[:, :2]) / self._flat_area

    def num_crossings(self) -> int:
        """Return how many edges of the cloth pass through a triangle of another layer."""
        edges = self.sim.model.flex_edge.astype(np.int64)
        return num_crossings(self.sim.vertices, edges, self._triangles)

    def quality(self, measured: float, at_first: float) -> float:
        """Return the coverage itself: starts differ too little to be taken off."""
        return normalized_performance(measured, 0.0, 1.0)

    def propose(self, rng: np.random.Generator, num: int) -> Float[np.ndarray, "K 2 3"]:
        """Return flings by pairs that are far apart along the cloth, level, high and uncovered."""
        vertices = self.sim.vertices
        flat = self._flat
        pairs = rng.integers(len(flat), size=(400, 2))
        pairs = np.concatenate([self._favourites(), pairs])
        apart = np.linalg.norm(flat[pairs[:, 0]] - flat[pairs[:, 1]], axis=1)
        level = np.abs(flat[pairs[:, 0], 1] - flat[pairs[:, 1], 1])
        score = apart - 2 * level + flat[pairs, 1].mean(axis=1)
        score -= self._buried(pairs)
        score += 0.03 * rng.standard_normal(len(pairs))
        chosen = pairs[np.argsort(-score)][:num]
        proposed: np.ndarray = vertices[chosen]
        return proposed

    def _favourites(self) -> Int[np.ndarray, "_ 2"]:
        """Return the vertices of both shoulders, and of both corners of the hem."""
        corners = CELL_M * np.array([[HALF_BODY, LENGTH / 2], [HALF_BODY, -LENGTH / 2]])
        sides = [corners * np.array([sign, 1]) for sign in (-1, 1)]
        nearest = [
            np.linalg.norm(self._flat[:, None] - side[None], axis=-1).argmin(axis=0)
            for side in sides
        ]
        return np.stack(nearest, axis=1)

    def _buried(self, pairs: Int[np.ndarray, "_ 2"]) -> Float[np.ndarray, " _"]:
        """Return a penalty for places with cloth above them."""
        vertices = self.sim.vertices
        near = np.linalg.norm(vertices[:, None, :2] - vertices[None, :, :2], axis=-1) < CELL_M
        above = vertices[None, :, 2] - vertices[:, None, 2] > 2 * RADIUS_M
        depth = np.minimum((near & above).sum(axis=1), 5) / 5
        penalty: np.ndarray = 0.1 * depth[pairs].mean(axis=1)
        return penalty

    def _places(
        self, points_m: Float[np.ndarray, "2 3"]
    ) -> tuple[Float[np.ndarray, "2 3"], Bool[np.ndarray, " 2"]]:
        """Return the vertex nearest to each point, and whether it is within reach of it."""
        vertices = self.sim.vertices
        away = np.linalg.norm(vertices[None, :, :2] - points_m[:, None, :2], axis=-1)
        # Of places one above the other, the upper one is met first.
        away = away - 0.5 * vertices[None, :, 2]
        nearest = away.argmin(axis=1)
        return vertices[nearest], away.min(axis=1) <= SNAP_M

    def _fling(self, places: Float[np.ndarray, "2 3"]) -> ToolPath | None:
        """Return the fling by two places, or None where it is not feasible."""
        middles = [self._flat[held].mean(axis=0) for held in self._held(places)]
        along = float(np.linalg.norm(middles[0] - middles[1]))
        apart = float(np.linalg.norm((places[0] - places[1])[:2]))
        if along < NARROWEST_M or apart < CELL_M / 2:
            return None
        path = fling(places, width_m=SLACK * along, length_m=CELL_M * LENGTH)
        return path if is_within_reach(path) else None

    def _held(self, places: Float[np.ndarray, "A 3"]) -> list[Int[np.ndarray, " _"]]:
        """Return the patch of cloth, around the vertex at each place, that a tool holds."""
        nearest = np.linalg.norm(self.sim.vertices[None] - places[:, None], axis=-1).argmin(axis=1)
        away = np.linalg.norm(self._flat[None] - self._flat[nearest, None], axis=-1)
        lifted = np.linalg.norm(self.sim.vertices[None] - places[:, None], axis=-1)
        return [
            np.flatnonzero((on <= 2 * GRIP_M) & (there <= GRIP_M))
            for on, there in zip(away, lifted, strict=True)
        ]

    def _follow(self, path: ToolPath, places: Float[np.ndarray, "A 3"]) -> float:
        held = self._held(places)
        held += [np.zeros(0, np.int64)] * (2 - len(held))
        return self.sim.follow(path, held)

    def _area(self, vertices: Float[np.ndarray, "V 2"]) -> float:
        """Return the area that is covered, seen from above [m^2]."""
        points = np.einsum("pk,fkd->fpd", self._weights, vertices[self._triangles]).reshape(-1, 2)
        cells = np.floor(points / PIXEL_M).astype(np.int64)
        return len(np.unique(cells, axis=0)) * PIXEL_M**2


def shirt_mesh() -> tuple[Float[np.ndarray, "V 2"], Int[np.ndarray, "F 3"]]:
    """Return the flat shirt: its vertices, the middle at the origin [m], and its triangles."""
    index: dict[tuple[int, int], int] = {}
    triangles: list[tuple[int, int, int]] = []
    for x in range(-HALF_BODY - SLEEVE, HALF_BODY + SLEEVE):
        for y in range(LENGTH):
            is_body = -HALF_BODY <= x < HALF_BODY
            is_neck = -NECK <= x < NECK and y == LENGTH - 1
            if is_neck or not (is_body or y >= LENGTH - SLEEVE):
                continue
            a, b, c, d = (
                index.setdefault((x + i, y + j), len(index))
                for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))
            )
            # Diagonals alternate, so that the cloth has no grain.
            both = [(a, b, c), (a, c, d)] if (x + y) % 2 else [(a, b, d), (b, c, d)]
            triangles += both
    cells = np.array(list(index), float)
    droop = DROOP * (np.abs(cells[:, 0]) - HALF_BODY).clip(0)
    cells[:, 1] -= LENGTH / 2 + droop
    return CELL_M * cells, np.array(triangles)


def _barycentric(num: int = 5) -> Float[np.ndarray, "_ 3"]:
    """Return weights of points that are spread over a triangle, closer than `PIXEL_M`."""
    share = (np.arange(num) + 1 / 3) / num
    weights = [(a, b, 1 - a - b) for a in share for b in share if a + b <= 1]
    return np.array(weights)


def _outward(place: Float[np.ndarray, " 3"], vertices: Float[np.ndarray, "V 3"]) -> ToolPath:
    """Return a drag away from the shirt's middle."""
    way = (place - vertices.mean(axis=0))[:2]
    way = way / max(float(np.linalg.norm(way)), 1e-6) if np.any(way) else np.array([1.0, 0.0])
    end = (place[:2] + DRAG_M * way).clip(-REACH_M, REACH_M)
    return drag(np.stack([place, np.append(end, 0.0)]))


def _with_idle(path: ToolPath) -> ToolPath:
    """Return the path of one tool with a second one that holds nothing and waits above."""
    idle = np.tile(np.array([0.0, 0.0, 1.0]), (len(path.times_s), 1, 1))
    holds = np.concatenate([path.holds, np.zeros_like(path.holds)], axis=1)
    return ToolPath(path.times_s, np.concatenate([path.places_m, idle], axis=1), holds)


def _model(
    flat: Float[np.ndarray, "V 2"], triangles: Int[np.ndarray, "F 3"], physics: Physics
) -> str:
    places = np.concatenate([flat, np.full((len(flat), 1), RADIUS_M)], axis=1)
    points = " ".join(f"{value:.8f}" for value in places.ravel())
    elements = " ".join(str(value) for value in triangles.ravel())
    holds = "\n".join(
        f'<connect name="hold{tool}_{i}" body1="shirt_{i}" body2="tool{tool}" anchor="0 0 0" '
        f'active="false" solref="{4 * TIME_STEP_S} 1"/>'
        for tool in range(2)
        for i in range(len(flat))
    )
    friction = f"{physics.friction} 0.005 0.0001"
    # The stiffness of an edge that swings back critically damped is as the inverse square of this.
    edge_s = 2 * TIME_STEP_S / physics.stiffness**0.5
    return f"""
<mujoco>
  <option timestep="{TIME_STEP_S}" solver="CG" iterations="100" integrator="implicitfast">
    <flag autoreset="disable"/>
  </option>
  <size memory="64M"/>
  <visual>
    <map znear="0.01" zfar="10"/>
    <headlight ambient="0.5 0.5 0.5" diffuse="0.4 0.4 0.4" specular="0 0 0"/>
  </visual>
  <statistic extent="1" center="0 0 0"/>
  <worldbody>
    <geom name="table" type="plane" size="1 1 0.1" rgba="0.75 0.75 0.75 1" friction="{friction}"/>
    <body name="tool0" mocap="true" pos="0 0 1"/>
    <body name="tool1" mocap="true" pos="0 0 1"/>
    <flexcomp name="shirt" type="direct" dim="2" radius="{RADIUS_M}" rgba="0.15 0.3 0.75 1"
              mass="{MASS_KG * physics.density}" point="{points}" element="{elements}">
      <edge equality="true" solref="{edge_s} 1" damping="0.001"/>
      <contact condim="3" friction="{friction}" solref="0.006 1" selfcollide="auto"/>
    </flexcomp>
  </worldbody>
  <equality>{holds}</equality>
</mujoco>"""
