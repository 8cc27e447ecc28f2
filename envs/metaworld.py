"""Meta-World's 50 tasks: honest seeding, exact states, pictures from states.

Source: Yu et al., Meta-World: A Benchmark and Evaluation for Multi-Task and Meta Reinforcement
Learning, 2019, arXiv:1910.10897; the package `metaworld` 3.1.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from jaxtyping import Float, UInt8

from robopref.envs.actions import checked_action
from robopref.envs.metaworld_raw import make_raw
from robopref.envs.metaworld_state import OBS_SIZE, StateLayout
from robopref.envs.metaworld_tasks import TASKS
from robopref.envs.pictures import DrawsStates
from robopref.envs.scene import Scene, check_size
from robopref.envs.scripted import Expert
from robopref.envs.styles import GOAL, OBJECT
from robopref.errors import check_at_least, check_name
from robopref.render import FreeCamera, OffscreenRenderer, import_mujoco
from robopref.types import STATE, SimState

CAMERAS: Mapping[str, FreeCamera] = {
    "front": FreeCamera((0.0, 0.64, 0.17), 1.2, -90.0, -33.0),
    "side": FreeCamera((0.0, 0.7, 0.12), 1.35, 180.0, -20.0),
    "top": FreeCamera((0.0, 0.65, 0.1), 1.35, -90.0, -89.0),
}
"""Cameras beside the package's own, of which some are upside down. "front", the default, faces the
robot over the table, so that the arm does not hide the hand. In its pictures the world's -x is
right, +z is up and +y is towards the viewer."""


@dataclass(frozen=True)
class MetaWorldConfig:
    """One task of Meta-World v3.

    Raises:
        UnknownNameError: There is no such task.
        ValueError: `max_episode_steps` is below 1.
    """

    task: str = "button-press-topdown-v3"
    """Name of the task, such as reach-v3; one of the 50 of Meta-World v3."""
    max_episode_steps: int = 500
    """Steps after which an episode is cut off; 500 is the package's own limit."""
    terminate_on_success: bool = True
    """End the episode when the task counts as solved."""

    def __post_init__(self) -> None:
        """Check the name and the limit."""
        check_name("Meta-World task", self.task, TASKS, heading="Tasks")
        check_at_least("max_episode_steps", self.max_episode_steps, 1)

    def build(self) -> "MetaWorldEnv":
        """Return the environment."""
        return MetaWorldEnv(self)

    def read_scene(self, state: Float[np.ndarray, "S Do"]) -> Scene:
        """Return the scene of each observation; the first object is the one that counts.

        Right after a reset the package may show an object where it was before the task put it in
        place, so that the first observation's objects are those of the second.

        Raises:
            ValueError: An observation has another size.
        """
        check_size(self.task, state, OBS_SIZE)
        state = state.astype(np.float64)
        objects = np.stack([state[:, 4:7], state[:, 11:14]], axis=1)
        if len(objects) > 1:
            objects[0] = objects[1]
        return Scene(state[:, 0:3], state[:, 3], objects, state[:, 36:39])

    def find_expert(self) -> tuple[Expert, slice]:
        """Return the package's expert for the task; every task has one."""
        from metaworld.policies import ENV_POLICY_MAP

        expert: Expert = ENV_POLICY_MAP[self.task]()
        return expert, GOAL if self.task.startswith("reach") else OBJECT

    def sibling_tasks(self) -> tuple[str, ...]:
        """Return the other tasks; all have an expert and the same actions."""
        return tuple(task for task in TASKS if task != self.task)


class MetaWorldEnv(DrawsStates, gymnasium.Env[Any, Any]):
    """A Sawyer arm with a gripper at a table, with one of 50 things to do.

    ## Description
    Meta-World v3 with what preference learning needs: the same seed gives the same episode, a state
    taken here and set in another environment of the task continues bit for bit, and states become
    pictures of any size. The goal is part of the observation.

    ## Action Space
    `Box(-1, 1, (4,), float32)`; larger actions are clipped.

    | index | action | unit |
    | --- | --- | --- |
    | 0-2 | move the hand's target along x, y (away from the robot) and z (up) | 0.01 m a step |
    | 3 | close (+1) or open (-1) the gripper | share of its effort |

    ## Observation Space
    `Dict` with one entry, `observation.state`: `Box((39,), float32)`.

    | index | observation | unit |
    | --- | --- | --- |
    | 0-2 | hand, x y z | m |
    | 3 | opening of the gripper; 1 is open | share of 0.1 m |
    | 4-6 | first object, x y z | m |
    | 7-10 | first object, quaternion; order and meaning differ between tasks | - |
    | 11-13 | second object, x y z; zeros if there is none | m |
    | 14-17 | second object, quaternion; zeros if there is none | - |
    | 18-35 | entries 0-17 one step earlier | |
    | 36-38 | goal, x y z | m |

    ## Rewards
    The package's dense reward (its version "v2"), 0 to 10 a step. `info["success"]` is the
    package's own criterion, after each step.

    ## Starting State
    Objects and goal are drawn uniformly from the task's ranges with the seed given to `reset`; the
    hand starts at the task's place. As in the package's benchmarks, the draw is made first and the
    simulator then reset with it.

    ## Episode End
    Terminated when the task is solved (unless `terminate_on_success=False`), truncated after
    `max_episode_steps`.

    ## Arguments
    See `MetaWorldConfig`. `fps` is 80 [Hz]: 5 simulator steps of 2.5 ms an action, also the
    package's `render_fps`.

    ## Version History
    The task's name carries Meta-World's version, v3; the adapter has had no breaking change.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 80}  # noqa: RUF012 - Gymnasium's form
    default_camera = "front"
    fps = 80.0

    def __init__(self, config: MetaWorldConfig) -> None:
        self.config = config
        self.env_id = f"metaworld/{config.task}"
        self.task_description = TASKS[config.task]
        self.render_mode = "rgb_array"
        self._raw = make_raw(config.task, config.max_episode_steps)
        self._layout: StateLayout | None = None
        self._renderer = OffscreenRenderer(self._raw.model, CAMERAS)
        self._obs: np.ndarray | None = None
        raw_space = self._raw.sawyer_observation_space
        self._low, self._high = raw_space.low, raw_space.high
        self.observation_space = spaces.Dict(
            {
                STATE: spaces.Box(
                    self._low.astype(np.float32), self._high.astype(np.float32), dtype=np.float32
                )
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras that `render_states` knows."""
        return self._renderer.cameras

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; the same seed gives the same one, whatever happened before."""
        super().reset(seed=seed)
        self._obs = self._to_float32(self._raw.start(self.np_random))
        if self._layout is None:
            self._layout = StateLayout(self._raw, import_mujoco())
        return {STATE: self._obs.copy()}, {"success": False}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act once.

        Raises:
            ValueError: The action has the wrong shape or is not finite.
            RuntimeError: The environment was not reset, or is past its time limit.
        """
        action = checked_action(action, (4,)).clip(-1.0, 1.0)
        raw = self._raw
        if self._obs is None or raw.curr_path_length >= self.config.max_episode_steps:
            raise RuntimeError("No episode is running. Call reset() first.")
        obs, reward, _, _, info = raw.step(action)
        self._obs = self._to_float32(obs)
        success = bool(info["success"])
        info = {name: float(value) for name, value in info.items()} | {"success": success}
        terminated = success and self.config.terminate_on_success
        truncated = raw.curr_path_length >= self.config.max_episode_steps
        return {STATE: self._obs.copy()}, float(reward), terminated, truncated, info

    def get_state(self) -> SimState:
        """Return everything needed to come back here, bit for bit.

        Raises:
            RuntimeError: The environment was not reset.
        """
        if self._layout is None or self._obs is None:
            raise RuntimeError("No episode is running. Call reset() first.")
        return self._layout.pack(self._raw, self._obs)

    def set_state(self, state: SimState) -> dict[str, np.ndarray]:
        """Go to `state`, which any environment of this task may have made; return its obs.

        Raises:
            ValueError: The state is one of another task.
        """
        layout = self._checked_layout(state.step[None], state.episode)
        layout.unpack_episode(self._raw, state.episode)
        self._obs = layout.unpack_step(self._raw, state.step)
        return {STATE: self._obs.copy()}

    def render_states(
        self,
        states: Float[np.ndarray, "T Ds"],
        episode: Float[np.ndarray, " De"],
        *,
        width: int = 320,
        height: int = 240,
        camera: str = default_camera,
    ) -> UInt8[np.ndarray, "T {height} {width} 3"]:
        """Return pictures of simulator states; the running episode is not disturbed.

        Raises:
            ValueError: The states are of another task, or there is no such size or camera.
            MissingExtraError: No OpenGL library works here.
        """
        layout = self._checked_layout(states, episode)
        pictures = np.empty((len(states), height, width, 3), np.uint8)
        with self._undisturbed(is_running=self._obs is not None):
            layout.unpack_episode(self._raw, episode)
            for picture, state in zip(pictures, states, strict=True):
                layout.unpack_step(self._raw, state)
                self._raw.place_goal()
                picture[:] = self._renderer.render(
                    self._raw.data, width=width, height=height, camera=camera
                )
        return pictures

    def close(self) -> None:
        """Free the renderer."""
        self._renderer.close()

    def _to_float32(self, obs: np.ndarray) -> np.ndarray:
        return np.clip(obs, self._low, self._high).astype(np.float32)

    def _checked_layout(self, states: np.ndarray, episode: np.ndarray) -> StateLayout:
        if self._layout is None:
            self.reset(seed=0)
            self._obs = None
        assert self._layout is not None
        sizes = (states.shape[-1], len(episode))
        expected = (self._layout.step_size, self._layout.episode_size)
        if sizes != expected:
            raise ValueError(
                f"A simulator state of {self.env_id} must have sizes {expected} (step, episode), "
                f"got {sizes}. States can be set in environments of the same task only."
            )
        return self._layout
