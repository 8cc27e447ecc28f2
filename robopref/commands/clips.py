"""Clips of what a query compares, for whoever answers it.

Episodes with simulator states are rendered, at any size; others show their recorded camera.

Shapes: L segment length, H height, W width, Ds size of the simulator state.
"""

from pathlib import Path
from typing import Any

import numpy as np

from robopref.config import write_bytes_atomically
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.data.video import encode_mp4
from robopref.errors import DataError
from robopref.preferences.query import Item, Query
from robopref.types import IMAGES, SimState

MIN_SECONDS = 3.0
"""A person needs this long to see what happens [s]; shorter segments are played more slowly."""


class ClipMaker:
    """Writes one H.264 clip for each item of a query.

    Args:
        episodes: Data set that the items are of.
        directory: Where the clips go.
        width: Pixels a row of a rendered clip; even, as H.264 wants it.
        height: Rows of a rendered clip; even.
        camera: Camera of the simulator, or name of a recorded one; None for the usual one.

    Raises:
        ValueError: A size is odd or below 2.
    """

    def __init__(
        self, episodes: EpisodeStore, directory: Path, *, width: int, height: int,
        camera: str | None = None,
    ) -> None:  # fmt: skip
        for name, size in (("width", width), ("height", height)):
            if size < 2 or size % 2:
                raise ValueError(f"`{name}` must be even and at least 2, got {size}.")
        self.episodes = episodes
        self.directory = directory
        self.size = {"width": width, "height": height}
        self.camera = camera
        self._envs: dict[str, Any] = {}

    def close(self) -> None:
        """Free the simulators."""
        for env in self._envs.values():
            env.close()
        self._envs.clear()

    def write(self, query: Query) -> list[Path]:
        """Write the clips of a query, as `<query id>_a.mp4` and on; return their paths.

        Raises:
            DataError: An item has neither simulator states nor camera pictures.
        """
        paths = []
        for place, item in enumerate(query.items):
            path = self.directory / f"{query.id}_{chr(ord('a') + place)}.mp4"
            pictures = self._pictures(item)
            fps = min(self.episodes.fps, max(1.0, len(pictures) / MIN_SECONDS))
            write_bytes_atomically(path, encode_mp4(pictures, fps))
            paths.append(path)
        return paths

    def _pictures(self, item: Item) -> np.ndarray:
        episode = self.episodes.episode(item.episode_id)
        if episode.sim_states is None or episode.sim_episode is None:
            return self._recorded(item)
        env = self._env(episode)
        if isinstance(item, Segment):
            # One state more than actions: the last action's outcome is seen too.
            states = episode.sim_states[item.start : item.start + item.length + 1]
        else:
            states = self._simulate(env, episode.sim_state(item.step), np.array(item.action))
        camera = self.camera or env.default_camera
        pictures: np.ndarray = env.render_states(
            states, episode.sim_episode, camera=camera, **self.size
        )
        return pictures

    def _recorded(self, item: Item) -> np.ndarray:
        cameras = [key for key, value in self.episodes.features.items() if value.is_video]
        if not isinstance(item, Segment) or not cameras:
            raise DataError(
                f"Nothing of episode {item.episode_id} of '{self.episodes.root}' can be shown: it "
                "has no simulator states, and no recorded camera that would show this query."
            )
        camera = cameras[0] if self.camera is None else self.camera
        if not camera.startswith(IMAGES):
            camera = IMAGES + camera
        return self.episodes.frames(item, camera)

    def _env(self, episode: Episode) -> Any:
        from robopref.envs.gl import check_mujoco_gl
        from robopref.envs.make import make_env

        if episode.env not in self._envs:
            check_mujoco_gl()
            self._envs[episode.env] = make_env(episode.env)
        return self._envs[episode.env]

    @staticmethod
    def _simulate(env: Any, start: SimState, actions: np.ndarray) -> np.ndarray:
        """Return the simulator states (L + 1, Ds) that follow from a candidate's actions."""
        env.reset(seed=0)
        env.set_state(start)
        states = [start.step]
        for action in actions.astype(np.float32):
            env.step(action)
            states.append(env.get_state().step)
        return np.stack(states)
