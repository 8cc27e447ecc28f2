"""What candidates were proposed for, in three dimensions: points, and the paths that follow.

Points are those that were recorded, or stand for hand, objects and goal where an environment says
where these are. A candidate is the path of the end effector in the simulator; without one, the
positions in its action, such as where a primitive picks and places.

Shapes: P points, N positions of a path, Tp action chunk, Da action size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robopref.data.episode import Episode
from robopref.data.schema import SIM_STATE, Features
from robopref.data.store import EpisodeStore
from robopref.envs.scene import Scene
from robopref.labeling.lanes import scene_of
from robopref.labeling.simulation import Simulators
from robopref.labeling.worker import ClipError
from robopref.preferences.query import ActionCandidate
from robopref.types import STATE

_HAND, _GOAL, _FLOOR = (60, 60, 70), (40, 160, 80), (205, 205, 210)
_OBJECTS = ((190, 80, 40), (60, 90, 180), (150, 120, 40), (120, 60, 140))
_RADIUS_M = 0.02
_MARGIN_M = 0.05


@dataclass(frozen=True)
class CandidatePath:
    """How one candidate is drawn.

    Args:
        index: Its place in the query.
        kind: "path" of the end effector in the simulator, or "primitive" for the action's own
            positions.
        points: Positions in order [m], N of (x, y, z).
        objects: Paths of the objects that the candidate moves, by name.
    """

    index: int
    kind: str
    points: list[list[float]]
    objects: dict[str, list[list[float]]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Cloud:
    """What the page draws.

    Args:
        points: Positions in the world frame [m], (P, 3), float32.
        colors: Red, green and blue of each, (P, 3), uint8.
        source: "recorded", or "scene" for points that stand for hand, objects and goal.
        bounds: Least and greatest x, y and z of everything, two rows [m].
        paths: The candidates, in the query's order.
        actions: Their chunks, (Tp, Da) each; an action that somebody places has this form.
    """

    points: np.ndarray
    colors: np.ndarray
    source: str
    bounds: list[list[float]]
    paths: list[CandidatePath]
    actions: list[list[list[float]]]

    def content(self) -> bytes:
        """Return all positions as little-endian float32, then all colours as uint8."""
        return self.points.astype("<f4").tobytes() + self.colors.astype(np.uint8).tobytes()

    def meta(self) -> dict[str, Any]:
        """Return the rest as plain values."""
        return {
            "num_points": len(self.points),
            "source": self.source,
            "bounds": self.bounds,
            "placeable": all(path.kind == "primitive" for path in self.paths),
            "candidates": [
                {
                    "index": path.index,
                    "primitive": {
                        "type": path.kind, "points": path.points, "objects": path.objects,
                    },
                    "action": action,
                }
                for path, action in zip(self.paths, self.actions, strict=True)
            ],
        }  # fmt: skip


def cloud_keys(features: Features) -> list[str]:
    """Return the columns that hold point clouds."""
    return [
        key for key, value in features.items()
        if value.dtype == "float32" and len(value.shape) == 2 and value.shape[1] == 3
    ]  # fmt: skip


def make_cloud(
    episodes: EpisodeStore, candidates: Sequence[ActionCandidate], simulators: Simulators
) -> Cloud:
    """Return what candidates for one observation look like.

    Raises:
        DataError: The episode cannot be read.
        ClipError: It has neither points nor a known scene, or nothing says where the candidates go.
    """
    first = candidates[0]
    episode, features = episodes.episode(first.episode_id), episodes.features
    scene = None
    if STATE in episode.obs:
        scene = scene_of(episode.env, episode.state[first.step][None])
    points, colors, source = _points(episode, first.step, cloud_keys(features), scene)
    if scene is not None and SIM_STATE in features:
        paths = [
            _simulated_path(index, candidate, scene, (episodes, simulators))
            for index, candidate in enumerate(candidates)
        ]
    else:
        paths = [_primitive(index, c, points) for index, c in enumerate(candidates)]
    bounds = _bounds([points, *(np.array(path.points) for path in paths)])
    actions = [[list(row) for row in candidate.action] for candidate in candidates]
    return Cloud(points, colors, source, bounds, paths, actions)


def _points(
    episode: Episode, step: int, keys: list[str], scene: Scene | None
) -> tuple[np.ndarray, np.ndarray, str]:
    if keys:
        points = episode.obs[keys[0]][step]
        colors = next((v[step] for v in episode.obs.values() if _are_colors(v, len(points))), None)
        return points, by_height(points) if colors is None else colors, "recorded"
    if scene is not None:
        return *_stand_ins(scene), "scene"
    raise ClipError(
        f"Candidates for episode {episode.id} cannot be shown: it has no point cloud (a float32 "
        f"column of shape (P, 3)), and '{episode.env}' does not say where hand and objects are."
    )


def _are_colors(values: np.ndarray, num_points: int) -> bool:
    return values.dtype == np.uint8 and values.shape[1:] == (num_points, 3)


def _simulated_path(
    index: int, candidate: ActionCandidate, scene: Scene, world: tuple[EpisodeStore, Simulators]
) -> CandidatePath:
    """Return the path of the hand, and of the objects that move by more than a millimetre."""
    episodes, simulators = world
    outcome = simulators.play(episodes, candidate)
    after = scene_of(episodes.row(candidate.episode_id).env, outcome.observations)
    assert after is not None
    objects = np.concatenate([scene.objects, after.objects])
    moved = np.abs(objects - objects[0]).max(axis=(0, 2)) > 1e-3
    return CandidatePath(
        index, "path", np.concatenate([scene.hand, after.hand]).tolist(),
        {f"object {k + 1}": objects[:, k].tolist() for k in np.flatnonzero(moved)},
    )  # fmt: skip


def _primitive(index: int, candidate: ActionCandidate, points: np.ndarray) -> CandidatePath:
    """Return the positions that are in the action itself, three numbers each."""
    action = np.array(candidate.action)
    places = action[:, : action.shape[1] // 3 * 3].reshape(-1, 3)
    low, high = points.min(axis=0), points.max(axis=0)
    slack = np.maximum(high - low, _MARGIN_M)
    if not len(places) or (places < low - slack).any() or (places > high + slack).any():
        raise ClipError(
            f"Candidates for episode {candidate.episode_id} cannot be shown: there is no simulator "
            f"to play them in, and the {action.shape[1]} numbers of an action are not positions "
            "near the point cloud."
        )
    return CandidatePath(index, "primitive", places.tolist())


def _stand_ins(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Return balls for hand, objects and goal, over a grid for the floor."""
    places = [(scene.hand[0], _HAND)]
    for number, place in enumerate(scene.objects[0]):
        # An object that a task does not have is at the origin.
        if place.any():
            places.append((place, _OBJECTS[number % len(_OBJECTS)]))
    if np.isfinite(scene.goal).all() and scene.goal.any():
        places.append((scene.goal[0], _GOAL))
    ball = _RADIUS_M * _ball(200)
    points = [ball + place for place, _ in places]
    colors = [np.tile(np.array(color, np.uint8), (len(ball), 1)) for _, color in places]
    centres = np.stack([place for place, _ in places])
    floor = _floor(centres)
    points.append(floor)
    colors.append(np.tile(np.array(_FLOOR, np.uint8), (len(floor), 1)))
    return np.concatenate(points).astype(np.float32), np.concatenate(colors)


def _floor(centres: np.ndarray) -> np.ndarray:
    """Return a grid at the table's height, or below what lies lower."""
    low, high = centres.min(axis=0) - 0.15, centres.max(axis=0) + 0.15
    x, y = np.meshgrid(*(np.arange(a, b, 0.02) for a, b in zip(low[:2], high[:2], strict=True)))
    height = min(0.0, float(centres[:, 2].min()) - _RADIUS_M)
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, height)], axis=1)


def _ball(num_points: int) -> np.ndarray:
    """Return points spread evenly over the unit sphere, along a Fibonacci spiral."""
    k = np.arange(num_points)
    z = 1 - (2 * k + 1) / num_points
    angle = np.pi * (1 + 5**0.5) * k
    radius = np.sqrt(1 - z**2)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1)


def by_height(points: np.ndarray) -> np.ndarray:
    """Return colours (P, 3) from blue, low, over green to red, high; all are dark enough to see."""
    z = points[:, 2]
    share = np.clip((z - z.min()) / max(float(np.ptp(z)), 1e-9), 0, 1)
    ramp = np.array([[40, 60, 160], [40, 130, 90], [190, 70, 40]], float)
    channels = [np.interp(share, [0, 0.5, 1], ramp[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).astype(np.uint8)


def _bounds(parts: list[np.ndarray]) -> list[list[float]]:
    whole = np.concatenate(parts)
    bounds: list[list[float]] = [
        (whole.min(axis=0) - _MARGIN_M).tolist(), (whole.max(axis=0) + _MARGIN_M).tolist(),
    ]  # fmt: skip
    return bounds
