"""Episodes from and to Minari data sets in their HDF5 form, with h5py alone.

A data set is a folder `<name>-v<number>/data` with `metadata.json` (the spaces, as JSON) and
`main_data.hdf5` (`episode_<i>` with T + 1 observations, T actions, rewards, terminations and
truncations). Minari, like robopref, keeps the last observation, so nothing is lost either way;
success and simulator states travel as infos. Camera streams are read, and not written: the
picture after the last action is not recorded.

Shapes: T episode steps.
"""

import io
import json
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robopref.config import sync_to_disk
from robopref.data.episode import Episode
from robopref.data.folders import new_folder
from robopref.data.hashing import content_id
from robopref.data.hdf5 import hdf5_file, read_dataset
from robopref.data.schema import SIM_STATE
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.types import IMAGES, STATE

log = logging.getLogger(__name__)

MINARI_VERSION = "0.5.3"
"""The version whose layout is written; later ones read it."""
_ID = re.compile(r"[-_\w]+-v\d+")
_MAIN_FILE = "main_data.hdf5"
_METADATA = "metadata.json"


def read_minari(path: Path, *, fps: float | None = None) -> Iterator[Episode]:
    """Yield the episodes of a Minari data set in order.

    Args:
        path: Folder of the data set, or the folder `data` in it.
        fps: Steps a second [Hz]; by default what robopref has noted at export.

    Raises:
        FileNotFoundError: There is no such folder.
        DataError: It is no Minari data set, or of a form that is not read.
    """
    folder, metadata = _find(path)
    rate = fps or metadata.get("robopref_fps")
    if not rate:
        raise DataError(
            f"'{path}' does not say how many steps it has a second. Give `fps` (--fps)."
        )
    spec = json.loads(metadata.get("env_spec") or "{}")
    env = spec.get("id") or metadata.get("dataset_id", path.name)
    space = json.loads(metadata["observation_space"])
    with hdf5_file(folder / _MAIN_FILE) as file:
        for i in range(int(metadata["total_episodes"])):
            where = f"'{folder / _MAIN_FILE}', episode_{i}"
            if f"episode_{i}" not in file:
                raise DataError(f"{where} is missing; the data set counts more episodes.")
            yield _episode(file[f"episode_{i}"], where, space, (f"gymnasium/{env}", float(rate)))


def write_minari(store: EpisodeStore, path: Path) -> int:
    """Write all episodes of a store as a Minari data set; return their number.

    Args:
        store: What to write.
        path: Folder to make; its name is the data set's, such as `reach-v0`.

    Raises:
        ValueError: The name does not end in `-v<number>`.
        DataError: The store is empty, or an episode cannot be read.
        FileExistsError: There is a folder already.
    """
    if not _ID.fullmatch(path.name):
        raise ValueError(f"A Minari data set is named like 'reach-v0', got '{path.name}'.")
    if not len(store):
        raise DataError(f"'{store.root}' has no episodes to export.")
    if path.exists():
        raise FileExistsError(f"'{path}' exists. Delete it, or give another name.")
    cameras = sorted(store.rows[0].videos)
    if cameras:
        log.warning("Minari data sets are written without pictures: %s are left out.", cameras)
    with new_folder(path) as partial:
        (partial / "data").mkdir()
        _write_file(store, partial / "data" / _MAIN_FILE)
        text = json.dumps(_metadata_of(store, path.name))
        (partial / "data" / _METADATA).write_text(text)
        for name in (f"data/{_MAIN_FILE}", f"data/{_METADATA}", "data"):
            sync_to_disk(partial / name)
    return len(store)


def _find(path: Path) -> tuple[Path, dict[str, Any]]:
    if not path.is_dir():
        raise FileNotFoundError(f"No Minari data set at '{path}'.")
    folder = path / "data" if (path / "data" / _METADATA).is_file() else path
    if not (folder / _METADATA).is_file():
        raise DataError(f"'{path}' is not a Minari data set: it has no 'data/{_METADATA}'.")
    try:
        metadata: dict[str, Any] = json.loads((folder / _METADATA).read_text())
    except ValueError as error:
        raise DataError(f"'{folder / _METADATA}' is damaged: {error}.") from error
    if metadata.get("data_format", "hdf5") != "hdf5":
        raise DataError(
            f"'{path}' is a Minari data set in the form '{metadata['data_format']}'; robopref "
            "reads 'hdf5'. Write it again with minari in that form."
        )
    return folder, metadata


def _episode(group: Any, where: str, space: dict[str, Any], origin: tuple[str, float]) -> Episode:
    env, fps = origin
    kept = json.loads(group.attrs.get("robopref", "{}"))
    action = read_dataset(group, "actions", where)
    action = action.reshape(len(action), -1).astype(np.float32)
    obs, parts = _observations(group, where, space)
    infos = group.get("infos", {})
    success = np.zeros(len(action), bool)
    if "success" in infos:
        # Infos may or may not begin with that of the reset.
        success = infos["success"][:].reshape(-1)[-len(action) :].astype(bool)
    terminated = bool(read_dataset(group, "terminations", where)[-1])
    sim_states = infos["sim_state"][:].astype(np.float64) if "sim_state" in infos else None
    return Episode(
        id=kept.get("episode_id") or content_id(action, obs[STATE]),
        obs=obs,
        action=action,
        reward=read_dataset(group, "rewards", where).reshape(-1).astype(np.float32),
        success=success,
        terminated=terminated,
        truncated=bool(read_dataset(group, "truncations", where)[-1]) or not terminated,
        env=kept.get("env", env),
        task=kept.get("task", env.removeprefix("gymnasium/")),
        seed=int(group.attrs.get("seed", 0)),
        fps=fps,
        sim_states=sim_states,
        sim_episode=group["sim_episode"][:] if "sim_episode" in group else None,
        metadata={**kept.get("metadata", {}), **({"observation_keys": parts} if parts else {})},
    )


def _observations(
    group: Any, where: str, space: dict[str, Any]
) -> tuple[dict[str, np.ndarray], list[list[Any]]]:
    """Return observations (T + 1, ...) by LeRobot key, and the parts of `observation.state`."""
    if "observations" not in group:
        raise DataError(f"{where}: it has no 'observations'. It has {sorted(group)}.")
    leaves = dict(_leaves(group["observations"], "", space, where))
    obs, vectors, parts = {}, [], []
    for name, values in leaves.items():
        if values.ndim == 4 and values.dtype == np.uint8:
            obs[f"{IMAGES}{name or 'camera'}"] = values
        elif name.startswith("observation."):
            obs[name] = values
        else:
            flat = values.reshape(len(values), -1).astype(np.float32)
            vectors.append(flat)
            parts.append([name, flat.shape[1]])
    if vectors:
        obs[STATE] = np.concatenate(vectors, axis=1)
    if STATE not in obs:
        raise DataError(f"{where}: it has no vectors among its observations {sorted(leaves)}.")
    return obs, parts if len(parts) > 1 else []


def _leaves(
    node: Any, name: str, space: dict[str, Any], where: str
) -> Iterator[tuple[str, np.ndarray]]:
    if space["type"] == "Dict":
        for key, inner in space["subspaces"].items():
            yield from _leaves(node[key], f"{name}.{key}" if name else key, inner, where)
    elif space["type"] == "Tuple":
        for i, inner in enumerate(space["subspaces"]):
            yield from _leaves(node[f"_index_{i}"], f"{name}.{i}" if name else str(i), inner, where)
    elif space["type"] in ("Box", "Discrete", "MultiDiscrete", "MultiBinary"):
        values = node[:]
        shape = tuple(space.get("shape", ()))
        is_jpeg = space.get("dtype") == "uint8" and len(shape) == 3 and values.ndim < 4
        yield name, _decode_images(values) if is_jpeg else values
    else:
        raise DataError(f"{where}: observations of type {space['type']} are not read.")


def _decode_images(values: Any) -> np.ndarray:
    """Return pictures that Minari has kept as JPEG, one a row."""
    from PIL import Image

    rows = [np.asarray(row, np.uint8).tobytes() for row in values]
    return np.stack([np.array(Image.open(io.BytesIO(row))) for row in rows])


def _write_file(store: EpisodeStore, path: Path) -> None:
    import h5py

    with h5py.File(path, "w", track_order=True) as file:
        for i, episode in enumerate(store):
            group = file.create_group(f"episode_{i}")
            group.attrs["id"] = i
            group.attrs["seed"] = episode.seed
            group.attrs["total_steps"] = len(episode)
            for name, values in _written_observations(episode.obs):
                group[f"observations/{name}" if name else "observations"] = values
            group["actions"] = episode.action
            group["rewards"] = episode.reward.astype(np.float64)
            for name, flag in (
                ("terminations", episode.terminated),
                ("truncations", episode.truncated),
            ):
                ends = np.zeros(len(episode), bool)
                ends[-1] = flag
                group[name] = ends
            group["infos/success"] = np.concatenate([[False], episode.success])
            if episode.sim_states is not None:
                group["infos/sim_state"] = episode.sim_states
            if episode.sim_episode is not None:
                group["sim_episode"] = episode.sim_episode
            group.attrs["robopref"] = json.dumps(
                {
                    "episode_id": episode.id,
                    "env": episode.env,
                    "task": episode.task,
                    "metadata": dict(episode.metadata),
                }
            )


def _written_observations(obs: Mapping[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    """Return names and values as they are written: the state alone has no name."""
    return [("", obs[STATE])] if set(obs) == {STATE} else list(obs.items())


def _metadata_of(store: EpisodeStore, name: str) -> dict[str, Any]:
    episode = store.episode(store.ids[0])
    boxes = {key: _box(values[0]) for key, values in _written_observations(episode.obs)}
    space = boxes[""] if set(boxes) == {""} else {"type": "Dict", "subspaces": boxes}
    bounds = store.stats()["action"]
    action = _box(episode.action[0])
    if bounds["min"].min() >= -1 and bounds["max"].max() <= 1:
        shape = episode.action.shape[1:]
        action |= {"low": np.full(shape, -1.0).tolist(), "high": np.full(shape, 1.0).tolist()}
    return {
        "dataset_id": name,
        "minari_version": MINARI_VERSION,
        "data_format": "hdf5",
        "total_episodes": len(store),
        "total_steps": store.num_steps,
        "observation_space": json.dumps(space),
        "action_space": json.dumps(action),
        "author": ["robopref"],
        "description": f"Episodes of {store.rows[0].env}, exported by robopref.",
        "robopref_fps": store.fps,
        "robopref_columns": [key for key in store.features if key != SIM_STATE],
    }


def _box(row: np.ndarray) -> dict[str, Any]:
    if row.dtype == np.uint8 or row.dtype == bool:
        low, high = np.zeros(row.shape), np.full(row.shape, np.iinfo(np.uint8).max)
    else:
        low, high = np.full(row.shape, -np.inf), np.full(row.shape, np.inf)
    return {
        "type": "Box",
        "dtype": row.dtype.name,
        "shape": list(row.shape),
        "low": low.tolist(),
        "high": high.tolist(),
    }
