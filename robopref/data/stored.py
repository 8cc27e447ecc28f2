"""The reading half of the episode store: episodes, segments, frames and statistics on disk.

Reads stay right while another process adds, deletes or compacts: see `_steady`.
"""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from robopref.data.episode import Episode
from robopref.data.hashing import segment_hash
from robopref.data.index import (
    Index,
    disk_stamp,
    load_index,
    read_statistics,
    row_statistics,
    summaries_are_current,
    write_summaries,
)
from robopref.data.lock import folder_lock
from robopref.data.normalizer import Statistics
from robopref.data.reader import Reader, Recent
from robopref.data.rewrite import PENDING, finish
from robopref.data.rows import EpisodeRow
from robopref.data.schema import EPISODES, Features
from robopref.data.segment import Segment
from robopref.data.validate import find_problems
from robopref.data.video import Clip, decode_video, join_videos
from robopref.data.writer import Recording
from robopref.errors import DataError, did_you_mean
from robopref.types import Obs

log = logging.getLogger(__name__)

LOCK = ".lock"
"""Name of the file that writers lock."""

T = TypeVar("T")


class StoredEpisodes:
    """Episodes on disk, to be read.

    Args:
        index: What is in the data set.
        cache_size: Episodes kept in memory.
    """

    def __init__(self, index: Index, *, cache_size: int = 256) -> None:
        self._index = index
        self._reader = self._make_reader()
        self._cache: Recent[Episode] = Recent(cache_size)
        self._statistics: dict[str, Statistics] | None = None
        self._num_loose = index.num_loose_files
        self._revision = 0

    @property
    def revision(self) -> int:
        """How often changes that other processes made were taken in."""
        return self._revision

    @property
    def root(self) -> Path:
        """Folder of the data set."""
        return self._index.root

    @property
    def fps(self) -> float:
        """Steps a second [Hz]."""
        return self._index.fps

    @property
    def features(self) -> Features:
        """Columns of the data set; none before the first episode."""
        return dict(self._index.features)

    @property
    def ids(self) -> list[str]:
        """Identities of the episodes, in order."""
        return [row.episode_id for row in self._index.rows]

    @property
    def rows(self) -> list[EpisodeRow]:
        """What is known of each episode without its arrays, in order."""
        return list(self._index.rows)

    @property
    def num_steps(self) -> int:
        """Steps of all episodes."""
        return self._index.num_steps

    @property
    def report(self) -> list[str]:
        """What was found and ignored when the store was opened, in words."""
        return list(self._index.report)

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self._index.rows)

    def __contains__(self, episode_id: object) -> bool:
        """Return whether the store has the episode."""
        return episode_id in self._index.by_id

    def __iter__(self) -> Iterator[Episode]:
        """Iterate over the episodes in order, without keeping them in memory."""
        for row in self.rows:
            if row.episode_id in self._cache:
                yield self._cache[row.episode_id]
            else:
                yield self._read(row.episode_id, self._reader_episode)

    def row(self, episode_id: str) -> EpisodeRow:
        """Return what is known of an episode without its arrays.

        Raises:
            DataError: The store has no such episode.
        """
        if episode_id not in self._index.by_id:
            self.refresh()
        if episode_id not in self._index.by_id:
            raise DataError(
                f"'{self.root}' has no episode '{episode_id}'."
                f"{did_you_mean(episode_id, self._index.by_id)} It has {len(self)} episodes."
            )
        return self._index.by_id[episode_id]

    def episode(self, episode_id: str) -> Episode:
        """Return an episode, without camera pictures; see `frames`.

        Raises:
            DataError: The store has no such episode, or a file of it is missing or damaged.
        """
        return self._cache.fetch(episode_id, lambda: self._read(episode_id, self._reader_episode))

    def cut(self, segment: Segment) -> tuple[Obs, np.ndarray]:
        """Return the observations before each action (L, ...) and the actions (L, Da).

        Raises:
            DataError: The segment does not fit its episode, or the episode cannot be read.
        """
        return segment.cut(self.episode(segment.episode_id))

    def content_hash(self, segment: Segment) -> str:
        """Return the hash of what a segment shows; the same in every store that holds it.

        Raises:
            DataError: The segment does not fit its episode, or the episode cannot be read.
        """
        return segment_hash(self.episode(segment.episode_id), segment)

    def frames(self, segment: Segment, camera: str) -> np.ndarray:
        """Return the recorded pictures before each action of a segment, (L, H, W, 3), uint8.

        Raises:
            DataError: No such camera, or the video is missing or damaged.
        """
        feature = self._index.features.get(camera)
        if feature is None or not feature.is_video:
            cameras = [key for key, value in self._index.features.items() if value.is_video]
            raise DataError(f"'{self.root}' has no camera '{camera}'. Cameras: {cameras}.")
        row = self.row(segment.episode_id)
        if segment.start + segment.length > row.length:
            raise DataError(
                f"Segment [{segment.start}, {segment.start + segment.length}) does not fit "
                f"episode {row.episode_id}, which has {row.length} steps."
            )

        def decode(row: EpisodeRow) -> np.ndarray:
            clip = self._reader.clip(row, camera)
            part = Clip(clip.path, clip.start + segment.start, segment.length)
            return decode_video(part, self.fps)

        return self._read(segment.episode_id, decode)

    def recording(self, episode_id: str) -> Recording:
        """Return an episode as it can be written elsewhere, with its camera streams unchanged.

        Raises:
            DataError: The store has no such episode, or a file of it is missing or damaged.
        """
        return self._read(episode_id, self._recording)

    def stats(self) -> dict[str, Statistics]:
        """Return LeRobot's statistics of each feature; see `robopref.data.normalizer`."""
        if self._statistics is None:
            self._statistics = read_statistics(self._index) if len(self) else {}
        return self._statistics

    def validate(self) -> list[str]:
        """Read everything and return what is wrong, in words; an empty list if nothing is."""
        found = self._steady(lambda: find_problems(self._index, self._reader))
        return [line for lines in found.values() for line in lines]

    def damaged_ids(self) -> list[str]:
        """Read everything and return the episodes that `validate` complains about."""
        found = self._steady(lambda: find_problems(self._index, self._reader))
        return [episode_id for episode_id in self.ids if episode_id in found]

    def refresh(self) -> bool:
        """Take in what other processes have changed; return whether anything had."""
        if self._index.is_current and not (self.root / PENDING).is_dir():
            return False
        self._take(load(self.root))
        return True

    def _take(self, index: Index) -> None:
        """Go on with what is there now; forget what is no longer true."""
        before, self._index = self._index.by_id, index
        self._revision += 1
        self._reader = self._make_reader()
        self._statistics, self._num_loose = None, self._index.num_loose_files
        for episode_id in list(self._cache):
            row = self._index.by_id.get(episode_id)
            if row is None or row.content_hash != before[episode_id].content_hash:
                del self._cache[episode_id]

    def _make_reader(self) -> Reader:
        return Reader(self.root, self._index.features)

    def _recording(self, row: EpisodeRow) -> Recording:
        episode = self._reader.episode(row)
        videos = {key: join_videos([self._reader.clip(row, key)], self.fps) for key in row.videos}
        table = self.root / EPISODES / row.meta_file.path(".parquet")
        return Recording(episode, self._index.features, videos, row_statistics(table, row))

    def _reader_episode(self, row: EpisodeRow) -> Episode:
        return self._reader.episode(row)

    def _read(self, episode_id: str, read: Callable[[EpisodeRow], T]) -> T:
        """Read what belongs to an episode, wherever its files are moved in the meantime."""
        return self._steady(lambda: read(self.row(episode_id)))

    def _steady(self, read: Callable[[], T]) -> T:
        """Read until the data set was not rewritten meanwhile.

        Without this, another process that deletes an episode could make a reader take the rows of
        one episode for those of another. A pending rewrite is visible until its last move is done,
        and the episode table is moved last.
        """
        while True:
            try:
                value = read()
            except DataError:
                if not self.refresh():
                    raise
                continue
            moved = disk_stamp(self.root) != self._index.stamp or (self.root / PENDING).is_dir()
            if not moved:
                return value
            self.refresh()


def load(root: Path) -> Index:
    """Return what is in a data set; finish or make good what an interrupted writer left undone."""
    if (root / PENDING).is_dir():
        with folder_lock(root / LOCK).held():
            finish(root)
    index = load_index(root)
    if summaries_are_current(index):
        return index
    try:
        with folder_lock(root / LOCK).held():
            if not index.is_current:
                index = load_index(root)
            write_summaries(root, index, read_statistics(index) if index.rows else {})
    except PermissionError:
        log.info("'%s' is read-only: its summaries stay out of date.", root)
    return index
