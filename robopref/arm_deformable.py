"""Deformable tasks whose primitives an arm performs, under its supervisor and in real time.

`arm-deformable/<task>` is a deformable task in which nothing moves by itself: a primitive becomes
a way of an arm's tool, the supervisor passes it, the controller of a simulated arm in a process of
its own carries it out, and the material follows the way that was measured. What a policy sees comes
from a depth camera of the hardware layer. Quality and success stay the task's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.arm_cameras import ArmCameras
from robopref.arm_primitives import STEP_S, PrimitiveMotion, TablePlace, path_of
from robopref.arm_rig import ArmRig, Supervised
from robopref.config import to_dict
from robopref.deploy.dry_run import Preview
from robopref.envs.camera_obs import seeing_space
from robopref.envs.deformable.env import EYE, DeformableConfig, DeformableEnv
from robopref.envs.deformable.primitives import InfeasiblePrimitiveError
from robopref.errors import check_above, check_between, check_choice
from robopref.hardware.arms import MODELS
from robopref.hardware.driver import CameraInfo
from robopref.hardware.forecast import Way
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.workspace import Box, HalfSpace, Workspace
from robopref.sim_cell import SimCell
from robopref.table_eye import TOP, TableCamera, TableEye
from robopref.types import IMAGES, SimState

STALL_S = 2.0
"""A shared machine may not run for so long, and in a simulation nothing is at stake [s]."""
BEHIND_RAD = 0.24
"""So far may a joint be behind there; the controller stops by itself beyond 0.25 [rad]."""
OVER_TABLE = Workspace(
    Box((-1.2, -1.2, -0.1), (1.4, 1.2, 1.6)), (HalfSpace((0.0, 0.0, 1.0), 0.0),), radius_m=0.04
)
"""Where the arm's links may be: over the table."""


@dataclass(frozen=True)
class ArmDeformableConfig(DeformableConfig):
    """A deformable task on a simulated arm under the supervisor.

    Raises:
        UnknownNameError: There is no such task.
        ValueError: A number is out of its range, or the task takes two arms.
    """

    arm: str = "ur5e"
    """ur5e, xarm7, panda, fr3 or sawyer."""
    table: TablePlace = field(default_factory=TablePlace)
    """Where the table is."""
    tool_speed_m_s: float = 0.25
    """Greatest speed of the tool [m/s]; paths that are faster are gone more slowly."""
    speed_factor: float = 1.0
    """Share of the greatest speeds that is used."""
    needs_deadman: bool = False
    """Whether it moves only while a person holds a button."""
    camera_age_s: float = 1.0
    """A camera whose newest picture is older does not see, and the arm is stopped [s]."""
    address: str = ""
    """HOST:PORT of the arm's controller; empty starts one."""

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        check_choice("arm", self.arm, MODELS)
        check_above("tool_speed_m_s", self.tool_speed_m_s, 0)
        check_between("speed_factor", self.speed_factor, 0.01, 1)
        check_above("camera_age_s", self.camera_age_s, 0)
        if self.task.startswith("tshirt"):
            raise ValueError(f"`task` '{self.task}' takes two arms that fling, and there is one.")

    def build(self) -> "ArmDeformableEnv":
        """Return the environment; the arm starts with its first episode."""
        return ArmDeformableEnv(self)


class ArmDeformableEnv(Supervised, DeformableEnv):
    """A deformable task, done by an arm in real time.

    ## Description
    As `deformable/<task>`, but an arm moves the tool: it goes to where the primitive begins, along
    its path no faster than it may, and back. The material follows the way of the tool as it was
    measured, once it was gone; it does not push back. A primitive that the arm cannot perform is
    not begun, and `info["problem"]` says why.

    ## Action Space
    As in `DeformableEnv`, in the table's frame: `Box((6,), float32)`, two points.

    ## Observation Space
    As in `DeformableEnv`, by a depth camera; with cameras, also `observation.images.top`.

    | key | observation | unit |
    | --- | --- | --- |
    | observation.points | cloud, in the table's frame, `Box((512, 3), float32)` | m |
    | observation.num_points | points before they were thinned out or repeated, `Box((1,))` | - |

    ## Rewards
    As in `DeformableEnv`.

    ## Starting State
    As in `DeformableEnv`: the same seed gives the same start. The arm stands where its maker lets
    it rest, and comes back there after each primitive.

    ## Episode End
    As in `DeformableEnv`; also truncated when the arm is stopped or the camera does not see any
    more, with `info["stopped"]` saying why.

    ## Arguments
    See `ArmDeformableConfig`.

    ## Version History
    New in 0.1.
    """

    is_real_time = True
    is_steered = False
    """Nobody takes over in the middle of a primitive: its steps are not a person's."""
    cameras: list[str] = [TOP]  # noqa: RUF012 - as the protocol has it
    reach_m = 0.0

    def __init__(self, config: ArmDeformableConfig) -> None:
        super().__init__(config)
        self.arm_config = config
        self.env_id = f"arm-deformable/{config.task}"
        self.arm_spec = MODELS[config.arm]()
        self._cell = SimCell(SimArmConfig(config.arm, config.address))
        self._safety = SafetyConfig(
            OVER_TABLE, config.speed_factor, tool_speed_m_s=config.tool_speed_m_s,
            tracking_error_rad=BEHIND_RAD, state_age_s=STALL_S, watchdog_s=STALL_S,
            needs_deadman=config.needs_deadman, off=("budget",),
        )  # fmt: skip
        self._camera = TableCamera(EYE)
        self._eye: TableEye | None = None
        self._seen: tuple[str, ...] = ()
        self._rig: ArmRig | None = None
        self._motion: PrimitiveMotion | None = None
        self.attend = _nothing
        """Called between two steps of the arm, of which a primitive has hundreds."""

    def with_cameras(self, cameras: Sequence[str], image_px: int) -> "ArmDeformableEnv":
        """Let observations hold what the camera sees from now on, and return this environment.

        Raises:
            ValueError: There is no such camera, one is given twice, or the size is below 1.
        """
        self.observation_space = seeing_space(self, cameras, image_px)
        self._seen = tuple(cameras)
        self._camera = replace(self._camera, size_px=image_px)
        return self

    def open_cameras(self) -> Mapping[str, CameraInfo]:
        """Open the camera, before the arm is armed; return what is known of it."""
        if self._eye is None:
            age_s = self.arm_config.camera_age_s
            self._eye = TableEye(self.task.sim.model, self._camera, age_s)
        return self._eye.cameras.open()

    @property
    def eyes(self) -> ArmCameras | None:
        """The camera, once it is open."""
        return None if self._eye is None else self._eye.cameras

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Put the material in place and let the arm begin; the same seed gives the same start."""
        # What is strewn or crumpled at first was not done by the arm.
        self.task.sim.carry = None
        obs, info = super().reset(seed=seed, options=options)
        self._begin()
        return obs, info

    def set_state(self, state: SimState) -> dict[str, np.ndarray]:
        """Put the material where `state` has it, and let the arm begin there."""
        self.task.sim.carry = None
        obs = super().set_state(state)
        self._begin()
        return obs

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Perform one primitive, in real time.

        `info` says what was asked of the arm and what it was sent, under keys that start with
        "safety.", and under "stopped" why it was stopped, if it was.
        """
        seen = self._look()
        obs, reward, terminated, truncated, info = super().step(action)
        assert self._rig is not None
        assert self._motion is not None
        info |= {**self._motion.take_record().columns(), **seen, **self._look()}
        return obs, reward, terminated, self._is_stopped(info) or truncated, info

    def set_speed(self, factor: float) -> None:
        """Use this share of the greatest speeds from now on.

        Raises:
            ValueError: It is not above 0 and at most 1.
        """
        self._safety = replace(self._safety, speed_factor=factor)
        if self._rig is not None:
            self._rig.set_speed(factor, STEP_S / factor)

    def look_ahead(self, actions: Float[np.ndarray, "1 6"]) -> Way:
        """Return how the arm would perform a primitive from where it is."""
        assert self._motion is not None
        try:
            return self._motion.look_ahead(*path_of(self.task.primitive, actions[0]))
        except InfeasiblePrimitiveError as error:
            return Way(np.zeros((0, self.arm_spec.num_joints)), str(error), 0.0, np.inf)

    def preview(self, actions: Float[np.ndarray, "1 6"]) -> Preview:
        """Return what an operator should know before a primitive is performed."""
        assert self._motion is not None
        way, here = self.look_ahead(actions), self._motion.tool_m
        try:
            targets = self._motion.targets_m(*path_of(self.task.primitive, actions[0]))
        except InfeasiblePrimitiveError:
            targets = np.zeros((0, 3))
        return Preview(here, targets, way)

    @property
    def recorded(self) -> dict[str, Any]:
        """What is kept with every episode: the arm, its limits, and which of them are off."""
        return super().recorded | {"table": to_dict(self.arm_config.table)}

    def close(self) -> None:
        """Stop the arm, end its processes and free the renderers."""
        if self._rig is not None:
            self._rig.close()
        if self._eye is not None:
            self._eye.cameras.close()
        self._cell.close()
        self._rig = self._eye = self._motion = None
        self.task.sim.carry = None
        super().close()

    def _begin(self) -> None:
        if self._rig is None:
            self._rig = ArmRig(self._cell.robot(), self._safety, STEP_S / self._safety.speed_factor)
            place = self.arm_config.table
            self._motion = PrimitiveMotion(self._rig, place, lambda: self.attend())
        else:
            self._rig.rest("the episode is over")
        assert self._motion is not None
        self._rig.begin("robopref", "the material was put back")
        self._rig.go_to(self.arm_spec.rest_rad)
        self._motion.begin()
        self.task.sim.carry = self._motion.carry

    def _obs(self) -> dict[str, np.ndarray]:
        self.open_cameras()
        assert self._eye is not None
        cloud, picture = self._eye.see(self.task.sim.positions, self._clouds)
        return {**cloud, **{IMAGES + name: picture for name in self._seen}}


def _nothing() -> None:
    """Do nothing."""
