"""Query strategies: which pairs of segments to ask about.

A strategy sees a pool of candidate pairs and the returns that each member of a reward ensemble
gives to the pool's segments. Every segment is scored once, whatever the number of pairs; a pair's
probabilities follow by indexing. Those that look for variety are in `diverse.py`.

Shapes: S segments, P candidate pairs, M ensemble members, k queries.
Notation: `prefers_b` of shape (M, P) is each member's probability that b is preferred.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robopref.preferences.pair_strategy import (
    Choice,
    PairStrategy,
    ReturnsConfig,
    StrategyConfig,
    compute_prefers_b,
    draw,
    top,
)
from robopref.preferences.pool import CandidatePool, Reward
from robopref.preferences.query import Query


@runtime_checkable
class QueryStrategy(Protocol):
    """Chooses what to ask."""

    name: str
    """Name under which it is registered."""
    num_items: int
    """Segments of a query."""

    def propose(
        self, pool: CandidatePool, reward: Reward, k: int, rng: np.random.Generator
    ) -> list[Query]:
        """Return `k` queries, each with the strategy's name and a reason in words."""
        ...


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
        prefers_b = compute_prefers_b(member_returns, pool.pairs, self.config.temperature)
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
        """Return how far the members' probabilities lie apart, in words that favour no side."""
        if len(prefers_b) == 1:
            return "The reward has one member, which cannot disagree; drawn at random."
        return (
            f"The reward's {len(prefers_b)} members disagree: their probabilities lie "
            f"{prefers_b.max() - prefers_b.min():.2f} apart."
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
        """Return how far the mean probability is from even, in words that favour no side."""
        distance = abs(float(prefers_b.mean()) - 0.5)
        return f"The reward is unsure: its probability lies {distance:.2f} from even."


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


@dataclass(frozen=True)
class UniformConfig(StrategyConfig):
    """Pairs drawn at random."""

    strategy: ClassVar[type[PairStrategy]] = Uniform


@dataclass(frozen=True)
class DisagreementConfig(ReturnsConfig):
    """Where the reward's members disagree most."""

    strategy: ClassVar[type[PairStrategy]] = Disagreement


@dataclass(frozen=True)
class InformationGainConfig(ReturnsConfig):
    """Whose answer tells most about the reward (BALD)."""

    strategy: ClassVar[type[PairStrategy]] = InformationGain


@dataclass(frozen=True)
class EntropyConfig(ReturnsConfig):
    """Where the reward is least sure of the answer."""

    strategy: ClassVar[type[PairStrategy]] = Entropy
