"""The behaviour of doing well by the environment's own reward; works in every environment."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class HighReturnConfig:
    """The environment's own reward adds up to much.

    A sum favours long episodes where rewards are positive: compare segments of one length there.
    """

    question: ClassVar[str] = "Which one does the task better?"

    threshold: float = 0.0
    """Return above which an episode shows the behaviour, in the environment's units."""

    def check_env(self, env_id: str) -> None:
        """Accept every environment."""

    def score_steps(
        self, episode_obs: np.ndarray, action: np.ndarray, reward: Float[np.ndarray, " T"]
    ) -> Float[np.ndarray, " T"]:
        """Return what each step adds to the measure."""
        return reward

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return the sum of the rewards."""
        return float(reward.sum(dtype=np.float64))

    def shows(self, measure: float) -> bool:
        """Return whether `measure` is above `threshold`."""
        return measure > self.threshold
