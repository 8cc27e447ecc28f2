"""Reads a whole data set and says what is wrong with it."""

from collections import defaultdict

import numpy as np

from robopref.data.columns import to_numpy
from robopref.data.hashing import episode_hash
from robopref.data.index import Index, is_numbered_through, read_info, summaries_are_current
from robopref.data.reader import Reader
from robopref.data.rows import EpisodeRow
from robopref.data.schema import BOOKKEEPING, INFO, STATS, features_from_info
from robopref.data.video import count_frames
from robopref.errors import DataError


def find_problems(index: Index, reader: Reader) -> dict[str, list[str]]:
    """Return what is wrong, in words, by the episode it concerns; "" concerns the whole.

    Every file is read, every hash is compared, every frame is counted.
    """
    problems: dict[str, list[str]] = defaultdict(list)
    problems[""] += _summary_problems(index)
    for row in index.rows:
        problems[row.episode_id] += _episode_problems(index, reader, row)
    for camera_problems in _video_problems(index, reader):
        for episode_id, text in camera_problems:
            problems[episode_id].append(text)
    return {key: lines for key, lines in problems.items() if lines}


def _summary_problems(index: Index) -> list[str]:
    root = index.root
    lines = []
    if not is_numbered_through(index.rows):
        lines.append(
            f"The episodes of '{root}' are not numbered through, which LeRobot needs. Run "
            f"'robopref data compact --data {root}'."
        )
    if not summaries_are_current(index):
        lines.append(
            f"'{root / INFO}' or '{root / STATS}' does not count the {len(index.rows)} episodes "
            f"and {index.num_steps} steps that there are. "
            f"Run 'robopref data compact --data {root}'."
        )
    if index.rows and features_from_info(read_info(root)) != index.features:
        lines.append(f"'{root / INFO}' has changed since it was opened.")
    return lines


def _episode_problems(index: Index, reader: Reader, row: EpisodeRow) -> list[str]:
    try:
        table = reader.table(row)
        episode = reader.episode(row)
    except DataError as error:
        return [str(error)]
    lines = []
    if episode_hash(episode) != row.content_hash:
        lines.append(f"Episode {row.episode_id} has changed since it was recorded.")
    frames = np.arange(row.length)
    expected = {
        "frame_index": frames,
        "timestamp": (frames / row.fps).astype(np.float32),
    }
    if is_numbered_through(index.rows):  # Else tasks are numbered anew, by compacting.
        expected["task_index"] = np.full(row.length, index.tasks.index(row.task))
    for name, values in expected.items():
        if not np.array_equal(to_numpy(table[name], BOOKKEEPING[name])[:, 0], values):
            lines.append(f"Episode {row.episode_id}: the column '{name}' is not what it should be.")
    return lines


def _video_problems(index: Index, reader: Reader) -> list[list[tuple[str, str]]]:
    """Return, for each camera, episodes with what is wrong with their frames."""
    cameras = [key for key, feature in index.features.items() if feature.is_video]
    return [_camera_problems(index, reader, camera) for camera in cameras]


def _camera_problems(index: Index, reader: Reader, camera: str) -> list[tuple[str, str]]:
    counts: dict[object, int | DataError] = {}
    found = []
    for row in index.rows:
        clip = reader.clip(row, camera)
        if clip.path not in counts:
            try:
                counts[clip.path] = count_frames(clip.path)
            except DataError as error:
                counts[clip.path] = error
        count = counts[clip.path]
        if isinstance(count, DataError):
            found.append((row.episode_id, str(count)))
        elif count < clip.start + clip.length:
            needed = clip.start + clip.length
            text = f"'{clip.path}' has {count} frames; episode {row.episode_id} needs {needed}."
            found.append((row.episode_id, text))
    return found
