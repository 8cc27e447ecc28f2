"""How well episodes of a deformable task end: quality, success, and primitives until it is solved.

All episodes count, not the successful ones alone.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from robopref.data.episode import Episode
from robopref.statistics import Proportion, mean_interval, wilson


@dataclass(frozen=True)
class DeformEvaluation:
    """How well episodes end.

    Args:
        success: Share that is solved.
        quality: Mean quality at the end.
        quality_low: Lower end of its 95 % interval.
        quality_high: Upper end.
        steps: Mean number of primitives until solved; the task's limit where it is not.
        curve: Mean quality after 0, 1, 2 primitives and so on; what has ended stays as it is.
    """

    success: Proportion
    quality: float
    quality_low: float
    quality_high: float
    steps: float
    curve: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "DeformEvaluation":
        """Return what `to_dict` was made from."""
        return cls(
            **{
                **values, "success": Proportion(**values["success"]),
                "curve": tuple(values["curve"]),
            }
        )  # fmt: skip


def evaluate(episodes: Sequence[Episode], env: Any) -> DeformEvaluation:
    """Return how well episodes of `env` end."""
    qualities = [qualities_of(episode, env) for episode in episodes]
    limit: int = env.max_episode_steps
    curve = np.array([[*some, *[some[-1]] * (limit + 1 - len(some))] for some in qualities])
    final = curve[:, -1]
    low, high = mean_interval(final)
    steps = [len(e) if e.succeeded else limit for e in episodes]
    return DeformEvaluation(
        wilson(sum(e.succeeded for e in episodes), len(episodes)), float(final.mean()), low, high,
        float(np.mean(steps)), tuple(curve.mean(axis=0).tolist()),
    )  # fmt: skip


def qualities_of(episode: Episode, env: Any) -> list[float]:
    """Return the quality before each primitive and at the end; `env` is left in the last state."""
    qualities = []
    for step in range(len(episode) + 1):
        env.put(episode.sim_state(step))
        qualities.append(env.quality())
    return qualities
