"""Statistics of features, in LeRobot's form, for `stats.json` and for normalising.

Each feature has min, max, mean, std, count and the quantiles q01, q10, q50, q90, q99 over the rows
of a data set. Statistics of parts merge into those of the whole, so a data set that grows never
has to be read again.

Shapes: N rows, D features of one row.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from robopref.data.episode import Episode
from robopref.data.schema import REWARD, SUCCESS, is_camera
from robopref.errors import DataError
from robopref.types import ACTION

Statistics = dict[str, np.ndarray]
"""What is known of one feature: min, max, mean, std, count and quantiles."""

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
NUM_SAMPLED_PIXELS = 200_000
"""Pixels of a camera that statistics look at; a mean of colours needs no more."""


def describe(values: np.ndarray) -> Statistics:
    """Return the exact statistics of rows (N, ...) over their first axis.

    Raises:
        DataError: There are no rows.
    """
    if len(values) == 0:
        raise DataError("Statistics need at least one row, got none.")
    rows = values.astype(np.float64)
    quantiles = np.quantile(rows, list(QUANTILES.values()), axis=0)
    return {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
        "count": np.array([len(rows)], np.int64),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def describe_images(frames: np.ndarray) -> Statistics:
    """Return statistics (3, 1, 1) of pictures (N, H, W, 3), for each colour in [0, 1].

    Pixels are sampled at a regular stride; `count` is the number of pictures.
    """
    pixels = frames.reshape(-1, 3)
    stride = max(1, len(pixels) // NUM_SAMPLED_PIXELS)
    if stride > 1 and frames.shape[2] % stride == 0:
        stride += 1  # A stride that divides the width would see the same columns in each row.
    found = describe(pixels[::stride] / 255.0)
    shaped = {key: value.reshape(3, 1, 1) for key, value in found.items() if key != "count"}
    return {**shaped, "count": np.array([len(frames)], np.int64)}


def merge_statistics(parts: Sequence[Statistics]) -> Statistics:
    """Return the statistics of all rows behind `parts`.

    Everything is exact but the quantiles, which are averaged by count as LeRobot does: the true
    quantiles cannot be had from those of parts.

    Raises:
        DataError: There is nothing to merge.
    """
    if not parts:
        raise DataError("Statistics need at least one row, got none.")
    counts = np.array([float(part["count"][0]) for part in parts])
    share = counts / counts.sum()

    def average(key: str) -> np.ndarray:
        mean: np.ndarray = np.tensordot(share, np.stack([part[key] for part in parts]), axes=1)
        return mean

    mean = average("mean")
    low = np.min([part["min"] for part in parts], axis=0)
    high = np.max([part["max"] for part in parts], axis=0)
    spread = np.stack([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    return {
        "min": low,
        "max": high,
        "mean": mean,
        "std": np.sqrt(np.tensordot(share, spread, axes=1)),
        "count": np.array([int(counts.sum())], np.int64),
        # Rounding must not put an average outside of the values.
        **{key: np.clip(average(key), low, high) for key in QUANTILES},
    }


def merge_all(parts: Sequence[Mapping[str, Statistics]]) -> dict[str, Statistics]:
    """Return merged statistics for each feature that any part has."""
    keys = list(dict.fromkeys(key for part in parts for key in part))
    return {key: merge_statistics([part[key] for part in parts if key in part]) for key in keys}


def episode_statistics(episode: Episode) -> dict[str, Statistics]:
    """Return the statistics of what an episode stores in its T rows.

    Simulator states are left out: nothing normalises them, and they are the largest column.
    """
    found = {}
    for key, value in episode.columns.items():
        rows = value[:-1]
        found[key] = describe_images(rows) if is_camera(key) else describe(_columns(rows))
    found[ACTION] = describe(episode.action)
    found[REWARD] = describe(_columns(episode.reward))
    found[SUCCESS] = describe(_columns(episode.success))
    return found


def compute_statistics(episodes: Iterable[Episode]) -> dict[str, Statistics]:
    """Return exact statistics of state observations and actions over all steps of `episodes`.

    `robopref.nn.Normalizer.fit` takes those of one feature.

    Raises:
        DataError: There are no episodes.

    Example:
        >>> import numpy as np
        >>> zeros = np.zeros(2, np.float32)
        >>> obs = {"observation.state": np.float32([[0], [1], [5]])}
        >>> episode = Episode("a", obs, np.float32([[1], [3]]), zeros, zeros > 0, False, True,
        ...                   "env", "task", 0, 10)
        >>> compute_statistics([episode])["action"]["mean"]
        array([2.])
    """
    columns: dict[str, list[np.ndarray]] = {}
    for episode in episodes:
        columns.setdefault(ACTION, []).append(episode.action)
        for key, value in episode.obs.items():
            if not is_camera(key):
                columns.setdefault(key, []).append(value[:-1])
    if not columns:
        raise DataError("Statistics need at least one episode, got none.")
    return {key: describe(np.concatenate(parts)) for key, parts in columns.items()}


def _columns(values: np.ndarray) -> np.ndarray:
    """Return rows with at least one axis each: LeRobot keeps the statistics of scalars as (1,)."""
    return values.reshape(-1, 1) if values.ndim == 1 else values
