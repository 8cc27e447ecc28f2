"""Episodes from the replay buffers of diffusion_policy, in Zarr's second format (extra `zarr`).

A buffer is a folder `<name>.zarr`, or the same in a `.zarr.zip`, with `data/<key>` of all episodes
one after another, N steps long, and `meta/episode_ends`, where each ends. Row t is an observation
and the action taken at it, so what a buffer lacks is the observation after an episode's last
action: the last one known is repeated, and `metadata["repeated"]` names it. Nothing in it says
what was earned and whether a task was solved, as `metadata["unknown"]` says.

Shapes: N steps of all episodes, T steps of one.

References:
    [1] Chi et al., Diffusion Policy, RSS 2023, arXiv:2303.04137; its `common/replay_buffer.py`.
"""

import functools
import json
import logging
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.episode import UNKNOWN, Episode
from robopref.data.hashing import content_id
from robopref.errors import DataError, reason_of
from robopref.registry import import_extra
from robopref.types import IMAGES, POINTS, STATE

log = logging.getLogger(__name__)

ACTION, TIMESTAMP, CLOUD = "action", "timestamp", "point_cloud"
_ENDS = "meta/episode_ends"
_SMALLEST_PICTURE = 16
"""Least height and width of what is taken for a picture, and not for a list of vectors."""


def read_replay_buffer(path: Path, *, fps: float | None = None) -> Iterator[Episode]:
    """Yield the episodes of a replay buffer in order, once all of it was read and found sound.

    Args:
        path: The folder or the zip file.
        fps: Steps a second [Hz]; by default those between its `timestamp`s, if it has them.

    Raises:
        MissingExtraError: zarr is not installed, or what decodes the buffer's pictures.
        FileNotFoundError: There is nothing at `path`.
        DataError: It is no replay buffer, or a part of it is missing, damaged or not finite.
    """
    if not path.exists():
        raise FileNotFoundError(f"No replay buffer at '{path}'.")
    with _opened(path) as root:
        buffer = _Buffer(path, root)
        rate = fps or buffer.fps()
        if not rate:
            raise DataError(
                f"'{path}' does not say how many steps it has a second. Give `fps` (--fps)."
            )
        # All of it first: nothing is stored of one that turns out damaged at its end.
        for number in range(len(buffer.ends)):
            buffer.episode(number, rate)
        for number in range(len(buffer.ends)):
            yield buffer.episode(number, rate)


class _Buffer:
    """The arrays of a buffer, and which of them an episode takes for what."""

    def __init__(self, path: Path, root: Any) -> None:
        self.path = path
        keys = sorted(root["data"]) if "data" in root else []
        if ACTION not in keys or _ENDS not in root:
            raise DataError(
                f"'{path}' is not a replay buffer of diffusion_policy: it needs 'data/{ACTION}' "
                f"and '{_ENDS}', and has {_names(root)}."
            )
        self.ends = self._rows(self._whole(root, _ENDS), _ENDS)
        self.arrays = {key: self._whole(root, f"data/{key}") for key in keys}
        self._check_lengths()
        shapes = {key: array.shape[1:] for key, array in self.arrays.items()}
        self.cameras = [k for k, shape in shapes.items() if _is_picture(shape)]
        others = [k for k in keys if k not in (ACTION, TIMESTAMP, CLOUD, *self.cameras)]
        self.vectors = [k for k in others if not _is_map(shapes[k])]
        left_out = [k for k in others if k not in self.vectors]
        if left_out:
            log.warning(
                "'%s': %s are no vectors and no pictures, and are left out.", path, left_out
            )
        if not self.vectors:
            raise DataError(f"'{path}' has no vectors to observe among {sorted(shapes)}.")

    def fps(self) -> float | None:
        """Return the steps a second, from the usual time between two of an episode."""
        if TIMESTAMP not in self.arrays:
            return None
        times = self._read(TIMESTAMP, 0, int(self.ends[-1])).reshape(-1)
        within = np.ones(len(times) - 1, bool)
        within[self.ends[:-1] - 1] = False
        passed = np.diff(times)[within]
        usual = float(np.median(passed)) if len(passed) else 0.0
        return round(1 / usual, 3) if usual > 0 and np.isfinite(usual) else None

    def episode(self, number: int, fps: float) -> Episode:
        """Return an episode.

        Raises:
            DataError: It cannot be read, or has numbers that are not finite.
        """
        start, stop = (int(self.ends[n]) if n >= 0 else 0 for n in (number - 1, number))
        parts = {key: self._flat(key, start, stop) for key in self.vectors}
        state = np.concatenate(list(parts.values()), axis=1)
        obs = {STATE: state} | {
            f"{IMAGES}{key}": self._pictures(key, start, stop) for key in self.cameras
        }
        if CLOUD in self.arrays:  # Some keep a colour behind the place of each point.
            obs[POINTS] = self._read(CLOUD, start, stop)[..., :3].astype(np.float32)
        action = self._flat(ACTION, start, stop)
        nothing = np.zeros(len(action), np.float32)
        read = [*self.vectors, *self.cameras, *([CLOUD] if CLOUD in self.arrays else [])]
        try:
            return Episode(
                id=content_id(action, state),
                obs={key: np.concatenate([value, value[-1:]]) for key, value in obs.items()},
                action=action,
                reward=nothing,
                success=nothing > 0,
                terminated=False,
                truncated=True,
                env=f"diffusion_policy/{_title(self.path)}",
                task=_title(self.path),
                seed=0,
                fps=float(fps),
                metadata={
                    "observation_keys": [[key, part.shape[1]] for key, part in parts.items()],
                    "repeated": [f"data/{key}" for key in read],
                    UNKNOWN: ["reward", "success"],
                },
            )
        except DataError as error:  # It names the episode, and nobody knows that yet.
            raise DataError(f"'{self.path}', steps {start} to {stop}: {error}") from error

    def _whole(self, root: Any, name: str) -> Any:
        """Return an array all parts of which are there; Zarr takes a missing one for zeros."""
        try:
            array = root[name]
        except (ValueError, TypeError) as error:
            raise DataError(
                f"'{self.path}': '{name}' cannot be decoded: {reason_of(error)}. Pictures that "
                "diffusion_policy has compressed need imagecodecs: pip install imagecodecs."
            ) from error
        missing = array.nchunks - array.nchunks_initialized
        if missing:
            raise DataError(
                f"'{self.path}': {missing} of the {array.nchunks} chunks of '{name}' are missing. "
                "Copy it again; one written with `write_empty_chunks=False` has to be rewritten."
            )
        torn = next(_torn_chunks(root.store, name, array.cdata_shape), None)
        if torn is not None:
            raise DataError(
                f"'{self.path}': '{name}' is damaged: its chunk {torn} was cut short. Copy it "
                "again."
            )
        return array

    def _check_lengths(self) -> None:
        ends, steps = self.ends, {key: len(array) for key, array in self.arrays.items()}
        if ends.ndim != 1 or not np.issubdtype(ends.dtype, np.integer) or not len(ends):
            raise DataError(
                f"'{self.path}': '{_ENDS}' must list where episodes end, and holds "
                f"{ends.dtype} of shape {ends.shape}."
            )
        lengths = np.diff(ends, prepend=0)
        if lengths.min() < 1:
            number = int(np.argmax(lengths < 1))
            raise DataError(
                f"'{self.path}': '{_ENDS}' must increase, and episode {number} ends at "
                f"{ends[number]}, after {ends[number - 1] if number else 0}."
            )
        if len(set(steps.values())) > 1 or min(steps.values()) < ends[-1]:
            raise DataError(
                f"'{self.path}': all of 'data' must have as many steps, at least the {ends[-1]} at "
                f"which the last episode ends, and has {steps}."
            )
        rest = steps[ACTION] - int(ends[-1])
        if rest:
            log.warning(
                "'%s': %d steps after the last episode's end are left out.", self.path, rest
            )

    def _read(self, key: str, start: int, stop: int) -> np.ndarray:
        return self._rows(self.arrays[key], f"data/{key}", start, stop)

    def _rows(self, array: Any, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        try:
            values: np.ndarray = array[start:stop]
        except Exception as error:  # What a codec raises, and a file that was cut short.
            raise DataError(
                f"'{self.path}': '{name}' is damaged: {reason_of(error)}. Copy it again."
            ) from error
        return values

    def _flat(self, key: str, start: int, stop: int) -> np.ndarray:
        return self._read(key, start, stop).reshape(stop - start, -1).astype(np.float32)

    def _pictures(self, key: str, start: int, stop: int) -> np.ndarray:
        """Return pictures as bytes; some buffers hold the same numbers as floats."""
        values = self._read(key, start, stop)
        pictures = values.astype(np.uint8)
        if not np.array_equal(pictures, values):
            raise DataError(
                f"'{self.path}': the pictures 'data/{key}' must hold whole numbers from 0 to 255, "
                f"and hold {values.min():g} to {values.max():g} as {values.dtype}."
            )
        return pictures


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    zarr = import_extra("zarr", purpose="A replay buffer", extra="zarr")
    _know_picture_codecs()
    try:
        is_file = path.is_file()
        store = zarr.ZipStore(str(path), mode="r") if is_file else zarr.DirectoryStore(str(path))
        root = zarr.open_group(store, mode="r")
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' is not readable as Zarr: {reason_of(error)}.") from error
    try:
        yield root
    finally:
        store.close()


@functools.cache
def _know_picture_codecs() -> None:
    """Let Zarr decode what diffusion_policy compresses, if imagecodecs is installed."""
    with suppress(ImportError):
        from imagecodecs.numcodecs import register_codecs

        register_codecs(verbose=False)


def _torn_chunks(store: Any, name: str, num_chunks: tuple[int, ...]) -> Iterator[str]:
    """Yield chunks that are not as long as their header says; Blosc would read on behind them."""
    layout = json.loads(store[f"{name}/.zarray"])
    if (layout["compressor"] or {}).get("id") != "blosc":
        return  # Other codecs notice.
    for place in np.ndindex(*num_chunks):
        chunk = layout.get("dimension_separator", ".").join(map(str, place))
        data = store[f"{name}/{chunk}"]
        if int.from_bytes(data[12:16], "little") != len(data):
            yield chunk


def _names(root: Any) -> list[str]:
    names: list[str] = []
    root.visit(names.append)
    return sorted(names)[:20]


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[2] == 3 and min(shape[:2]) >= _SMALLEST_PICTURE


def _is_map(shape: tuple[int, ...]) -> bool:
    """Return whether rows are depth pictures or larger, which are no vectors to learn from."""
    return len(shape) > 2 or (len(shape) == 2 and min(shape) >= _SMALLEST_PICTURE)


def _title(path: Path) -> str:
    return path.name.removesuffix(".zip").removesuffix(".zarr")
