"""An arm of any driver as a Gymnasium environment: collection, evaluation and alignment as usual.

Shapes: J joints, H height, W width.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float
from PIL import Image

from robopref.arm_cameras import ArmCameras
from robopref.arm_rig import ArmRig, Supervised
from robopref.config import load_yaml, resolve
from robopref.deploy.dry_run import Preview
from robopref.deploy.operator import Confirm, ask_on_terminal, nobody_is_needed
from robopref.envs.actions import checked_action
from robopref.errors import HardwareError, Unattended, check_at_least
from robopref.hardware.driver import CameraInfo
from robopref.hardware.forecast import Way
from robopref.rig import RigConfig
from robopref.sim_cell import SimCell
from robopref.types import IMAGES, STATE, SimState


@dataclass(frozen=True)
class RealArmConfig:
    """A robot's cell, as a file describes it.

    Raises:
        ValueError: A number is out of its range.
    """

    task: str = "cell.yaml"
    """YAML file with the fields of `robopref.rig.RigConfig`."""
    max_episode_steps: int | None = None
    """Steps after which an episode is cut off; None as the file says."""
    speed_factor: float = 1.0
    """Share of the greatest speeds that is used."""
    needs_deadman: bool = False
    """Whether it moves only while a person holds a button."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.max_episode_steps is not None:
            check_at_least("max_episode_steps", self.max_episode_steps, 1)

    def build(self) -> "RealArmEnv":
        """Return the environment; the arm is reached with its first episode.

        Raises:
            FileNotFoundError: There is no such file.
            ConfigError: It describes no cell.
        """
        return RealArmEnv(
            load_yaml(RigConfig, Path(self.task)), f"real/{self.task}",
            max_episode_steps=self.max_episode_steps, speed_factor=self.speed_factor,
            needs_deadman=self.needs_deadman,
        )  # fmt: skip


class RealArmEnv(Supervised, gymnasium.Env[Any, Any]):
    """An arm, its cameras, and a person who puts the scene back.

    ## Description
    Each action moves the place where the tool is to be; the hardware layer makes joint commands of
    it, which pass the supervisor, in real time. Nobody else can put the scene back: before each
    episode a person is asked whether the arm may begin, unless the arm is simulated. There are no
    snapshots; what was seen is in the data.

    ## Action Space
    `Box(-1, 1, (4,), float32)`; larger actions are clipped.

    | index | action | unit |
    | --- | --- | --- |
    | 0-2 | move the tool's target along x, y and z of the arm's base | `reach_m` a step, 1 cm |
    | 3 | close (+1) or open (-1) the gripper | share of the way |

    ## Observation Space
    `Dict` with `observation.state`: `Box((8 + J,), float32)`, and `observation.images.<camera>`:
    `Box(0, 255, (H, W, 3), uint8)` for each camera that is asked for.

    | index | observation | unit |
    | --- | --- | --- |
    | 0-2 | tool, x y z in the frame of the arm's base | m |
    | 3-6 | tool, quaternion w x y z | - |
    | 7 | opening of the gripper; 1 is open, and stands where there is none | share |
    | 8- | joint positions | rad |

    ## Rewards
    0: what is good is for people to say. `info["success"]` is false; with `robopref deploy` an
    operator's key says it.

    ## Starting State
    The arm goes to `start_rad`, slowly; the scene is where a person put it. `seed` changes nothing.

    ## Episode End
    Truncated after `max_episode_steps`, and when the arm is stopped or a camera does not see any
    more, with `info["stopped"]` saying why.

    ## Arguments
    See `robopref.rig.RigConfig`.

    ## Version History
    New in 0.1.

    Args:
        rig: The cell.
        env_id: What the environment is called.
        max_episode_steps: In the place of the cell's.
        speed_factor: Share of the greatest speeds that is used.
        needs_deadman: Whether it moves only while a person holds a button.

    Raises:
        ValueError: The cell does not fit its arm.
        MissingExtraError: The arm's driver needs a package that is not installed.
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's form
    render_mode = "rgb_array"
    is_real_time = True
    has_states = False

    def __init__(
        self, rig: RigConfig, env_id: str = "robopref/RealArm-v0", *,
        max_episode_steps: int | None = None, speed_factor: float = 1.0,
        needs_deadman: bool = False,
    ) -> None:  # fmt: skip
        self.rig, self.env_id = rig, env_id
        self.max_episode_steps = max_episode_steps or rig.max_episode_steps
        self.task_description = rig.task or "Do what the policy was trained for."
        self.fps = 1.0 / rig.step_s
        robot = resolve(rig, "robot")
        self._cell = SimCell(robot)
        self.arm_spec = robot.build().spec
        self._start = rig.start_of(self.arm_spec)
        self.reach_m = rig.reach_m
        self._safety = replace(rig.safety(speed_factor), needs_deadman=needs_deadman)
        self.confirm: Confirm = nobody_is_needed if rig.is_simulated else ask_on_terminal
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self._seen: tuple[str, ...] = ()
        self._image_px = rig.image_px
        self.observation_space = self._space(())
        self._eyes: ArmCameras | None = None
        self._rig: ArmRig | None = None
        self._target = np.zeros(3)
        self._num_steps: int | None = None

    @property
    def cameras(self) -> list[str]:
        """Names of the cell's cameras."""
        return list(self.rig.cameras)

    @property
    def default_camera(self) -> str:
        """The first camera; empty where there is none."""
        return next(iter(self.rig.cameras), "")

    def with_cameras(self, cameras: Sequence[str], image_px: int) -> "RealArmEnv":
        """Let observations hold what cameras see from now on, and return this environment.

        Raises:
            ValueError: There is no such camera.
        """
        for name in cameras:
            if name not in self.rig.cameras:
                raise ValueError(f"The cell has no camera '{name}', but: {self.cameras}.")
        self._seen, self._image_px = tuple(cameras), image_px
        self.observation_space = self._space(cameras)
        return self

    def open_cameras(self) -> Mapping[str, CameraInfo]:
        """Open the cameras, before the arm is reached; return what is known of each.

        Raises:
            HardwareError: One cannot be opened, or shows nothing.
        """
        if self._eyes is None:
            cameras = {name: resolve(self.rig.cameras[name], "driver") for name in self._seen}
            drivers = {name: self._cell.camera(each).build() for name, each in cameras.items()}
            self._eyes = ArmCameras(drivers, self.rig.camera_age_s)
        return self._eyes.open()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Ask a person, let the arm begin, and bring it to where it starts.

        Raises:
            Unattended: Nobody lets it begin.
            HardwareError: It cannot be reached, armed or brought there.
        """
        super().reset(seed=seed, options=options)
        self._num_steps = None
        if self._rig is None:
            if self._seen:
                self.open_cameras()
            self._rig = ArmRig(self._cell.robot(), self._safety, self._step_s)
        else:
            self._rig.rest("the episode is over")
        who = self.confirm(f"Put the scene back. '{self.arm_spec.name}' then goes to its start.")
        if not who:
            raise Unattended("Nobody let the arm begin; it stays where it is.")
        self._rig.begin(who, "the scene was put back")
        self._target = self._rig.go_to(self._start)
        if self._eyes is not None:
            self._eyes.wait_for_new(time.monotonic())
        self._num_steps = 0
        return self._observe(), {"success": False}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act once, in real time.

        `info` says what was asked of the arm and what it was sent, under keys that start with
        "safety.", and under "stopped" why it was stopped, if it was.

        Raises:
            RuntimeError: No episode is running.
            ValueError: The action has another shape, or is not finite.
        """
        if self._num_steps is None or self._rig is None:
            raise RuntimeError("No episode is running. Call reset() first.")
        checked = checked_action(action, (4,))
        self._look()
        self._target = self._rig.unless_held(self._targets(checked[None])[0])
        record = self._rig.go(self._target, opening=float(1 - np.clip(checked[3], -1, 1)) / 2)
        self._num_steps += 1
        info: dict[str, Any] = {"success": False, **record.columns(), **self._look()}
        is_over = self._is_stopped(info) or self._num_steps >= self.max_episode_steps
        return self._observe(), 0.0, False, is_over, info

    def set_speed(self, factor: float) -> None:
        """Use this share of the greatest speeds from now on; a step takes longer or shorter.

        Raises:
            ValueError: It is not above 0 and at most 1.
        """
        self._safety = replace(self._safety, speed_factor=factor)
        if self._rig is not None:
            self._rig.set_speed(factor, self._step_s)

    def look_ahead(self, actions: Float[np.ndarray, "Tp 4"]) -> Way:
        """Return how the arm would carry out a chunk of actions from where it is."""
        assert self._rig is not None
        return self._rig.look_ahead(self._targets(actions))

    def preview(self, actions: Float[np.ndarray, "Tp 4"]) -> Preview:
        """Return what an operator should know before a chunk of actions is carried out."""
        way = self.look_ahead(actions)
        tool = self._target.copy()
        return Preview(tool, self._targets(actions), way)

    def get_state(self) -> SimState:
        """Refuse: nothing can put a real scene back.

        Raises:
            HardwareError: Always.
        """
        raise HardwareError("A real scene has no snapshots, and nothing but people puts it back.")

    def set_state(self, state: SimState) -> Mapping[str, np.ndarray]:
        """Refuse, as `get_state` does.

        Raises:
            HardwareError: Always.
        """
        del state
        return self.get_state()  # type: ignore[return-value]

    def render_states(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """Refuse, as `get_state` does: what was seen is in the data.

        Raises:
            HardwareError: Always.
        """
        del args, kwargs
        return self.get_state()  # type: ignore[return-value]

    def render(self) -> np.ndarray:
        """Return what the first open camera saw last, (H, W, 3).

        Raises:
            HardwareError: No camera is open.
        """
        pictures = {} if self._eyes is None else self._eyes.pictures()
        if not pictures:
            raise HardwareError("No camera is open: make the environment with `cameras`.")
        return next(iter(pictures.values()))

    def close(self) -> None:
        """Stop the arm, end its control loop and close the cameras."""
        if self._rig is not None:
            self._rig.close()
        if self._eyes is not None:
            self._eyes.close()
        self._cell.close()
        self._rig = self._eyes = self._num_steps = None

    @property
    def _step_s(self) -> float:
        return self.rig.step_s / self._safety.speed_factor

    def _targets(self, actions: Float[np.ndarray, "Tp 4"]) -> Float[np.ndarray, "Tp 3"]:
        steps = np.cumsum(np.clip(actions[:, :3], -1, 1) * self.rig.reach_m, axis=0)
        targets: np.ndarray = self._target + steps
        if self._safety.workspace is not None:
            box = self._safety.workspace.stay_in
            targets = np.clip(targets, box.low_m, box.high_m)
        return targets

    def _observe(self) -> dict[str, np.ndarray]:
        assert self._rig is not None
        state = self._rig.arm.state()
        placed = self._rig.kinematics.place([state.position])
        opening = 1.0 if state.gripper is None else state.gripper
        values = [*placed.tool_m[0], *placed.rotation[0], opening, *state.position]
        pictures = {} if self._eyes is None else self._eyes.pictures()
        return {
            STATE: np.array(values, np.float32),
            **{key: _fitted(picture, self._image_px) for key, picture in pictures.items()},
        }

    def _space(self, cameras: Sequence[str]) -> Any:
        size = 8 + self.arm_spec.num_joints
        state = spaces.Box(-np.inf, np.inf, (size,), np.float32)
        images = {
            IMAGES + name: spaces.Box(0, 255, (self._image_px, self._image_px, 3), np.uint8)
            for name in cameras
        }
        return spaces.Dict({STATE: state, **images})


def _fitted(picture: np.ndarray, size_px: int) -> np.ndarray:
    """Return the middle square of a picture in another size."""
    if picture.shape[:2] == (size_px, size_px):
        return picture
    side = min(picture.shape[:2])
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    square = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(square.resize((size_px, size_px), Image.Resampling.BOX))
