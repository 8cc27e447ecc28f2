"""Rows of the episode table, `meta/episodes`: where an episode is and what is known of it.

A row has three kinds of columns: its place (numbers that change when a data set is compacted or
merged), its description (which stays), and arrays (last observation, simulator state,
statistics), which are read only when they are needed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from robopref.data.columns import damaged, open_parquet
from robopref.data.episode import Episode
from robopref.data.hashing import episode_hash
from robopref.data.normalizer import Statistics
from robopref.data.schema import SIM_STATE, Features, FileNumber, obs_keys
from robopref.errors import DataError

SIM_EPISODE = "sim.episode"
FINAL = "final."
STATS = "stats/"
_REMEDY = " Put back a copy of the file, or delete it to go on without what it holds."
_DESCRIPTION = {
    "episode_id": pa.string(),
    "env_id": pa.string(),
    "seed": pa.int64(),
    "fps": pa.float64(),
    "terminated": pa.bool_(),
    "truncated": pa.bool_(),
    "succeeded": pa.bool_(),
    "content_hash": pa.string(),
    "metadata": pa.string(),
    "tasks": pa.list_(pa.string()),
}
_PLACE = (
    "episode_index", "length", "dataset_from_index", "dataset_to_index", "data/chunk_index",
    "data/file_index", "meta/episodes/chunk_index", "meta/episodes/file_index",
)  # fmt: skip


@dataclass(frozen=True)
class VideoPlace:
    """Where the frames of one camera are.

    Args:
        file: The MP4 file.
        from_s: Time of the first frame in it [s].
    """

    file: FileNumber
    from_s: float


@dataclass(frozen=True)
class EpisodeRow:
    """One episode of a data set, without its arrays.

    Args:
        episode_id: UUID made at recording.
        episode_index: Position in the data set; changes when it is rewritten.
        length: T, the number of steps.
        start: Position of its first step among the steps of the data set.
        data_file: The file under `data`.
        meta_file: The file under `meta/episodes`.
        videos: Where the frames are, by camera.
        env: The environment, as given to `make_env`.
        task: What was to be done, in words.
        seed: Seed of the reset.
        fps: Steps a second [Hz].
        terminated: The task itself ended the episode.
        truncated: A time limit or an interruption ended it.
        succeeded: Whether the task was solved at any step.
        content_hash: Hash of everything but cameras and metadata.
        metadata: What else is known, as plain values.
    """

    episode_id: str
    episode_index: int
    length: int
    start: int
    data_file: FileNumber
    meta_file: FileNumber
    videos: Mapping[str, VideoPlace]
    env: str
    task: str
    seed: int
    fps: float
    terminated: bool
    truncated: bool
    succeeded: bool
    content_hash: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def stop(self) -> int:
        """Position after its last step among the steps of the data set."""
        return self.start + self.length


def describe_episode(
    episode: Episode, features: Features, statistics: Mapping[str, Statistics]
) -> Any:
    """Return a table of one row with all columns of `episode` but its place.

    Raises:
        DataError: The metadata cannot be written as JSON.
    """
    columns: dict[str, Any] = {}
    for name, value in _describe(episode).items():
        columns[name] = pa.array([value], _DESCRIPTION[name])
    columns[SIM_EPISODE] = _one_list(episode.sim_episode, pa.float64())
    for key in final_keys(features):
        last = episode.sim_states if key == SIM_STATE else episode.columns[key]
        kind = pa.from_numpy_dtype(features[key].dtype)
        columns[FINAL + key] = _one_list(None if last is None else last[-1], kind)
    for key, found in statistics.items():
        for name, value in found.items():
            columns[f"{STATS}{key}/{name}"] = _nested(value)
    return pa.table(columns)


def with_places(description: Any, rows: Sequence[EpisodeRow]) -> Any:
    """Return `description`, which has one row for each of `rows`, with the columns of place."""
    columns: dict[str, Any] = {}
    values = [
        (r.episode_index, r.length, r.start, r.stop, *r.data_file, *r.meta_file) for r in rows
    ]
    for name, column in zip(_PLACE, zip(*values, strict=True), strict=True):
        columns[name] = pa.array(column, pa.int64())
    for key in rows[0].videos:
        places = [(row.videos[key], row.length / row.fps) for row in rows]
        prefix = f"videos/{key}/"
        columns[prefix + "chunk_index"] = pa.array([p.file.chunk for p, _ in places], pa.int64())
        columns[prefix + "file_index"] = pa.array([p.file.file for p, _ in places], pa.int64())
        columns[prefix + "from_timestamp"] = pa.array([p.from_s for p, _ in places], pa.float64())
        columns[prefix + "to_timestamp"] = pa.array([p.from_s + d for p, d in places], pa.float64())
    for name in description.column_names:
        if not is_place(name):
            columns[name] = description[name]
    return pa.table(columns)


def is_place(name: str) -> bool:
    """Whether a column of the episode table says where an episode is."""
    return name in _PLACE or name.startswith("videos/")


def final_keys(features: Features) -> list[str]:
    """Return the columns of which an episode's row holds the last value."""
    return [*obs_keys(features), *([SIM_STATE] if SIM_STATE in features else [])]


def read_rows(path: Path, cameras: Sequence[str]) -> list[EpisodeRow]:
    """Return the rows of one file of the episode table.

    Raises:
        DataError: The file is damaged, or was not written by robopref.
    """
    names = [*_PLACE, *_DESCRIPTION]
    for key in cameras:
        names += [f"videos/{key}/{n}" for n in ("chunk_index", "file_index", "from_timestamp")]
    table = _read(path, lambda present: [name for name in names if name in present])
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise DataError(
            f"'{path}' lacks the columns {missing}: robopref did not record it, and cannot tell "
            "its episodes apart when their numbers change."
        )
    return [_row(values, cameras) for values in table.to_pylist()]


def read_columns(path: Path, prefixes: tuple[str, ...]) -> Any:
    """Return the columns of one file of the episode table whose names start with `prefixes`.

    Raises:
        DataError: The file is damaged.
    """
    return _read(path, lambda present: [name for name in present if name.startswith(prefixes)])


def _read(path: Path, choose: Callable[[list[str]], list[str]]) -> Any:
    try:
        with open_parquet(path) as file:
            return file.read(columns=choose(file.schema_arrow.names), use_threads=False)
    except DataError as error:
        raise DataError(f"{error}{_REMEDY}") from error
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{damaged(path, error)}{_REMEDY}") from error


def _describe(episode: Episode) -> dict[str, Any]:
    return {
        "episode_id": episode.id,
        "env_id": episode.env,
        "seed": int(episode.seed),
        "fps": float(episode.fps),
        "terminated": bool(episode.terminated),
        "truncated": bool(episode.truncated),
        "succeeded": episode.succeeded,
        "content_hash": episode_hash(episode),
        "metadata": _json(episode),
        "tasks": [episode.task],
    }


def _json(episode: Episode) -> str:
    try:
        return json.dumps(dict(episode.metadata), allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Episode {episode.id}: its metadata cannot be written as JSON ({error}). "
            "Allowed are numbers, strings, booleans, None, lists and dictionaries."
        ) from error


def _row(values: Mapping[str, Any], cameras: Sequence[str]) -> EpisodeRow:
    def number(prefix: str) -> FileNumber:
        return FileNumber(values[f"{prefix}/chunk_index"], values[f"{prefix}/file_index"])

    return EpisodeRow(
        episode_id=values["episode_id"],
        episode_index=values["episode_index"],
        length=values["length"],
        start=values["dataset_from_index"],
        data_file=number("data"),
        meta_file=number("meta/episodes"),
        videos={
            key: VideoPlace(number(f"videos/{key}"), values[f"videos/{key}/from_timestamp"])
            for key in cameras
        },
        env=values["env_id"],
        task=values["tasks"][0],
        seed=values["seed"],
        fps=values["fps"],
        terminated=values["terminated"],
        truncated=values["truncated"],
        succeeded=values["succeeded"],
        content_hash=values["content_hash"],
        metadata=json.loads(values["metadata"]),
    )


def _one_list(values: np.ndarray | None, kind: Any) -> Any:
    rows = [None] if values is None else [np.asarray(values).reshape(-1)]
    return pa.array(rows, pa.list_(kind))


def _nested(value: np.ndarray) -> Any:
    kind = pa.int64() if value.dtype.kind == "i" else pa.float64()
    for _ in value.shape:
        kind = pa.list_(kind)
    return pa.array([value.tolist()], kind)
