"""Query strategies: which pairs of segments to ask about.

A strategy sees a pool of candidate pairs and the returns that each member of a reward ensemble
gives to the pool's segments. Every segment is scored once, whatever the number of pairs; a pair's
probabilities follow by indexing. Those that look for variety are in `diverse.py`.

Shapes: S segments, P candidate pairs, M ensemble members, k queries.
Notation: `prefers_b` of shape (M, P) is each member's probability that b is preferred.
"""

import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from robopref.errors import DataError, check_at_least
from robopref.preferences.pool import CandidatePool, Reward, ScoresSegments
from robopref.preferences.query import Query

__all__ = ["CandidatePool", "QueryStrategy", "Reward", "ScoresSegments"]


@runtime_checkable
class QueryStrategy(Protocol):
    """Chooses what to ask."""

    name: str
    """Name under which it is registered."""

    def propose(
        self, pool: CandidatePool, reward: Reward, k: int, rng: np.random.Generator
    ) -> list[Query]:
        """Return `k` queries, each with the strategy's name and a reason in words."""
        ...


class Choice(NamedTuple):
    """Chosen pairs of segment indices, and why each was chosen."""

    pairs: Int[np.ndarray, "k 2"]
    reasons: list[str]


class PairStrategy(ABC):
    """What all strategies share: checks, and queries made of the chosen pairs.

    Args:
        temperature: Divisor of the difference of returns in the Bradley-Terry model; the one with
            which the reward was trained.
    """

    name: str
    needs_returns: bool = True
    """Whether the reward is asked; scoring the pool takes longer than choosing from it."""

    def __init__(self, temperature: float = 1.0) -> None:
        self.temperature = temperature

    def propose(
        self, pool: CandidatePool, reward: Reward, k: int, rng: np.random.Generator
    ) -> list[Query]:
        """Return `k` queries about pairs that were not asked before, most useful first.

        Args:
            pool: Where to choose from.
            reward: A reward model, its members' returns (M, S), or None before there is one; then
                what needs no model is asked, and the reason says so.
            k: How many queries.
            rng: Breaks ties, draws at random, and names the queries.

        Raises:
            DataError: The pool has fewer than `k` pairs left to ask.
            ValueError: `k` is below 1, or the returns do not fit the pool.
        """
        check_at_least("k", k, 1)
        returns = pool.member_returns(reward) if self.needs_returns else None
        choice = self.choose(pool, returns, k, rng)
        return [
            Query(
                id=str(uuid.UUID(bytes=rng.bytes(16), version=4)),
                items=(pool.segments[a], pool.segments[b]),
                strategy=self.name,
                reason=reason,
            )
            for (a, b), reason in zip(choice.pairs, choice.reasons, strict=True)
        ]

    @abstractmethod
    def choose(
        self,
        pool: CandidatePool,
        member_returns: Float[np.ndarray, "M S"] | None,
        k: int,
        rng: np.random.Generator,
    ) -> Choice:
        """Return the chosen pairs; there may be no member returns yet."""


class Uniform(PairStrategy):
    """Pairs drawn at random."""

    name = "uniform"
    needs_returns = False

    def choose(
        self,
        pool: CandidatePool,
        member_returns: Float[np.ndarray, "M S"] | None,
        k: int,
        rng: np.random.Generator,
    ) -> Choice:
        """Return `k` pairs drawn without replacement."""
        return draw(pool, k, rng, "Drawn at random.")


class ModelStrategy(PairStrategy):
    """Takes the pairs that score highest by a function of the members' probabilities."""

    purpose: str
    """What the reward is needed for, after "There is no reward yet that could"."""

    def choose(
        self,
        pool: CandidatePool,
        member_returns: Float[np.ndarray, "M S"] | None,
        k: int,
        rng: np.random.Generator,
    ) -> Choice:
        """Return the `k` best pairs, ties broken at random; without a reward, random ones."""
        if member_returns is None:
            why = f"There is no reward yet that could {self.purpose}; drawn at random."
            return draw(pool, k, rng, why)
        prefers_b = compute_prefers_b(member_returns, pool.pairs, self.temperature)
        rows = top(self.score(prefers_b), k, rng)
        reasons = [self.reason(prefers_b[:, row]) for row in rows]
        return Choice(pool.pairs[rows], reasons)

    @abstractmethod
    def score(self, prefers_b: Float[np.ndarray, "M P"]) -> Float[np.ndarray, " P"]:
        """Return how useful each pair would be; higher is better."""

    @abstractmethod
    def reason(self, prefers_b: Float[np.ndarray, " M"]) -> str:
        """Return why a pair was chosen, in words."""


class Disagreement(ModelStrategy):
    """Where the members' probabilities vary most.

    References:
        Christiano et al., Deep reinforcement learning from human preferences, 2017,
        arXiv:1706.03741, section 2.2.4.
    """

    name = "disagreement"
    purpose = "disagree with itself"

    def score(self, prefers_b: Float[np.ndarray, "M P"]) -> Float[np.ndarray, " P"]:
        """Return the variance of the probabilities over the members."""
        variance: np.ndarray = prefers_b.var(axis=0)
        return variance

    def reason(self, prefers_b: Float[np.ndarray, " M"]) -> str:
        """Return the range of the members' probabilities, in words."""
        if len(prefers_b) == 1:
            return "The reward has one member, which cannot disagree; drawn at random."
        return (
            f"The reward's {len(prefers_b)} members disagree: that the second is better has "
            f"probability {prefers_b.min():.2f} to {prefers_b.max():.2f}."
        )


class InformationGain(ModelStrategy):
    r"""Whose answer tells most about the reward: mutual information of answer and member (BALD).

    H(mean_m p_m) - mean_m H(p_m), with H the entropy of a yes/no answer in nats. A pair on which
    every member is unsure has a high entropy and gains nothing.

    References:
        Houlsby et al., Bayesian active learning for classification and preference learning, 2011,
        arXiv:1112.5745, eq. 2.
    """

    name = "information-gain"
    purpose = "be told something"

    def score(self, prefers_b: Float[np.ndarray, "M P"]) -> Float[np.ndarray, " P"]:
        """Return the mutual information in nats."""
        return compute_information_gain(prefers_b)

    def reason(self, prefers_b: Float[np.ndarray, " M"]) -> str:
        """Return the information in bits, in words."""
        if len(prefers_b) == 1:
            return "The reward has one member, so no answer tells more; drawn at random."
        bits = compute_information_gain(prefers_b[:, None])[0] / np.log(2)
        return f"The answer is expected to tell {bits:.2f} bit about which member is right."


class Entropy(ModelStrategy):
    """Where the answer is least certain, whatever the reason."""

    name = "entropy"
    purpose = "be unsure"

    def score(self, prefers_b: Float[np.ndarray, "M P"]) -> Float[np.ndarray, " P"]:
        """Return the entropy of the mean probability in nats."""
        return binary_entropy(prefers_b.mean(axis=0))

    def reason(self, prefers_b: Float[np.ndarray, " M"]) -> str:
        """Return the mean probability, in words."""
        return (
            "The reward is unsure: that the second is better has probability "
            f"{prefers_b.mean():.2f}."
        )


def compute_prefers_b(
    member_returns: Float[np.ndarray, "M S"], pairs: Int[np.ndarray, "P 2"], temperature: float
) -> Float[np.ndarray, "M P"]:
    """Return each member's Bradley-Terry probability that the second of each pair is preferred."""
    difference = member_returns[:, pairs[:, 1]] - member_returns[:, pairs[:, 0]]
    # A tanh cannot overflow, whatever the returns.
    probability: np.ndarray = 0.5 + 0.5 * np.tanh(difference / (2 * temperature))
    return probability


def binary_entropy(probability: np.ndarray) -> np.ndarray:
    """Return the entropy of a yes/no answer in nats; 0 where the answer is certain."""
    p = np.clip(probability, 1e-15, 1 - 1e-15)
    entropy: np.ndarray = -p * np.log(p) - (1 - p) * np.log1p(-p)
    return entropy


def compute_information_gain(prefers_b: Float[np.ndarray, "M P"]) -> Float[np.ndarray, " P"]:
    """Return BALD's mutual information of the answer and the member, in nats."""
    gain: np.ndarray = binary_entropy(prefers_b.mean(axis=0))
    gain = gain - binary_entropy(prefers_b).mean(axis=0)
    return np.maximum(gain, 0.0)


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


def check_enough(num_pairs: int, k: int) -> None:
    """Raise `DataError` when there are fewer than `k` pairs."""
    if num_pairs < k:
        raise DataError(
            f"{k} queries were asked for and {num_pairs} pairs are left that were not asked "
            "before. Ask for fewer, or record more episodes."
        )


@dataclass(frozen=True)
class UniformConfig:
    """Pairs drawn at random."""

    def build(self) -> Uniform:
        """Build the strategy."""
        return Uniform()


@dataclass(frozen=True)
class DisagreementConfig:
    """Where the reward's members disagree most."""

    temperature: float = 1.0
    """Divisor of the difference of returns; the one of the reward's training."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_temperature(self.temperature)

    def build(self) -> Disagreement:
        """Build the strategy."""
        return Disagreement(self.temperature)


@dataclass(frozen=True)
class InformationGainConfig(DisagreementConfig):
    """Whose answer tells most about the reward (BALD)."""

    def build(self) -> InformationGain:  # type: ignore[override]
        """Build the strategy."""
        return InformationGain(self.temperature)


@dataclass(frozen=True)
class EntropyConfig(DisagreementConfig):
    """Where the reward is least sure of the answer."""

    def build(self) -> Entropy:  # type: ignore[override]
        """Build the strategy."""
        return Entropy(self.temperature)


def check_temperature(temperature: float) -> None:
    """Raise `ValueError` unless the temperature is above 0."""
    if not 0 < temperature < np.inf:
        raise ValueError(f"`temperature` must be above 0 and finite, got {temperature}.")
