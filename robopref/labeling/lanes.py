"""Lanes: what was measured along a clip, as curves to be drawn under it.

Shapes: T episode steps, S observations (T + 1).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from robopref.data.episode import Episode, batch_segments
from robopref.data.segment import Segment
from robopref.envs.scene import Scene, read_scene
from robopref.errors import MissingExtraError, UnknownNameError
from robopref.types import STATE

_FORCE = re.compile(r"force|wrench")
_TORQUE = re.compile(r"effort|torque")
_GRIPPER = re.compile(r"gripper|opening")
_HAND = re.compile(r"\b(ee|eef|tcp|tool|hand|end_effector)(_pos|_pose|_position)?\b")


@dataclass(frozen=True)
class Lane:
    """One curve.

    Args:
        name: What was measured.
        unit: In what, in SI; empty for a number without one.
        values: One for each picture of the clip, as long as the item lasts.
        hidden: Shown only to who asks for it, since it would sway the answer.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    hidden: bool = False


def measure_lanes(
    episode: Episode, segment: Segment, steps: np.ndarray, *, reward: Any = None
) -> list[Lane]:
    """Return the lanes of a segment: gripper, speed of the end effector, forces, learned reward.

    What the episode does not tell has no lane.

    Args:
        episode: The segment's episode.
        segment: What the clip shows.
        steps: The step of each picture, counted from the segment's start.
        reward: A reward model; None for no lane of it.

    Raises:
        DataError: The segment does not fit the episode.
    """
    obs, action = segment.cut(episode)
    lanes = [
        Lane(name, unit, _pick(values, segment.start + steps))
        for name, unit, values in _measured(episode)
    ]
    if reward is not None:
        learned = reward.rewards(batch_segments([(obs, action)]))[0]
        lanes.append(Lane("learned reward", "", _pick(learned, steps), hidden=True))
    return lanes


def scene_of(env_id: str, state: np.ndarray) -> Scene | None:
    """Return the scenes of state observations (S, Do); None if nobody says what they mean."""
    try:
        return read_scene(env_id, state)
    except (UnknownNameError, MissingExtraError, ValueError):
        # A real robot, or an adapter that has no scenes or is not installed.
        return None


def _measured(episode: Episode) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield name, unit and values (S or T,) of what is known at every step."""
    scene = scene_of(episode.env, episode.obs[STATE]) if STATE in episode.obs else None
    if scene is not None:
        yield "gripper opening", "", scene.opening
    hand = _find_hand(episode, scene)
    if hand is not None:
        yield "speed", "m/s", np.linalg.norm(np.diff(hand, axis=0), axis=1) * episode.fps
    for key, values in episode.obs.items():
        name = key.removeprefix("observation.")
        flat = values.reshape(len(values), -1).astype(np.float64)
        if _FORCE.search(name):
            yield name, "N", np.linalg.norm(flat[:, :3], axis=1)  # A wrench's rest is torque.
        elif _TORQUE.search(name):
            yield name, "N m", np.linalg.norm(flat, axis=1)
        elif _GRIPPER.search(name) and flat.shape[1] == 1 and scene is None:
            yield name, "", flat[:, 0]


def _find_hand(episode: Episode, scene: Scene | None) -> np.ndarray | None:
    """Return where the end effector was, (S, 3) [m], if the episode or its scenes tell."""
    if scene is not None:
        return scene.hand
    for key, values in episode.obs.items():
        if _HAND.search(key) and values.ndim == 2 and values.shape[1] >= 3:
            return values[:, :3]
    return None


def _pick(values: np.ndarray, steps: np.ndarray) -> tuple[float, ...]:
    """Return the values at `steps`; what is known of each action stays after the last one."""
    return tuple(float(value) for value in values[np.minimum(steps, len(values) - 1)])
