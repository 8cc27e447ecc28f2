"""Almonds that are to be swept into a T, an L or a line by a plate.

Source: Chen et al., DeformPAM, 2024, arXiv:2410.11584, whose almonds a real arm sweeps into a T.

Shapes: N almonds, F points over them, C corners of the goal, K primitives.
"""

from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from robopref.envs.deformable import goals
from robopref.envs.deformable.metrics import (
    ROTATIONS_DEG,
    intersection_over_union,
    normalized_performance,
)
from robopref.envs.deformable.primitives import REACH_M, sweep, sweep_yaw
from robopref.envs.deformable.simulation import Simulation
from robopref.envs.deformable.task import Performed, Physics, Task

TIME_STEP_S = 0.004
NUM_ALMONDS = 80
HALF_AXES_M = (0.012, 0.007, 0.0045)
DENSITY_KG_M3 = 900.0
PLATE_M = 0.10
"""Width of the plate."""
BLADE_M = 0.02
"""Its thickness, behind the face that pushes; through a thin one soft contacts let almonds pass."""
SPREAD_M = 0.13
"""Radius of the disc over which the almonds are strewn [m]."""
CLEAR_M = 0.03
"""A proposed sweep begins so far beyond the almonds that it is to push [m]."""
SETTLED_M = 0.012
"""Almonds so close before an edge lie against it already [m]."""
SOLVED_IOU = 0.75
_OVER = np.array([[0, 0, 0], [0.45, 0, 0], [-0.45, 0, 0], [0.85, 0, 0], [-0.85, 0, 0],
                  [0, 0.6, 0], [0, -0.6, 0]], float)  # fmt: skip
"""Points over an almond, in half axes."""


class Granular(Task):
    """Almonds on a table."""

    PHYSICS: ClassVar = {
        "standard": Physics(friction=0.6),
        "held-out": Physics(friction=0.35, density=1.6),
    }
    GOALS: ClassVar = {
        "T": "Sweep the almonds into a T.",
        "L": "Sweep the almonds into an L.",
        "line": "Sweep the almonds into a broad line.",
    }
    primitive: ClassVar[str] = "sweep"
    max_episode_steps: ClassVar[int] = 15
    solved_at: ClassVar[float] = SOLVED_IOU
    measured_as: ClassVar[str] = "intersection_over_union"

    def __init__(self, goal: str, physics: str) -> None:
        super().__init__(goal, physics)
        self.sim = Simulation(_model(self.PHYSICS[physics]), num_tools=1, num_held=0)
        self.goal = goals.filled(goal)
        self._outline = goals.outline(goal)

    def start(self, rng: np.random.Generator) -> None:
        """Strew the almonds over a disc, in layers that fall onto one another."""
        places = np.zeros((NUM_ALMONDS, 7))
        angle = rng.uniform(0, 2 * np.pi, NUM_ALMONDS)
        radius = SPREAD_M * np.sqrt(rng.uniform(0, 1, NUM_ALMONDS))
        places[:, 0], places[:, 1] = radius * np.cos(angle), radius * np.sin(angle)
        places[:, 2] = 0.01 + 0.012 * (np.arange(NUM_ALMONDS) % 8)
        turn = rng.uniform(0, np.pi, NUM_ALMONDS)
        places[:, 3], places[:, 6] = np.cos(turn / 2), np.sin(turn / 2)
        self.sim.restore(places.ravel())
        self.sim.settle()

    def material(self) -> Float[np.ndarray, "N 3"]:
        """Return the middles of the almonds."""
        return self.sim.positions.reshape(-1, 7)[:, :3]

    def footprint(self) -> Float[np.ndarray, "F 3"]:
        """Return points spread over every almond, as wide as it lies."""
        poses = self.sim.positions.reshape(-1, 7)
        turned = Rotation.from_quat(poses[:, [4, 5, 6, 3]]).as_matrix()
        spread = np.array(HALF_AXES_M) * _OVER
        points: np.ndarray = poses[:, None, :3] + np.einsum("nij,fj->nfi", turned, spread)
        return points.reshape(-1, 3)

    def perform(self, points_m: Float[np.ndarray, "2 3"]) -> Performed:
        """Sweep from the first point to the second."""
        before = self.material()
        seconds = self.sim.follow(sweep(points_m), yaw_rad=sweep_yaw(points_m))
        touched = bool(np.abs(self.material() - before).max() > HALF_AXES_M[2])
        return Performed(self.primitive, touched=touched, seconds=seconds)

    def measure(self) -> float:
        """Return the share of the area of almonds or goal that is the area of both."""
        return intersection_over_union(self.footprint(), self.goal)

    def quality(self, measured: float, at_first: float) -> float:
        """Return the overlap with the goal, relative to none: starts differ too little."""
        return normalized_performance(measured, 0.0, 1.0)

    def propose(self, rng: np.random.Generator, num: int) -> Float[np.ndarray, "K 2 3"]:
        """Return sweeps from outside onto the goal's edges, those that push most almonds first."""
        flat = self.material()[:, :2]
        corners = self._placed(flat)
        outside = flat[~goals.is_inside(flat, corners)]
        found: list[tuple[float, np.ndarray]] = []
        for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            found += _onto_edge(start, end, corners, outside)
        found.sort(key=lambda each: -each[0] * (1 + 0.1 * rng.standard_normal()))
        sweeps = np.array([points for _, points in found[:num]]).reshape(-1, 2, 2)
        return np.concatenate([sweeps, np.zeros((len(sweeps), 2, 1))], axis=-1)

    def _placed(self, flat: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "C 2"]:
        """Return the goal's corners where the almonds are, turned as they fit it best."""
        points = self.footprint()
        overlaps = [
            intersection_over_union(points, self.goal, rotations_deg=(angle,))
            for angle in ROTATIONS_DEG
        ]
        # The almonds are turned onto the goal: the goal turns the other way.
        angle = -np.radians(ROTATIONS_DEG[int(np.argmax(overlaps))])
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        placed: np.ndarray = self._outline @ turn.T + flat.mean(axis=0)
        return placed


def _onto_edge(
    start: np.ndarray, end: np.ndarray, corners: np.ndarray, outside: np.ndarray
) -> list[tuple[float, np.ndarray]]:
    """Return sweeps onto an edge, each with how many almonds are before it."""
    length = float(np.linalg.norm(end - start))
    along = (end - start) / length
    outward = np.array([along[1], -along[0]])
    across = np.linspace(-PLATE_M / 2, PLATE_M / 2, 9)[:, None] * along
    found = []
    for share in np.arange(0.02, length, 0.02):
        stop = start + share * along + 0.004 * outward
        if goals.is_inside(stop + across, corners).any():
            continue  # The plate would cut into the shape beside a corner.
        away = outside - stop
        ahead = (np.abs(away @ along) < PLATE_M / 2) & (away @ outward > 0)
        ahead &= away @ outward < 2 * PLATE_M
        if ahead.any():
            far = float((away[ahead] @ outward).max()) + CLEAR_M
            begin = (stop + far * outward).clip(-REACH_M, REACH_M)
            gain = (away[ahead] @ outward - SETTLED_M).clip(0).sum()
            found.append((float(gain), np.stack([begin, stop])))
    return found


def _model(physics: Physics) -> str:
    size = " ".join(str(half) for half in HALF_AXES_M)
    almonds = "\n".join(
        f'<body pos="0 0 {0.1 + 0.02 * i}"><joint type="free" damping="0.0002"/>'
        f'<geom type="ellipsoid" size="{size}" rgba="0.6 0.3 0.1 1" '
        f'density="{DENSITY_KG_M3 * physics.density}" condim="4" '
        f'friction="{physics.friction} 0.002 0.0001" solref="0.01 1"/></body>'
        for i in range(NUM_ALMONDS)
    )
    return f"""
<mujoco>
  <option timestep="{TIME_STEP_S}" solver="CG" iterations="30" integrator="implicitfast">
    <flag autoreset="disable"/>
  </option>
  <size memory="64M"/>
  <visual>
    <map znear="0.01" zfar="10"/>
    <headlight ambient="0.5 0.5 0.5" diffuse="0.4 0.4 0.4" specular="0 0 0"/>
  </visual>
  <statistic extent="1" center="0 0 0"/>
  <worldbody>
    <geom name="table" type="plane" size="1 1 0.1" rgba="0.75 0.75 0.75 1" condim="4"
          friction="{physics.friction} 0.002 0.0001" solref="0.01 1"/>
    <body name="tool0" mocap="true" pos="0 0 3">
      <geom type="box" size="{BLADE_M / 2} {PLATE_M / 2} 0.025" pos="{-BLADE_M / 2} 0 0.026"
            rgba="0.4 0.4 0.4 1" friction="0.2 0.002 0.0001" solref="0.008 1" priority="1"/>
    </body>
    {almonds}
  </worldbody>
</mujoco>"""
