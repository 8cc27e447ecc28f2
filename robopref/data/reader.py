"""Reads episodes out of a data set's files, which stay open between reads.

Shapes: T episode steps.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from robopref.data.columns import damaged, open_parquet, to_arrow, to_numpy
from robopref.data.episode import Episode
from robopref.data.rows import FINAL, SIM_EPISODE, EpisodeRow, final_keys, read_columns
from robopref.data.schema import (
    BOOKKEEPING,
    DATA,
    EPISODES,
    REMEDY,
    REWARD,
    SIM_STATE,
    SUCCESS,
    VIDEOS,
    Features,
    is_extra,
    obs_keys,
)
from robopref.data.video import Clip
from robopref.errors import DataError
from robopref.types import ACTION

_NUM_OPEN = 16
"""Files kept open: many enough for random access to a compacted data set."""

V = TypeVar("V")


class Recent(OrderedDict[Any, V]):
    """The `size` values that were used last.

    Example:
        >>> recent = Recent(1)
        >>> recent.fetch("a", lambda: 1), recent.fetch("b", lambda: 2), list(recent)
        (1, 2, ['b'])
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def fetch(self, key: Any, make: Callable[[], V]) -> V:
        """Return the value of `key`, made now if it is not here."""
        if key in self:
            self.move_to_end(key)
            return self[key]
        value = make()
        self.put(key, value)
        return value

    def put(self, key: Any, value: V) -> None:
        """Keep a value as the one that was used last."""
        self[key] = value
        self.move_to_end(key)
        while len(self) > self.size:
            self.popitem(last=False)


class Reader:
    """Reads one data set.

    Args:
        root: Folder of the data set.
        features: Its columns.
        fetch: Called with the path of a file before it is opened, to bring it there.
    """

    def __init__(
        self, root: Path, features: Features, fetch: Callable[[Path], None] | None = None
    ) -> None:
        self.root = root
        self.features = features
        self._fetch = fetch or _is_there
        self._data: Recent[_DataFile] = Recent(_NUM_OPEN)
        self._extras: Recent[tuple[Any, dict[str, int]]] = Recent(_NUM_OPEN)

    def table(self, row: EpisodeRow) -> Any:
        """Return the T rows of an episode as they are in the file.

        Raises:
            DataError: The file is missing, damaged, or holds other rows.
        """
        path = self.root / DATA / row.data_file.path(".parquet")
        file = self._data.fetch(path, lambda: self._open(path))
        table = file.read(row.start, row.length)
        index = to_numpy(table["index"], BOOKKEEPING["index"])[:, 0]
        episode = to_numpy(table["episode_index"], BOOKKEEPING["episode_index"])[:, 0]
        expected = np.arange(row.start, row.stop)
        if not np.array_equal(index, expected) or (episode != row.episode_index).any():
            raise DataError(
                f"'{path}' does not hold steps {row.start} to {row.stop - 1} of episode "
                f"{row.episode_index}, as the episode table says.{REMEDY}"
            )
        return table

    def episode(self, row: EpisodeRow) -> Episode:
        """Return an episode with its T + 1 observations, without camera pictures.

        Raises:
            DataError: A file is missing or damaged, or holds what an episode cannot have.
        """
        table, extras = self.table(row), self.extras(row)
        path = self.root / DATA / row.data_file.path(".parquet")
        try:
            columns = self._columns(table, extras)
            return Episode(
                id=row.episode_id,
                obs={k: columns[k] for k in obs_keys(self.features) if not is_extra(k)},
                extras={k: columns[k] for k in obs_keys(self.features) if is_extra(k)},
                action=columns[ACTION],
                reward=columns[REWARD].reshape(-1),
                success=columns[SUCCESS].reshape(-1),
                terminated=row.terminated,
                truncated=row.truncated,
                env=row.env,
                task=row.task,
                seed=row.seed,
                fps=row.fps,
                sim_states=columns.get(SIM_STATE),
                sim_episode=extras.get(SIM_EPISODE),
                metadata=row.metadata,
            )
        except DataError as error:
            raise DataError(f"'{path}': {error}") from error

    def extras(self, row: EpisodeRow) -> Mapping[str, np.ndarray]:
        """Return the arrays of an episode's row: last observation and simulator state.

        Raises:
            DataError: The file is missing or damaged, or holds other rows.
        """
        path = self.root / EPISODES / row.meta_file.path(".parquet")
        table, places = self._extras.fetch(path, lambda: _read_extras(path))
        if row.episode_id not in places:
            raise DataError(f"'{path}' no longer has a row for episode {row.episode_id}.")
        place = places[row.episode_id]
        found = {}
        for name in table.column_names:
            value = table[name][place]
            if name != "episode_id" and value.is_valid:
                found[name] = value.values.to_numpy(zero_copy_only=False)
        return found

    def clip(self, row: EpisodeRow, camera: str) -> Clip:
        """Return where the T frames of an episode are."""
        place = row.videos[camera]
        path = self.root / VIDEOS / camera / place.file.path(".mp4")
        self._fetch(path)
        return Clip(path, round(place.from_s * row.fps), row.length)

    def _open(self, path: Path) -> "_DataFile":
        self._fetch(path)
        return _DataFile(path)

    def _columns(self, table: Any, extras: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the columns, with the last value added to those that have T + 1."""
        columns = {}
        finals = final_keys(self.features)
        for key in [*finals, ACTION, REWARD, SUCCESS]:
            feature = self.features[key]
            try:
                values = to_numpy(table[key], feature)
                if key in finals:
                    last = extras[FINAL + key].reshape(1, *feature.shape).astype(feature.dtype)
                    values = np.concatenate([values, last])
            except (DataError, KeyError, ValueError) as error:
                raise DataError(f"The column '{key}' is damaged: {error}") from error
            columns[key] = values
        return columns


def _is_there(path: Path) -> None:
    """Do nothing: files of a data set on this machine are where they are opened."""


def _read_extras(path: Path) -> tuple[Any, dict[str, int]]:
    """Return the arrays in a file of the episode table, and the place of each episode."""
    table = read_columns(path, (FINAL, SIM_EPISODE, "episode_id"))
    return table, {key: place for place, key in enumerate(table["episode_id"].to_pylist())}


class _DataFile:
    """One open parquet file under `data`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.file = open_parquet(path)
        except DataError as error:
            raise DataError(f"{error}{REMEDY}") from error
        meta = self.file.metadata
        sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
        self.first = self._first_index() if sizes else 0
        self.bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(int)

    def read(self, start: int, length: int) -> Any:
        """Return `length` rows from the one whose `index` is `start`."""
        begin, end = start - self.first, start - self.first + length
        if begin < 0 or end > self.bounds[-1]:
            raise DataError(
                f"'{self.path}' holds steps {self.first} to {self.first + self.bounds[-1] - 1}; "
                f"the episode table looks for steps {start} to {start + length - 1} there.{REMEDY}"
            )
        low = int(np.searchsorted(self.bounds, begin, side="right")) - 1
        high = int(np.searchsorted(self.bounds, end, side="left"))
        try:
            groups = self.file.read_row_groups(list(range(low, high)), use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{damaged(self.path, error)}{REMEDY}") from error
        return groups.slice(begin - int(self.bounds[low]), length)

    def _first_index(self) -> int:
        if "index" not in self.file.schema_arrow.names:
            raise DataError(f"'{self.path}' has no column 'index': it is no LeRobot data file.")
        try:
            return int(self.file.read_row_group(0, columns=["index"])["index"][0].as_py())
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{damaged(self.path, error)}{REMEDY}") from error


def data_table(episode: Episode, features: Features, place: tuple[int, int, int]) -> Any:
    """Return the T rows of an episode as a table.

    Args:
        episode: What to store.
        features: Columns of the data set.
        place: The episode's index, the index of its first step, and that of its task.
    """
    episode_index, start, task_index = place
    num = len(episode)
    frames = np.arange(num, dtype=np.int64)
    columns: dict[str, np.ndarray] = {
        **{key: episode.columns[key][:-1] for key in obs_keys(features)},
        ACTION: episode.action,
        REWARD: episode.reward.astype(np.float32),
        SUCCESS: episode.success.astype(bool),
        "timestamp": (frames / episode.fps).astype(np.float32),
        "frame_index": frames,
        "episode_index": np.full(num, episode_index, np.int64),
        "index": start + frames,
        "task_index": np.full(num, task_index, np.int64),
    }
    if episode.sim_states is not None:
        columns[SIM_STATE] = episode.sim_states[:-1]
    names = [key for key, feature in features.items() if not feature.is_video]
    return pa.table({key: to_arrow(columns[key], features[key]) for key in names})


def renumbered(table: Any, place: tuple[int, int, int]) -> Any:
    """Return the table of an episode with the numbers of another place; see `data_table`."""
    episode_index, start, task_index = place
    num = len(table)
    numbers = {
        "episode_index": np.full(num, episode_index, np.int64),
        "index": np.arange(start, start + num, dtype=np.int64),
        "task_index": np.full(num, task_index, np.int64),
    }
    for name, values in numbers.items():
        table = table.set_column(table.column_names.index(name), name, pa.array(values))
    return table.combine_chunks()
