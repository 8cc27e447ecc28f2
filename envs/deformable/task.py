"""What every deformable task says of itself: its model, its goals, its starts, how good a state is.

Shapes: N points of the material, M points of the goal, K primitives.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from robopref.envs.deformable.simulation import Simulation
from robopref.errors import check_choice


@dataclass(frozen=True)
class Physics:
    """How the material behaves.

    Args:
        friction: Of the material on the table and on itself.
        stiffness: Factor on how stiff it is.
        density: Factor on how heavy it is.
    """

    friction: float
    stiffness: float = 1.0
    density: float = 1.0


@dataclass(frozen=True)
class Performed:
    """What came of a primitive.

    Args:
        primitive: Which one was performed.
        touched: Whether it took hold of anything, or moved anything.
        seconds: How long it took, in the simulator's time.
    """

    primitive: str
    touched: bool
    seconds: float


class Task(ABC):
    """A material with a goal.

    Args:
        goal: One of `goals`.
        physics: One of `PHYSICS`.
    """

    PHYSICS: ClassVar[Mapping[str, Physics]]
    GOALS: ClassVar[Mapping[str, str]]
    """What each goal is, in words."""
    primitive: ClassVar[str]
    """What the two points of an action mean."""
    max_episode_steps: ClassVar[int]
    solved_at: ClassVar[float]
    """Quality from which on the task counts as solved."""
    measured_as: ClassVar[str]
    """What `measure` returns, as a key of `info`."""

    sim: Simulation
    goal: Float[np.ndarray, "M 2"]

    def __init__(self, goal: str, physics: str) -> None:
        check_choice("goal", goal, self.GOALS)
        check_choice("physics", physics, self.PHYSICS)

    @abstractmethod
    def start(self, rng: np.random.Generator) -> None:
        """Bring the material into a random start."""

    @abstractmethod
    def material(self) -> Float[np.ndarray, "N 3"]:
        """Return points of the material [m]."""

    @abstractmethod
    def perform(self, points_m: Float[np.ndarray, "2 3"]) -> Performed:
        """Perform the primitive of two points.

        Raises:
            UnstableSimulationError: The physics went wrong; all is where it was.
        """

    @abstractmethod
    def measure(self) -> float:
        """Return what the quality is made of, such as a distance from the goal."""

    @abstractmethod
    def quality(self, measured: float, at_first: float) -> float:
        """Return how good a state is, 1 for the goal; `at_first` is what the start measured."""

    @abstractmethod
    def propose(self, rng: np.random.Generator, num: int) -> Float[np.ndarray, "K 2 3"]:
        """Return primitives that a geometric rule thinks good, the best first, at most `num`."""
