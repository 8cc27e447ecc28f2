"""Windows of episodes for training, cut from contiguous arrays and not from files.

A window belongs to one step: it has the last To observations up to that step and the Tp actions
from that step on. At the edges of an episode the first observation and the last action are
repeated, and a mask says which actions are. The padding is stored, not computed: a batch is one
indexed copy for each key.

Shapes: B batch, To observation steps, Tp action chunk, T episode steps, Da action size.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from robopref.data.episode import Episode
from robopref.errors import DataError, check_at_least
from robopref.types import ACTION

ACTION_IS_PAD = "action_is_pad"
"""Key of the mask of repeated actions, as in LeRobot."""
PAST_ACTION = "action.past"
"""Key of the actions before a window's step, for policies that predict these too."""


_Row = tuple[str, tuple[int, ...]]
"""Type and shape of one row."""


@runtime_checkable
class Episodes(Protocol):
    """Episodes that can be gone through more than once: a list or an `EpisodeStore`."""

    def __len__(self) -> int:
        """Return the number of episodes."""
        ...

    def __iter__(self) -> Iterator[Episode]:
        """Iterate over the episodes."""
        ...


class WindowSampler:
    """Every step of every episode as a window, in order of episode and step.

    Args:
        episodes: Where the windows come from; gone through twice.
        n_obs_steps: To, observations of a window; the last is the one at its step.
        chunk_size: Tp, actions of a window; the first is the one at its step.
        num_past_actions: Actions before its step that are handed out as well.
        directory: Where to keep the arrays as memory-mapped files, for data larger than memory;
            in memory by default.

    Raises:
        DataError: There are no episodes, or they differ in shape.
        ValueError: `n_obs_steps` or `chunk_size` is below 1.
    """

    def __init__(
        self,
        episodes: Sequence[Episode] | Episodes,
        n_obs_steps: int,
        chunk_size: int,
        *,
        num_past_actions: int = 0,
        directory: Path | None = None,
    ) -> None:
        check_at_least("n_obs_steps", n_obs_steps, 1)
        check_at_least("chunk_size", chunk_size, 1)
        self.n_obs_steps = n_obs_steps
        self.chunk_size = chunk_size
        self.num_past_actions = num_past_actions
        rows: dict[str, _Row] = {}
        lengths = []
        for episode in episodes:
            rows = _check_alike(rows, episode)
            lengths.append(len(episode))
        if not lengths:
            raise DataError("Windows need at least one episode, got none.")
        self.lengths = np.array(lengths)
        self._start = np.concatenate([[0], np.cumsum(self.lengths)])
        self._remaining = np.concatenate([np.arange(n, 0, -1) for n in lengths]).astype(np.int32)
        number = np.repeat(np.arange(len(lengths)), lengths)
        steps = np.arange(int(self._start[-1]))
        num_actions = num_past_actions + chunk_size
        widths = {key: num_actions if key == ACTION else n_obs_steps for key in rows}
        padded = {
            key: _allocate(directory, key, len(steps) + len(lengths) * (width - 1), rows[key])
            for key, width in widths.items()
        }
        _fill(padded, episodes, widths, num_past_actions)
        self._windows = {key: _as_windows(padded[key], width) for key, width in widths.items()}
        self._row = {key: steps + number * (width - 1) for key, width in widths.items()}

    def __len__(self) -> int:
        """Return the number of windows, which is that of steps."""
        return int(self._start[-1])

    @property
    def keys(self) -> list[str]:
        """What a batch holds besides the mask: the observations and the action."""
        return list(self._windows)

    def episode_of(self, indices: Int[np.ndarray, " B"]) -> Int[np.ndarray, " B"]:
        """Return the place of each window's episode."""
        place: np.ndarray = np.searchsorted(self._start, indices, side="right") - 1
        return place

    def step_of(self, indices: Int[np.ndarray, " B"]) -> Int[np.ndarray, " B"]:
        """Return each window's step in its episode."""
        step: np.ndarray = indices - self._start[self.episode_of(indices)]
        return step

    def gather(self, indices: Int[np.ndarray, " B"]) -> dict[str, np.ndarray]:
        """Return a batch: observations (B, To, ...), actions (B, Tp, Da) and `action_is_pad`.

        The arrays are new each time. Past actions, if any, are under `action.past`.

        Raises:
            IndexError: There is no such window.
        """
        batch = {key: view[self._row[key][indices]] for key, view in self._windows.items()}
        if self.num_past_actions:
            parts = np.split(batch[ACTION], [self.num_past_actions], axis=1)
            batch[PAST_ACTION], batch[ACTION] = (part.copy() for part in parts)
        ahead = np.arange(self.chunk_size, dtype=np.int32)
        batch[ACTION_IS_PAD] = ahead >= self._remaining[indices][:, None]
        return batch


def _check_alike(rows: dict[str, _Row], episode: Episode) -> dict[str, _Row]:
    """Return type and shape of one row of each key, which must be those of `rows` if given."""
    arrays = {**episode.obs, ACTION: episode.action}
    found = {key: (value.dtype.str, value.shape[1:]) for key, value in arrays.items()}
    if rows and found != rows:
        key = next(k for k in [*rows, *found] if rows.get(k) != found.get(k))
        want, got = (_said(part.get(key)) for part in (rows, found))
        raise DataError(
            f"Windows need episodes of one shape: episode {episode.id} has '{key}' {got}, those "
            f"before it {want}."
        )
    return found


def _said(row: _Row | None) -> str:
    return "absent" if row is None else f"{np.dtype(row[0]).name} {row[1]}"


def _allocate(directory: Path | None, key: str, length: int, row: _Row) -> np.ndarray:
    dtype, shape = row
    if directory is None:
        return np.empty((length, *shape), dtype)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{key}.bin"
    return np.memmap(path, mode="w+", dtype=np.dtype(dtype), shape=(length, *shape))


def _fill(
    padded: dict[str, np.ndarray],
    episodes: Sequence[Episode] | Episodes,
    widths: dict[str, int],
    num_past_actions: int,
) -> None:
    """Copy each episode's rows with `width - 1` repetitions of the first and of the last.

    An observation is repeated before the first; an action behind the last, and as often before the
    first as there are past actions.
    """
    places = dict.fromkeys(padded, 0)
    for episode in episodes:
        for key, target in padded.items():
            rows = episode.action if key == ACTION else episode.obs[key][:-1]
            extra, start = widths[key] - 1, places[key]
            stop = places[key] = start + len(rows) + extra
            first = start + (num_past_actions if key == ACTION else extra)
            target[start:first] = rows[0]
            target[first : first + len(rows)] = rows
            target[first + len(rows) : stop] = rows[-1]


def _as_windows(padded: np.ndarray, width: int) -> np.ndarray:
    """Return overlapping windows (N, width, ...) of rows without copying."""
    return np.lib.stride_tricks.as_strided(
        padded,
        shape=(len(padded) - width + 1, width, *padded.shape[1:]),
        strides=(padded.strides[0], *padded.strides),
        writeable=False,
    )
