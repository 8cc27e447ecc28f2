"""What rewards and policies are shown of a run's episodes: states, or what cameras see of them.

With cameras a reward judges features of their pictures, which stand where the state would. Pictures
are drawn from the simulator's states, so that nothing has to be recorded for them, and each episode
is encoded once.

Shapes: T steps, F features of all cameras.
"""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from robopref.data.episode import Episode, batch_segments
from robopref.data.hashing import segment_hash
from robopref.data.segment import Segment
from robopref.episode_pictures import show
from robopref.errors import DataError
from robopref.frame_features import FeatureCache
from robopref.types import IMAGES, STATE, Obs, SegmentBatch


class Shown:
    """Shows episodes of a run.

    Args:
        config: Its `env`, `cameras`, `image_px`, `picture_every` and `frames` are used; without
            cameras, states are shown.
        directory: The run's folder, which keeps features.
    """

    def __init__(self, config: Any, directory: Path) -> None:
        self.config = config
        self.cameras: tuple[str, ...] = getattr(config, "cameras", ())
        self.every: int = getattr(config, "picture_every", 1)
        """Steps from one picture that a reward sees to the next."""
        self._directory = directory / "features"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of a picture of each camera."""
        return {IMAGES + camera: (self.config.image_px,) * 2 + (3,) for camera in self.cameras}

    def cut(self, episode: Episode, segment: Segment) -> tuple[Obs, np.ndarray]:
        """Return what a reward sees of a segment, and its actions (L, Da).

        Raises:
            DataError: The segment does not fit, or there is nothing to draw pictures from.
        """
        obs, action = segment.cut(episode)
        if self.cameras:
            window = slice(segment.start, segment.start + segment.length)
            obs = {STATE: self._features(episode)[window]}
        return obs, action

    def whole(self, episodes: Sequence[Episode]) -> SegmentBatch:
        """Return what a reward sees of whole episodes."""
        return batch_segments([self.cut(e, Segment(e.id, 0, len(e))) for e in episodes])

    def look(self, states: np.ndarray, sim_episode: np.ndarray) -> Float[np.ndarray, "T F"]:
        """Return features of what the cameras see of simulator states; nothing is kept of them."""
        parts = [
            self._cache.encoder.encode(self._render(states, sim_episode, camera))
            for camera in self.cameras
        ]
        features: np.ndarray = np.concatenate(parts, axis=1)
        return features

    def add_to(self, policy: Any, episodes: Sequence[Episode]) -> list[Episode]:
        """Return episodes with what `policy` sees of their pictures.

        Raises:
            DataError: There is nothing to draw pictures from.
        """
        return show(policy, episodes, self._read, self._directory, views=True)

    def _features(self, episode: Episode) -> Float[np.ndarray, "T F"]:
        parts = []
        for camera in self.cameras:
            draw, key = self._read(episode, IMAGES + camera, self.every)
            parts.append(self._cache.features(draw, key=key).features)
        last_drawn = np.arange(len(episode)) // self.every
        features: np.ndarray = np.concatenate(parts, axis=1)[last_drawn]
        return features

    def _read(
        self, episode: Episode, camera: str, every: int = 1
    ) -> tuple[Callable[[], np.ndarray], str]:
        content = segment_hash(episode, Segment(episode.id, 0, len(episode)))
        key = f"{content} {camera} {self.config.image_px}"
        key += f" every {every}" if every > 1 else ""
        return functools.partial(self._draw, episode, camera, every), key

    def _draw(self, episode: Episode, camera: str, every: int) -> UInt8[np.ndarray, "T H W 3"]:
        if episode.sim_states is None:
            raise DataError(
                f"Episode {episode.id} was recorded without simulator states, from which its "
                "pictures are drawn."
            )
        return self._render(episode.sim_states[:-1:every], episode.sim_episode, camera)

    def _render(
        self, states: np.ndarray, sim_episode: np.ndarray | None, camera: str
    ) -> UInt8[np.ndarray, "T H W 3"]:
        size = self.config.image_px
        pictures: np.ndarray = self._env.render_states(
            states, sim_episode, width=size, height=size, camera=camera.removeprefix(IMAGES)
        )
        return pictures

    @functools.cached_property
    def _cache(self) -> FeatureCache:
        return FeatureCache(self.config.frames.build(), self._directory)

    @functools.cached_property
    def _env(self) -> Any:
        from robopref.envs.make import make_env

        return make_env(self.config.env)
