"""Writes one episode into a data set, so that it is there completely or not at all."""

from collections.abc import Mapping
from dataclasses import dataclass

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


def check_fits(recording: Recording, index: Index) -> None:
    """Raise unless the data set can take the recording.

    Raises:
        DataError: It has other columns or another rate.
    """
    episode = recording.episode
    if float(episode.fps) != index.fps:
        raise DataError(
            f"Episode {episode.id} has {float(episode.fps)} steps a second, '{index.root}' has "
            f"{index.fps}. Record other rates into a data set of their own."
        )
    if index.rows:
        check_same_features(episode.id, recording.features, index.features, index.root)


def commit(
    recording: Recording, index: Index, statistics: Mapping[str, Statistics]
) -> dict[str, Statistics]:
    """Write the files of a recording; call it under the data set's lock.

    Args:
        recording: What to write.
        index: The data set; gets the new row.
        statistics: Those of the episodes before this one.

    Returns:
        The statistics with those of this episode.
    """
    episode, root = recording.episode, index.root
    if not index.rows:
        # The columns must be on disk before the first row that needs them.
        index.features = recording.features
        write_summaries(root, index, {})
    row = _place(recording, index)
    tasks = list(dict.fromkeys([*index.tasks, episode.task]))
    place = (row.episode_index, row.start, tasks.index(episode.task))
    description = describe_episode(episode, index.features, recording.statistics)
    data = encode_parquet([data_table(episode, index.features, place)])
    meta = encode_parquet([with_places(description, [row])])
    merged = merge_all([statistics, recording.statistics])
    for key, content in recording.videos.items():
        path = root / VIDEOS / key / row.videos[key].file.path(".mp4")
        write_bytes_atomically(path, content)
    write_bytes_atomically(root / DATA / row.data_file.path(".parquet"), data)
    write_bytes_atomically(root / EPISODES / row.meta_file.path(".parquet"), meta)
    index.append(row)
    write_summaries(root, index, merged)
    return merged


def _place(recording: Recording, index: Index) -> EpisodeRow:
    episode = recording.episode
    last = index.rows[-1] if index.rows else None
    cameras = recording.videos
    return EpisodeRow(
        episode_id=episode.id,
        episode_index=len(index.rows),
        length=len(episode),
        start=last.stop if last else 0,
        data_file=last.data_file.next() if last else FIRST_FILE,
        meta_file=last.meta_file.next() if last else FIRST_FILE,
        videos={
            key: VideoPlace(last.videos[key].file.next() if last else FIRST_FILE, 0.0)
            for key in cameras
        },
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
