"""What counts as aligned: joint rate, success, preferred rate, with intervals.

The measure that defines a behaviour is visible here and to the scripted teacher, and to nothing
that learns. Methods are compared on the same test starts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from robopref.data.episode import Episode
from robopref.data.rows import EpisodeRow
from robopref.data.segment import Segment
from robopref.statistics import Proportion, wilson
from robopref.types import STATE

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
            success is not known, share that shows it.
        measure_mean: Mean of the behaviour's measure.
        length_mean: Mean number of steps.
    """

    success: Proportion
    preferred: Proportion
    joint: Proportion
    measure_mean: float
    length_mean: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        rates = {name: vars(getattr(self, name)) for name in ("success", "preferred", "joint")}
        return {**rates, "measure_mean": self.measure_mean, "length_mean": self.length_mean}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Evaluation":
        """Return what `to_dict` was made from; a value that is None, as in JSON, is undefined."""
        rates = {}
        for name in ("success", "preferred", "joint"):
            value = values[name]["value"]
            rates[name] = Proportion(
                **{**values[name], "value": float("nan") if value is None else value}
            )
        return cls(**rates, measure_mean=values["measure_mean"], length_mean=values["length_mean"])


def evaluate_episodes(
    episodes: Iterable[Episode], behaviour: Any, *, knows_success: bool = True
) -> Evaluation:
    """Return the rates of recorded episodes.

    Args:
        episodes: Episodes from test starts.
        behaviour: Has `measure(state, action, reward) -> float` and `shows(measure) -> bool`.
        knows_success: Whether the environment says when the task is solved.
    """
    rows = [(e.succeeded, measure_episode(behaviour, e), len(e)) for e in episodes]
    measures = np.array([row[1] for row in rows])
    shown = np.array([behaviour.shows(float(m)) for m in measures])
    succeeded = np.array([row[0] or not knows_success for row in rows])
    num_success = int(succeeded.sum())
    counted = num_success if num_success >= MIN_SUCCESSES or not knows_success else 0
    both = int((succeeded & shown).sum())
    return Evaluation(
        success=wilson(num_success, len(rows)) if knows_success else wilson(0, 0),
        preferred=wilson(both if counted else 0, counted),
        joint=wilson(both, len(rows)),
        measure_mean=float(measures.mean()),
        length_mean=float(np.mean([row[2] for row in rows])),
    )


def uses_success(config: Any) -> bool:
    """Return whether a run leaves out episodes that failed."""
    return bool(config.use_success and config.knows_success)


def usable(config: Any, episodes: Iterable[Kept]) -> list[Kept]:
    """Return the episodes, or their rows, that succeeded; all of them where success is not used."""
    return [episode for episode in episodes if episode.succeeded or not uses_success(config)]


def measure_episode(behaviour: Any, episode: Episode) -> float:
    """Return how much of the behaviour an episode shows."""
    return float(behaviour.measure(episode.state[:-1], episode.action, episode.reward))


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
