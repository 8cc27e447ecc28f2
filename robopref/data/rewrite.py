"""Writes a data set anew with some of its episodes, in few files, safe against a kill anywhere.

The new files are made complete in `.rewrite.partial` while the old ones stay. Renaming that folder
to `.rewrite` is the commit point. `finish` then moves the parts into place; it can be interrupted
and called again, and `EpisodeStore.open` does so. Before the commit point nothing has happened;
after it, the new content is what counts.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from robopref.config import sync_to_disk, write_bytes_atomically
from robopref.data.columns import encode_parquet
from robopref.data.index import Index, episode_table_statistics, write_summaries
from robopref.data.normalizer import merge_all
from robopref.data.reader import Reader, renumbered
from robopref.data.rows import EpisodeRow, VideoPlace, is_place, read_columns, with_places
from robopref.data.schema import (
    DATA,
    DATA_FILE_MB,
    EPISODES,
    FIRST_FILE,
    INFO,
    STATS,
    TASKS,
    VIDEO_FILE_MB,
    VIDEOS,
    camera_keys,
)
from robopref.data.video import MAX_SECONDS, Clip, join_videos, joinable

PENDING = ".rewrite"
_PARTIAL = ".rewrite.partial"
_REPLACED = ".rewrite.replaced"
_FOLDERS = (DATA, VIDEOS, EPISODES)
_EPISODES_PER_FILE = 1000
_MB = 1024 * 1024


def rewrite(index: Index, keep: Sequence[EpisodeRow]) -> None:
    """Replace the data set by the episodes of `keep`, numbered through, in few files.

    Data files that are large already and do not change are kept by a hard link. Call it under
    the data set's lock.

    Raises:
        DataError: A file of an episode to be kept is missing or damaged; nothing has changed then.
        OSError: A file cannot be written; nothing has changed then.
    """
    root = index.root
    partial = root / _PARTIAL
    for leftover in (partial, root / _REPLACED):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        for folder in _FOLDERS:
            (partial / folder).mkdir(parents=True)
        _Rewriter(index, partial).write(keep)
        for folder in (partial, *(path for path in partial.rglob("*") if path.is_dir())):
            sync_to_disk(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    (root / _PARTIAL).rename(root / PENDING)
    sync_to_disk(root)
    finish(root)


def finish(root: Path) -> None:
    """Move the parts of a committed rewrite into place; nothing to do if there is none."""
    pending, replaced = root / PENDING, root / _REPLACED
    if not pending.is_dir():
        return
    for folder in _FOLDERS:
        if (pending / folder).exists():
            (replaced / folder).parent.mkdir(parents=True, exist_ok=True)
            if (root / folder).exists():
                (root / folder).rename(replaced / folder)
            (pending / folder).rename(root / folder)
    for name in (STATS, TASKS, INFO):
        if (pending / name).exists():
            (pending / name).replace(root / name)
    # Before `.rewrite` goes, which tells that there is something to finish.
    for changed in {root, *((root / name).parent for name in (*_FOLDERS, STATS, TASKS, INFO))}:
        sync_to_disk(changed)
    shutil.rmtree(pending)
    shutil.rmtree(replaced, ignore_errors=True)


@dataclass
class _Group:
    """Episodes that go into one file, and that file if it already is what is wanted."""

    rows: list[EpisodeRow]
    unchanged: Path | None = None


class _Rewriter:
    """Writes the episodes to keep into another folder."""

    def __init__(self, index: Index, target: Path) -> None:
        self.index = index
        self.target = target
        self.reader = Reader(index.root, index.features)

    def write(self, keep: Sequence[EpisodeRow]) -> None:
        """Write all files."""
        rows = _number_through(keep)
        renumbered_rows = self._write_data(list(keep), rows)
        for key in camera_keys(self.index.features):
            renumbered_rows = self._write_videos(key, list(keep), renumbered_rows)
        final = self._write_episode_table(list(keep), renumbered_rows)
        paths = dict.fromkeys(row.meta_file.path(".parquet") for row in final)
        parts = [s for p in paths for s in episode_table_statistics(self.target / EPISODES / p)]
        new = Index(self.index.root, self.index.features, self.index.fps, final)
        write_summaries(self.index.root, new, merge_all(parts), into=self.target)

    def _write_data(self, old: list[EpisodeRow], new: list[EpisodeRow]) -> list[EpisodeRow]:
        tasks = list(dict.fromkeys(row.task for row in new))
        origin = {row.episode_id: row for row in old}
        placed = []
        number = FIRST_FILE
        for group in self._data_groups(old, new):
            path = self.target / DATA / number.path(".parquet")
            path.parent.mkdir(parents=True, exist_ok=True)
            if group.unchanged is not None:
                _link(group.unchanged, path)
            else:
                tables = [
                    renumbered(
                        self.reader.table(origin[row.episode_id]),
                        (row.episode_index, row.start, tasks.index(row.task)),
                    )
                    for row in group.rows
                ]
                write_bytes_atomically(path, encode_parquet(tables))
            placed += [replace(row, data_file=number) for row in group.rows]
            number = number.next()
        return placed

    def _data_groups(self, old: list[EpisodeRow], new: list[EpisodeRow]) -> Iterator[_Group]:
        """Yield groups below the size limit; a large file that stays as it is makes its own."""
        loose: list[EpisodeRow] = []
        loose_mb = 0.0
        episodes_in = Counter(row.data_file for row in self.index.rows)
        for rows_old, rows_new in _by_file(old, new):
            path = self.index.root / DATA / rows_old[0].data_file.path(".parquet")
            in_file = episodes_in[rows_old[0].data_file]
            size_mb = path.stat().st_size / _MB * len(rows_old) / in_file
            large = size_mb > DATA_FILE_MB / 2 or len(rows_old) > _EPISODES_PER_FILE / 2
            if large and in_file == len(rows_old) and _same_numbers(rows_old, rows_new):
                if loose:
                    yield _Group(loose)
                loose, loose_mb = [], 0.0
                yield _Group(rows_new, path)
                continue
            for row in rows_new:
                full = loose_mb > DATA_FILE_MB or len(loose) >= _EPISODES_PER_FILE
                if full:
                    yield _Group(loose)
                    loose, loose_mb = [], 0.0
                loose.append(row)
                loose_mb += size_mb / len(rows_new)
        if loose:
            yield _Group(loose)

    def _write_videos(
        self, camera: str, old: list[EpisodeRow], new: list[EpisodeRow]
    ) -> list[EpisodeRow]:
        fps = self.index.fps
        clips = [self.reader.clip(row, camera) for row in old]
        placed = []
        number = FIRST_FILE
        for group in _video_groups(clips, fps):
            path = self.target / VIDEOS / camera / number.path(".mp4")
            write_bytes_atomically(path, join_videos([clips[i] for i in group], fps))
            first = 0
            for i in group:
                videos = {**new[i].videos, camera: VideoPlace(number, first / fps)}
                placed.append(replace(new[i], videos=videos))
                first += clips[i].length
            number = number.next()
        return placed

    def _write_episode_table(
        self, old: list[EpisodeRow], new: list[EpisodeRow]
    ) -> list[EpisodeRow]:
        descriptions = _descriptions(self.index.root, old)
        placed: list[EpisodeRow] = []
        number = FIRST_FILE
        for first in range(0, len(new), _EPISODES_PER_FILE):
            rows = [
                replace(row, meta_file=number) for row in new[first : first + _EPISODES_PER_FILE]
            ]
            table = pa.concat_tables([descriptions[row.episode_id] for row in rows])
            path = self.target / EPISODES / number.path(".parquet")
            content = encode_parquet([with_places(table, rows).combine_chunks()])
            write_bytes_atomically(path, content)
            placed += rows
            number = number.next()
        return placed


def _number_through(rows: Sequence[EpisodeRow]) -> list[EpisodeRow]:
    numbered = []
    start = 0
    for position, row in enumerate(rows):
        numbered.append(replace(row, episode_index=position, start=start))
        start += row.length
    return numbered


def _by_file(
    old: list[EpisodeRow], new: list[EpisodeRow]
) -> Iterator[tuple[list[EpisodeRow], list[EpisodeRow]]]:
    """Yield runs of rows that lie in one data file, as they were and as they will be."""
    first = 0
    for i in range(1, len(old) + 1):
        if i == len(old) or old[i].data_file != old[first].data_file:
            yield old[first:i], new[first:i]
            first = i


def _same_numbers(old: list[EpisodeRow], new: list[EpisodeRow]) -> bool:
    places = [[(r.episode_index, r.start) for r in rows] for rows in (old, new)]
    return places[0] == places[1]


def _video_groups(clips: Sequence[Clip], fps: float) -> Iterator[list[int]]:
    """Yield positions of clips that go into one file: of one kind, below the limits."""
    group: list[int] = []
    kind = b""
    size_mb = seconds = 0.0
    known: dict[Path, tuple[bytes, float]] = {}
    frames: Counter[Path] = Counter()
    for clip in clips:
        frames[clip.path] += clip.length
    for i, clip in enumerate(clips):
        if clip.path not in known:
            mb = clip.path.stat().st_size / _MB
            known[clip.path] = (joinable(clip.path), mb / frames[clip.path])
        clip_kind, mb_per_frame = known[clip.path]
        clip_mb, clip_s = mb_per_frame * clip.length, clip.length / fps
        full = size_mb + clip_mb > VIDEO_FILE_MB or seconds + clip_s > MAX_SECONDS
        if group and (full or clip_kind != kind):
            yield group
            group, size_mb, seconds = [], 0.0, 0.0
        group.append(i)
        kind = clip_kind
        size_mb += clip_mb
        seconds += clip_s
    if group:
        yield group


def _descriptions(root: Path, rows: Sequence[EpisodeRow]) -> Mapping[str, pa.Table]:
    """Return the columns of each episode's row that do not say where it is."""
    found = {}
    for number in dict.fromkeys(row.meta_file for row in rows):
        table = read_columns(root / EPISODES / number.path(".parquet"), ("",))
        table = table.select([name for name in table.column_names if not is_place(name)])
        for position, episode_id in enumerate(table["episode_id"].to_pylist()):
            found[episode_id] = table.slice(position, 1)
    return found


def _link(source: Path, target: Path) -> None:
    """Give `source` a second name; copy it where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        write_bytes_atomically(target, source.read_bytes())
