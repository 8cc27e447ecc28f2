"""Numbers about the path of the hand.

Shapes: S observations of an episode (T + 1) or a segment (L), Do observation size, A points.
"""

import numpy as np
from jaxtyping import Float

from robopref.envs.styles import HAND, layout_of

FPS = 80.0
"""Steps a second of Meta-World [Hz]; turns steps into speeds."""
_MOVED_M = 0.03


def approach(episode_obs: Float[np.ndarray, "S Do"]) -> Float[np.ndarray, "A 3"]:
    """Return the hand's path [m] up to the moment when the first object has moved 3 cm.

    The object's place is read from the second observation: right after a reset the package's first
    one can show an object where it was before the task put it in place. Where objects fall on to
    the table first, falling is no motion.
    """
    layout = layout_of(episode_obs.shape[1])
    objects = episode_obs[:, layout.object].astype(np.float64)
    way = objects - objects[min(1, len(objects) - 1)]
    if layout.falls:
        way[:, 2] = way[:, 2].clip(min=0.0)
    moved = np.linalg.norm(way, axis=1) > _MOVED_M
    moved[:1] = False
    end = int(moved.argmax()) if moved.any() else len(objects)
    return episode_obs[:end, HAND].astype(np.float64)


def sideways_m(path: Float[np.ndarray, "A 3"]) -> float:
    """Return how far right of half way between its ends the path lies on average [m]."""
    x = path[:, 0]
    return float((x[0] + x[-1]) / 2.0 - x.mean())


def path_length(path: Float[np.ndarray, "A 3"]) -> float:
    """Return the length of the path [m]."""
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())


def mean_speed(path: Float[np.ndarray, "A 3"], fps: float = FPS) -> float:
    """Return the mean speed along the path [m/s]; 0 for a single point."""
    if len(path) < 2:
        return 0.0
    return float(np.linalg.norm(np.diff(path, axis=0), axis=1).mean() * fps)


def unevenness(path: Float[np.ndarray, "A 3"]) -> float:
    """Return the mean size of the acceleration over the mean speed [1/s].

    This is how often in a second the hand makes up its velocity anew; dividing by the speed keeps
    a slow path from counting as smooth for being slow. 0 for fewer than three points.
    """
    if len(path) < 3:
        return 0.0
    acceleration = np.linalg.norm(np.diff(path, n=2, axis=0), axis=1).mean() * FPS**2
    return float(acceleration / max(mean_speed(path), 1e-3))
