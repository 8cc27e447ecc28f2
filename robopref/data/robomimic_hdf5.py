"""Episodes from robomimic's HDF5 files, with h5py alone.

A file holds `data/demo_<i>` with `actions`, `rewards`, `dones`, `states`, `obs/<key>` and
`next_obs/<key>`, each of N rows, and `mask/<filter key>` with names of demonstrations. Low-
dimensional observations become one `observation.state`, and the episode's metadata says how. What a
file lacks is the observation after the last action (without `next_obs`) and always the simulator
state there: the last one known is repeated, and `metadata["repeated"]` names it.

Shapes: N steps of a demonstration.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.episode import Episode
from robopref.data.hashing import content_id
from robopref.data.hdf5 import (
    hdf5_file,
    read_group,
    read_json,
    read_names,
    read_numbers,
    read_text,
)
from robopref.data.robomimic_format import IMAGE_SUFFIX, STATE_KEYS, env_id_of
from robopref.data.schema import SIM_STATE
from robopref.errors import DataError, did_you_mean
from robopref.types import IMAGES, STATE

_KEPT = {
    "episode_id": str, "env": str, "task": str, "seed": int, "terminated": bool, "truncated": bool,
    "metadata": dict,
}  # fmt: skip
"""What the exported episodes of robopref say of themselves in the attribute `robopref`."""


def read_robomimic(
    path: Path,
    *,
    filter_key: str | None = None,
    state_keys: Sequence[str] | None = None,
    fps: float | None = None,
) -> Iterator[Episode]:
    """Yield the demonstrations of a robomimic file in the order of their numbers.

    Args:
        path: The HDF5 file.
        filter_key: Takes only the demonstrations listed under `mask/<filter_key>`.
        state_keys: Observations that make up `observation.state`, in order; by default those that
            robomimic trains on, or else all vectors.
        fps: Steps a second [Hz]; by default the `control_freq` that the file states.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It is not a robomimic file, is damaged, or lacks what was asked for.
    """
    with hdf5_file(path) as file:
        demos = _Demos(file, path, state_keys, fps)
        for name in demos.names(filter_key):
            yield demos.episode(name)


class _Demos:
    """The demonstrations of a file, which must have the same observations in the same shapes.

    Args:
        file: The open HDF5 file.
        path: Where it is, for messages.
        state_keys: As for `read_robomimic`.
        fps: As for `read_robomimic`.
    """

    def __init__(
        self, file: Any, path: Path, state_keys: Sequence[str] | None, fps: float | None
    ) -> None:
        self._file = file
        self._data = file.get("data")
        self._path = path
        if not hasattr(self._data, "keys") or "env_args" not in self._data.attrs:
            raise DataError(
                f"'{path}' is not a robomimic file: it has no group 'data' with the attribute "
                "'env_args'."
            )
        self._env_args = _read_env_args(self._data, f"'{path}', data")
        self._fps = fps or _rate(self._env_args, f"'{path}'")
        self._state_keys = state_keys
        self._rows: dict[str, tuple[int, ...]] = {}

    def names(self, filter_key: str | None) -> list[str]:
        """Return the names of all demonstrations, or of those that a mask lists."""
        names = list(self._data)
        if filter_key is not None:
            where = f"'{self._path}'"
            masks = read_group(self._file, "mask", where) if "mask" in self._file else {}
            if filter_key not in masks:
                hint, has = did_you_mean(filter_key, masks), list(masks)
                raise DataError(f"{where} has no filter key '{filter_key}'.{hint} It has {has}.")
            names = read_names(masks, filter_key, f"{where}, mask")
        for name in names:
            if not name.removeprefix("demo_").isdecimal() or name not in self._data:
                raise DataError(
                    f"'{self._path}' has no demonstration 'data/demo_<number>' for the name "
                    f"'{name}'."
                )
        # By number: h5py lists demo_10 before demo_2.
        return sorted(names, key=lambda name: int(name.removeprefix("demo_")))

    def episode(self, name: str) -> Episode:
        """Return a demonstration.

        Raises:
            DataError: It is damaged, or of other shapes than those before.
        """
        where = f"'{self._path}', {name}"
        demo = read_group(self._data, name, f"'{self._path}', data")
        action = _float32(read_numbers(demo, "actions", where, ("N", "Da")))
        self._check_rows("actions", action, where)
        repeated: list[str] = []
        obs, split = self._observations(demo, where, len(action), repeated)
        if "rewards" not in demo:
            raise DataError(
                f"{where}: it has no 'rewards', and zeros would be taken for what was earned. "
                "Write them with robomimic's dataset_states_to_obs; where nothing was rewarded, "
                f"add an array 'rewards' of {len(action)} zeros."
            )
        reward = _float32(read_numbers(demo, "rewards", where, (len(action),)))
        success = _success(demo, reward, where)
        solved = bool(success[-1:].any())
        kept = _read_kept(demo, where)
        metadata = {
            **kept.get("metadata", {}), "env_args": self._env_args, "observation_keys": split
        }  # fmt: skip
        sim_states = self._sim_states(demo, where, len(action), repeated)
        sim_episode = _sim_episode(demo, where)
        if repeated:
            metadata["repeated"] = repeated
        if "model_file" in demo.attrs:
            metadata["model_file"] = read_text(demo, "model_file", where)
        try:
            return Episode(
                id=kept.get("episode_id") or content_id(action, obs[STATE]),
                obs=obs,
                action=action,
                reward=reward,
                success=success,
                # `dones` also marks where a recording simply stops; only success ends the task.
                terminated=kept.get("terminated", solved),
                truncated=kept.get("truncated", not solved),
                env=kept.get("env", env_id_of(self._env_args["env_name"])),
                task=kept.get("task", self._env_args["env_name"]),
                seed=kept.get("seed", 0),
                fps=self._fps,
                sim_states=sim_states,
                sim_episode=sim_episode,
                metadata=metadata,
            )
        except DataError as error:  # It names the episode, and nobody knows that yet.
            raise DataError(f"{where}: {error}") from error

    def _observations(
        self, demo: Any, where: str, num_steps: int, repeated: list[str]
    ) -> tuple[dict[str, np.ndarray], list[list[Any]]]:
        """Return observations (N + 1, ...) by LeRobot key, and the parts of the state."""
        if "obs" not in demo:
            raise DataError(f"{where}: it has no 'obs'. Extract observations with robomimic first.")
        groups = {key: read_group(demo, key, where) for key in ("obs", "next_obs") if key in demo}
        arrays = {
            key: self._with_last(groups, key, where, num_steps, repeated) for key in groups["obs"]
        }
        vectors = [key for key, value in arrays.items() if value.ndim == 2]
        if self._state_keys is None:
            self._state_keys = STATE_KEYS if set(STATE_KEYS) <= set(vectors) else vectors
        missing = [key for key in self._state_keys if key not in vectors]
        if missing or not self._state_keys:
            raise DataError(f"{where}: it has no vectors {missing} in 'obs'. It has {vectors}.")
        parts = [arrays[key] for key in self._state_keys]
        obs = {STATE: _float32(np.concatenate(parts, axis=1))}
        for key, value in arrays.items():
            if value.ndim == 4 and value.dtype == np.uint8:
                obs[IMAGES + key.removesuffix(IMAGE_SUFFIX)] = value
            elif key not in vectors:
                obs[f"observation.{key}"] = value
        return obs, [[key, arrays[key].shape[1]] for key in self._state_keys]

    def _with_last(
        self, groups: dict[str, Any], key: str, where: str, num_steps: int, repeated: list[str]
    ) -> np.ndarray:
        values = read_numbers(groups["obs"], key, f"{where}, obs", (num_steps, ...))
        self._check_rows(f"obs/{key}", values, where)
        last = values[-1:]
        if "next_obs" in groups:
            last = read_numbers(groups["next_obs"], key, f"{where}, next_obs", values.shape)[-1:]
        else:
            repeated.append(f"obs/{key}")
        return np.concatenate([values, last])

    def _sim_states(
        self, demo: Any, where: str, num_steps: int, repeated: list[str]
    ) -> np.ndarray | None:
        if "states" not in demo:
            return None
        states = read_numbers(demo, "states", where, (num_steps, "Ds")).astype(np.float64)
        self._check_rows("states", states, where)
        if "final_state" in demo:
            last = read_numbers(demo, "final_state", where, states.shape[1:])[None]
        else:
            last = states[-1:]
            repeated.append(SIM_STATE)
        whole: np.ndarray = np.concatenate([states, last])
        return whole

    def _check_rows(self, key: str, values: np.ndarray, where: str) -> None:
        """Raise unless the rows are of one shape in all demonstrations, and there are some."""
        if not len(values):
            raise DataError(f"{where}: it has no steps: '{key}' has shape {values.shape}.")
        row = values.shape[1:]
        wanted = self._rows.setdefault(key, row)
        if row != wanted:
            raise DataError(
                f"{where}: '{key}' must have rows of shape {wanted} as in the demonstrations "
                f"before, got {row}."
            )


def _read_env_args(data: Any, where: str) -> dict[str, Any]:
    env_args = read_json(data, "env_args", where)
    said = f"{where}: the attribute 'env_args' must have"
    if not isinstance(env_args.get("env_name"), str):
        raise DataError(f"{said} an 'env_name' that is text, got {env_args.get('env_name')!r}.")
    if not isinstance(env_args.get("env_kwargs") or {}, dict):
        raise DataError(f"{said} 'env_kwargs' that are an object, got {env_args['env_kwargs']!r}.")
    return env_args


def _rate(env_args: dict[str, Any], where: str) -> float:
    rate = (env_args.get("env_kwargs") or {}).get("control_freq")
    if rate is None:
        raise DataError(f"{where} does not say how many steps it has a second. Give `fps` (--fps).")
    if not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise DataError(
            f"{where}: 'control_freq' in 'env_kwargs' must be a number above 0 [Hz], got {rate!r}. "
            "Give `fps` (--fps)."
        )
    return float(rate)


def _read_kept(demo: Any, where: str) -> dict[str, Any]:
    """Return what an exported episode of robopref says of itself; nothing where others wrote."""
    kept = read_json(demo, "robopref", where) if "robopref" in demo.attrs else {}
    for key, kind in _KEPT.items():
        if key in kept and not isinstance(kept[key], kind):
            raise DataError(
                f"{where}: the attribute 'robopref' has the '{key}' {kept[key]!r}, which must be "
                f"of the type {kind.__name__}."
            )
    return kept


def _sim_episode(demo: Any, where: str) -> np.ndarray | None:
    """Return what a reset fixed; nothing where robomimic recorded, whose states need no more."""
    if "sim_episode" in demo:
        return read_numbers(demo, "sim_episode", where, ("De",))
    return np.zeros(0) if "states" in demo else None


def _success(demo: Any, reward: np.ndarray, where: str) -> np.ndarray:
    """Return success: as recorded, else where a sparse reward of 0 and 1 is 1, else nowhere."""
    if "success" in demo:
        return read_numbers(demo, "success", where, reward.shape).astype(bool)
    sparse = set(np.unique(reward)) <= {0.0, 1.0}
    return (reward == 1) if sparse else np.zeros(len(reward), bool)


def _float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # What is too large is found to be not finite.
        return values.astype(np.float32)
