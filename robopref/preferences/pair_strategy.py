"""What query strategies are made of: a base that makes queries, and the base of their configs.

Shapes: S segments, P candidate pairs, M ensemble members, k queries.
Notation: `prefers_b` of shape (M, P) is each member's probability that b is preferred.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from robopref.errors import DataError, check_at_least
from robopref.preferences.pool import CandidatePool, Reward
from robopref.preferences.query import Query
from robopref.seeding import draw_uuid


class Choice(NamedTuple):
    """Indices of the segments of each chosen query, and why it was chosen."""

    items: Int[np.ndarray, "k K"]
    reasons: list[str]


class PairStrategy(ABC):
    """What all strategies share: checks, and queries made of the chosen pairs.

    Args:
        config: The strategy's settings, which built it.
    """

    name: str
    num_items: int = 2
    """Segments of a query."""
    needs_returns: bool = True
    """Whether the reward is asked; scoring the pool takes longer than choosing from it."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def propose(
        self, pool: CandidatePool, reward: Reward, k: int, rng: np.random.Generator
    ) -> list[Query]:
        """Return `k` queries of pairs that were not asked before, most useful first.

        Args:
            pool: Where to choose from.
            reward: A reward model, its members' returns (M, S), or None before there is one; then
                what needs no model is asked, and the reason says so.
            k: How many queries.
            rng: Breaks ties, draws at random, and names the queries.

        Raises:
            DataError: The pool has fewer than `k` pairs (triplets) left to ask.
            ValueError: `k` is below 1, or the returns do not fit the pool.
        """
        check_at_least("k", k, 1)
        returns = pool.member_returns(reward) if self.needs_returns else None
        choice = self.choose(pool, returns, k, rng)
        return [
            Query(
                id=draw_uuid(rng),
                items=tuple(pool.segments[place] for place in places),
                strategy=self.name,
                reason=reason,
            )
            for places, reason in zip(choice.items, choice.reasons, strict=True)
        ]

    @abstractmethod
    def choose(
        self,
        pool: CandidatePool,
        member_returns: Float[np.ndarray, "M S"] | None,
        k: int,
        rng: np.random.Generator,
    ) -> Choice:
        """Return what was chosen; there may be no member returns yet."""


@dataclass(frozen=True)
class StrategyConfig:
    """What the configs of all strategies share."""

    strategy: ClassVar[type[PairStrategy]]
    """What is built."""

    def build(self) -> PairStrategy:
        """Build the strategy."""
        return self.strategy(self)


@dataclass(frozen=True)
class ReturnsConfig(StrategyConfig):
    """What the configs of strategies share that compare the returns of a reward's members."""

    temperature: float = 1.0
    """Divisor of the difference of returns; the one of the reward's training."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"`temperature` must be above 0 and finite, got {self.temperature}.")


def compute_prefers_b(
    member_returns: Float[np.ndarray, "M S"], pairs: Int[np.ndarray, "P 2"], temperature: float
) -> Float[np.ndarray, "M P"]:
    """Return each member's Bradley-Terry probability that the second of each pair is preferred."""
    difference = member_returns[:, pairs[:, 1]] - member_returns[:, pairs[:, 0]]
    # A tanh cannot overflow, whatever the returns.
    probability: np.ndarray = 0.5 + 0.5 * np.tanh(difference / (2 * temperature))
    return probability


def top(score: Float[np.ndarray, " P"], k: int, rng: np.random.Generator) -> np.ndarray:
    """Return the places of the `k` highest scores, best first, ties broken at random.

    Raises:
        DataError: There are fewer than `k`.
    """
    check_enough(len(score), k)
    order: np.ndarray = np.lexsort((rng.random(len(score)), -score))
    return order[:k]


def draw(pool: CandidatePool, k: int, rng: np.random.Generator, reason: str) -> Choice:
    """Return `k` candidate pairs drawn at random, all for one reason."""
    check_enough(len(pool.pairs), k)
    rows = rng.choice(len(pool.pairs), size=k, replace=False)
    return Choice(pool.pairs[rows], [reason] * k)


def check_enough(num: int, k: int, what: str = "pairs") -> None:
    """Raise `DataError` when there are fewer than `k` pairs, or what else is asked about."""
    if num < k:
        raise DataError(
            f"{k} queries were asked for and {num} {what} are left that were not asked "
            "before. Ask for fewer, or record more episodes."
        )
