"""Episodes from robomimic's HDF5 files, with h5py alone.

A file holds `data/demo_<i>` with `actions`, `rewards`, `dones`, `states`, `obs/<key>` and
`next_obs/<key>`, each of N rows, and `mask/<filter key>` with names of demonstrations. Low-
dimensional observations become one `observation.state`, and the episode's metadata says how. What a
file lacks is the observation after the last action (without `next_obs`) and always the simulator
state there: the last one known is repeated, and `metadata["repeated"]` names it.

Shapes: N steps of a demonstration.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robopref.data.episode import Episode
from robopref.data.hashing import content_id
from robopref.data.hdf5 import hdf5_file, read_dataset
from robopref.data.robomimic_format import IMAGE_SUFFIX, STATE_KEYS, env_id_of
from robopref.data.schema import SIM_STATE
from robopref.errors import DataError, did_you_mean
from robopref.types import IMAGES, STATE


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
        DataError: It is not a robomimic file, or lacks what was asked for.
    """
    with hdf5_file(path) as file:
        if "data" not in file or "env_args" not in file["data"].attrs:
            raise DataError(
                f"'{path}' is not a robomimic file: it has no group 'data' with the attribute "
                "'env_args'."
            )
        env_args = _read_env_args(file, path)
        rate = fps or env_args.get("env_kwargs", {}).get("control_freq")
        if not rate:
            raise DataError(
                f"'{path}' does not say how many steps it has a second. Give `fps` (--fps)."
            )
        for name in _demo_names(file, path, filter_key):
            yield _episode(path, file["data"][name], name, env_args, (state_keys, float(rate)))


def _read_env_args(file: Any, path: Path) -> dict[str, Any]:
    try:
        env_args: dict[str, Any] = json.loads(file["data"].attrs["env_args"])
        env_args["env_name"]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"'{path}': the attribute 'env_args' of 'data' must be JSON with an 'env_name', and "
            f"is not: {error}."
        ) from error
    return env_args


def _demo_names(file: Any, path: Path, filter_key: str | None) -> list[str]:
    if filter_key is None:
        names = list(file["data"])
    else:
        masks = list(file["mask"]) if "mask" in file else []
        if filter_key not in masks:
            hint = did_you_mean(filter_key, masks)
            raise DataError(f"'{path}' has no filter key '{filter_key}'.{hint} It has {masks}.")
        names = [name.decode() for name in file["mask"][filter_key][:]]
    for name in names:
        if name not in file["data"] or not name.removeprefix("demo_").isdecimal():
            raise DataError(
                f"'{path}' has no demonstration 'data/demo_<number>' for the name '{name}'."
            )
    # By number: h5py lists demo_10 before demo_2.
    return sorted(names, key=lambda name: int(name.removeprefix("demo_")))


def _episode(
    path: Path,
    demo: Any,
    name: str,
    env_args: dict[str, Any],
    options: tuple[Sequence[str] | None, float],
) -> Episode:
    state_keys, fps = options
    where = f"'{path}', {name}"
    action = read_dataset(demo, "actions", where).astype(np.float32)
    repeated: list[str] = []
    obs, split = _observations(demo, where, state_keys, repeated)
    reward = demo["rewards"][:].astype(np.float32) if "rewards" in demo else np.zeros(len(action))
    success = _success(demo, reward)
    sim_states = _sim_states(demo, len(action), repeated)
    attributes = demo.attrs
    kept = json.loads(attributes.get("robopref", "{}"))
    metadata = {**kept.get("metadata", {}), "env_args": env_args, "observation_keys": split}
    if repeated:
        metadata["repeated"] = repeated
    if "model_file" in attributes:
        metadata["model_file"] = attributes["model_file"]
    solved = bool(len(success) and success[-1])
    try:
        return Episode(
            id=kept.get("episode_id") or content_id(action, obs[STATE]),
            obs=obs,
            action=action,
            reward=reward.astype(np.float32),
            success=success,
            # `dones` also marks where a recording simply stops; only success ends the task itself.
            terminated=kept.get("terminated", solved),
            truncated=kept.get("truncated", not solved),
            env=kept.get("env", env_id_of(env_args["env_name"])),
            task=kept.get("task", env_args["env_name"]),
            seed=kept.get("seed", 0),
            fps=fps,
            sim_states=sim_states,
            sim_episode=_sim_episode(demo),
            metadata=metadata,
        )
    except DataError as error:  # It names the episode, and nobody knows that yet.
        raise DataError(f"{where}: {error}") from error


def _observations(
    demo: Any, where: str, state_keys: Sequence[str] | None, repeated: list[str]
) -> tuple[dict[str, np.ndarray], list[list[Any]]]:
    """Return observations (N + 1, ...) by LeRobot key, and the parts of `observation.state`."""
    if "obs" not in demo:
        raise DataError(f"{where}: it has no 'obs'. Extract observations with robomimic first.")
    arrays = {key: _with_last(demo, key, repeated) for key in demo["obs"]}
    vectors = [key for key, value in arrays.items() if value.ndim == 2]
    if state_keys is None:
        common = set(STATE_KEYS) <= set(vectors)
        state_keys = STATE_KEYS if common else vectors
    missing = [key for key in state_keys if key not in vectors]
    if missing or not state_keys:
        raise DataError(f"{where}: it has no vectors {missing} in 'obs'. It has {vectors}.")
    obs = {STATE: np.concatenate([arrays[k] for k in state_keys], axis=1).astype(np.float32)}
    for key, value in arrays.items():
        if value.ndim == 4 and value.dtype == np.uint8:
            obs[IMAGES + key.removesuffix(IMAGE_SUFFIX)] = value
        elif key not in vectors:
            obs[f"observation.{key}"] = value
    return obs, [[key, arrays[key].shape[1]] for key in state_keys]


def _with_last(demo: Any, key: str, repeated: list[str]) -> np.ndarray:
    values = demo["obs"][key][:]
    if "next_obs" in demo and key in demo["next_obs"]:
        last = demo["next_obs"][key][-1:]
    else:
        last = values[-1:]
        repeated.append(f"obs/{key}")
    return np.concatenate([values, last])


def _sim_states(demo: Any, num_steps: int, repeated: list[str]) -> np.ndarray | None:
    if "states" not in demo:
        return None
    states: np.ndarray = demo["states"][:].astype(np.float64)
    if len(states) == num_steps:
        last = demo["final_state"][:][None] if "final_state" in demo else states[-1:]
        if "final_state" not in demo:
            repeated.append(SIM_STATE)
        states = np.concatenate([states, last])
    return states


def _sim_episode(demo: Any) -> np.ndarray | None:
    """Return what a reset fixed; nothing where robomimic recorded, whose states need no more."""
    if "sim_episode" in demo:
        recorded: np.ndarray = demo["sim_episode"][:]
        return recorded
    return np.zeros(0) if "states" in demo else None


def _success(demo: Any, reward: np.ndarray) -> np.ndarray:
    """Return success: as recorded, else where a sparse reward of 0 and 1 is 1, else nowhere."""
    if "success" in demo:
        recorded: np.ndarray = demo["success"][:].astype(bool)
        return recorded
    sparse = set(np.unique(reward)) <= {0.0, 1.0}
    return (reward == 1) if sparse else np.zeros(len(reward), bool)
