"""A segment: a window of an episode, named by the episode's identity and not by its place."""

from dataclasses import dataclass

import numpy as np

from robopref.data.episode import Episode
from robopref.errors import DataError
from robopref.types import Obs


@dataclass(frozen=True, order=True)
class Segment:
    """`length` steps of the episode `episode_id`, from step `start` on.

    Raises:
        ValueError: `start` is negative or `length` is below 1.
    """

    episode_id: str
    start: int
    length: int

    def __post_init__(self) -> None:
        """Check the bounds that need no episode."""
        if self.start < 0 or self.length < 1:
            raise ValueError(
                f"`start` must be at least 0 and `length` at least 1, "
                f"got {self.start} and {self.length}."
            )

    def cut(self, episode: Episode) -> tuple[Obs, np.ndarray]:
        """Return the observations before each action (L, ...) and the actions (L, Da).

        Raises:
            DataError: The episode is another one, or shorter than the segment.
        """
        if episode.id != self.episode_id:
            raise DataError(f"Segment of episode {self.episode_id} cut from {episode.id}.")
        stop = self.start + self.length
        if stop > len(episode):
            raise DataError(
                f"Segment [{self.start}, {stop}) does not fit episode {episode.id}, "
                f"which has {len(episode)} steps."
            )
        window = slice(self.start, stop)
        return {k: v[window] for k, v in episode.obs.items()}, episode.action[window]
