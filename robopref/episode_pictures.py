"""Episodes with what a policy sees of their pictures, which a data set keeps apart as videos.

A policy whose backbone is frozen gets its maps, computed once an episode and kept; any other gets
the pictures themselves. Who does not look at pictures gets episodes as they are.

Shapes: T steps, H W pixels, V views, C h w maps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robopref.data.episode import Episode
from robopref.data.schema import is_camera
from robopref.data.segment import Segment
from robopref.frame_features import ClipFeatures


@runtime_checkable
class Pictures(Protocol):
    """Knows the pictures of episodes."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of a picture of each camera."""
        ...

    def add_to(self, policy: Any, episodes: Sequence[Episode]) -> list[Episode]:
        """Return episodes with what `policy` sees of their pictures."""
        ...


@dataclass(frozen=True)
class EpisodePictures:
    """The pictures of a data set.

    Args:
        store: The data set, an `EpisodeStore`.
        directory: Where maps are kept, beside the data or in a run; None keeps nothing.
    """

    store: Any
    directory: Path | None = None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of a picture of each camera that was recorded."""
        features = self.store.features.items()
        return {key: tuple(feature.shape) for key, feature in features if is_camera(key)}

    def add_to(self, policy: Any, episodes: Sequence[Episode]) -> list[Episode]:
        """Return episodes of the data set with what `policy` sees of them.

        There is no picture after the last action; the one before it stands there, which no window
        of actions looks at.

        Raises:
            DataError: There is no such camera, or a video is missing or damaged.
        """

        def read(episode: Episode, camera: str) -> tuple[Callable[[], np.ndarray], str]:
            whole = Segment(episode.id, 0, len(episode))
            key = f"{self.store.content_hash(whole)} {camera}"
            return lambda: self.store.frames(whole, camera), key

        return show(policy, episodes, read, self.directory, views=True)


def see(policy: Any, episodes: Sequence[Episode]) -> list[Episode]:
    """Return recorded episodes that hold pictures with the policy's maps in place of them."""

    def read(episode: Episode, camera: str) -> tuple[Callable[[], np.ndarray], None]:
        return lambda: episode.obs[camera][:-1], None

    with_pictures = [e for e in episodes if _pictured(policy, e)]
    seen = iter(show(policy, with_pictures, read, None, views=False))
    return [next(seen) if _pictured(policy, e) else e for e in episodes]


def _pictured(policy: Any, episode: Episode) -> bool:
    """Return whether an episode holds pictures of which the policy has maps."""
    seen = getattr(policy, "seen_shapes", {})
    return any(episode.obs[key].dtype == np.uint8 for key in seen if key in episode.obs)


def show(
    policy: Any,
    episodes: Sequence[Episode],
    read: Callable[[Episode, str], tuple[Callable[[], np.ndarray], str | None]],
    directory: Path | None,
    *,
    views: bool,
) -> list[Episode]:
    """Return episodes with what `policy` sees of their pictures.

    Args:
        policy: Who looks; who does not gets the episodes as they are.
        episodes: What happened.
        read: Returns, of an episode and a camera's key, what reads or draws the T pictures, and
            what they are called in the cache; None for a hash of them.
        directory: Where maps are kept; None keeps nothing.
        views: Add the maps of augmented views, for training.
    """
    cameras = [key for key in policy.obs_shapes if is_camera(key)]
    if not cameras:
        return list(episodes)
    cache = policy.encoder.cache(directory, views=views) if policy.seen_shapes else None
    shown = []
    for episode in episodes:
        obs = dict(episode.obs)
        for camera in cameras:
            frames, key = read(episode, camera)
            if cache is None:
                obs[camera] = _with_last(frames())
            else:
                obs[camera] = _with_last(_stacked(cache.features(frames, key=key)))
        shown.append(replace(episode, obs=obs))
    return shown


def _stacked(clip: ClipFeatures) -> Float[np.ndarray, "T V C h w"]:
    """Return maps as they are and of each view, with half the memory."""
    stacked: np.ndarray = np.concatenate([clip.features[:, None], clip.views], axis=1)
    return stacked.astype(np.float16)


def _with_last(rows: np.ndarray) -> np.ndarray:
    """Return rows (T, ...) with the last one twice."""
    repeated: np.ndarray = np.concatenate([rows, rows[-1:]])
    return repeated
