"""Segments of recorded episodes as transfer methods see them.

Shapes: N segments, L segment length, D entries of a step, F task-agnostic features.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.envs.features import task_features
from robopref.envs.scene import can_read_scene, read_scene
from robopref.errors import DataError
from robopref.preferences.preference import Preference
from robopref.rewards.transfer import TaskSegments
from robopref.types import STATE


def make_task(
    name: str,
    store: EpisodeStore,
    segments: Sequence[Segment],
    preferences: Iterable[Preference] = (),
) -> TaskSegments:
    """Return segments of a data set with the answers about them.

    Where nobody says what the observations of an environment mean, there are no features.

    Args:
        name: The task, for messages.
        store: The data set.
        segments: Which segments, all of one length.
        preferences: Answers; those about other segments are left out.

    Raises:
        DataError: Lengths differ, or a segment cannot be cut.
        ValueError: Observations are not of the size that their environment has.
    """
    lengths = sorted({segment.length for segment in segments})
    if len(lengths) > 1:
        raise DataError(
            f"Segments of '{name}' have lengths from {lengths[0]} to {lengths[-1]}; a transfer "
            "compares segments of one length. Ask about segments (--segment-length)."
        )
    place = {segment: index for index, segment in enumerate(segments)}
    pairs = [
        (place[first], place[second], prefers_b)
        for preference in preferences
        for first, second, prefers_b in preference.segment_pairs()
        if first in place and second in place
    ]
    envs = {store.row(segment.episode_id).env for segment in segments}
    readable = all(map(can_read_scene, envs))
    a, b, prefers_b = zip(*pairs, strict=True) if pairs else ((), (), ())
    return TaskSegments(
        name,
        np.stack([_steps(store, segment) for segment in segments]),
        compute_features(store, segments) if readable else np.zeros((len(segments), 0)),
        np.asarray(a, np.int64),
        np.asarray(b, np.int64),
        np.asarray(prefers_b, np.float64),
    )


def compute_features(store: EpisodeStore, segments: Sequence[Segment]) -> Float[np.ndarray, "N F"]:
    """Return what the segments do, read from the scenes of their episodes.

    Raises:
        ValueError: Nobody says what this environment's observations mean.
    """
    of_episode: dict[str, list[int]] = defaultdict(list)
    for index, segment in enumerate(segments):
        of_episode[segment.episode_id].append(index)
    rows: list[Any] = [None] * len(segments)
    for episode_id, indices in of_episode.items():
        episode = store.episode(episode_id)
        scene = read_scene(episode.env, episode.obs[STATE])
        for index in indices:
            start, length = segments[index].start, segments[index].length
            rows[index] = task_features(scene, start, episode.action[start : start + length])
    features: np.ndarray = np.stack(rows)
    return features


def _steps(store: EpisodeStore, segment: Segment) -> Float[np.ndarray, "L D"]:
    obs, action = store.cut(segment)
    steps: np.ndarray = np.concatenate([obs[STATE], action], axis=1).astype(np.float64)
    return steps
