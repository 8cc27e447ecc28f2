"""What is in a data set: its features and rows, read from disk when it is opened.

The episode table is the truth: an episode is in the data set when its row is. Totals, statistics
and tasks are derived from the rows, and files that no row names are left alone and reported.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robopref.config import write_bytes_atomically, write_text_atomically
from robopref.data.normalizer import Statistics, merge_all
from robopref.data.rows import STATS, EpisodeRow, read_columns, read_rows
from robopref.data.schema import (
    DATA,
    EPISODES,
    FIRST_FILE,
    INFO,
    TASKS,
    VIDEOS,
    Features,
    camera_keys,
    check_info,
    features_from_info,
    make_info,
)
from robopref.data.schema import STATS as STATS_FILE
from robopref.errors import DataError

log = logging.getLogger(__name__)

Stamp = tuple[int, int]
"""Identity and time of the folder of the episode table."""
LOOSE_EPISODES = 10
"""A data file of at most so many is one that compacting is for."""


@dataclass
class Index:
    """The content of a data set without its arrays.

    Args:
        root: Folder of the data set.
        features: Its columns; none before the first episode.
        fps: Steps a second [Hz].
        rows: Its episodes in order.
        stamp: What the folder of the episode table looked like.
        report: What was found and ignored, in words.
        written_tasks: The tasks in the file of tasks, once it was read or written.
    """

    root: Path
    features: Features
    fps: float
    rows: list[EpisodeRow]
    stamp: Stamp = (0, 0)
    report: list[str] = field(default_factory=list)
    written_tasks: list[str] | None = None
    by_id: dict[str, EpisodeRow] = field(init=False)

    def __post_init__(self) -> None:
        """Index the rows by identity."""
        self.by_id = {row.episode_id: row for row in self.rows}

    @property
    def num_steps(self) -> int:
        """Steps of all episodes."""
        return self.rows[-1].stop if self.rows else 0

    @property
    def tasks(self) -> list[str]:
        """The different tasks; the place of one is its `task_index`."""
        return list(dict.fromkeys(row.task for row in self.rows))

    @property
    def num_loose_files(self) -> int:
        """Data files that hold a few episodes, as they were recorded."""
        counts: dict[Any, int] = {}
        for row in self.rows:
            counts[row.data_file] = counts.get(row.data_file, 0) + 1
        return sum(count <= LOOSE_EPISODES for count in counts.values())

    @property
    def is_current(self) -> bool:
        """Whether no other process has added episodes or rewritten the data set.

        Times of folders are too coarse to see one more file; but that file has a known name.
        """
        number = self.rows[-1].meta_file.next() if self.rows else FIRST_FILE
        added = (self.root / EPISODES / number.path(".parquet")).exists()
        return not added and disk_stamp(self.root) == self.stamp

    def append(self, row: EpisodeRow) -> None:
        """Add a row that is on disk now."""
        self.rows.append(row)
        self.by_id[row.episode_id] = row
        self.stamp = disk_stamp(self.root)


def load_index(root: Path) -> Index:
    """Read the content of the data set at `root` and log what is ignored.

    Raises:
        FileNotFoundError: There is no such folder.
        DataError: It is no data set, of another version, or its episode table is damaged.
    """
    stamp = disk_stamp(root)
    info = read_info(root)
    features = features_from_info(info)
    cameras = camera_keys(features)
    rows: list[EpisodeRow] = []
    for path in sorted((root / EPISODES).glob("*/*.parquet")):
        rows.extend(read_rows(path, cameras))
    index = Index(root, features if rows else {}, float(info["fps"]), rows, stamp)
    if len(index.by_id) != len(rows):
        twice = sorted({r.episode_id for r in rows if index.by_id[r.episode_id] is not r})
        raise DataError(f"'{root / EPISODES}' has more than one row for the episodes {twice}.")
    index.report = _find_ignored(index, info)
    for line in index.report:
        log.warning("%s", line)
    return index


def read_info(root: Path) -> dict[str, Any]:
    """Return the content of `info.json`.

    Raises:
        FileNotFoundError: There is no such folder.
        DataError: The folder is no data set that this version reads.
    """
    if not root.is_dir():
        raise FileNotFoundError(
            f"No data set at '{root}'. Record one with: robopref collect --out {root}"
        )
    path = root / INFO
    if not path.is_file():
        raise DataError(
            f"'{root}' is not a LeRobot data set: it has no '{INFO}'. Record one with "
            "'robopref collect', or convert one with 'robopref data import'."
        )
    try:
        info: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"'{path}' is damaged: {error}. Put back a copy of the file.") from error
    check_info(info, root)
    return info


def disk_stamp(root: Path) -> Stamp:
    """Return what tells whether the data set was rewritten: the table has another folder then."""
    folder = root / EPISODES
    if not folder.is_dir():
        return (0, 0)
    found = folder.stat()
    return (found.st_ino, found.st_mtime_ns)


def read_statistics(index: Index) -> dict[str, Statistics]:
    """Return the statistics of all episodes: those kept if they are complete, else merged anew."""
    kept = _kept_statistics(index.root)
    if {int(found["count"][0]) for found in kept.values()} == {index.num_steps}:
        return kept
    paths = dict.fromkeys(row.meta_file.path(".parquet") for row in index.rows)
    parts = [part for p in paths for part in episode_table_statistics(index.root / EPISODES / p)]
    return merge_all(parts)


def summaries_are_current(index: Index) -> bool:
    """Whether `info.json` and `stats.json` count the episodes that there are."""
    info = read_info(index.root)
    counts = {int(found["count"][0]) for found in _kept_statistics(index.root).values()}
    return (
        info.get("total_episodes") == len(index.rows)
        and info.get("total_frames") == index.num_steps
        and counts == ({index.num_steps} if index.rows else set())
    )


def episode_table_statistics(path: Path) -> list[dict[str, Statistics]]:
    """Return the statistics of each episode in one file of the episode table.

    Raises:
        DataError: The file is damaged.
    """
    table = read_columns(path, (STATS,))
    parts: list[dict[str, Statistics]] = [{} for _ in range(len(table))]
    for name in table.column_names:
        key, statistic = name.removeprefix(STATS).rsplit("/", 1)
        for part, value in zip(parts, table[name].to_pylist(), strict=True):
            part.setdefault(key, {})[statistic] = np.array(value)
    return parts


def row_statistics(path: Path, row: EpisodeRow) -> dict[str, Statistics]:
    """Return the statistics of one episode out of the file of its row.

    Raises:
        DataError: The file is damaged.
    """
    ids = read_columns(path, ("episode_id",))["episode_id"].to_pylist()
    position: int = ids.index(row.episode_id)
    return episode_table_statistics(path)[position]


def write_summaries(
    root: Path, index: Index, statistics: dict[str, Statistics], into: Path | None = None
) -> None:
    """Write `info.json`, `stats.json` and the tasks, each in one step.

    Args:
        root: Folder of the data set.
        index: Its content.
        statistics: Those of all episodes.
        into: Another folder to write to.
    """
    target = into or root
    plain = {k: {n: v.tolist() for n, v in found.items()} for k, found in statistics.items()}
    write_text_atomically(target / STATS_FILE, json.dumps(plain))
    tasks = index.tasks
    if index.written_tasks is None and not into:
        index.written_tasks = _read_tasks(root)
    if tasks and (into or index.written_tasks != tasks):
        write_bytes_atomically(target / TASKS, _tasks_file(tasks))
        index.written_tasks = tasks
    totals = (len(index.rows), index.num_steps, len(tasks))
    info = make_info(index.features, index.fps, totals)
    write_text_atomically(target / INFO, json.dumps(info, indent=2))


def files_of(rows: Iterable[EpisodeRow]) -> set[Path]:
    """Return the files, relative to the data set, that `rows` name."""
    # Thousands of rows lie in one file.
    data, meta, videos = set(), set(), set()
    for row in rows:
        data.add(row.data_file)
        meta.add(row.meta_file)
        videos |= {(key, place.file) for key, place in row.videos.items()}
    return {
        *(DATA / number.path(".parquet") for number in data),
        *(EPISODES / number.path(".parquet") for number in meta),
        *(VIDEOS / key / number.path(".mp4") for key, number in videos),
    }


def is_numbered_through(rows: Sequence[EpisodeRow]) -> bool:
    """Whether episodes and steps are numbered without gaps, as LeRobot needs them."""
    start = 0
    for position, row in enumerate(rows):
        if row.episode_index != position or row.start != start:
            return False
        start = row.stop
    return True


def _find_ignored(index: Index, info: dict[str, Any]) -> list[str]:
    root = index.root
    patterns = ("data/*/*.parquet", "videos/*/*/*.mp4")
    present = {path.relative_to(root) for pattern in patterns for path in root.glob(pattern)}
    lines = [
        f"'{root / path}' belongs to no episode and is ignored: its recording was interrupted, "
        "or is under way."
        for path in sorted(present - files_of(index.rows))
    ]
    lines += [
        f"'{path}' is of a compaction that was interrupted, or is running; the next one removes it."
        for path in sorted(root.glob(".rewrite*"))
    ]
    if info.get("total_episodes") != len(index.rows):
        lines.append(
            f"'{root / INFO}' counts {info.get('total_episodes')} episodes; "
            f"the episode table has {len(index.rows)}, which is what counts."
        )
    return lines


def _kept_statistics(root: Path) -> dict[str, Statistics]:
    """Return what `stats.json` says; nothing where it is missing or damaged: it is derived data."""
    try:
        kept: dict[str, Any] = json.loads((root / STATS_FILE).read_text())
        return {
            key: {name: np.array(value) for name, value in found.items()}
            for key, found in kept.items()
            if len(found["count"]) == 1
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _read_tasks(root: Path) -> list[str]:
    if not (root / TASKS).is_file():
        return []
    tasks: list[str] = read_columns(root / TASKS, ("task",))["task"].to_pylist()
    return tasks


def _tasks_file(tasks: list[str]) -> bytes:
    """Return the parquet file of tasks: LeRobot reads it as a pandas frame indexed by `task`."""
    import pandas as pd

    numbers = pd.DataFrame({"task_index": range(len(tasks))}, index=pd.Index(tasks, name="task"))
    content: bytes = numbers.to_parquet()
    return content
