"""The layout of LeRobot dataset v3.0 on disk: paths, features, `info.json`.

A data set is a folder that the `lerobot` package opens as it is. robopref adds one feature,
`sim.state`, and columns of the episode table; LeRobot carries both along untouched.

Shapes: T episode steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robopref.data.episode import Episode
from robopref.errors import DataError
from robopref.types import ACTION, IMAGES

REMEDY = (
    " Put back a copy of the file, or delete its episodes with "
    "'robopref data validate --drop-damaged'."
)
"""What to do about a damaged file under `data` or `videos`."""
VERSION = "v3.0"
FILES_PER_CHUNK = 1000
DATA_FILE_MB = 100
VIDEO_FILE_MB = 200
SIM_STATE = "sim.state"
EXTRA = "safety."
"""Columns that start so are no observations: nothing that learns is given them."""
REWARD = "next.reward"
SUCCESS = "next.success"
INFO = Path("meta/info.json")
STATS = Path("meta/stats.json")
TASKS = Path("meta/tasks.parquet")
EPISODES = Path("meta/episodes")
DATA = Path("data")
VIDEOS = Path("videos")
_NUMBERED = "chunk-{chunk_index:03d}/file-{file_index:03d}"


class FileNumber(NamedTuple):
    """The place of a file under its folder; files sort by it as they do by name."""

    chunk: int
    file: int

    def next(self) -> "FileNumber":
        """Return the number of the file that comes after this one."""
        if self.file + 1 < FILES_PER_CHUNK:
            return FileNumber(self.chunk, self.file + 1)
        return FileNumber(self.chunk + 1, 0)

    def path(self, suffix: str) -> Path:
        """Return the path under `data`, `meta/episodes` or a camera's folder."""
        numbered = _NUMBERED.format(chunk_index=self.chunk, file_index=self.file)
        return Path(numbered + suffix)


FIRST_FILE = FileNumber(0, 0)


@dataclass(frozen=True)
class Feature:
    """One column of a data set.

    Args:
        dtype: Name of the numpy type, or "video".
        shape: Shape of one row.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def is_video(self) -> bool:
        """Whether the rows are frames of an MP4."""
        return self.dtype == "video"

    @property
    def size(self) -> int:
        """Numbers in one row."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __str__(self) -> str:
        """Return, for example, `float32 (39,)`."""
        return f"{'uint8' if self.is_video else self.dtype} {self.shape}"


Features = Mapping[str, Feature]

BOOKKEEPING: Features = {
    "timestamp": Feature("float32", (1,)),
    "frame_index": Feature("int64", (1,)),
    "episode_index": Feature("int64", (1,)),
    "index": Feature("int64", (1,)),
    "task_index": Feature("int64", (1,)),
}
_OUTCOME = {REWARD: Feature("float32", (1,)), SUCCESS: Feature("bool", (1,))}


def is_camera(key: str) -> bool:
    """Whether `key` names a camera stream."""
    return key.startswith(IMAGES)


def is_extra(key: str) -> bool:
    """Whether `key` names what was recorded beside what a policy sees."""
    return key.startswith(EXTRA)


def obs_keys(features: Features) -> list[str]:
    """Return the observations and extras that parquet files hold: all but the cameras."""
    others = {ACTION, SIM_STATE, *_OUTCOME, *BOOKKEEPING}
    return [key for key, value in features.items() if not (value.is_video or key in others)]


def camera_keys(features: Features) -> list[str]:
    """Return the camera streams."""
    return [key for key, value in features.items() if value.is_video]


def can_be_shown(features: Features) -> bool:
    """Return whether segments of a data set with these columns can be made visible."""
    return SIM_STATE in features or bool(camera_keys(features))


def features_of(episode: Episode) -> dict[str, Feature]:
    """Return the features of the data set that `episode` would start."""
    features = {}
    for key, value in episode.columns.items():
        dtype = "video" if is_camera(key) else value.dtype.name
        features[key] = Feature(dtype, value.shape[1:] or (1,))
    features[ACTION] = Feature(episode.action.dtype.name, episode.action.shape[1:])
    features.update(_OUTCOME)
    if episode.sim_states is not None:
        features[SIM_STATE] = Feature("float64", episode.sim_states.shape[1:])
    return {**features, **BOOKKEEPING}


def check_recordable(episode: Episode) -> None:
    """Raise unless the episode can be stored at all.

    Raises:
        DataError: A key, type or shape that a data set cannot hold.
    """
    taken = {ACTION, SIM_STATE, *BOOKKEEPING, *_OUTCOME}
    for key in episode.extras:
        if not is_extra(key):
            raise DataError(f"Episode {episode.id}: extras start with '{EXTRA}', got '{key}'.")
    for key, value in episode.columns.items():
        if key in taken:
            raise DataError(
                f"Episode {episode.id}: observations must not be named like other columns, "
                f"got '{key}'."
            )
        if "/" in key:
            raise DataError(f"Episode {episode.id}: the key '{key}' must not contain '/'.")
        if is_camera(key):
            _check_images(episode.id, key, value)
        elif value.dtype.name not in ("float32", "float64", "int64", "int32", "uint8", "bool"):
            raise DataError(
                f"Episode {episode.id}: '{key}' has type {value.dtype.name}. Allowed are bool, "
                "uint8, int32, int64, float32 and float64."
            )
    _check_vector(episode.id, ACTION, episode.action, "float32")
    if episode.sim_states is not None:
        _check_vector(episode.id, SIM_STATE, episode.sim_states, "float64")


def check_same_features(episode_id: str, found: Features, features: Features, root: Path) -> None:
    """Raise unless an episode has the columns of the data set at `root`.

    Raises:
        DataError: A column is missing, new, or of another type or shape; the message names it.
    """
    for key in [*features, *found]:
        want, got = features.get(key), found.get(key)
        if want != got:
            raise DataError(
                f"Episode {episode_id} does not fit '{root}': '{key}' is {got or 'absent'} in "
                f"the episode and {want or 'absent'} in the data set. Record other shapes into a "
                "data set of their own."
            )


def make_info(features: Features, fps: float, totals: tuple[int, int, int]) -> dict[str, Any]:
    """Return the content of `info.json`; `totals` counts episodes, rows and tasks."""
    cameras = any(feature.is_video for feature in features.values())
    numbered = _NUMBERED
    return {
        "codebase_version": VERSION,
        "robot_type": None,
        "total_episodes": totals[0],
        "total_frames": totals[1],
        "total_tasks": totals[2],
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": DATA_FILE_MB,
        "video_files_size_in_mb": VIDEO_FILE_MB,
        "fps": int(fps) if float(fps).is_integer() else fps,
        "splits": {"train": f"0:{totals[0]}"},
        "data_path": f"data/{numbered}.parquet",
        "video_path": f"videos/{{video_key}}/{numbered}.mp4" if cameras else None,
        "features": {key: _feature_info(value, fps) for key, value in features.items()},
    }


def features_from_info(info: Mapping[str, Any]) -> dict[str, Feature]:
    """Return the features that `info.json` lists."""
    listed = info["features"].items()
    return {key: Feature(value["dtype"], tuple(value["shape"])) for key, value in listed}


def check_info(info: Any, root: Path) -> None:
    """Raise unless `info` is that of a data set this module can read.

    Raises:
        DataError: Another version of the format, or keys are missing.
    """
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if version is None:
        raise DataError(f"'{root / INFO}' does not say which LeRobot version wrote it.")
    if not str(version).startswith("v3."):
        raise DataError(
            f"'{root}' is a LeRobot data set of version {version}; robopref reads {VERSION}. "
            "Convert it with lerobot's own script: "
            "python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 --help"
        )
    missing = [key for key in ("fps", "features") if key not in info]
    if missing:
        raise DataError(f"'{root / INFO}' lacks {missing}.")


def _feature_info(feature: Feature, fps: float) -> dict[str, Any]:
    info: dict[str, Any] = {"dtype": feature.dtype, "shape": list(feature.shape), "names": None}
    if feature.is_video:
        info["names"] = ["height", "width", "channels"]
        info["info"] = {
            "video.height": feature.shape[0],
            "video.width": feature.shape[1],
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": int(fps) if float(fps).is_integer() else fps,
            "video.channels": 3,
            "has_audio": False,
        }
    return info


def _check_images(episode_id: str, key: str, value: np.ndarray) -> None:
    if value.dtype != np.uint8 or value.ndim != 4 or value.shape[3] != 3:
        raise DataError(
            f"Episode {episode_id}: '{key}' must be uint8 pictures (T + 1, H, W, 3), "
            f"got {value.dtype.name} {value.shape}."
        )
    if value.shape[1] % 2 or value.shape[2] % 2:
        raise DataError(
            f"Episode {episode_id}: '{key}' is {value.shape[1]} x {value.shape[2]} pixels. "
            "H.264 needs an even height and width."
        )


def _check_vector(episode_id: str, key: str, value: np.ndarray, dtype: str) -> None:
    if value.dtype.name != dtype or value.ndim != 2:
        raise DataError(
            f"Episode {episode_id}: '{key}' must be {dtype} vectors, "
            f"got {value.dtype.name} {value.shape}."
        )
