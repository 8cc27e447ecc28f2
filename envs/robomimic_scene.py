"""What observations of robomimic's tasks show, as scenes.

Shapes: S observations, Do observation size.
"""

from collections.abc import Callable

import numpy as np

from robopref.envs.scene import Scene

HAND = slice(0, 3)
"""Where a state holds the position of the hand, between the fingertips."""
HAND_QUATERNION = slice(3, 7)
"""Where it holds the hand's orientation, x y z w as in robomimic."""
FINGERS = slice(7, 9)
"""Where it holds the fingers' joints; the first is positive, the second negative [m]."""
OBJECT = slice(9, 12)
"""Where it holds the position of what is to be moved."""
OBJECT_QUATERNION = slice(12, 16)
"""Where it holds the orientation of it, x y z w."""

TABLE_M = 0.8
"""Height of the table's top, and of the bins' floor [m]."""
OPEN_M = 0.08
"""Distance of the fingers when the gripper is open [m]."""
LIFTED_M = 0.04
"""How far above the table the cube's centre has to be to count as lifted [m]."""
BINS = {
    "milk": (0.0025, 0.1575),
    "bread": (0.1975, 0.1575),
    "cereal": (0.0025, 0.4025),
    "can": (0.1975, 0.4025),
}
"""Middle of each object's bin, x and y; the bins are 0.195 by 0.245 m."""
PEGS = {"square": (0.23, 0.1), "round": (0.23, -0.1)}
"""The nuts' pegs, x and y."""
ON_PEG_M = 0.83
"""Height of a nut's centre when it lies on the table around its peg."""


def read_scene(task: str, state: np.ndarray) -> Scene:
    """Return the scene of each observation (S, Do) of `task`.

    Raises:
        ValueError: Nobody says what this task's observations mean.
    """
    if task not in GOALS:
        raise ValueError(
            f"What is object and goal in observations of 'robomimic/{task}' is not known. It is "
            f"for: {sorted(GOALS)}."
        )
    state = state.astype(np.float64)
    fingers = state[:, FINGERS]
    opening = np.clip((fingers[:, 0] - fingers[:, 1]) / OPEN_M, 0.0, 1.0)
    thing = state[:, OBJECT]
    return Scene(state[:, HAND], opening, thing[:, None], GOALS[task](thing))


def _lifted(thing: np.ndarray) -> np.ndarray:
    """Return the place above where the cube is now, at the height that counts as lifted."""
    goal: np.ndarray = thing.copy()
    goal[:, 2] = TABLE_M + LIFTED_M
    return goal


def _in_bin(task: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the middle of a task's bin, at the height where the object lies now.

    The objects' origins are at different heights above what they stand on, and the bin's floor is
    as high as the one where they begin.
    """
    return lambda thing: np.broadcast_to([*BINS[task], thing[0, 2]], thing.shape).copy()


def _on_peg(task: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda thing: np.broadcast_to([*PEGS[task], ON_PEG_M], thing.shape).copy()


GOALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lift": _lifted,
    **{task: _in_bin(task) for task in BINS},
    **{task: _on_peg(task) for task in PEGS},
}
"""For each task, where its object should go, given where it is."""
