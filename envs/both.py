"""Two behaviours at once, each asked about by an annotator of its own.

Nobody is asked about the whole; an alignment has to please both.

Shapes: S observations, Do observation size, T actions, Da action size.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from robopref.config import component, resolve
from robopref.envs.styles import OneOfStyle, Style, TogetherStyle


@dataclass(frozen=True)
class BothConfig:
    """Two behaviours of the registry at once."""

    question: ClassVar[str] = "Which one is better?"

    first: Any = component("robopref.envs:BEHAVIOURS", default="detour-right")
    """What the first annotator judges."""
    second: Any = component("robopref.envs:BEHAVIOURS", default="fast")
    """What the second annotator judges."""

    def criteria(self) -> tuple[Any, Any]:
        """Return the two behaviours."""
        return resolve(self, "first"), resolve(self, "second")

    def check_env(self, env_id: str) -> None:
        """Raise ValueError for an environment in which either cannot be measured."""
        for behaviour in self.criteria():
            behaviour.check_env(env_id)

    def measure(self, episode_obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> float:
        """Return how many of the two are shown."""
        return float(sum(b.shows(b.measure(episode_obs, action, reward)) for b in self.criteria()))

    def shows(self, measure: float) -> bool:
        """Return whether both are."""
        return measure > 1.5

    def styles(self) -> tuple[Style, Style]:
        """Return a style that shows both, and one that draws from the three other combinations.

        Raises:
            ValueError: One of the two has no styles.
        """
        first, second = (_styles(behaviour) for behaviour in self.criteria())
        both, *others = (
            TogetherStyle(f"{one.name}, {other.name}", (one, other))
            for one in first
            for other in second
        )
        return both, OneOfStyle("not both", tuple(others))


def _styles(behaviour: Any) -> tuple[Style, Style]:
    if not hasattr(behaviour, "styles"):
        raise ValueError(f"{type(behaviour).__name__} has no styles for scripted experts.")
    styles: tuple[Style, Style] = behaviour.styles()
    return styles
