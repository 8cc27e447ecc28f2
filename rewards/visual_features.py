"""Episodes as a visual reward sees them: features of a camera in place of the state.

`SeenEpisodes` stands in for a data set where answers become pairs, so that every reward and every
workflow that knows vectors knows pictures; each episode is encoded once. `SeenReward` scores
segments that hold pictures by a reward that was learned on their features.

Shapes: B segments, L steps, H W pixels, V views, F features.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.frame_features import VIEWS, AugmentationConfig, FeatureCache
from robopref.types import IMAGES, STATE, Obs, SegmentBatch


@dataclass(frozen=True, eq=False)
class SeenEpisodes:
    """Cuts segments as a data set does, with the features of frames for a state.

    Args:
        episodes: A data set: `row`, `cut` and `content_hash` of it are used, and `frames`.
        cache: What encodes frames, and keeps what came out.
        camera: Key of the camera, such as "observation.images.top".
        render: Returns the frames of a segment where none were recorded; None to read the video.
    """

    episodes: Any
    cache: FeatureCache
    camera: str
    render: Callable[[Segment], np.ndarray] | None = None

    def cut(self, segment: Segment) -> tuple[Obs, np.ndarray]:
        """Return features (L, F) under the key of the state, those of views, and actions (L, Da).

        Raises:
            DataError: The segment does not fit its episode, there is no such camera, or the video
                is missing, damaged, or of another length than the episode.
        """
        _, action = self.episodes.cut(segment)
        length = int(self.episodes.row(segment.episode_id).length)
        whole = Segment(segment.episode_id, 0, length)
        key = f"{self.episodes.content_hash(whole)} {self.camera}"
        seen = self.cache.features(lambda: self._frames(whole), key=key)
        window = slice(segment.start, segment.start + segment.length)
        obs = {STATE: seen.features[window]}
        if seen.views.shape[1]:
            obs[VIEWS] = seen.views[window]
        return obs, action

    def _frames(self, whole: Segment) -> np.ndarray:
        read = self.render or (lambda segment: self.episodes.frames(segment, self.camera))
        frames = read(whole)
        if len(frames) != whole.length:
            raise DataError(
                f"Camera '{self.camera}' has {len(frames)} frames of episode {whole.episode_id}, "
                f"which has {whole.length} steps."
            )
        return frames


class SeenReward:
    """A reward on features that scores segments with pictures.

    Args:
        reward: Learned on the features of `cache`'s encoder.
        cache: What encodes frames.
        camera: Key of the pictures in the segments' observations.
    """

    def __init__(self, reward: Any, cache: FeatureCache, camera: str) -> None:
        if not camera.startswith(IMAGES):
            raise ValueError(f"`camera` must start with '{IMAGES}', got '{camera}'.")
        self.reward = reward
        self.cache = cache
        self.camera = camera
        # Views are for training alone, and each costs as much as the clip.
        self._plain = replace(cache, augmentation=AugmentationConfig())

    def rewards(self, segments: SegmentBatch) -> Float[np.ndarray, "B L"]:
        """Return rewards of each step; padded steps are 0."""
        rewards: np.ndarray = self.reward.rewards(self.see(segments))
        return rewards

    def uncertainty(self, segments: SegmentBatch, /) -> Float[np.ndarray, "B L"]:
        """Return the ensemble's spread of each reward; padded steps are 0."""
        spread: np.ndarray = self.reward.uncertainty(self.see(segments))
        return spread

    def segment_return(self, segments: SegmentBatch) -> Float[np.ndarray, " B"]:
        """Return the sums of rewards."""
        returns: np.ndarray = self.reward.segment_return(self.see(segments))
        return returns

    def member_returns(self, segments: SegmentBatch) -> Float[np.ndarray, "M B"]:
        """Return the segment returns of every ensemble member."""
        returns: np.ndarray = self.reward.member_returns(self.see(segments))
        return returns

    def fit(
        self, preferences: Any, *, validation: Any = None, generator: Any
    ) -> Mapping[str, float]:
        """Learn from pairs of segments with pictures; return what was measured."""
        seen, held_out = (
            view and replace(view, segments=self.see(view.segments, self.cache))
            for view in (preferences, validation)
        )
        figures: Mapping[str, float] = self.reward.fit(
            seen, validation=held_out, generator=generator
        )
        return figures

    def action_scorer_ways(self) -> tuple[str, ...]:
        """Return the ways in which the reward can become an action scorer."""
        return tuple(self.reward.action_scorer_ways())

    def as_action_scorer(self, how: str = "chunk") -> Any:
        """Return the reward as an action scorer.

        Raises:
            ValueError: The reward cannot do it that way.
        """
        return self.reward.as_action_scorer(how)

    def see(self, segments: SegmentBatch, cache: FeatureCache | None = None) -> SegmentBatch:
        """Return segments with features in place of the pictures.

        Args:
            segments: They hold pictures of the camera.
            cache: What encodes them, such as one with views; None for that of the reward without.

        Raises:
            DataError: There are no pictures of the camera, or they are no 8-bit pictures.
        """
        if self.camera not in segments.obs:
            raise DataError(
                f"The segments have no pictures of '{self.camera}', got {sorted(segments.obs)}."
            )
        pictures, lengths = segments.obs[self.camera], segments.lengths
        cache = cache or self._plain
        size, num_views = cache.encoder.feature_dim, cache.augmentation.num_views
        features = np.zeros((*segments.mask.shape, size), np.float32)
        views = np.zeros((*segments.mask.shape, num_views, size), np.float32)
        for i, length in enumerate(lengths.tolist()):
            seen = cache.features(pictures[i, :length])
            features[i, :length], views[i, :length] = seen.features, seen.views
        obs = {STATE: features} | ({VIEWS: views} if num_views else {})
        return SegmentBatch(obs, segments.action, segments.mask)
