"""Preference sets in numpy's npz files: Preference Transformer's and IPL's, and imitation's.

Neither is ever unpickled: an array of Python objects is refused.

Shapes: N pairs, L segment length, Do observation size, Da action size.
"""

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path

import numpy as np

from robopref.config import replacing
from robopref.data.segment import Segment
from robopref.errors import DataError, first_line_of
from robopref.preferences.importers_comparison import (
    FIRST_IS_ONE,
    ONE_HOT,
    SECOND_IS_ONE,
    Clip,
    Comparison,
    rankings_of,
    to_float32,
)
from robopref.preferences.preference import Preference
from robopref.preferences.ranking import Ranking
from robopref.types import STATE, Obs

_LABEL, _PREFERENCES = "label", "preferences"
_UNREADABLE = (
    ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip


def npz_format(path: Path) -> str:
    """Return which project's keys a file has.

    Raises:
        DataError: Neither's, or the file is damaged.
    """
    keys = sorted(_load(path))
    for key, name in ((_LABEL, "preference-transformer"), (_PREFERENCES, "imitation")):
        if key in keys:
            return name
    raise DataError(
        f"'{path}' has neither '{_LABEL}' (as Preference Transformer and IPL have it) nor "
        f"'{_PREFERENCES}' (as imitation has it). It has {keys}."
    )


def read_preference_transformer(path: Path) -> list[Comparison]:
    """Read what Preference Transformer and IPL learn from.

    Keys `obs_1`, `obs_2` (N, L, Do), `action_1`, `action_2` (N, L, Da) and `label` (N,): **1 means
    that the second segment is preferred**, 0 the first, 0.5 a tie, and so does -1, as which
    Preference Transformer saves the ties of people; a number between is the probability of that.
    A label may be a row [first, second] as well, with [0.5, 0.5] for a tie.

    Raises:
        DataError: The file is damaged, lacks a key, or a value is not what it should be.

    References:
        Kim et al., Preference Transformer, 2023, arXiv:2303.00957; Hejna and Sadigh, Inverse
        Preference Learning, 2023, arXiv:2305.15363.
    """
    arrays = _load(path)
    firsts, seconds = (_clips(arrays, f"obs_{i}", f"action_{i}", path) for i in (1, 2))
    labels = _array(arrays, _LABEL, path)
    meaning = ONE_HOT if labels.ndim == 2 else SECOND_IS_ONE
    return _comparisons(firsts, seconds, labels, meaning, f"'{path}': '{_LABEL}'")


def read_imitation(path: Path) -> list[Comparison]:
    """Read a `PreferenceDataset` of imitation that was written as npz (docs/preferences.md).

    Keys `obs_1`, `obs_2` (N, L + 1, Do), `acts_1`, `acts_2` (N, L, Da), if wanted `rews_1`,
    `rews_2` (N, L), and `preferences` (N,): **1 means that the first fragment is preferred**, 0
    the second, 0.5 a tie.

    Raises:
        DataError: The file is damaged, lacks a key, or a value is not what it should be.

    References:
        Gleave et al., imitation: Clean Imitation Learning Implementations, 2022,
        arXiv:2211.11972.
    """
    arrays = _load(path)
    firsts, seconds = (_clips(arrays, f"obs_{i}", f"acts_{i}", path, f"rews_{i}") for i in (1, 2))
    labels = _array(arrays, _PREFERENCES, path)
    return _comparisons(firsts, seconds, labels, FIRST_IS_ONE, f"'{path}': '{_PREFERENCES}'")


def write_npz(
    preferences: Iterable[Preference],
    cut: Callable[[Segment], tuple[Obs, np.ndarray]],
    path: Path,
) -> int:
    """Write the pairs that answers order as `read_preference_transformer` reads them.

    Args:
        preferences: The answers; skips and "cannot tell" give no pair.
        cut: Returns a segment's observations (L, ...) and actions (L, Da).
        path: The file; written beside and renamed, so that it is complete or as it was.

    Returns:
        The number of pairs.

    Raises:
        DataError: No answer orders two segments, or the segments differ in length.
    """
    pairs = [pair for preference in preferences for pair in preference.segment_pairs()]
    lengths = sorted({segment.length for a, b, _ in pairs for segment in (a, b)})
    if len(lengths) != 1:
        raise DataError(
            f"An npz file holds segments of one length, and the answers compare lengths {lengths}."
            if lengths
            else "No answer orders two segments: there is nothing to export."
        )
    firsts, seconds, labels = zip(*pairs, strict=True)
    arrays = {_LABEL: np.array(labels, np.float32)}
    for number, segments in enumerate((firsts, seconds), 1):
        obs, action = zip(*map(cut, segments), strict=True)
        arrays[f"obs_{number}"] = np.stack([each[STATE] for each in obs])
        arrays[f"action_{number}"] = np.stack(action)
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return len(pairs)


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        # np.load on the file itself stops before a member's end, where its check sum is compared.
        with zipfile.ZipFile(path) as file:
            members = {name.removesuffix(".npy"): file.read(name) for name in file.namelist()}
            return {
                key: np.load(BytesIO(value), allow_pickle=False) for key, value in members.items()
            }
    except _UNREADABLE as error:
        reason = first_line_of(error)
        raise DataError(f"'{path}' is not readable as npz: {reason}.") from error


def _array(arrays: dict[str, np.ndarray], key: str, path: Path) -> np.ndarray:
    if key not in arrays:
        raise DataError(f"'{path}' has no '{key}'. It has {sorted(arrays)}.")
    return arrays[key]


def _clips(
    arrays: dict[str, np.ndarray], obs_key: str, action_key: str, path: Path, reward_key: str = ""
) -> list[Clip]:
    """Return the segments of one side."""
    state, action = (
        to_float32(_array(arrays, key, path), f"'{path}': '{key}'") for key in (obs_key, action_key)
    )
    fits = state.ndim == action.ndim == 3 and len(state) == len(action)
    if not fits or state.shape[1] - action.shape[1] not in (0, 1) or not action.shape[1]:
        raise DataError(
            f"'{path}': '{obs_key}' must have shape (N, L, Do) or (N, L + 1, Do) to match "
            f"'{action_key}' (N, L, Da), got {state.shape} and {action.shape}."
        )
    rewards: list[np.ndarray] | list[None] = [None] * len(action)
    if reward_key in arrays:
        values = to_float32(arrays[reward_key], f"'{path}': '{reward_key}'")
        if values.shape != action.shape[:2]:
            raise DataError(
                f"'{path}': '{reward_key}' must have shape {action.shape[:2]} to match "
                f"'{action_key}', got {values.shape}."
            )
        rewards = list(values)
    return [Clip(*parts) for parts in zip(state, action, rewards, strict=True)]


def _comparisons(
    firsts: list[Clip],
    seconds: list[Clip],
    labels: np.ndarray,
    meaning: dict[float, Ranking] | dict[tuple[float, float], Ranking],
    where: str,
) -> list[Comparison]:
    sides = [clips[0].state.shape + clips[0].action.shape for clips in (firsts, seconds) if clips]
    if labels.shape[:1] != (len(firsts),) or len(firsts) != len(seconds):
        raise DataError(
            f"{where} has shape {labels.shape}, and there are {len(firsts)} first and "
            f"{len(seconds)} second segments; all must be as many."
        )
    if len(set(sides)) > 1:
        raise DataError(
            f"{where}: the first segments have shapes {firsts[0].state.shape} and "
            f"{firsts[0].action.shape}, the second ones {seconds[0].state.shape} and "
            f"{seconds[0].action.shape}; they must be equal."
        )
    rankings = rankings_of(labels, meaning, where)
    return [
        Comparison(first, second, ranking, confidence=confidence)
        for first, second, (ranking, confidence) in zip(firsts, seconds, rankings, strict=True)
    ]
