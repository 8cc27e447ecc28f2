"""What the child processes of the labelling tool do: draw clips, and measure what goes with them.

Two kinds of child, so that curves never wait for pictures, and a reward's torch stays out of the
process that has OpenGL.
"""

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, assert_never

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError, check_at_least, check_choice
from robopref.labeling.clip_cache import ClipCache
from robopref.labeling.clips import Pictures, Timing, check_size, num_pictures, shown_steps
from robopref.labeling.clouds import Cloud, make_cloud
from robopref.labeling.encoding import CODECS, write_clip
from robopref.labeling.fitting_sizes import check_reward_fits
from robopref.labeling.lanes import Lane, measure_lanes
from robopref.labeling.simulation import Simulators
from robopref.labeling.worker import ClipError
from robopref.preferences.query import ActionCandidate, Item

_EPISODES = 16
"""Episodes that a child keeps in memory."""
_VERSION = 1
"""To be raised when the same settings make other clips."""


@dataclass(frozen=True)
class ClipConfig:
    """How clips are drawn and kept.

    Raises:
        ValueError: A size is odd, or a number is too small.
    """

    width: int = 480
    """Pixels a row of a drawn clip; even."""
    height: int = 360
    """Rows of a drawn clip; even."""
    codec: str = "auto"
    """h264 or vp9; auto takes h264 where it can be written."""
    cameras: tuple[str, ...] = ()
    """Cameras to offer, the first one shown first; () for all."""
    cache_gib: float = 4.0
    """Size of the folder of clips [GiB]."""
    num_processes: int = max(1, (os.cpu_count() or 1) // 4)
    """Processes that draw clips; each takes about one core."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_size(self.width, self.height)
        check_choice("codec", self.codec, ["auto", *CODECS])
        check_at_least("cache_gib", self.cache_gib, 0.01)
        check_at_least("num_processes", self.num_processes, 1)


@dataclass(frozen=True)
class CameraJob:
    """Say which cameras an environment has."""

    env: str


@dataclass(frozen=True)
class WarmJob:
    """Draw one picture of an environment, after which others come quickly."""

    env: str


@dataclass(frozen=True)
class ClipJob:
    """Draw a clip.

    Args:
        name: Of the file.
        item: What it shows.
        content_hash: Of the item's episode, which must not have changed.
        camera: From where.
        recorded: The column that the camera was recorded in, or "" to have it drawn.
        timing: How the clips of the query are played.
    """

    name: str
    item: Item
    content_hash: str
    camera: str
    recorded: str
    timing: Timing


@dataclass(frozen=True)
class LanesJob:
    """Measure lanes.

    Args:
        item: Along what.
        content_hash: Of its episode, which must not have changed.
        timing: Of its clip.
        reward: Folder of a reward that gets a lane, and when it was written [ns].
    """

    item: Segment
    content_hash: str
    timing: Timing
    reward: tuple[Path, int] | None


@dataclass(frozen=True)
class CloudJob:
    """Show what candidates were proposed for.

    Args:
        candidates: All of the query.
        content_hash: Of their episode, which must not have changed.
    """

    candidates: tuple[ActionCandidate, ...]
    content_hash: str


@dataclass(frozen=True)
class ChildSettings:
    """What a child needs to know.

    Args:
        data: Folder of the data set.
        directory: Folder of the clips.
        config: How clips are drawn and kept; its codec is a definite one.
    """

    data: Path
    directory: Path
    config: ClipConfig


class Renderer:
    """Draws clips in a child process."""

    def __init__(self, settings: ChildSettings) -> None:
        self._settings = settings
        self._config = settings.config
        self._cache = ClipCache(settings.directory, int(settings.config.cache_gib * 2**30))

    @cached_property
    def _pictures(self) -> Pictures:
        # Not before the first job: a data set that cannot be read is an answer, not a crash.
        episodes = _open(self._settings.data)
        return Pictures(episodes, width=self._config.width, height=self._config.height)

    def __call__(self, job: CameraJob | WarmJob | ClipJob) -> list[str] | None:
        """Do a job; the cameras' names are returned, a clip is on disk then."""
        if isinstance(job, CameraJob):
            return self._pictures.simulators.cameras(job.env)
        if isinstance(job, WarmJob):
            self._pictures.warm(job.env)
        elif self._cache.find(job.name) is None:  # Another server may have drawn it meanwhile.
            self._draw(job)
        return None

    def _draw(self, job: ClipJob) -> None:
        check_unchanged(self._pictures.episodes, job.item, job.content_hash)
        count = num_pictures(job.item, self._pictures.episodes.features)
        steps = shown_steps(count, job.timing.stride)
        chunks = self._pictures.chunks(job.item, job.camera, job.recorded, steps)
        with self._cache.writing(job.name) as path:
            write_clip(
                path, chunks, job.timing.fps, CODECS[self._config.codec],
                num_frames=job.timing.num_frames,
            )  # fmt: skip


class Measurer:
    """Measures lanes and makes clouds in a child process."""

    def __init__(self, settings: ChildSettings) -> None:
        self._settings = settings
        self._simulators = Simulators()
        self._reward: tuple[tuple[Path, int] | None, Any] = (None, None)

    @cached_property
    def _episodes(self) -> EpisodeStore:
        return _open(self._settings.data)

    def __call__(self, job: LanesJob | CloudJob) -> list[Lane] | Cloud:
        """Do a job."""
        match job:
            case LanesJob():
                check_unchanged(self._episodes, job.item, job.content_hash)
                count = num_pictures(job.item, self._episodes.features)
                steps = shown_steps(count, job.timing.stride)
                episode = self._episodes.episode(job.item.episode_id)
                return measure_lanes(episode, job.item, steps, reward=self._load(job.reward))
            case CloudJob():
                check_unchanged(self._episodes, job.candidates[0], job.content_hash)
                return make_cloud(self._episodes, job.candidates, self._simulators)
            case _:
                assert_never(job)

    def _load(self, source: tuple[Path, int] | None) -> Any:
        """Return the reward, loaded anew when it was written anew."""
        if source != self._reward[0]:
            import torch

            from robopref.rewards.serialization import load_reward

            torch.set_num_threads(1)
            assert source is not None
            check_reward_fits(source[0], self._episodes)
            self._reward = (source, load_reward(source[0]))
        return self._reward[1] if source is not None else None


def check_unchanged(episodes: EpisodeStore, item: Item, content_hash: str) -> None:
    """Raise unless an item's episode is the one that was asked for.

    Raises:
        DataError: It is not in the data set any more.
        ClipError: Another one has its identity now.
    """
    episodes.refresh()
    if episodes.row(item.episode_id).content_hash != content_hash:
        raise ClipError(f"Episode {item.episode_id} of '{episodes.location}' has changed.")


def _open(data: Path) -> EpisodeStore:
    try:
        return EpisodeStore.open(data, cache_size=_EPISODES)
    except (DataError, OSError) as error:
        raise ClipError(str(error), passing=True) from error


def named(job: ClipJob, config: ClipConfig) -> ClipJob:
    """Return a job with the name of its file, which follows from all that decides the content."""
    codec = CODECS[config.codec]
    text = repr((_VERSION, job, config.width, config.height, codec))
    digest = hashlib.sha256(text.encode()).hexdigest()[:40]
    return dataclasses.replace(job, name=digest + codec.suffix)
