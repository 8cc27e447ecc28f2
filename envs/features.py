"""What a segment does, in numbers that mean the same for every robot and task.

Computed from scenes and actions alone, so that a reward learned on one task's features can be asked
about another task. The features of the goal hand over part of what the task is about; whoever
wants to do without them leaves out `GOAL_FEATURES`.

Shapes: S observations of the episode (T + 1), L segment length, Da action size, F features.
"""

import numpy as np
from jaxtyping import Float

from robopref.envs.scene import Scene

NEAR_M = 0.1
"""Distance at which the hand counts as half way at the object [m]."""
MOVED_M = 0.03
"""From here on the first object counts as moved [m]."""
NEAREST_START_M = 0.02
"""A distance below this at the episode's start does not make progress look any larger [m]."""
DONE_SHARE = 0.3
"""Share of the first distance that is left where object or goal count as reached."""

MOTION_FEATURES = (
    "hand_displacement", "hand_path", "object_displacement", "object_path", "object_reach",
    "object_moved_mean", "object_moved_last", "moved_share", "hand_to_object_mean",
    "hand_to_object_min", "hand_to_object_last", "hand_to_object_change", "near_share",
    "hand_left_mean", "hand_left_min", "hand_left_last", "hand_progress", "hand_share",
    "action_spread", "action_jerk", "opening_mean", "opening_spread",
)  # fmt: skip
"""Of hand, gripper and first object."""
GOAL_FEATURES = (
    "goal_distance_mean", "goal_distance_last", "goal_distance_change", "goal_closeness",
    "goal_left_mean", "goal_left_last", "goal_progress", "goal_share",
)  # fmt: skip
"""Of the first object and its goal; zeros where a task has no goal."""
TASK_FEATURES = MOTION_FEATURES + GOAL_FEATURES
"""Names of what `task_features` returns, in its order."""


def task_features(
    scene: Scene, start: int, action: Float[np.ndarray, "L Da"]
) -> Float[np.ndarray, " F"]:
    """Return the features of a segment, F as long as `TASK_FEATURES`.

    Args:
        scene: Scenes of the whole episode; what an object has moved counts from its first one.
        start: Step at which the segment starts.
        action: The segment's actions; L of them lie between L + 1 scenes.

    Raises:
        ValueError: The segment does not lie within the episode.
    """
    stop = start + len(action) + 1
    if start < 0 or not len(action) or stop > len(scene):
        raise ValueError(
            f"A segment of {len(action)} steps from step {start} on does not lie within an episode "
            f"of {len(scene) - 1} steps."
        )
    part = scene[start:stop]
    features = {**_motion(scene, part, action), **_goal(scene, part)}
    return np.array([features[name] for name in TASK_FEATURES])


def _motion(scene: Scene, part: Scene, action: np.ndarray) -> dict[str, float]:
    first = part.objects[:, 0]
    distance = np.linalg.norm(part.hand - first, axis=1)
    moved = np.linalg.norm(first - scene.objects[0, 0], axis=1)
    left = distance / max(_length(scene.hand[0] - scene.objects[0, 0]), NEAREST_START_M)
    return {
        "hand_displacement": _length(part.hand[-1] - part.hand[0]),
        "hand_path": _path(part.hand),
        "object_displacement": _length(first[-1] - first[0]),
        "object_path": _path(first),
        "object_reach": float(np.linalg.norm(first - first[0], axis=1).max()),
        "object_moved_mean": float(moved.mean()),
        "object_moved_last": float(moved[-1]),
        "moved_share": float((moved > MOVED_M).mean()),
        "hand_to_object_mean": float(distance.mean()),
        "hand_to_object_min": float(distance.min()),
        "hand_to_object_last": float(distance[-1]),
        "hand_to_object_change": float(distance[-1] - distance[0]),
        "near_share": float(np.exp(-distance / NEAR_M).mean()),
        "hand_left_min": float(left.min()),
        **_way("hand", left),
        "action_spread": float(action.std(axis=0).mean()),
        "action_jerk": float(np.linalg.norm(np.diff(action, axis=0), axis=1).mean())
        if len(action) > 1
        else 0.0,
        "opening_mean": float(part.opening.mean()),
        "opening_spread": float(part.opening.std()),
    }


def _goal(scene: Scene, part: Scene) -> dict[str, float]:
    if np.isnan(part.goal).any():
        return dict.fromkeys(GOAL_FEATURES, 0.0)
    distance = np.linalg.norm(part.objects[:, 0] - part.goal, axis=1)
    left = distance / max(_length(scene.objects[0, 0] - scene.goal[0]), NEAREST_START_M)
    return {
        "goal_distance_mean": float(distance.mean()),
        "goal_distance_last": float(distance[-1]),
        "goal_distance_change": float(distance[-1] - distance[0]),
        "goal_closeness": float(np.exp(-distance / NEAR_M).mean()),
        **_way("goal", left),
    }


def _way(name: str, left: np.ndarray) -> dict[str, float]:
    """Return how far a way has been gone, of which these shares are left."""
    return {
        f"{name}_left_mean": float(left.mean()),
        f"{name}_left_last": float(left[-1]),
        f"{name}_progress": float((1 - left).clip(-0.5, 1).mean()),
        f"{name}_share": float((left < DONE_SHARE).mean()),
    }


def _length(vector: np.ndarray) -> float:
    return float(np.linalg.norm(vector))


def _path(points: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())
