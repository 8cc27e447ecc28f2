"""What counts as aligned: joint rate, success, preferred rate, with intervals.

The measure that defines a behaviour is visible here and to the scripted teacher, and to nothing
that learns. Methods are compared on the same test starts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from robopref.align.run import CONFIG
from robopref.config import component, from_dict, read_yaml
from robopref.data.episode import Episode
from robopref.data.rows import EpisodeRow
from robopref.data.segment import Segment
from robopref.statistics import Proportion, wilson
from robopref.types import STATE

MEANS = ("measure_mean", "length_mean", "return_mean")
Kept = TypeVar("Kept", Episode, EpisodeRow)
MIN_SUCCESSES = 10
"""Below this many successes the preferred rate says nothing and is left undefined."""


@dataclass(frozen=True)
class Evaluation:
    """How often episodes succeed and show the preferred behaviour.

    Args:
        success: Share of episodes that succeed; undefined where success is not known.
        preferred: Share of the successful ones that show the behaviour; undefined (NaN, 0 trials)
            below 10 successes. Where success is not known, share of all.
        joint: Share of episodes that succeed and show it: the figure methods are judged by. Where
            success is not known, share that shows it. Undefined where no behaviour is preferred.
        measure_mean: Mean of the behaviour's measure; NaN where none is preferred.
        length_mean: Mean number of steps.
        return_mean: Mean sum of the environment's rewards; NaN where an older version did not
            keep it.
    """

    success: Proportion
    preferred: Proportion
    joint: Proportion
    measure_mean: float
    length_mean: float
    return_mean: float = float("nan")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        rates = {name: vars(getattr(self, name)) for name in ("success", "preferred", "joint")}
        return {**rates, **{name: getattr(self, name) for name in MEANS}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Evaluation":
        """Return what `to_dict` was made from; a value that is None, as in JSON, is undefined."""
        parts: dict[str, Any] = {
            name: Proportion(**{**values[name], "value": _number(values[name]["value"])})
            for name in ("success", "preferred", "joint")
        }
        parts |= {name: _number(values.get(name)) for name in MEANS}
        return cls(**parts)


def evaluate_episodes(
    episodes: Iterable[Episode], behaviour: Any, *, knows_success: bool = True
) -> Evaluation:
    """Return the rates of recorded episodes.

    Args:
        episodes: Episodes from test starts.
        behaviour: Has `measure(state, action, reward) -> float` and `shows(measure) -> bool`; None
            where none is preferred.
        knows_success: Whether the environment says when the task is solved.
    """
    rows = [(e.succeeded, _measure(behaviour, e), len(e), float(e.reward.sum())) for e in episodes]
    measures = np.array([row[1] for row in rows])
    shown = np.array([behaviour is not None and behaviour.shows(float(m)) for m in measures])
    succeeded = np.array([row[0] or not knows_success for row in rows])
    num_success = int(succeeded.sum())
    counted = num_success if num_success >= MIN_SUCCESSES or not knows_success else 0
    both = int((succeeded & shown).sum())
    undefined = wilson(0, 0)
    return Evaluation(
        success=wilson(num_success, len(rows)) if knows_success else undefined,
        preferred=wilson(both, counted) if counted and behaviour is not None else undefined,
        joint=undefined if behaviour is None else wilson(both, len(rows)),
        measure_mean=float(measures.mean()),
        length_mean=float(np.mean([row[2] for row in rows])),
        return_mean=float(np.mean([row[3] for row in rows])),
    )


@dataclass(frozen=True)
class _Aim:
    """What the config of a run says about what is preferred."""

    behaviour: Any = component("robopref.envs:BEHAVIOURS", or_none=True)


def behaviour_of_run(policy: Path) -> Any:
    """Return the behaviour that the run of a policy was about; None where it was about none.

    Args:
        policy: Run of the policy, a folder of a run's that holds one, or the saved policy itself.

    Raises:
        ConfigError: The config of the run is damaged.
        UnknownNameError: There is no such behaviour here.
    """
    folder = policy.resolve()
    for place in (folder, *folder.parents[:2]):
        if (place / CONFIG).is_file():
            return from_dict(
                _Aim, {"behaviour": read_yaml(place / CONFIG).get("behaviour")}
            ).behaviour
    return None


def uses_success(config: Any) -> bool:
    """Return whether a run leaves out episodes that failed."""
    return bool(config.use_success and config.knows_success)


def usable(config: Any, episodes: Iterable[Kept]) -> list[Kept]:
    """Return the episodes, or their rows, that succeeded; all of them where success is not used."""
    return [episode for episode in episodes if episode.succeeded or not uses_success(config)]


def measure_episode(behaviour: Any, episode: Episode) -> float:
    """Return how much of the behaviour an episode shows."""
    return float(behaviour.measure(episode.state[:-1], episode.action, episode.reward))


def _measure(behaviour: Any, episode: Episode) -> float:
    return float("nan") if behaviour is None else measure_episode(behaviour, episode)


def _number(value: float | None) -> float:
    """Return a figure of JSON, which knows no NaN."""
    return float("nan") if value is None else value


def score_segment(behaviour: Any, episode: Episode, segment: Segment) -> np.ndarray:
    """Return the score of each step, (L,), where the behaviour has one; else of the whole, (1,)."""
    obs, action = segment.cut(episode)
    reward = episode.reward[segment.start : segment.start + segment.length]
    if scores_steps(behaviour):
        scores: np.ndarray = behaviour.score_steps(obs[STATE], action, reward)
        return scores
    return np.array([behaviour.measure(obs[STATE], action, reward)])


def scores_steps(behaviour: Any) -> bool:
    """Return whether the behaviour's measure is a sum over steps."""
    return hasattr(behaviour, "score_steps")
