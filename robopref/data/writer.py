"""Writes episodes into a data set, so that each is there completely or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from robopref.config import write_bytes_atomically
from robopref.data.columns import encode_parquet
from robopref.data.episode import Episode
from robopref.data.hashing import episode_hash
from robopref.data.index import Index, write_summaries
from robopref.data.normalizer import Statistics, episode_statistics, merge_all
from robopref.data.reader import data_table
from robopref.data.rows import EpisodeRow, VideoPlace, describe_episode, with_places
from robopref.data.schema import (
    DATA,
    EPISODES,
    FIRST_FILE,
    VIDEOS,
    Features,
    check_recordable,
    check_same_features,
    features_of,
    is_camera,
)
from robopref.data.video import encode_mp4
from robopref.errors import DataError


@dataclass(frozen=True, eq=False)
class Recording:
    """An episode in the form in which it is written.

    Args:
        episode: The episode; its camera pictures are not looked at.
        features: Its columns, cameras included.
        videos: Content of an MP4 file with T frames for each camera.
        statistics: Those of each feature over the T steps.
    """

    episode: Episode
    features: Features
    videos: Mapping[str, bytes]
    statistics: Mapping[str, Statistics]

    @property
    def num_bytes(self) -> int:
        """Size of its videos, and of its arrays before they are compressed."""
        arrays = [*self.episode.columns.values(), self.episode.action]
        states = self.episode.sim_states
        size = sum(value.nbytes for value in arrays) + (0 if states is None else states.nbytes)
        return size + sum(map(len, self.videos.values()))

    @classmethod
    def of(cls, episode: Episode) -> "Recording":
        """Encode an episode.

        Raises:
            DataError: A data set cannot hold it.
        """
        check_recordable(episode)
        videos = {
            key: encode_mp4(value[:-1], episode.fps)
            for key, value in episode.obs.items()
            if is_camera(key)
        }
        return cls(episode, features_of(episode), videos, episode_statistics(episode))


def check_fits(recording: Recording, index: Index, first: Recording | None = None) -> None:
    """Raise unless the data set can take the recording.

    Args:
        recording: The recording.
        index: The data set.
        first: Where that is still empty: the recording that will be its first.

    Raises:
        DataError: It has other columns or another rate.
    """
    episode = recording.episode
    if float(episode.fps) != index.fps:
        raise DataError(
            f"Episode {episode.id} has {float(episode.fps)} steps a second, '{index.root}' has "
            f"{index.fps}. Record other rates into a data set of their own."
        )
    features = index.features if index.rows else None if first is None else first.features
    if features is not None:
        check_same_features(episode.id, recording.features, features, index.root)


def commit(
    recordings: Sequence[Recording], index: Index, statistics: Mapping[str, Statistics]
) -> dict[str, Statistics]:
    """Write recordings into one data file and one of the episode table, all of them or none.

    Call it under the data set's lock.

    Args:
        recordings: What to write; one at least.
        index: The data set; gets the new rows.
        statistics: Those of the episodes before these.

    Returns:
        The statistics with those of these episodes.
    """
    root = index.root
    if not index.rows:
        # The columns must be on disk before the first row that needs them.
        index.features = recordings[0].features
        write_summaries(root, index, {})
    rows = _place(recordings, index)
    tasks = list(dict.fromkeys([*index.tasks, *(row.task for row in rows)]))
    data = encode_parquet(
        [
            data_table(one.episode, index.features, (row.episode_index, row.start, place))
            for one, row in zip(recordings, rows, strict=True)
            for place in [tasks.index(row.task)]
        ]
    )
    descriptions = [describe_episode(r.episode, index.features, r.statistics) for r in recordings]
    described = with_places(pa.concat_tables(descriptions), rows).combine_chunks()
    merged = merge_all([statistics, *(recording.statistics for recording in recordings)])
    for recording, row in zip(recordings, rows, strict=True):
        for key, content in recording.videos.items():
            path = root / VIDEOS / key / row.videos[key].file.path(".mp4")
            write_bytes_atomically(path, content)
    write_bytes_atomically(root / DATA / rows[0].data_file.path(".parquet"), data)
    write_bytes_atomically(
        root / EPISODES / rows[0].meta_file.path(".parquet"), encode_parquet([described])
    )
    for row in rows:
        index.append(row)
    write_summaries(root, index, merged)
    return merged


def _place(recordings: Sequence[Recording], index: Index) -> list[EpisodeRow]:
    """Return the rows of recordings that come after those of the data set."""
    last = index.rows[-1] if index.rows else None
    data_file = last.data_file.next() if last else FIRST_FILE
    meta_file = last.meta_file.next() if last else FIRST_FILE
    videos = {key: place.file for key, place in last.videos.items()} if last else {}
    start, rows = last.stop if last else 0, []
    for number, recording in enumerate(recordings, start=len(index.rows)):
        episode = recording.episode
        videos = {
            key: videos[key].next() if key in videos else FIRST_FILE for key in recording.videos
        }
        rows.append(
            EpisodeRow(
                episode_id=episode.id,
                episode_index=number,
                length=len(episode),
                start=start,
                data_file=data_file,
                meta_file=meta_file,
                videos={key: VideoPlace(file, 0.0) for key, file in videos.items()},
                env=episode.env,
                task=episode.task,
                seed=int(episode.seed),
                fps=float(episode.fps),
                terminated=bool(episode.terminated),
                truncated=bool(episode.truncated),
                succeeded=episode.succeeded,
                content_hash=episode_hash(episode),
                metadata=dict(episode.metadata),
            )
        )
        start += len(episode)
    return rows
