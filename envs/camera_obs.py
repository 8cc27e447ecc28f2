"""Cameras as observations, in any environment that can draw its states."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from robopref.errors import check_at_least, check_choice
from robopref.types import IMAGES, SimState


class CameraObs(gymnasium.Env[Any, Any]):
    """An environment whose observations hold what cameras see beside the state.

    Every picture is drawn from the simulator's state, so that a state that was gone back to looks
    as it did, bit for bit.

    Args:
        env: The environment, an `Environment` of Gymnasium's.
        cameras: Names of its cameras; each becomes `observation.images.<camera>`.
        image_px: Width and height of their pictures.

    Raises:
        ValueError: There is no such camera, one is given twice, or the size is below 1.
    """

    def __init__(self, env: Any, cameras: Sequence[str], image_px: int) -> None:
        self.observation_space = seeing_space(env, cameras, image_px)
        self._env = env
        self._seen = tuple(cameras)
        self._size = {"width": image_px, "height": image_px}
        self.action_space = env.action_space
        self.metadata = self._env.metadata
        self.render_mode = self._env.render_mode
        self.env_id = env.env_id
        self.task_description = env.task_description
        self.fps = env.fps
        self.cameras = env.cameras
        self.default_camera = env.default_camera

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start an episode; the same seed gives the same one."""
        super().reset(seed=seed)
        obs, info = self._env.reset(seed=seed, options=options)
        return self._with_pictures(obs), info

    def step(
        self, action: np.ndarray
    ) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Act once."""
        obs, reward, terminated, truncated, info = self._env.step(action)
        return self._with_pictures(obs), reward, terminated, truncated, info

    def get_state(self) -> SimState:
        """Return everything needed to come back here, bit for bit."""
        state: SimState = self._env.get_state()
        return state

    def set_state(self, state: SimState) -> dict[str, np.ndarray]:
        """Go to `state`; return its obs."""
        return self._with_pictures(self._env.set_state(state))

    def render_states(self, states: np.ndarray, episode: np.ndarray, **options: Any) -> np.ndarray:
        """Return pictures of simulator states, as the environment does."""
        pictures: np.ndarray = self._env.render_states(states, episode, **options)
        return pictures

    def render(self) -> np.ndarray:
        """Return a picture of the current state."""
        picture: np.ndarray = self._env.render()
        return picture

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _with_pictures(self, obs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        state = self._env.get_state()
        pictures = {
            IMAGES + camera: self._env.render_states(
                state.step[None], state.episode, camera=camera, **self._size
            )[0]
            for camera in self._seen
        }
        return {**obs, **pictures}


def seeing_space(env: Any, cameras: Sequence[str], image_px: int) -> Any:
    """Return the observation space of an environment with square pictures of its cameras.

    Raises:
        ValueError: There is no such camera, one is given twice, or the size is below 1.
    """
    for camera in cameras:
        check_choice("cameras", camera, env.cameras)
    if len(set(cameras)) < len(cameras):
        raise ValueError(f"`cameras` must name each camera once, got {list(cameras)}.")
    check_at_least("image_px", image_px, 1)
    picture = spaces.Box(0, 255, (image_px, image_px, 3), np.uint8)
    return spaces.Dict({**env.observation_space.spaces, **{IMAGES + c: picture for c in cameras}})
