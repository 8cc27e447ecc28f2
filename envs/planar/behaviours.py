"""What a person may prefer on the table: to keep out of a region, to push the blocks together.

Both measures add up over steps and count a little of what brings the blocks nearer to the goal, so
that of two clips that are equally good otherwise the one that gets on is better.

Shapes: S observations of an episode (T + 1) or a segment (L), Do observation size, T actions.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from robopref.envs.behaviour_envs import ReadsObservations
from robopref.envs.planar.measures import apart, intrusion, progress
from robopref.envs.planar.physics import FPS
from robopref.envs.planar.styles import PlanStyle, styles
from robopref.envs.planar.tasks import block_places, goal_distance
from robopref.errors import check_between

_PER_M = 0.25
"""What a metre of progress is worth; as blocks cannot go farther than 1.8 m, always below 0.5."""


class PlanarBehaviour(ReadsObservations):
    """What behaviours share that read observations of planar tasks."""

    kind: ClassVar[str]

    @abstractmethod
    def score_steps(
        self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray
    ) -> Float[np.ndarray, " T"]:
        """Return what each step adds to the measure."""

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return the sum over steps."""
        return float(self.score_steps(episode_obs, action, reward).sum())

    def styles(self) -> tuple[PlanStyle, PlanStyle]:
        """Return a style that does the task as preferred, and one that does it the other way."""
        return styles(self.kind)

    def _can_read(self, env_id: str) -> bool:
        return env_id.startswith(f"planar/{self.kind}-")


@dataclass(frozen=True)
class KeepOutConfig(PlanarBehaviour):
    """Hand and blocks keep out of the marked region while the blocks go to the goal.

    Reaching into the region costs 1 at the first time and 1 for every second, a metre of progress
    is worth 0.25. So every episode that keeps out is better than every other one.
    """

    question: ClassVar[str] = "Which one keeps better out of the marked region on its way?"
    readable: ClassVar[str] = "planar tasks' (planar/avoid-...)"
    kind: ClassVar[str] = "avoid"

    tolerance_m: float = 0.01
    """How deep something may reach into the region unnoticed [m]."""

    def __post_init__(self) -> None:
        """Check the range."""
        check_between("tolerance_m", self.tolerance_m, 0.0, 0.1)

    def score_steps(
        self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray
    ) -> np.ndarray:
        """Return what each step adds: progress, less what is inside after it."""
        inside = self._inside(episode_obs)
        cost = inside / FPS
        cost[inside.argmax()] += float(inside.any())
        return _last(_PER_M * progress(episode_obs) - cost, len(action))

    def shows(self, measure: float) -> bool:
        """Return whether nothing ever reached into the region."""
        return measure > -0.5

    def score_states(self, state: Float[np.ndarray, "S Do"]) -> Float[np.ndarray, " S"]:
        """Return how good each observation is by itself [m]: near the goal, and not inside."""
        inside = (0.5 + intrusion(state)) * self._inside(state)
        cost: np.ndarray = goal_distance(state).mean(axis=1) + inside
        return -cost

    def _inside(self, state: np.ndarray) -> np.ndarray:
        inside: np.ndarray = (intrusion(state) > self.tolerance_m).astype(np.float64)
        return inside


@dataclass(frozen=True)
class TogetherConfig(PlanarBehaviour):
    """The blocks are brought together first and then go to the goal as one.

    Moving the blocks towards the goal costs how far apart they are, times the way; a metre of
    progress is worth 0.25.
    """

    question: ClassVar[str] = "In which one do the blocks go to the goal more as a group?"
    readable: ClassVar[str] = "planar tasks' (planar/group-...)"
    kind: ClassVar[str] = "group"

    threshold: float = 0.1
    """Measure above which an episode shows the behaviour; one that takes the blocks to the goal one
    by one is at about -0.8, one that does nothing at 0, one that takes them together at 0.2."""

    def score_steps(
        self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray
    ) -> np.ndarray:
        """Return what each step adds: progress, less the way that the blocks went apart."""
        y = block_places(episode_obs)[:, :, 1]
        way = np.diff(y, axis=0, prepend=y[:1]).clip(min=0.0).mean(axis=1)
        score = _PER_M * progress(episode_obs) - way * apart(episode_obs)
        return _last(score, len(action))

    def shows(self, measure: float) -> bool:
        """Return whether `measure` is above `threshold`."""
        return measure > self.threshold

    def score_states(self, state: Float[np.ndarray, "S Do"]) -> Float[np.ndarray, " S"]:
        """Return how good each observation is by itself [m]: near the goal and near each other."""
        cost: np.ndarray = goal_distance(state).mean(axis=1) + apart(state)
        return -cost


def _last(scores: np.ndarray, num: int) -> np.ndarray:
    """Return the last `num`: with one observation more than actions, the first one adds nothing."""
    return scores[len(scores) - num :]
