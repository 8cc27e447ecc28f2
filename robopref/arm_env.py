"""Tasks carried out by an arm under its supervisor, as environments like any other.

`arm/<task>` is a task of Meta-World whose Sawyer is moved through the hardware layer: the policy's
steps become joint commands, the supervisor passes them, and the controller of a simulated arm in a
process of its own carries them out in real time. Observations, reward and success stay the
package's own, so that a policy, a data set and an evaluation work as they are.

Shapes: J joints.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.arm_cameras import ArmCameras
from robopref.arm_rig import ArmRig, Supervised
from robopref.arm_table import ArmTable
from robopref.deploy.dry_run import Preview
from robopref.envs.camera_obs import seeing_space
from robopref.envs.metaworld import CAMERAS, MetaWorldConfig, MetaWorldEnv
from robopref.errors import check_above, check_between
from robopref.hardware.arms import sawyer
from robopref.hardware.driver import CameraInfo
from robopref.hardware.forecast import Way
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.sim_link import parse_address
from robopref.hardware.step_record import StepRecord
from robopref.hardware.synthetic_camera import CameraFaults, SyntheticCameraConfig
from robopref.hardware.workspace import Box, HalfSpace, Workspace
from robopref.types import SimState

REACH_M = 0.01
"""The farthest that the tool's target moves in a step of a policy [m]."""
STALL_S = 0.5
"""A machine that is shared may not run for so long, and nothing is at stake in a simulation [s]."""
TABLE = Workspace(
    Box((-1.0, -0.6, -0.1), (1.0, 1.3, 1.5)), (HalfSpace((0.0, 0.0, 1.0), 0.0),), radius_m=0.04
)
"""Where the Sawyer's links may be: over its table."""


@dataclass(frozen=True)
class ArmTaskConfig(MetaWorldConfig):
    """A task of Meta-World on a simulated arm under the supervisor.

    Raises:
        UnknownNameError: There is no such task.
        ValueError: A number is out of its range.
    """

    tool_speed_m_s: float = 0.25
    """Greatest speed of the tool [m/s]; it decides how long a step takes."""
    speed_factor: float = 1.0
    """Share of the greatest speeds that is used."""
    needs_deadman: bool = False
    """Whether it moves only while a person holds a button."""
    camera_fps: float = 20.0
    """Pictures a second of each camera [Hz]."""
    camera_age_s: float = 1.0
    """A camera whose newest picture is older does not see, and the arm is stopped [s]."""
    camera_faults: CameraFaults = field(default_factory=CameraFaults)
    """What goes wrong with the cameras."""
    address: str = ""
    """HOST:PORT of a controller that runs, with the task's scene; empty starts one."""

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        check_above("tool_speed_m_s", self.tool_speed_m_s, 0)
        check_between("speed_factor", self.speed_factor, 0.01, 1)
        check_above("camera_fps", self.camera_fps, 0)
        check_above("camera_age_s", self.camera_age_s, 0)
        if self.address:
            parse_address(self.address)

    def build(self) -> "ArmTaskEnv":
        """Return the environment; the arm starts with its first episode."""
        return ArmTaskEnv(self)

    @property
    def step_s(self) -> float:
        """How long a step takes now [s]."""
        return self.shortest_s / self.speed_factor

    @property
    def shortest_s(self) -> float:
        """How long a step takes at full speed [s]: the tool never has to be faster than it may."""
        return math.sqrt(3) * REACH_M / self.tool_speed_m_s


class ArmTaskEnv(Supervised, MetaWorldEnv):
    """A task of Meta-World, done by an arm in real time.

    ## Description
    As `metaworld/<task>`, but what moves the hand is an arm: a target of the hand becomes joint
    positions, which pass the supervisor and go to a controller in another process. Steps take real
    time, as long as the speed limit makes them, and no two runs are equal to the last digit.

    ## Action Space
    `Box(-1, 1, (4,), float32)`; along a diagonal, the hand's target moves by 1.7 cm a step.

    | index | action | unit |
    | --- | --- | --- |
    | 0-2 | move the hand's target along x, y (away from the robot) and z (up) | 0.01 m a step |
    | 3 | close (+1) or open (-1) the gripper | share of the way |

    ## Observation Space
    `Dict` with one entry, `observation.state`: `Box((39,), float32)`, as in `MetaWorldEnv`, from
    where the arm and the objects of the controller are.

    | index | observation | unit |
    | --- | --- | --- |
    | 0-2 | hand, x y z | m |
    | 3 | opening of the gripper; 1 is open | share of 0.1 m |
    | 4-17 | first and second object, each x y z and quaternion | m, - |
    | 18-35 | entries 0-17 one step earlier | |
    | 36-38 | goal, x y z | m |

    With cameras, also `observation.images.<camera>`: each camera's newest picture at the end of a
    step, taken by a camera that keeps its own time, as a real one does.

    ## Rewards
    As in `MetaWorldEnv`.

    ## Starting State
    As in `MetaWorldEnv`: the same seed places objects, goal and hand alike.

    ## Episode End
    As in `MetaWorldEnv`; also truncated when the supervisor stops the arm, or a camera does not see
    any more, with `info["stopped"]` saying why.

    ## Arguments
    See `ArmTaskConfig`.

    ## Version History
    New in 0.1.
    """

    is_real_time = True
    reach_m = REACH_M

    def __init__(self, config: ArmTaskConfig) -> None:
        super().__init__(config)
        self.arm_config = config
        self.env_id = f"arm/{config.task}"
        # A slower run is the same steps, and goes into the same data set.
        self.fps = 1.0 / config.shortest_s
        self.arm_spec = sawyer()
        self._safety = SafetyConfig(
            TABLE, config.speed_factor, tool_speed_m_s=config.tool_speed_m_s,
            state_age_s=STALL_S, watchdog_s=STALL_S, needs_deadman=config.needs_deadman,
            off=("budget",),
        )  # fmt: skip
        self._table: ArmTable | None = None
        self._rig: ArmRig | None = None
        self._record: StepRecord | None = None
        self._seen: tuple[str, ...] = ()
        self._image_px = 0
        self._eyes: ArmCameras | None = None
        self._raw.do_simulation = self._move

    def with_cameras(self, cameras: Sequence[str], image_px: int) -> "ArmTaskEnv":
        """Let observations hold what cameras see from now on, and return this environment.

        Raises:
            ValueError: There is no such camera, one is given twice, or the size is below 1.
        """
        self.observation_space = seeing_space(self, cameras, image_px)
        self._seen, self._image_px = tuple(cameras), image_px
        return self

    def open_cameras(self) -> Mapping[str, CameraInfo]:
        """Open the cameras, before the arm is armed; return what is known of each."""
        if self._table is None:
            self._table = ArmTable(self._raw, self.arm_config.address)
        if self._eyes is None:
            drivers = {name: self._camera(name).build() for name in self._seen}
            self._eyes = ArmCameras(drivers, self.arm_config.camera_age_s)
        return self._eyes.open()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Put the scene in place and let the arm begin; the same seed gives the same start."""
        # Where the hand starts is found by the package's own simulation.
        del self._raw.do_simulation
        obs, info = super().reset(seed=seed, options=options)
        self._raw.do_simulation = self._move
        return {**obs, **self._begin()}, info

    def set_state(self, state: SimState) -> dict[str, np.ndarray]:
        """Put scene and arm where `state` has them, and let the arm begin there."""
        obs = super().set_state(state)
        return {**obs, **self._begin()}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act once, in real time.

        `info` says what was asked of the arm and what it was sent, under keys that start with
        "safety.", and under "stopped" why the supervisor stopped it, if it did.
        """
        self._look()
        obs, reward, terminated, truncated, info = super().step(action)
        assert self._rig is not None
        assert self._record is not None
        info |= {**self._record.columns(), **self._look()}
        obs |= self._pictures()
        return obs, reward, terminated, self._is_stopped(info) or truncated, info

    def set_speed(self, factor: float) -> None:
        """Use this share of the greatest speeds from now on; a step takes longer or shorter.

        Raises:
            ValueError: It is not above 0 and at most 1.
        """
        self.arm_config = replace(self.arm_config, speed_factor=factor)
        self._safety = replace(self._safety, speed_factor=factor)
        if self._rig is not None:
            self._rig.set_speed(factor, self.arm_config.step_s)

    def look_ahead(self, actions: Float[np.ndarray, "Tp 4"]) -> Way:
        """Return how the arm would carry out a chunk of actions from where it is."""
        assert self._rig is not None
        return self._rig.look_ahead(self._targets(actions))

    def _targets(self, actions: Float[np.ndarray, "Tp 4"]) -> Float[np.ndarray, "Tp 3"]:
        raw = self._raw
        steps = np.cumsum(np.clip(actions[:, :3], -1, 1) * REACH_M, axis=0)
        targets: np.ndarray = np.clip(raw.data.mocap_pos[0] + steps, raw.mocap_low, raw.mocap_high)
        return targets

    def preview(self, actions: Float[np.ndarray, "Tp 4"]) -> Preview:
        """Return what an operator should know before a chunk of actions is carried out."""
        tool = self._raw.get_endeff_pos().copy()
        way = self.look_ahead(actions)
        return Preview(tool, self._targets(actions), way)

    def close(self) -> None:
        """Stop the arm, end its processes and free the renderer."""
        if self._rig is not None:
            self._rig.close()
        if self._eyes is not None:
            self._eyes.close()
        if self._table is not None:
            self._table.close()
        self._rig = self._eyes = self._table = None
        super().close()

    def _begin(self) -> dict[str, np.ndarray]:
        """Put the scene in place and arm the arm there; return what the cameras see of it."""
        if self._eyes is None and self._seen:
            self.open_cameras()
        if self._table is None:
            self._table = ArmTable(self._raw, self.arm_config.address)
        if self._rig is None:
            self._rig = ArmRig(self._table.driver_config, self._safety, self.arm_config.step_s)
        else:
            self._rig.rest("the episode is over")
        self._table.place(self._raw)
        if self._eyes is not None:
            self._eyes.wait_for_new(time.monotonic())
        self._rig.begin("robopref", "the scene was put back")
        return self._pictures()

    def _pictures(self) -> dict[str, np.ndarray]:
        return {} if self._eyes is None else self._eyes.pictures()

    def _camera(self, name: str) -> SyntheticCameraConfig:
        assert self._table is not None
        return SyntheticCameraConfig(
            self.arm_spec.name, Path(self._raw.fullpath), self._table.driver_config.address,
            viewpoint=name, view=CAMERAS.get(name), width=self._image_px, height=self._image_px,
            fps=self.arm_config.camera_fps, faults=self.arm_config.camera_faults,
        )  # fmt: skip

    def _move(self, ctrl: Any, n_frames: int) -> None:
        """Take the place of the package's simulation of one step."""
        del n_frames
        assert self._rig is not None
        assert self._table is not None
        target = self._rig.unless_held(self._raw.data.mocap_pos[0].copy())
        self._raw.data.mocap_pos[0] = target
        self._record = self._rig.go(target, opening=(1.0 - float(ctrl[0])) / 2)
        self._table.show(self._raw)
        self._raw.data.time += self.arm_config.step_s
