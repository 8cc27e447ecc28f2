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
    "milk": (0.0025, 0.1575, 0.881),
    "bread": (0.1975, 0.1575, 0.842),
    "cereal": (0.0025, 0.4025, 0.895),
    "can": (0.1975, 0.4025, 0.86),
}
"""Middle of each object's bin, at the height of the object's origin when it lies there; a bin is
0.195 by 0.245 m."""
PEGS = {"square": (0.23, 0.1), "round": (0.23, -0.1)}
"""The nuts' pegs, x and y."""
ON_PEG_M = 0.83
"""Height of a nut's centre when it lies on the table around its peg."""

_NUM_JOINT_NUMBERS = 28
_NUM_HAND_NUMBERS = 11


def read_scene(task: str, state: np.ndarray) -> Scene:
    """Return the scene of each observation (S, Do) of `task`.

    Raises:
        ValueError: Nobody says what this task's observations mean, or their size is another.
    """
    if task not in GOALS:
        raise ValueError(
            f"What is object and goal in observations of 'robomimic/{task}' is not known. It is "
            f"for: {sorted(GOALS)}."
        )
    hand, fingers, thing = _places(task, state.shape[1])
    state = state.astype(np.float64)
    gap = state[:, fingers.start] - state[:, fingers.start + 1]
    opening = np.clip(gap / OPEN_M, 0.0, 1.0)
    where = state[:, thing]
    return Scene(state[:, hand], opening, where[:, None], GOALS[task](where))


def _places(task: str, size: int) -> tuple[slice, slice, slice]:
    """Return where states of this size hold hand, fingers and object.

    The published preferences of people (Preference Transformer) are about states with everything
    that robomimic records: the object, 28 numbers about the joints, then the hand.
    """
    num_object = 10 if task == "lift" else 14
    if size == OBJECT.start + num_object:
        return HAND, FINGERS, OBJECT
    first = num_object + _NUM_JOINT_NUMBERS
    if size == first + _NUM_HAND_NUMBERS:
        return slice(first, first + 3), slice(first + 7, first + 9), slice(0, 3)
    raise ValueError(
        f"A state of 'robomimic/{task}' must have {OBJECT.start + num_object} numbers, or as in "
        f"the sets of Preference Transformer {first + _NUM_HAND_NUMBERS}, got {size}."
    )


def _lifted(thing: np.ndarray) -> np.ndarray:
    """Return the place above where the cube is now, at the height that counts as lifted."""
    goal: np.ndarray = thing.copy()
    goal[:, 2] = TABLE_M + LIFTED_M
    return goal


def _at(place: tuple[float, float, float]) -> Callable[[np.ndarray], np.ndarray]:
    """Return what gives the same place wherever the object is."""
    return lambda thing: np.broadcast_to(place, thing.shape).copy()


GOALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "lift": _lifted,
    **{task: _at(place) for task, place in BINS.items()},
    **{task: _at((*place, ON_PEG_M)) for task, place in PEGS.items()},
}
"""For each task, where its object should go, given where it is."""
