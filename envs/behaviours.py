"""Behaviours: ways to do a task, each with a number that says how much of it an episode shows.

A behaviour is measured from what is recorded: the path of the hand and of the first object in the
state observations [m], in whole episodes and in segments. Only scripted teachers and the evaluation
may see a measure; rewards and policies never.

Left and right are those of the default picture, which faces the robot: right is the world's -x.

Shapes: S observations of an episode (T + 1) or a segment (L), Do observation size, T actions,
Da action size.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robopref.envs.behaviour_envs import ArmBehaviour, MetaWorldBehaviour
from robopref.envs.paths import approach, mean_speed, sideways_m, unevenness
from robopref.envs.styles import HAND, PaceStyle, StopAndGoStyle, Style, ViaStyle, layout_of
from robopref.errors import check_at_least


@runtime_checkable
class Behaviour(Protocol):
    """A way to do a task that can be measured and asked about."""

    question: ClassVar[str]

    def check_env(self, env_id: str) -> None:
        """Raise ValueError if episodes of this environment cannot be measured."""
        ...

    def measure(
        self,
        episode_obs: Float[np.ndarray, "S Do"],
        action: Float[np.ndarray, "T Da"],
        reward: Float[np.ndarray, " T"],
    ) -> float:
        """Return how much of the behaviour there is; larger is more."""
        ...

    def shows(self, measure: float) -> bool:
        """Return whether an episode of this measure counts as showing the behaviour."""
        ...


@runtime_checkable
class ScoresSteps(Protocol):
    """A behaviour whose measure is a sum over steps, so that a teacher can weigh the steps."""

    def score_steps(
        self,
        episode_obs: Float[np.ndarray, "S Do"],
        action: Float[np.ndarray, "T Da"],
        reward: Float[np.ndarray, " T"],
    ) -> Float[np.ndarray, " T"]:
        """Return what each step adds to the measure."""
        ...


@runtime_checkable
class Styled(Protocol):
    """A behaviour that scripted experts can act out."""

    def styles(self) -> tuple[Style, Style]:
        """Return a style that shows the behaviour and one that does not; both do the task."""
        ...


@dataclass(frozen=True)
class DetourRightConfig(MetaWorldBehaviour):
    """The hand swings out to the right on its way to the object."""

    question: ClassVar[str] = "Which one swings out more to the right on its way to the object?"

    threshold_m: float = 0.02
    """Mean distance to the right from which on an episode shows the behaviour [m]."""
    offset_m: float = 0.25
    """How far the demonstrations swing out [m]."""
    height_m: float = 0.05
    """How much higher than at the start the demonstrations swing out [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least("offset_m", self.offset_m, 0.0)

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return how far right of half way between its ends the approach lies on average [m]."""
        return sideways_m(approach(episode_obs))

    def shows(self, measure: float) -> bool:
        """Return whether `measure` is above `threshold_m`."""
        return measure > self.threshold_m

    def styles(self) -> tuple[Style, Style]:
        """Return a swing to the right and one to the left."""
        left, right = _detours(self.offset_m, self.height_m)
        return right, left


@dataclass(frozen=True)
class DetourLeftConfig(DetourRightConfig):
    """The hand swings out to the left on its way to the object."""

    question: ClassVar[str] = "Which one swings out more to the left on its way to the object?"

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return how far left of half way between its ends the approach lies on average [m]."""
        return -sideways_m(approach(episode_obs))

    def styles(self) -> tuple[Style, Style]:
        """Return a swing to the left and one to the right."""
        return _detours(self.offset_m, self.height_m)


@dataclass(frozen=True)
class ApproachHighConfig(ArmBehaviour):
    """The hand stays high on its way to the object."""

    question: ClassVar[str] = "In which one is the hand higher on its way to the object?"

    threshold_m: float = 0.245
    """Mean height above the table above which an episode shows the behaviour [m]."""
    raise_m: float = 0.28
    """How far above the start's height the high demonstrations pass [m]."""
    lower_m: float = 0.06
    """How far below the start's height the low demonstrations pass [m]."""

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return the mean height of the hand above the table on the approach [m]."""
        return float(approach(episode_obs)[:, 2].mean()) - layout_of(episode_obs.shape[1]).table_m

    def shows(self, measure: float) -> bool:
        """Return whether `measure` is above `threshold_m`."""
        return measure > self.threshold_m

    def styles(self) -> tuple[Style, Style]:
        """Return a high approach and a low one."""
        return (
            ViaStyle("approach-high", (0.0, 0.0, self.raise_m)),
            ViaStyle("approach-low", (0.0, 0.0, -self.lower_m), along=0.6),
        )


@dataclass(frozen=True)
class ApproachLowConfig(ApproachHighConfig):
    """The hand stays low on its way to the object."""

    question: ClassVar[str] = "In which one is the hand lower on its way to the object?"

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return minus the mean height of the hand on the approach [m]."""
        return -super().measure(episode_obs, action, reward)

    def shows(self, measure: float) -> bool:
        """Return whether the mean height is below `threshold_m`."""
        return -measure < self.threshold_m

    def styles(self) -> tuple[Style, Style]:
        """Return a low approach and a high one."""
        high, low = super().styles()
        return low, high


@dataclass(frozen=True)
class FastConfig(ArmBehaviour):
    """The hand moves quickly."""

    question: ClassVar[str] = "Which one is faster?"

    threshold_m_s: float = 0.42
    """Mean speed of the hand above which an episode shows the behaviour [m/s]."""
    slow_limit: float = 0.35
    """Top speed of the slow demonstrations along each axis, in units of the action."""

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return the mean speed of the hand [m/s]."""
        fps = layout_of(episode_obs.shape[1]).fps
        return mean_speed(episode_obs[:, HAND].astype(np.float64), fps)

    def shows(self, measure: float) -> bool:
        """Return whether `measure` is above `threshold_m_s`."""
        return measure > self.threshold_m_s

    def styles(self) -> tuple[Style, Style]:
        """Return a quick style and a slow one."""
        return PaceStyle("fast", gain=2.0), PaceStyle("slow", limit=self.slow_limit)


@dataclass(frozen=True)
class SlowConfig(FastConfig):
    """The hand moves slowly."""

    question: ClassVar[str] = "Which one is slower?"

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return minus the mean speed of the hand [m/s]."""
        return -super().measure(episode_obs, action, reward)

    def shows(self, measure: float) -> bool:
        """Return whether the mean speed is below `threshold_m_s`."""
        return -measure < self.threshold_m_s

    def styles(self) -> tuple[Style, Style]:
        """Return a slow style and a quick one."""
        fast, slow = super().styles()
        return slow, fast


@dataclass(frozen=True)
class JerkyConfig(MetaWorldBehaviour):
    """The hand moves in stops and starts."""

    question: ClassVar[str] = "Which one moves more in stops and starts?"

    threshold_per_s: float = 10.5
    """Unevenness above which an episode shows the behaviour [1/s]."""
    smooth_limit: float = 0.5
    """Top speed of the smooth demonstrations along each axis, in units of the action."""
    stretch_m: float = 0.04
    """Length of a slow and a quick stretch of the jerky demonstrations [m]."""

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return the unevenness of the approach [1/s]."""
        return unevenness(approach(episode_obs))

    def shows(self, measure: float) -> bool:
        """Return whether `measure` is above `threshold_per_s`."""
        return measure > self.threshold_per_s

    def styles(self) -> tuple[Style, Style]:
        """Return a jerky style and a smooth one."""
        return (
            StopAndGoStyle("jerky", stretch_m=self.stretch_m),
            PaceStyle("smooth", limit=self.smooth_limit),
        )


@dataclass(frozen=True)
class SmoothConfig(JerkyConfig):
    """The hand moves evenly."""

    question: ClassVar[str] = "Which one moves more evenly?"

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return minus the unevenness of the approach [1/s]."""
        return -super().measure(episode_obs, action, reward)

    def shows(self, measure: float) -> bool:
        """Return whether the unevenness is below `threshold_per_s`."""
        return -measure < self.threshold_per_s

    def styles(self) -> tuple[Style, Style]:
        """Return a smooth style and a jerky one."""
        jerky, smooth = super().styles()
        return smooth, jerky


@dataclass(frozen=True)
class KeepAwayConfig(ArmBehaviour):
    """The hand stays out of an upright cylinder on the table."""

    question: ClassVar[str] = "Which one keeps farther away from the zone?"

    zone_m: tuple[float, float] = (0.0, 0.6)
    """Where the zone is on the table, x and y in the world [m]."""
    radius_m: float = 0.07
    """Radius of the zone [m]."""
    offset_m: float = 0.22
    """How far to the side of the zone the demonstrations pass [m]."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_at_least("radius_m", self.radius_m, 0.0)

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return the smallest distance of the hand from the zone [m], negative inside."""
        path = episode_obs[:, HAND].astype(np.float64)
        distance = np.linalg.norm(path[:, :2] - np.asarray(self.zone_m), axis=1)
        return float(distance.min() - self.radius_m)

    def shows(self, measure: float) -> bool:
        """Return whether the hand stayed outside."""
        return measure > 0.0

    def styles(self) -> tuple[Style, Style]:
        """Return a way around the zone, on the target's side, and one through it."""
        return (
            ViaStyle("around", (self.offset_m, 0.0, 0.0), at_m=self.zone_m, towards_target=True),
            ViaStyle("through", (0.0, 0.0, 0.0), at_m=self.zone_m),
        )


def _detours(offset_m: float, height_m: float) -> tuple[Style, Style]:
    return (
        ViaStyle("detour-left", (offset_m, 0.0, height_m)),
        ViaStyle("detour-right", (-offset_m, 0.0, height_m)),
    )
