"""Hashes that say whether two episodes, or two segments, have the same content.

Camera streams are left out: they are stored with loss, and pictures follow from the states.
"""

import hashlib
import uuid
from collections.abc import Mapping

import numpy as np

from robopref.data.episode import Episode
from robopref.data.schema import SIM_STATE, is_camera
from robopref.data.segment import Segment
from robopref.types import ACTION


def episode_hash(episode: Episode) -> str:
    """Return the hash of everything an episode stores but cameras and metadata."""
    arrays = {
        **_steps(episode, 0, len(episode) + 1),
        ACTION: episode.action,
        "reward": episode.reward,
        "success": episode.success,
    }
    ended = (episode.terminated, episode.truncated)
    facts = (episode.id, episode.env, episode.task, episode.seed, float(episode.fps), *ended)
    return _digest(arrays, repr(facts))


def segment_hash(episode: Episode, segment: Segment) -> str:
    """Return the hash of what a teacher judges: states, actions and simulator states.

    Raises:
        DataError: The segment does not fit the episode.
    """
    segment.cut(episode)
    stop = segment.start + segment.length
    arrays = _steps(episode, segment.start, stop)
    arrays[ACTION] = episode.action[segment.start : stop]
    return _digest(arrays, episode.env)


def content_id(action: np.ndarray, state: np.ndarray) -> str:
    """Return a UUID made of the content: what is imported twice has the same identity."""
    digest = hashlib.sha256(action.tobytes())
    digest.update(state.tobytes())
    return str(uuid.UUID(bytes=digest.digest()[:16], version=4))


def _steps(episode: Episode, start: int, stop: int) -> dict[str, np.ndarray]:
    arrays = {k: v[start:stop] for k, v in episode.columns.items() if not is_camera(k)}
    if episode.sim_states is not None:
        arrays[SIM_STATE] = episode.sim_states[start:stop]
    if episode.sim_episode is not None:
        arrays["sim.episode"] = episode.sim_episode
    return arrays


def _digest(arrays: Mapping[str, np.ndarray], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for key in sorted(arrays):
        value = np.ascontiguousarray(arrays[key])
        digest.update(f"{key}:{value.dtype.str}:{value.shape}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()
