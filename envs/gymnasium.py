"""Any Gymnasium environment behind robopref's interface."""

from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import error as gymnasium_error
from gymnasium.envs.registration import load_env_creator
from jaxtyping import Float, UInt8
from PIL import Image

from robopref.envs.actions import checked_action
from robopref.envs.gymnasium_spaces import map_action, map_obs
from robopref.envs.gymnasium_state import MujocoSnapshot, ReplaySnapshot, Snapshot
from robopref.envs.pictures import DrawsStates
from robopref.errors import (
    MissingExtraError,
    UnknownNameError,
    check_at_least,
    check_choice,
    did_you_mean,
)
from robopref.render import OffscreenRenderer
from robopref.types import SimState

_DEFAULT_LIMIT = 1000
_DEFAULT_FPS = 30.0
_HALF = 2**32


@dataclass(frozen=True)
class GymnasiumConfig:
    """Any environment that Gymnasium knows.

    Raises:
        UnknownNameError: Gymnasium has no such environment.
        ValueError: `max_episode_steps` is below 1, or `success_from` is unknown.
    """

    task: str = "CartPole-v1"
    """Id, as for gymnasium.make; "module:id" imports the module that registers it first."""
    max_episode_steps: int | None = None
    """Steps after which an episode is cut off; by default the environment's own limit, or 1000."""
    success_from: Literal["info", "terminated"] = "info"
    """What counts as success: "success" or "is_success" in info, or that the episode terminates."""

    def __post_init__(self) -> None:
        """Check the values that need no environment."""
        check_choice("success_from", self.success_from, ["info", "terminated"])
        if self.max_episode_steps is not None:
            check_at_least("max_episode_steps", self.max_episode_steps, 1)
        if ":" not in self.task and self.task not in gymnasium.registry:
            raise UnknownNameError(
                f"No Gymnasium environment named '{self.task}'."
                f"{did_you_mean(self.task, gymnasium.registry)} If a package registers it, "
                "write 'gymnasium/<module>:<id>'."
            )

    def build(self) -> "GymnasiumEnv":
        """Return the environment."""
        return GymnasiumEnv(self)


class GymnasiumEnv(DrawsStates, gymnasium.Env[Any, Any]):
    """An environment of Gymnasium, with LeRobot's keys, exact states and pictures of them.

    ## Description
    The environment is used as it is; observations and actions get another form, and its time limit
    is kept here, so that states carry the step. Every episode has a seed of its own: `reset`
    without one draws it.

    ## Action Space
    `Box`, flat, float32. A Box of the environment is flattened, and actions are clipped to it. For
    `Discrete(n)` the action is n scores in [0, 1], of which the largest is executed. Units are the
    environment's.

    ## Observation Space
    `Dict`; units are the environment's.

    | key | observation | unit |
    | --- | --- | --- |
    | `observation.state` | all boxes but pictures, flattened and joined, float32 | its own |
    | `observation.images.<key>` | boxes of uint8 (H, W, 3); "main" if there is one only | 0-255 |

    ## Rewards
    The environment's own. `info["success"]` is "success" or "is_success" of its info, or whether it
    terminated, as `success_from` says.

    ## Starting State
    The environment's own, decided by the seed.

    ## Episode End
    Terminated when the environment terminates; truncated when it truncates or after
    `max_episode_steps`.

    ## Arguments
    See `GymnasiumConfig`. `fps` is the environment's `render_fps` [Hz], or 30.

    States are exact for Gymnasium's own MuJoCo environments, whose simulator is written down whole.
    Elsewhere a state is the list of actions since the reset, which are executed again: exact where
    seed and actions decide everything, and as slow as the episode was.

    ## Version History
    The id carries the environment's version; the adapter has had no breaking change.
    """

    def __init__(self, config: GymnasiumConfig) -> None:
        self.config = config
        self.env_id = f"gymnasium/{config.task}"
        self._env = _make(config.task)
        self.metadata = self._env.metadata | {"render_modes": ["rgb_array"]}
        self.render_mode = "rgb_array"
        self.fps = float(self._env.metadata.get("render_fps") or _DEFAULT_FPS)
        self.task_description = f"Solve {config.task}."
        spec = gymnasium.spec(config.task)
        self._limit = config.max_episode_steps or spec.max_episode_steps or _DEFAULT_LIMIT
        self._obs_map = map_obs(self.env_id, self._env.observation_space)
        self.observation_space = self._obs_map.space
        self.action_space, self._to_own = map_action(self.env_id, self._env.action_space)
        self._snapshot: Snapshot
        self._renderer: OffscreenRenderer | None = None
        if type(self._env.unwrapped).__module__.startswith("gymnasium.envs.mujoco."):
            self._snapshot = MujocoSnapshot(self._env, _size(self._env.observation_space))
            self._renderer = OffscreenRenderer(self._env.unwrapped.model)
        else:
            size = int(self.action_space.shape[0])
            self._snapshot = ReplaySnapshot(self._env, self._to_own, size, self._limit)
        self._seed: int | None = None
        self._num_steps = 0

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras that `render_states` knows."""
        return ["default"] if self._renderer is None else self._renderer.cameras

    @property
    def default_camera(self) -> str:
        """The camera that shows most."""
        if self._renderer is None:
            return "default"
        return "track" if "track" in self._renderer.cameras else "free"

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; the same seed gives the same one."""
        super().reset(seed=seed)
        self._seed = int(self.np_random.integers(2**31)) if seed is None else seed
        self._num_steps = 0
        obs, info = self._env.reset(seed=self._seed, options=options)
        self._snapshot.begin(self._seed, obs)
        return self._obs_map.convert(obs), {**info, "success": False}

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act once.

        Raises:
            ValueError: The action has the wrong shape or is not finite.
            RuntimeError: The environment was not reset, or is past its time limit.
        """
        action = checked_action(action, self.action_space.shape or ())
        if self._seed is None or self._num_steps >= self._limit:
            raise RuntimeError("No episode is running. Call reset() first.")
        obs, reward, terminated, truncated, info = self._env.step(self._to_own(action))
        self._num_steps += 1
        self._snapshot.record(action, obs)
        truncated = bool(truncated) or self._num_steps >= self._limit
        success = bool(terminated)
        if self.config.success_from == "info":
            success = bool(np.any(info.get("success", info.get("is_success", False))))
        info = {**info, "success": success}
        return self._obs_map.convert(obs), float(reward), bool(terminated), truncated, info

    def get_state(self) -> SimState:
        """Return everything needed to come back here.

        Raises:
            RuntimeError: The environment was not reset.
        """
        if self._seed is None:
            raise RuntimeError("No episode is running. Call reset() first.")
        step = np.concatenate([[self._num_steps], self._snapshot.pack()]).astype(np.float64)
        # A float holds 53 bits and a seed may have 63.
        return SimState(step, np.array([self._seed % _HALF, self._seed // _HALF], np.float64))

    def set_state(self, state: SimState) -> dict[str, np.ndarray]:
        """Go to `state`, which any environment of this id and limit may have made.

        Raises:
            ValueError: The state is one of another environment.
        """
        self._check_sizes(state.step[None], state.episode)
        self._seed = int(state.episode[0]) + _HALF * int(state.episode[1])
        self._num_steps = int(state.step[0])
        return self._obs_map.convert(self._snapshot.unpack(state.step[1:], self._seed))

    def render_states(
        self,
        states: Float[np.ndarray, "T Ds"],
        episode: Float[np.ndarray, " De"],
        *,
        width: int = 320,
        height: int = 240,
        camera: str | None = None,
    ) -> UInt8[np.ndarray, "T {height} {width} 3"]:
        """Return pictures of simulator states; the running episode is not disturbed.

        Outside MuJoCo the environment draws itself at its own size, and the picture is scaled.

        Raises:
            ValueError: The states are of another environment, or there is no such size or camera.
            MissingExtraError: A package or library that draws is missing.
        """
        self._check_sizes(states, episode)
        camera = self.default_camera if camera is None else camera
        check_choice("camera", camera, self.cameras)
        check_at_least("width", width, 1)
        check_at_least("height", height, 1)
        seed = self._seed
        pictures = np.empty((len(states), height, width, 3), np.uint8)
        try:
            with self._undisturbed(is_running=seed is not None):
                for picture, state in zip(pictures, states, strict=True):
                    self.set_state(SimState(state, episode))
                    picture[:] = self._draw(width, height, camera)
        finally:
            self._seed = seed  # None again where no episode was running.
        return pictures

    def close(self) -> None:
        """Free the renderer and the environment."""
        if self._renderer is not None:
            self._renderer.close()
        self._env.close()

    def _draw(self, width: int, height: int, camera: str) -> np.ndarray:
        if self._renderer is not None:
            data = self._env.unwrapped.data
            return self._renderer.render(data, width=width, height=height, camera=camera)
        if self._env.render_mode != "rgb_array":
            raise ValueError(f"'{self.env_id}' draws no pictures: it has no mode 'rgb_array'.")
        try:
            picture: np.ndarray = self._env.render()
        except gymnasium_error.DependencyNotInstalled as error:
            raise MissingExtraError(
                f"Pictures of '{self.env_id}' need a package: {error}"
            ) from error
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))

    def _check_sizes(self, states: np.ndarray, episode: np.ndarray) -> None:
        sizes, expected = (states.shape[-1], len(episode)), (self._snapshot.size + 1, 2)
        if sizes[1] != expected[1] or not self._snapshot.fits(sizes[0] - 1):
            raise ValueError(
                f"A simulator state of {self.env_id} must have sizes {expected} (step, episode), "
                f"got {sizes}. States can be set in environments of the same id only."
            )


def _make(task: str) -> Any:
    """Return the environment without its time limit and checks, able to draw if it can."""
    try:
        creator: Any = gymnasium.spec(task).entry_point
        if isinstance(creator, str):
            creator = load_env_creator(creator)
        draws = "rgb_array" in getattr(creator, "metadata", {}).get("render_modes", [])
        options = {"render_mode": "rgb_array"} if draws else {}
        return gymnasium.make(task, max_episode_steps=-1, disable_env_checker=True, **options)
    except gymnasium_error.DependencyNotInstalled as error:
        raise MissingExtraError(f"'gymnasium/{task}' needs a package: {error}") from error
    except (gymnasium_error.UnregisteredEnv, ModuleNotFoundError) as error:
        raise UnknownNameError(f"No Gymnasium environment named '{task}': {error}") from error


def _size(space: gymnasium.Space[Any]) -> int:
    return int(np.prod(space.shape or (1,)))
