"""Episodes to robomimic's HDF5 files, which its own tools open.

What became one `observation.state` is taken apart again. Simulator states begin with robomimic's,
which is all that its tools read; what they lack to continue exactly comes after it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robopref.config import replacing
from robopref.data.episode import Episode
from robopref.data.robomimic_format import IMAGE_SUFFIX, SimulatorFile
from robopref.data.schema import SIM_STATE
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.types import IMAGES, STATE

_GYM_TYPE = 2  # robomimic.envs.env_base.EnvType


def write_robomimic(
    store: EpisodeStore,
    path: Path,
    *,
    masks: Mapping[str, Sequence[str]] | None = None,
    simulator: SimulatorFile | None = None,
) -> int:
    """Write all episodes of a store as a robomimic file; return their number.

    Args:
        store: What to write.
        path: The HDF5 file; written beside and renamed, so that it is complete or absent.
        masks: Filter keys, each with the ids of its episodes.
        simulator: What made the episodes, so that robomimic can make it again, where the episodes
            do not say so themselves.

    Raises:
        DataError: The store is empty or of several environments, or an episode cannot be read.
        FileExistsError: There is a file already.
    """
    if not len(store):
        raise DataError(f"'{store.root}' has no episodes to export.")
    envs = sorted({row.env for row in store.rows})
    if len(envs) > 1:
        raise DataError(
            f"'{store.root}' has episodes of {envs}; a robomimic file has one environment."
        )
    if path.exists():
        raise FileExistsError(f"'{path}' exists. Delete it, or give another name.")
    with replacing(path) as partial:
        _write_file(store, partial, masks or {}, simulator)
    return len(store)


def _write_file(
    store: EpisodeStore,
    path: Path,
    masks: Mapping[str, Sequence[str]],
    simulator: SimulatorFile | None,
) -> None:
    import h5py

    said: dict[str, Any] = {"env_args": _env_args(store)}
    if simulator is not None:
        said = {
            "env_args": simulator.env_args,
            "model_file": simulator.model_file,
            "observation_keys": simulator.state_keys,
        }
    names = {episode_id: f"demo_{i}" for i, episode_id in enumerate(store.ids)}
    # A model may have more than the 64 KiB that an attribute could have before HDF5 1.8.
    with h5py.File(path, "w", libver=("v108", "latest")) as file:
        data = file.create_group("data")
        for episode in store:
            metadata = {**said, **episode.metadata}
            _write_demo(data.create_group(names[episode.id]), episode, store, metadata)
        data.attrs["total"] = store.num_steps
        data.attrs["env_args"] = json.dumps(
            store.rows[0].metadata.get("env_args", said["env_args"])
        )
        for key, ids in masks.items():
            file[f"mask/{key}"] = np.array([names[i] for i in ids], dtype="S")


def _env_args(store: EpisodeStore) -> dict[str, Any]:
    kwargs = {"control_freq": store.fps}
    return {"env_name": store.rows[0].env, "type": _GYM_TYPE, "env_kwargs": kwargs}


def _write_demo(
    group: Any, episode: Episode, store: EpisodeStore, metadata: dict[str, Any]
) -> None:
    group.attrs["num_samples"] = len(episode)
    if "model_file" in metadata:
        group.attrs["model_file"] = metadata.pop("model_file")
    for key, value in _parts(episode, store, metadata.pop("observation_keys", None)):
        group[f"obs/{key}"] = value[:-1]
        group[f"next_obs/{key}"] = value[1:]
    group["actions"] = episode.action
    group["rewards"] = episode.reward
    group["success"] = episode.success
    dones = np.zeros(len(episode), np.int64)
    dones[-1] = 1  # robomimic's default: the end of a demonstration, whatever the reason.
    group["dones"] = dones
    if episode.sim_states is not None:
        group["states"] = episode.sim_states[:-1]
        if SIM_STATE not in metadata.get("repeated", ()):
            group["final_state"] = episode.sim_states[-1]
    if episode.sim_episode is not None and len(episode.sim_episode):
        group["sim_episode"] = episode.sim_episode
    known = {k: v for k, v in metadata.items() if k not in ("env_args", "repeated")}
    group.attrs["robopref"] = json.dumps(
        {
            "episode_id": episode.id,
            "env": episode.env,
            "task": episode.task,
            "seed": episode.seed,
            "terminated": episode.terminated,
            "truncated": episode.truncated,
            "metadata": known,
        }
    )


def _parts(
    episode: Episode, store: EpisodeStore, split: Sequence[Sequence[Any]] | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield observations (N + 1, ...) by robomimic key; of a camera the last picture twice."""
    for key, value in episode.obs.items():
        if key == STATE and split:
            place = 0
            for name, size in split:
                yield name, value[:, place : place + size]
                place += size
        else:
            yield key.removeprefix("observation."), value
    for camera in store.row(episode.id).videos:
        frames = store.frames(Segment(episode.id, 0, len(episode)), camera)
        yield camera.removeprefix(IMAGES) + IMAGE_SUFFIX, np.concatenate([frames, frames[-1:]])
