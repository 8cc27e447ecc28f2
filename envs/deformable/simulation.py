"""Loose material on a table in MuJoCo, moved by tools that can take hold of it.

Between primitives everything is at rest, so that positions alone are the state: whoever goes back
to them goes on as the first time, bit for bit.

Shapes: V vertices that can be held, A tools, Dq positions, Dv velocities, E edges.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from robopref.envs.deformable.primitives import ToolPath
from robopref.errors import RoboprefError
from robopref.render import import_mujoco

GREATEST_SPEED_M_S = 30.0
"""What moves faster is not of this world [m/s]."""
SUNK_M = 0.02
"""What is so far under the table has gone through it [m]."""
STILL_M_S = 0.01
"""What moves more slowly is at rest [m/s]."""
SETTLE_S = 2.0
"""Longest time that is waited for rest [s]."""
AT_ONCE = 25
"""Steps between two looks at the speeds."""
BENDING_DAMPING_S = 0.02
"""How much bending is slowed down, relative to how stiff it is [s]."""
PARK_M = 3.0
"""Height at which tools wait, above the cameras [m]."""


class UnstableSimulationError(RoboprefError):
    """The physics went wrong; the material is back where it was before the primitive."""


class Simulation:
    """A model with free material and tools.

    A tool is a mocap body "tool<i>"; it holds a vertex by the equality "hold<i>_<v>", which the
    model has for every vertex that can be held, switched off.

    Args:
        xml: The model.
        num_tools: A.
        num_held: V; 0 where nothing is held, such as granules.
        bending_n_per_m: Force on each vertex for the place of each, negative [N/m]. MuJoCo's lines
            do not resist bending. None for material that does not.

    Attributes:
        watch: Called after each step of the physics, by who measures it.
        carry: Who carries the tools, such as an arm: given a path, and how the tools are turned
            about the vertical [rad], it returns the path that they went. None for tools that go
            by themselves.
    """

    def __init__(
        self,
        xml: str,
        *,
        num_tools: int,
        num_held: int,
        bending_n_per_m: Float[np.ndarray, "V V"] | None = None,
    ) -> None:
        self._mujoco = import_mujoco()
        self.model: Any = self._mujoco.MjModel.from_xml_string(xml)
        self.data: Any = self._mujoco.MjData(self.model)
        self._holds = np.array(
            [
                [self.model.equality(f"hold{tool}_{vertex}").id for vertex in range(num_held)]
                for tool in range(num_tools)
            ],
            dtype=np.int64,
        ).reshape(num_tools, num_held)
        kinds = self._mujoco.mjtWarning
        self._warnings = [kinds.mjWARN_BADQPOS, kinds.mjWARN_BADQVEL, kinds.mjWARN_BADQACC]
        self._bending = bending_n_per_m
        self._levers_m = _levers(self._mujoco, self.model)
        self.watch: Callable[[], None] | None = None
        self.carry: Callable[[ToolPath, float], ToolPath] | None = None
        self.restore(self.data.qpos.copy())
        self._at_first = self.vertices

    @property
    def positions(self) -> Float[np.ndarray, " Dq"]:
        """Everything there is to know while all is at rest."""
        positions: np.ndarray = self.data.qpos.copy()
        return positions

    @property
    def stretch(self) -> Float[np.ndarray, " E"]:
        """How long each edge of the flexible material is, relative to what it should be."""
        ratio: np.ndarray = self.data.flexedge_length / self.model.flexedge_length0
        return ratio

    @property
    def depth_m(self) -> float:
        """How deep the deepest contact goes into what it touches [m]."""
        return float(max(0.0, -self.data.contact.dist.min(initial=0.0)))

    @property
    def vertices(self) -> Float[np.ndarray, "V 3"]:
        """Where the vertices of the flexible material are [m]."""
        vertices: np.ndarray = self.data.flexvert_xpos.copy()
        return vertices

    def restore(self, positions: Float[np.ndarray, " Dq"]) -> None:
        """Put everything where it was, at rest, the tools away."""
        self._mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = positions
        self.data.mocap_pos[:] = [0.0, 0.0, PARK_M]
        self._mujoco.mj_forward(self.model, self.data)
        # The line above wrote the solver's warm start, which the next step would begin with.
        self.data.qacc_warmstart[:] = 0

    def follow(
        self,
        path: ToolPath,
        held: list[Int[np.ndarray, " _"]] | None = None,
        *,
        yaw_rad: float = 0.0,
    ) -> float:
        """Move the tools along a path, wait until all is at rest, and return how long it took [s].

        Args:
            path: Of every tool.
            held: Vertices that each tool takes hold of where it holds; they keep their places
                relative to the tool. None where nothing is held.
            yaw_rad: How the tools are turned about the vertical [rad].

        Raises:
            UnstableSimulationError: The physics went wrong; all is where it was.
        """
        path = path if self.carry is None else self.carry(path, yaw_rad)
        before = self.positions
        step_s = float(self.model.opt.timestep)
        times = np.arange(1, round(path.times_s[-1] / step_s) + 1) * step_s
        places, holding = path.at(times), path.holding(times)
        self.data.mocap_pos[:] = path.places_m[0]
        self.data.mocap_quat[:] = [np.cos(yaw_rad / 2), 0.0, 0.0, np.sin(yaw_rad / 2)]
        self._mujoco.mj_kinematics(self.model, self.data)
        held = held or [np.zeros(0, np.int64)] * places.shape[1]
        now = np.zeros(places.shape[1], bool)
        try:
            for place, holds in zip(places, holding, strict=True):
                if (holds != now).any():
                    self._grip(held, holds)
                    now = holds
                self.data.mocap_pos[:] = place
                self._step()
            self._grip(held, np.zeros_like(now))
            self.data.mocap_pos[:] = [0.0, 0.0, PARK_M]
            self._settle()
        except UnstableSimulationError:
            self.restore(before)
            raise
        seconds = float(self.data.time)
        self.restore(self.positions)
        return seconds

    def settle(self) -> None:
        """Wait until all is at rest.

        Raises:
            UnstableSimulationError: The physics went wrong; all is where it was.
        """
        before = self.positions
        try:
            self._settle()
        except UnstableSimulationError:
            self.restore(before)
            raise
        self.restore(self.positions)

    def _step(self) -> None:
        if self._bending is not None:
            # A vertex slides along x, y and z from its first place.
            places = self._at_first + self.data.qpos.reshape(-1, 3)
            damped = places + BENDING_DAMPING_S * self.data.qvel.reshape(-1, 3)
            self.data.qfrc_applied[:] = -(self._bending @ damped).ravel()
        self._mujoco.mj_step(self.model, self.data)
        if self.watch is not None:
            self.watch()

    def _settle(self) -> None:
        for _ in range(round(SETTLE_S / float(self.model.opt.timestep) / AT_ONCE)):
            for _ in range(AT_ONCE):
                self._step()
            speed = self._check()
            if speed < STILL_M_S:
                return

    def _check(self) -> float:
        """Return the greatest speed of anything, turning included [m/s]."""
        speed = float(np.abs(self._levers_m * self.data.qvel).max())
        problem = ""
        if not speed < GREATEST_SPEED_M_S:  # NaN too.
            problem = f"something moves at {speed:.0f} m/s"
        elif not self.data.xpos[:, 2].min() > -SUNK_M:
            problem = f"something is {-self.data.xpos[:, 2].min():.3f} m under the table"
        elif any(self.data.warning[kind].number for kind in self._warnings):
            problem = "MuJoCo has met numbers that are too large"
        if problem:
            raise UnstableSimulationError(
                f"The simulation went unstable: {problem}. The material is back where it was "
                "before this primitive. Choose another one."
            )
        return speed

    def _grip(self, held: list[Int[np.ndarray, " _"]], holds: np.ndarray) -> None:
        """Take hold where a tool holds, at the distances that there are now, and let go else."""
        self._check()
        for tool, vertices in enumerate(held):
            names = self._holds[tool, vertices]
            if holds[tool]:
                offsets = self.data.flexvert_xpos[vertices] - self.data.mocap_pos[tool]
                self.model.eq_data[names, :3] = 0
                self.model.eq_data[names, 3:6] = offsets
            self.data.eq_active[names] = holds[tool]


def _levers(mujoco: Any, model: Any) -> Float[np.ndarray, " Dv"]:
    """Return what makes each velocity one in m/s: the size of what turns for a turn, else 1."""
    levers = np.ones(model.nv)
    for kind, body, first in zip(model.jnt_type, model.jnt_bodyid, model.jnt_dofadr, strict=True):
        if kind == mujoco.mjtJoint.mjJNT_FREE:
            levers[first + 3 : first + 6] = model.geom_rbound[model.body_geomadr[body]]
    return levers
